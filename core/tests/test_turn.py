"""A run from the message to the answer, and every way in which it ends early."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint
from rustyclaw import (
    Finished,
    Message,
    ModelRequest,
    Prompt,
    ProviderError,
    RunOptions,
    StorageError,
    StreamEvent,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    hookimpl,
    tool,
)
from rustyclaw.runs import RunEnded
from rustyclaw.testing import Bot, FakeProvider, call, fault, hang


@tool
async def roll(sides: int = 6) -> str:
    """Roll a die."""
    return f"rolled {sides}"


TOOLS: dict[str, object] = {"tools.roll": roll}


def stored(home: Path) -> list[dict[str, Any]]:
    """Return the messages in the one transcript of a home."""
    (path,) = (home / "agents/main/sessions").glob("*.jsonl")
    lines = map(json.loads, path.read_text().splitlines())
    return [line for line in lines if line["type"] == "message"]


def texts(home: Path) -> list[str]:
    return [
        block.get("text", "")
        for line in stored(home)
        for block in line["message"]["content"]
    ]


async def talk(bot: Bot, text: str, then: Any) -> None:
    """Say something and call ``then`` at the first piece of the answer."""
    bot.events = []
    async for event in bot.gateway.run(text):
        bot.events.append(event)
        if isinstance(event, TextDelta) and then is not None:
            then()
            then = None


# --- The answer -----------------------------------------------------------------


async def test_usage_is_summed_and_the_context_is_the_last_prompt(
    tmp_path: Path,
) -> None:
    first = Usage(input_tokens=100, output_tokens=5, cache_write_tokens=30)
    second = Usage(input_tokens=20, output_tokens=7, cache_read_tokens=130)
    script = [
        [
            ToolCallDelta(index=0, id="a", name="roll"),
            Finished(stop_reason="tool_calls", usage=first),
        ],
        [TextDelta(text="six"), Finished(usage=second)],
    ]
    async with Bot(tmp_path, script=script, plugins=TOOLS) as bot:
        assert await bot.say("roll") == "six"
        assert bot.last.usage == first + second
        assert bot.last.tool_calls == 1
        info = await bot.gateway.state.sessions.get("main")
    assert info is not None
    assert info.usage == first + second
    assert info.context_tokens == 150


async def test_thinking_is_kept_in_its_place_and_replayed_with_its_signature(
    tmp_path: Path,
) -> None:
    script = [
        [
            ThinkingDelta(text="let me "),
            ThinkingDelta(text="see"),
            ThinkingDelta(signature="sig1"),
            ThinkingDelta(text="opaque", redacted=True),
            TextDelta(text="I will "),
            TextDelta(text="roll"),
            ThinkingDelta(signature="sig2"),
            ToolCallDelta(index=0, id="a", name="roll"),
            Finished(stop_reason="tool_calls"),
        ],
        "six",
    ]
    async with Bot(tmp_path, script=script, plugins=TOOLS) as bot:
        await bot.say("roll")
        content = bot.provider.requests[1].messages[1].content
    assert content[:4] == (
        Thinking(text="let me see", signature="sig1"),
        Thinking(text="opaque", redacted=True),
        Text(text="I will roll"),
        Thinking(text="", signature="sig2"),
    )


async def test_blocks_and_calls_keep_their_order_also_after_a_restart(
    tmp_path: Path,
) -> None:
    script = [
        [
            ThinkingDelta(text="first", signature="sig1"),
            ToolCallDelta(index=0, id="a", name="roll", signature="call1"),
            ToolCallDelta(index=0, arguments="{}"),
            ThinkingDelta(text="then", signature="sig2"),
            ToolCallDelta(index=2, id="c", name="roll"),
            ToolCallDelta(index=1, id="b", name="roll"),
            TextDelta(text="done"),
            Finished(stop_reason="tool_calls"),
        ],
        "six",
    ]
    async with Bot(tmp_path, script=script, plugins=TOOLS) as bot:
        await bot.say("roll")
        at_once = bot.provider.requests[1].messages[1].content
    async with Bot(tmp_path, plugins=TOOLS) as bot:
        await bot.say("and?")
        from_disk = bot.provider.requests[0].messages[1].content
    assert at_once == from_disk
    assert at_once == (
        Thinking(text="first", signature="sig1"),
        ToolCall(id="a", name="roll", signature="call1"),
        Thinking(text="then", signature="sig2"),
        ToolCall(id="b", name="roll"),
        ToolCall(id="c", name="roll"),
        Text(text="done"),
    )


async def test_a_persona_takes_the_place_of_the_identity(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        await bot.say("hello")
        await bot.gateway.state.sessions.patch("main", system_prompt="You are Jeeves.")
        await bot.say("hello again")
        plain, jeeves = (request.system for request in bot.provider.requests)
    assert plain.startswith("You are rustyclaw, a personal assistant.\n")
    assert jeeves == plain.replace(
        "You are rustyclaw, a personal assistant.", "You are Jeeves."
    )


async def test_what_a_hook_adds_to_the_message_is_in_every_request_of_the_run(
    tmp_path: Path,
) -> None:
    class Dater:
        @hookimpl
        async def before_agent_start(self, prompt: Prompt) -> Prompt:
            content = (*prompt.message.content, Text(text="(on a Monday)"))
            return replace(prompt, message=Message(role="user", content=content))

    script = [[*call("roll")], "six", "seven"]
    async with Bot(
        tmp_path, script=script, plugins={**TOOLS, "hooks.dater": Dater()}
    ) as bot:
        await bot.say("roll")
        await bot.say("more")
        asked = [
            [m.text for m in request.messages if m.role == "user"]
            for request in bot.provider.requests
        ]
    assert asked == [
        ["roll\n(on a Monday)"],
        ["roll\n(on a Monday)"],
        ["roll", "more\n(on a Monday)"],
    ]
    assert "(on a Monday)" not in texts(tmp_path)


# --- The end that nobody wants ----------------------------------------------------


async def test_a_run_ends_after_so_many_model_calls(tmp_path: Path) -> None:
    provider = FakeProvider(default=call("roll"))
    config = {"agents": {"defaults": {"max_tool_iterations": 3}}}
    async with Bot(tmp_path, provider=provider, plugins=TOOLS, config=config) as bot:
        await bot.say("roll for ever")
        assert len(bot.provider.requests) == 3
        assert bot.last.tool_calls == 3
        assert bot.last.error is not None
        assert bot.last.error.kind == "tool_error"
        assert "agents.defaults.max_tool_iterations" in bot.last.error.message
        bot.provider.default = "enough"
        assert await bot.say("stop") == "enough"


async def test_a_run_has_a_deadline(tmp_path: Path) -> None:
    config = {"agents": {"defaults": {"timeout_seconds": 0.05}}}
    async with Bot(tmp_path, script=[hang(after=2), "ok"], config=config) as bot:
        assert await bot.say("hello?") == "......"
        assert bot.last.error is not None
        assert bot.last.error.kind == "timeout"
        assert not bot.last.aborted
        assert await bot.say("still there?") == "ok"
    assert texts(tmp_path)[1] == "......\n\nthe run took over 0.05 s"


async def test_an_abort_keeps_what_was_said_and_closes_the_stream(
    tmp_path: Path,
) -> None:
    closed: list[str] = []

    class Closing(FakeProvider):
        async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
            try:
                async for event in super().stream(request):
                    yield event
            finally:
                closed.append(request.messages[-1].text)

    provider = Closing(script=[hang(after=1), "fine"])
    async with Bot(tmp_path, provider=provider) as bot:
        await talk(bot, "a story", then=lambda: bot.gateway.abort("main"))
        assert closed == ["a story"]
        assert bot.last.aborted
        assert bot.last.error is None
        assert bot.last.text == "..."
        assert await bot.say("go on") == "fine"
        said = [message.text for message in bot.provider.requests[1].messages]
    assert said == ["a story", "...\n\n[stopped]", "go on"]


async def test_an_abort_closes_a_stream_that_nobody_reads(tmp_path: Path) -> None:
    tasks: list[int] = []

    class Closing(FakeProvider):
        async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
            tasks.append(anyio.get_current_task().id)
            try:
                while True:
                    yield TextDelta(text="on and on ")
            finally:
                tasks.append(anyio.get_current_task().id)

    async with Bot(tmp_path, provider=Closing()) as bot:
        stream = bot.gateway.run("a story")
        while not isinstance(await anext(stream), TextDelta):
            pass
        await anyio.wait_all_tasks_blocked()  # the run waits for its reader
        bot.gateway.abort("main")
        bot.events = [event async for event in stream]
        assert bot.last.aborted
        assert bot.last.text.startswith("on and on on and on ")
    opened, closed = tasks
    assert opened == closed, "the run itself has closed it, not the event loop"


async def test_an_abort_during_a_tool_call_cancels_it_and_answers_it(
    tmp_path: Path,
) -> None:
    cleaned: list[str] = []
    started = anyio.Event()

    @tool(effects={"write"})
    async def dig() -> str:
        """Dig."""
        try:
            started.set()
            await anyio.sleep_forever()
        finally:
            cleaned.append("up")
        return ""

    script = [["I dig twice.", *call("dig"), *call("dig")], "fine"]
    async with Bot(tmp_path, script=script, plugins={"tools.dig": dig}) as bot:
        async with anyio.create_task_group() as group:
            group.start_soon(bot.say, "dig")
            await started.wait()
            assert bot.gateway.abort("main")
        assert bot.last.aborted
        assert cleaned == ["up"]
        assert await bot.say("again") == "fine"
        messages = bot.provider.requests[1].messages
    said = [message.text for message in messages]
    assert said == ["dig", "I dig twice.", "", "[stopped]", "again"]
    results = messages[2].content
    assert len(results) == 2
    for result in results:
        assert isinstance(result, ToolResult)
        assert result.is_error
        assert "no result: the run ended" in result.text


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (ProviderError("no such key", kind="auth"), "auth_failure"),
        (ProviderError("no such model", kind="model_not_found"), "provider_error"),
        (ProviderError("roles must alternate", kind="format"), "role_ordering"),
        (fault(after=2), "timeout"),
        (fault(after=1, error=RuntimeError("a bug")), "internal"),
        (RuntimeError("a bug"), "internal"),
        (ProviderError("prompt is too long"), "context_overflow"),
    ],
)
async def test_after_a_failure_the_next_run_works(
    tmp_path: Path, failure: Any, kind: str
) -> None:
    async with Bot(tmp_path, script=[failure, "fine"]) as bot:
        await bot.say("one")
        assert bot.last.error is not None
        assert bot.last.error.kind == kind
        assert bot.last.stop_reason == "error"
        assert await bot.say("two") == "fine"
        roles = [message.role for message in bot.provider.requests[1].messages]
    assert roles == ["user", "assistant", "user"]
    assert bot.last.error is None


async def test_a_missing_provider_is_one_line_that_says_what_to_install(
    tmp_path: Path,
) -> None:
    config = {"agents": {"defaults": {"model": "acme/large"}}}
    async with Bot(tmp_path, config=config) as bot:
        await bot.say("hello")
        assert bot.last.error is not None
        assert bot.last.error.message == (
            "provider 'acme' is not installed; try `pip install rustyclaw-acme`"
        )
        await bot.gateway.state.sessions.patch("main", model="fake/fake")
        assert await bot.say("and now?") == "and now?"


@pytest.mark.parametrize(
    "error",
    [
        ProviderError("bad key tell-nobody-42 in header"),
        ProviderError("bad key " + "x" * 480 + "tell-nobody-42"),
        RuntimeError("GET https://x/?key=tell-nobody-42"),
    ],
)
async def test_an_error_tells_no_secret(tmp_path: Path, error: Exception) -> None:
    async with Bot(tmp_path, script=[error]) as bot:
        bot.gateway.config.redactor.add("tell-nobody-42")
        await bot.say("hello")
        assert bot.last.error is not None
        assert bot.last.error.message
        assert "tell-no" not in bot.last.error.message
    assert "tell-no" not in json.dumps(stored(tmp_path))


async def test_a_turn_goes_to_a_thread_three_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each visit costs as much as a tenth of a turn may (docs/decisions/0012)."""
    run_sync, visits = anyio.to_thread.run_sync, 0

    async def counted(*args: Any, **options: Any) -> Any:
        nonlocal visits
        visits += 1
        return await run_sync(*args, **options)

    async with Bot(tmp_path) as bot:
        await bot.say("hello")  # which opens session and provider
        monkeypatch.setattr(anyio.to_thread, "run_sync", counted)
        assert await bot.say("again") == "again"
        assert visits == 3, "lock and look; message and prompt; answer and account"


