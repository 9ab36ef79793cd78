"""What a run survives, with each provider against its vendor's fake.

One table over five APIs, on real sockets: overflow, limits, credit, refused levels of
thinking, streams that break. What `failover` does by itself is in its own tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import yaml
from rustyclaw import (
    Gateway,
    RunEnded,
    RunEvent,
    RunResult,
    TextDelta,
    ToolResult,
    hookimpl,
    tool,
)
from rustyclaw_failover.provider import FailoverProvider
from rustyclaw_http.testing.server import Answer, FakeVendor, Received

from .wires import GROQ, WIRES, Stage, Wire

#: Far more than a run needs.
PATIENCE_SECONDS = 30.0
KEYS = ("first-key-123", "second-key-456")

each_wire = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
#: Another API to fall back to.
each_pair = pytest.mark.parametrize(
    ("wire", "other"),
    [
        (wire, other)
        for wire in WIRES
        for other in WIRES
        if wire.provider != other.provider
    ],
    ids=lambda wire: wire.name,
)


class House:
    """A gateway over the fakes of some vendors, and what came of its runs."""

    def __init__(self, home: Path, stack: AsyncExitStack) -> None:
        self.home, self._stack = home, stack
        self.stages: dict[str, Stage] = {}
        self.ran: list[str] = []
        self.events: list[RunEvent] = []
        self.hooks: dict[str, object] = {}

    async def stage(self, wire: Wire) -> Stage:
        """Return the vendor of an API, up and running."""
        server = await self._stack.enter_async_context(FakeVendor())
        stage = self.stages[wire.provider] = Stage(wire, server)
        return stage

    def config(self, *, plain: bool = False, **defaults: Any) -> dict[str, Any]:
        """Return a config with a chain of all vendors; the first one has two keys."""
        chain = [stage.wire.spec for stage in self.stages.values()]
        first = next(iter(self.stages))
        section = {"models": chain, "keys": {first: [{"api_key": k} for k in KEYS]}}
        model = chain[0] if plain else "failover"
        providers = {name: stage.section for name, stage in self.stages.items()}
        return {
            "agents": {"defaults": {"model": model, **defaults}},
            "session": {"compact_keep_recent": 4},
            "providers": {**providers, "failover": section},
        }

    async def open(self, **defaults: Any) -> Gateway:
        """Return a gateway that ends with the test."""

        @tool
        async def look(place: str) -> str:
            """Look.

            :param place: Where.
            """
            self.ran.append(place)
            return "seen"

        classes = {f"providers.{n}": s.wire.cls for n, s in self.stages.items()}
        plugins = {"providers.failover": FailoverProvider, "tools.look": look}
        gateway = Gateway(
            self.config(**defaults),
            home=self.home,
            channels=False,
            discover=False,
            plugins={**classes, **plugins, **self.hooks},
        )
        return await self._stack.enter_async_context(gateway)

    async def say(
        self, gateway: Gateway, text: str, session: str = "main"
    ) -> RunResult:
        """Say something; return how it ended."""
        self.events = []
        with anyio.fail_after(PATIENCE_SECONDS):
            async for event in gateway.run(text, session=session):
                self.events.append(event)
        last = self.events[-1]
        assert isinstance(last, RunEnded)
        return last.result

    @property
    def shown(self) -> str:
        """The text that a person has seen."""
        return "".join(e.text for e in self.events if isinstance(e, TextDelta))

    async def health(self, gateway: Gateway) -> dict[str, Any]:
        """Return how the keys are."""
        provider = (await gateway.models.resolve("failover")).provider
        assert isinstance(provider, FailoverProvider)
        return dict(await provider.ledger.all())


@pytest.fixture
def anyio_backend() -> str:
    """Return the backend; the other one has its turn in each provider's own tests."""
    return "asyncio"


