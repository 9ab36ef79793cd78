"""The gateway as a whole: start, drain, several of them, events, plugins, secrets."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import (
    Busy,
    ChannelError,
    ConfigError,
    Gateway,
    Inbound,
    Inbox,
    MethodError,
    ModelRequest,
    Outbound,
    PluginError,
    ProviderError,
    RunEnded,
    Sender,
    Sent,
    SessionError,
    Target,
    TextDelta,
    WebRequest,
    WebResponse,
    hookimpl,
    tool,
)
from rustyclaw.interfaces.channel import Route
from rustyclaw.logs import configure_logs
from rustyclaw.registry import Caller, Method
from rustyclaw.testing import Bot, FakeChannel, FakeProvider, call, hang, make_gateway


def inbound(text: str = "hello", id: str = "1") -> Inbound:
    target = Target(channel="fake", chat_id="alice")
    return Inbound(message_id=id, sender=Sender(id="alice"), target=target, text=text)


# --- Start and stop -----------------------------------------------------------------


async def test_one_gateway_serves_a_home(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        with pytest.raises(SessionError) as refused:
            await Bot(tmp_path).__aenter__()
        assert "another gateway serves" in str(refused.value)
        assert "\n" not in str(refused.value)
        second = make_gateway(tmp_path)  # as a terminal has it
        async with second, aclosing(second.run("hi")) as events:
            assert [e async for e in events]
        assert await bot.say("still here") == "still here"
    async with Bot(tmp_path) as bot:
        assert await bot.say("free again") == "free again"


async def test_several_gateways_share_nothing(tmp_path: Path) -> None:
    async with Bot(tmp_path / "a") as a, Bot(tmp_path / "b") as b:
        for bot, name in ((a, "a"), (b, "b")):
            await bot.channel.deliver(f"I am in {name}", message_id="same")
            assert await bot.reply() == f"I am in {name}"
        assert len(a.provider.requests) == len(b.provider.requests) == 1


async def test_a_failing_start_leaves_nothing_behind(tmp_path: Path) -> None:
    gateway = make_gateway(
        tmp_path, channels=True, config={"plugins": {"required": ["ghost"]}}
    )
    with pytest.raises(PluginError):
        await gateway.__aenter__()
    async with Bot(tmp_path) as bot:
        assert await bot.say("hi") == "hi"


async def test_an_error_in_the_body_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Bot(tmp_path):
            raise ZeroDivisionError


@pytest.mark.parametrize(
    ("session", "error"),
    [
        ("agent:nobody:main", ConfigError),
        ("agent:main:", SessionError),
        ("../../etc", SessionError),
        ("", SessionError),
    ],
)
async def test_a_wrong_session_is_an_error_at_once(
    tmp_path: Path, session: str, error: type[Exception]
) -> None:
    async with Bot(tmp_path) as bot:
        with pytest.raises(error):
            await bot.say("hello", session=session)
        assert not bot.events


async def test_short_keys_mean_the_default_agent(tmp_path: Path) -> None:
    config = {"agents": {"list": [{"id": "first"}, {"id": "second"}]}}
    async with Bot(tmp_path, config=config) as bot:
        await bot.say("hello")
        assert bot.last.session_key == "agent:first:main"
        found = await bot.gateway.state.sessions.get("main")
        assert found is not None
        assert "agent:first:main" in str(await bot.gateway.command("/status", "main"))


# --- Draining -----------------------------------------------------------------------


class Gate(FakeProvider):
    """Answers once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.called, self.open = anyio.Event(), anyio.Event()

    async def stream(self, request: ModelRequest) -> Any:
        self.called.set()
        await self.open.wait()
        async for event in super().stream(request):
            yield event


async def test_a_drain_finishes_what_runs_and_takes_nothing_new(tmp_path: Path) -> None:
    provider = Gate()
    async with Bot(tmp_path, provider=provider) as bot:
        await bot.channel.deliver("one")
        await provider.called.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(bot.gateway.stop, "test")
            while not bot.gateway.draining:
                await anyio.lowlevel.checkpoint()
            with pytest.raises(Busy):
                await bot.gateway.accept(inbound())
            with pytest.raises(Busy):
                await bot.say("two")
            assert not bot.channel.posted
            provider.open.set()
        assert [p.text for p in bot.channel.posted] == ["one"]
        await bot.gateway.stop("again")


async def test_a_channel_that_breaks_at_a_refusal_still_sends(tmp_path: Path) -> None:
    """Most channels let `Busy` fly; the answers on their way must not suffer."""

    class Simple(FakeChannel):
        async def run(self, inbox: Inbox) -> None:
            await inbox.accept(inbound("one", "1"))
            await provider.called.wait()
            await refuse.wait()
            await inbox.accept(inbound("two", "2"))

    provider, refuse, channel = Gate(), anyio.Event(), Simple()
    gateway = make_gateway(
        tmp_path, provider=provider, channels=True, plugins={"channels.fake": channel}
    )
    async with gateway, anyio.create_task_group() as group:
        await provider.called.wait()
        group.start_soon(gateway.stop, "test")
        while not gateway.draining:
            await anyio.lowlevel.checkpoint()
        refuse.set()
        await anyio.wait_all_tasks_blocked()
        provider.open.set()
    assert [p.text for p in channel.posted] == ["one"]