async def test_an_answer_counts_although_the_index_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **facts: Any) -> None:
        raise StorageError("the disk is full")

    async with Bot(tmp_path) as bot:
        monkeypatch.setattr(bot.gateway.state.sessions, "touch", refuse)
        assert await bot.say("hello") == "hello"
        assert bot.last.error is None


# --- More messages, and a restart -------------------------------------------------


async def _with_a_second_message(home: Path, mode: str, script: list[Any]) -> Bot:
    """Deliver a message, and another one while its tool runs."""
    started, go_on = anyio.Event(), anyio.Event()

    @tool
    async def wait() -> str:
        """Wait."""
        started.set()
        await go_on.wait()
        return "waited"

    bot = Bot(
        home,
        script=script,
        plugins={"tools.wait": wait},
        config={"session": {"queue_mode": mode}},
    )
    async with bot:
        await bot.channel.deliver("first")
        await started.wait()
        await bot.channel.deliver("second")
        with anyio.fail_after(5):
            while len(bot.channel.acknowledged) < 2:
                await checkpoint()
        go_on.set()
        await bot.reply()
        if mode == "collect":
            await bot.reply()
    return bot


async def test_a_message_may_steer_the_run_that_goes_on(tmp_path: Path) -> None:
    script = [[*call("wait")], "both done"]
    bot = await _with_a_second_message(tmp_path, "steer", script)
    roles = [(m.role, m.text) for m in bot.provider.requests[1].messages]
    assert roles == [
        ("user", "first"),
        ("assistant", ""),
        ("tool", ""),
        ("user", "second"),
    ]
    assert [posted.text for posted in bot.channel.posted] == ["both done"]