@pytest.fixture
async def house(
    tmp_path: Path, anyio_backend: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    """Return a house; nobody in it waits for the sake of waiting."""

    async def sleep(delay: float) -> None:
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr("rustyclaw.agent.model_calls.sleep", sleep)
    monkeypatch.setattr("rustyclaw_failover.walk.sleep", sleep)
    async with AsyncExitStack() as stack:
        yield House(tmp_path, stack)


def crowded(stage: Stage, times: int, summary: Answer | None = None) -> None:
    """Have a vendor refuse the last straw so many times."""
    left = [times]

    def answer(received: Received) -> Answer:
        if b"Summarise the conversation" in received.body:
            return summary or stage.wire.text("a summary")
        if b"the last straw" in received.body and left[0]:
            left[0] -= 1
            return stage.wire.refusal(*stage.wire.too_long)
        return stage.wire.text("fine")

    stage.default = answer


async def crowd(house: House, gateway: Gateway) -> RunResult:
    for number in range(5):
        assert (await house.say(gateway, f"message {number}")).text == "fine"
    return await house.say(gateway, "the last straw")


# --- Too long -----------------------------------------------------------------------


@each_wire
@pytest.mark.parametrize(
    ("times", "plain"), [(1, True), (3, True), (1, False), (2, False), (3, False)]
)
async def test_overflow_then_success(
    house: House, wire: Wire, times: int, plain: bool
) -> None:
    stage = await house.stage(wire)
    crowded(stage, times)
    gateway = await house.open(plain=plain)
    result = await crowd(house, gateway)
    assert (result.text, result.error) == ("fine", None)
    assert result.compactions == times
    assert result.model == wire.spec
    assert stage.asked[-1].body.count(b"the last straw") == 1
    if not plain:
        healths = (await house.health(gateway)).values()
        assert not any(health.failures for health in healths), "nobody is marked"


@each_wire
async def test_overflow_that_stays(house: House, wire: Wire) -> None:
    crowded(await house.stage(wire), 1000)
    result = await crowd(house, await house.open())
    assert result.error is not None
    assert result.error.kind == "context_overflow"
    assert "start a new session with /new" in result.error.message


@each_wire
async def test_a_compaction_that_fails(house: House, wire: Wire) -> None:
    crowded(await house.stage(wire), 1000, wire.refusal(400, "Bad request"))
    result = await crowd(house, await house.open())
    assert result.error is not None
    assert result.error.kind == "compaction_failure"


class Inflater:
    """Makes stored tool results a megabyte long."""

    @hookimpl
    async def tool_result_persist(self, result: ToolResult) -> ToolResult:
        return replace(result, text="x" * 1_000_000)


@each_wire
async def test_one_tool_result_of_a_megabyte(house: House, wire: Wire) -> None:
    stage = await house.stage(wire)
    house.hooks["hooks.inflater"] = Inflater()

    def answer(received: Received) -> Answer:
        if len(received.body) > 200_000:
            return wire.refusal(*wire.too_long)
        return wire.call() if len(stage.asked) == 1 else wire.text("fine")

    stage.default = answer
    result = await house.say(await house.open(), "look")
    assert (result.text, result.error) == ("fine", None)
    assert house.ran == ["here"]


# --- Keys and models ------------------------------------------------------------------


@each_wire
async def test_two_keys_and_a_limit(house: House, wire: Wire) -> None:
    stage = await house.stage(wire)
    stage.script = [wire.refusal(*wire.limited)]
    gateway = await house.open()
    result = await house.say(gateway, "hi")
    assert (result.text, stage.keys) == ("fine", [*KEYS])
    health = await house.health(gateway)
    first, second = (health[f"{wire.provider}:key{n}"] for n in (1, 2))
    assert first.cooling_until - first.last_failure == 60
    assert first.failures == {"rate_limit": 1}
    assert second.failures == {}


@each_wire
async def test_no_credit(house: House, wire: Wire) -> None:
    stage = await house.stage(wire)
    stage.script = [wire.refusal(*wire.unpaid)]
    gateway = await house.open()
    assert (await house.say(gateway, "hi")).text == "fine"
    health = (await house.health(gateway))[f"{wire.provider}:key1"]
    assert health.disabled_until - health.last_failure == 5 * 3600
    assert (await house.say(gateway, "hi", "other")).text == "fine"
    assert stage.keys == [KEYS[0], KEYS[1], KEYS[1]]


@each_pair
async def test_all_keys_rest_and_another_vendor_goes_on(
    house: House, wire: Wire, other: Wire
) -> None:
    stage, rescue = await house.stage(wire), await house.stage(other)
    stage.script = [wire.call(), wire.thought]
    gateway = await house.open(thinking="low")
    assert (await house.say(gateway, "hi")).text == "Hello"
    stage.default = wire.refusal(*wire.limited)
    result = await house.say(gateway, "go on")
    assert (result.text, result.model) == ("fine", other.spec)
    assert len(stage.asked) == 4, "both keys"
    (received,) = rescue.asked
    for words in (b"hi", b"seen", b"Hello", b"go on"):
        assert words in received.body
    if wire.signed:
        assert wire.signed.encode() not in received.body
    assert (await house.say(gateway, "and on")).model == other.spec
    assert len(stage.asked) == 4, "who rests is left in peace"


async def test_too_many_tokens_a_minute_are_no_overflow(house: House) -> None:
    stage = await house.stage(GROQ)
    text = (
        "Request too large for model `openai/gpt-oss-120b` on tokens per minute (TPM): "
        "Limit 8000, Requested 9200, please reduce your message size and try again."
    )
    stage.script = [GROQ.refusal(413, text)]
    gateway = await house.open()
    result = await house.say(gateway, "hi")
    assert (result.text, result.compactions, stage.keys) == ("fine", 0, [*KEYS])
    assert (await house.health(gateway))["groq:key1"].failures == {"rate_limit": 1}


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        pytest.param(wire, words, id=f"{wire.name}-{number}")
        for wire in WIRES
        for number, words in enumerate(wire.no_thinking)
    ],
)
async def test_a_refused_level_of_thinking(
    house: House, wire: Wire, words: str
) -> None:
    stage = await house.stage(wire)
    stage.script = [wire.refusal(400, words)]
    gateway = await house.open(thinking="high")
    result = await house.say(gateway, "hi")
    assert (result.text, result.thinking) == ("fine", wire.no_thinking[words])
    assert stage.keys == [KEYS[0]] * 2, "the key is not to blame"