async def test_what_is_not_done_in_time_is_resumed_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"gateway": {"drain_seconds": 0.05}}
    provider = Gate()
    async with Bot(tmp_path, provider=provider, config=config) as bot:
        await bot.channel.deliver("one")
        await provider.called.wait()
    assert "it is resumed later" in caplog.text
    assert not bot.channel.posted
    async with Bot(tmp_path, config=config) as bot:
        assert await bot.reply() == "one"
        (request,) = bot.provider.requests
        assert [m.text for m in request.messages] == ["one"]
    async with Bot(tmp_path, config=config) as bot:
        await bot.say("x")
        assert not bot.channel.posted


async def test_who_waits_for_a_run_that_is_cut_off_is_told(tmp_path: Path) -> None:
    config = {"gateway": {"drain_seconds": 0}}
    told: list[Exception] = []
    provider = FakeProvider(default=hang(after=1))
    bot = Bot(tmp_path, provider=provider, config=config)
    started = anyio.Event()

    async def ask(text: str) -> None:
        try:
            async for _ in bot.gateway.run(text):
                started.set()
        except Busy as exc:
            told.append(exc)

    async with anyio.create_task_group() as group, bot:
        group.start_soon(ask, "one")
        await started.wait()
        group.start_soon(ask, "two")
        await anyio.wait_all_tasks_blocked()
    assert len(told) == 2


async def test_a_task_of_a_plugin_may_fail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(word: str) -> None:
        raise RuntimeError(word)

    async with Bot(tmp_path) as bot:
        bot.gateway.spawn(broken, "oh")
        assert await bot.say("hi") == "hi"
    assert "background task" in caplog.text


# --- Events -------------------------------------------------------------------------


async def test_a_watcher_sees_all_runs(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        with bot.gateway.feed.events() as events:
            await bot.say("hello", session="a")
            await bot.channel.deliver("hi")
            await bot.reply()
            ended: list[str] = []
            with anyio.fail_after(5):
                while len(ended) < 2:
                    event = await events.receive()
                    if isinstance(event.event, RunEnded):
                        ended.append(event.session_key)
        assert ended == ["agent:main:a", "agent:main:fake:dm:alice"]


async def test_watchers_that_do_not_read_or_have_gone_cost_nothing(
    tmp_path: Path,
) -> None:
    long = "word " * 1000
    async with Bot(tmp_path) as bot:
        with bot.gateway.feed.events(), bot.gateway.feed.events() as gone:
            gone.close()
            assert await bot.say(long) == long
        assert sum(isinstance(e, TextDelta) for e in bot.events) > 256


# --- Plugins ------------------------------------------------------------------------


@tool
async def ping() -> str:
    """Say pong."""
    return "pong"


class Adder:
    """Adds all that a plugin may add when the gateway starts."""

    @hookimpl
    async def gateway_start(self, gateway: Gateway) -> None:
        async def double(params: Mapping[str, Any], caller: Caller) -> int:
            if "n" not in params:
                raise MethodError("n is missing")
            return int(params["n"]) * 2

        async def hook(request: WebRequest) -> WebResponse:
            return WebResponse(status=204)

        gateway.tools.add(ping(), owner="adder")
        gateway.methods.add(Method(name="double", handler=double), owner="adder")
        gateway.routes.add(Route(method="post", path="/x", handler=hook), owner="adder")


async def test_a_hook_adds_tools_methods_and_routes(tmp_path: Path) -> None:
    script = [call("ping"), "done"]
    async with Bot(tmp_path, script=script, plugins={"hooks.adder": Adder()}) as bot:
        gateway = bot.gateway
        assert await gateway.call("double", {"n": 21}) == 42
        with pytest.raises(MethodError, match="n is missing"):
            await gateway.call("double")
        with pytest.raises(MethodError, match="unknown method: halve"):
            await gateway.call("halve")
        assert gateway.routes.get("POST /x") is not None
        assert await bot.say("ping") == "done"
        assert "pong" in repr(bot.provider.requests[1].messages[-1])
        gateway.tools.remove("adder")
        assert gateway.tools.get("ping") is None


async def test_faults_of_hooks_are_kept(tmp_path: Path) -> None:
    class Bad:
        @hookimpl
        async def llm_input(self, request: ModelRequest) -> None:
            raise ValueError("canary-value-1")

    config = {"providers": {"x": {"token": "canary-value-1"}}}
    async with Bot(tmp_path, plugins={"hooks.bad": Bad()}, config=config) as bot:
        assert await bot.say("hi") == "hi"
        with anyio.fail_after(5):
            while not (faults := await bot.gateway.state.faults()):
                await anyio.lowlevel.checkpoint()
        assert faults == [("bad", "llm_input", "raised ValueError: ***", 1)]


async def test_a_start_hook_that_breaks_stops_nothing(tmp_path: Path) -> None:
    class Bad:
        @hookimpl
        async def gateway_start(self) -> None:
            raise RuntimeError("no")

    async with Bot(tmp_path, plugins={"hooks.bad": Bad()}) as bot:
        assert await bot.say("hi") == "hi"


# --- What is lost while stopped -----------------------------------------------------


def spoil(database: Path, damage: str) -> None:
    head = database.read_bytes()[:5000]
    for file in database.parent.glob("state.db*"):
        file.unlink()
    if damage != "deleted":
        database.write_bytes(head if damage == "cut" else b"no database" * 900)


@pytest.mark.parametrize("damage", ["deleted", "garbage", "cut"])
async def test_the_index_of_sessions_is_made_again(tmp_path: Path, damage: str) -> None:
    async with Bot(tmp_path) as bot:
        for text in ("one", "two"):
            await bot.channel.deliver(text)
            await bot.reply()
    database = tmp_path / "state.db"
    spoil(database, damage)
    async with Bot(tmp_path) as bot:
        (known,) = await bot.gateway.state.sessions.list()
        assert known.key == "agent:main:fake:dm:alice"
        await bot.channel.deliver("three", message_id="x")
        assert await bot.reply() == "three"
        (request,) = bot.provider.requests
        texts = [m.text for m in request.messages if m.role == "user"]
        assert texts == ["one", "two", "three"]
    with sqlite3.connect(database) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


async def test_an_answer_in_the_transcript_is_not_asked_for_again(
    tmp_path: Path,
) -> None:
    """The journal is lost, the platform delivers again: the answer is known."""
    async with Bot(tmp_path) as bot:
        await bot.channel.deliver("one", message_id="x")
        await bot.reply()
    spoil(tmp_path / "state.db", "deleted")
    async with Bot(tmp_path) as bot:
        await bot.channel.deliver("one", message_id="x")
        assert await bot.reply() == "one"
        assert bot.provider.requests == []


# --- Secrets ------------------------------------------------------------------------

CANARIES = ("canary-in-config", "canary-in-environment")


@tool
async def leak() -> str:
    """Fail, and say too much."""
    raise RuntimeError(f"tool {' '.join(CANARIES)}")


class Leaky(FakeChannel):
    """Fails to send, and to run, and says too much."""

    async def run(self, inbox: Inbox) -> None:
        await inbox.accept(inbound("please"))
        await anyio.sleep(0.05)
        raise OSError(f"channel {' '.join(CANARIES)}")

    async def send(self, target: Target, message: Outbound) -> Sent:
        await super().send(target, message)
        raise ChannelError(f"send {' '.join(CANARIES)}", permanent=True)


async def test_no_secret_comes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", CANARIES[1])
    failure = ProviderError(f"provider {' '.join(CANARIES)}", kind="format")
    provider = FakeProvider(script=[call("leak"), failure], default=failure)
    channel = Leaky()
    config = {"providers": {"x": {"api_key": CANARIES[0], "token_env": "CANARY"}}}
    seen: list[object] = []

    class Watch:
        @hookimpl
        async def message_sent(self, message: Outbound, error: str | None) -> None:
            seen.append((message, error))

    gateway = make_gateway(
        tmp_path,
        provider=provider,
        plugins={"tools.leak": leak, "channels.fake": channel, "hooks.w": Watch()},
        config=config,
        channels=True,
    )
    log = io.StringIO()
    undo = configure_logs(
        gateway.config.logging.model_copy(update={"level": "debug"}),
        gateway.config.redactor,
        stream=log,
    )
    try:
        async with gateway:
            with gateway.feed.events() as events:
                posted = await channel.next_sent()
                async for event in gateway.run("tell me"):
                    seen.append(event)
                with anyio.fail_after(5):
                    while gateway.channels["fake"].state != "failed":
                        await anyio.lowlevel.checkpoint()
                while events.statistics().current_buffer_used:
                    seen.append(await events.receive())
            seen += [posted, gateway.channels, gateway.config.redacted()]
            seen += [gateway.redact({"a": CANARIES}), repr(gateway.config)]
            seen += await gateway.state.journal.troubles()
    finally:
        undo()
    everything = repr(seen) + log.getvalue()
    assert "provider ***" in everything
    assert "channel ***" in everything
    assert "send ***" in everything
    for canary in CANARIES:
        assert canary not in everything


def test_a_config_that_names_a_secret_still_loads(tmp_path: Path) -> None:
    gateway = Gateway({"channels": {"x": {"token": "abcdefgh"}}}, home=tmp_path)
    assert gateway.redact("it is abcdefgh") == "it is ***"
    assert replace(inbound(), text="x").text == "x"