async def test_a_message_may_wait_for_its_own_run(tmp_path: Path) -> None:
    script = [[*call("wait")], "first done", "second done"]
    bot = await _with_a_second_message(tmp_path, "collect", script)
    assert [m.text for m in bot.provider.requests[1].messages if m.role == "user"] == [
        "first"
    ]
    assert [p.text for p in bot.channel.posted] == ["first done", "second done"]


async def test_a_run_goes_on_after_a_restart_where_it_stood(tmp_path: Path) -> None:
    started = anyio.Event()

    @tool(effects={"write"})
    async def dig() -> str:
        """Dig."""
        started.set()
        await anyio.sleep_forever()
        return ""

    killed = Bot(
        tmp_path,
        script=[["I dig.", *call("dig")]],
        plugins={"tools.dig": dig},
        config={"gateway": {"drain_seconds": 0}},
    )
    async with killed:
        await killed.channel.deliver("dig a hole")
        await started.wait()
    async with Bot(tmp_path, script=["done"], plugins={"tools.dig": dig}) as bot:
        assert await bot.reply() == "done"
        question, answer, results = bot.provider.requests[0].messages
    assert question.text == "dig a hole"
    assert answer.text == "I dig."
    (result,) = results.content
    assert isinstance(result, ToolResult)
    assert result.is_error
    assert "the gateway stopped before it answered" in result.text
    kinds = [line["message"]["role"] for line in stored(tmp_path)]
    assert kinds == ["user", "assistant", "tool", "assistant"]


async def test_a_run_always_ends_with_its_result(bot: Bot) -> None:
    await bot.say("hello")
    assert isinstance(bot.events[-1], RunEnded)
    assert "".join(e.text for e in bot.events if isinstance(e, TextDelta)) == "hello"


async def test_a_caller_may_want_a_shorter_or_another_answer(tmp_path: Path) -> None:
    config = {"agents": {"defaults": {"max_tokens": 100, "temperature": 0.5}}}
    async with Bot(tmp_path, config=config) as bot:
        for options in (
            RunOptions(),
            RunOptions(max_tokens=10, temperature=0.0),
            RunOptions(max_tokens=1000),
        ):
            async for _ in bot.gateway.run("hi", options=options):
                pass
        asked = [(r.max_tokens, r.temperature) for r in bot.provider.requests]
    assert asked == [(100, 0.5), (10, 0.0), (100, 0.5)]