@each_wire
async def test_attempts_are_bounded(house: House, wire: Wire) -> None:
    stage = await house.stage(wire)
    stage.default = wire.refusal(*wire.limited)
    gateway = await house.open()
    result = await house.say(gateway, "hi")
    assert result.error is not None
    assert len(stage.asked) == 4, "each key; and twice more, as the core waits twice"
    health = (await house.health(gateway)).values()
    assert all(h.cooling_until - h.last_failure == 60 for h in health), "one burst"


@each_wire
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("messages: roles must alternate between user and assistant", "role_ordering"),
        ("messages.0.image: image exceeds 5 MB maximum", "image_size"),
    ],
)
async def test_what_no_other_model_would_mend(
    house: House, wire: Wire, text: str, kind: str
) -> None:
    stage = await house.stage(wire)
    stage.default = wire.refusal(400, text)
    result = await house.say(await house.open(), "hi")
    assert result.error is not None
    assert result.error.kind == kind
    assert len(stage.asked) == 1


# --- Streams that break ---------------------------------------------------------------


@each_wire
async def test_an_abort_in_the_middle(house: House, wire: Wire) -> None:
    stage = await house.stage(wire)
    stage.default = wire.begun("hang")
    gateway = await house.open()
    results: list[RunResult] = []

    async def say() -> None:
        results.append(await house.say(gateway, "hi"))

    with anyio.fail_after(PATIENCE_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say)
            while "Once" not in house.shown:
                await anyio.sleep(0.005)
            assert gateway.abort()
        await stage.asked[0].left.wait()
    assert results[0].aborted
    assert results[0].text == "Once"
    healths = (await house.health(gateway)).values()
    assert not any(health.failures for health in healths)
    assert len(stage.asked) == 1


@each_wire
async def test_half_a_call_never_runs(house: House, wire: Wire) -> None:
    stage = await house.stage(wire)
    stage.script = [wire.half_call]
    result = await house.say(await house.open(), "look")
    assert (result.text, house.ran) == ("fine", [])
    assert house.shown == "fine"
    assert len(stage.asked) == 2


@each_wire
@pytest.mark.parametrize("end", ["cut", "reset"])
async def test_nobody_else_answers_after_a_part_of_an_answer(
    house: House, wire: Wire, end: str
) -> None:
    stage = await house.stage(wire)
    other = WIRES[0] if wire.provider != "anthropic" else WIRES[-1]
    rescue = await house.stage(other)
    stage.default = wire.begun(end)
    result = await house.say(await house.open(), "hi")
    assert result.error is not None
    assert house.shown == "Once"
    assert result.text == "Once"
    assert (len(stage.asked), len(rescue.asked)) == (1, 0)


# --- Restarts -------------------------------------------------------------------------


async def test_the_state_of_keys_outlives_the_process(house: House) -> None:
    stage = await house.stage(WIRES[0])
    stage.script = [stage.wire.refusal(*stage.wire.limited)]
    config = {**house.config(), "plugins": {"allow": ["failover", "anthropic"]}}
    (house.home / "config.yaml").write_text(yaml.safe_dump(config))
    for session in ("one", "two"):
        code, out = await anyio.to_thread.run_sync(
            partial(rustyclaw, house.home, "agent", "-m", "hi", "--session", session)
        )
        assert code == 0, out
        assert "fine" in out
        assert not [key for key in KEYS if key in out]
    assert stage.keys == [KEYS[0], KEYS[1], KEYS[1]]


def rustyclaw(home: Path, *arguments: str) -> tuple[int, str]:
    """Run a command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "rustyclaw", *arguments],
        env={**os.environ, "RUSTYCLAW_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr
