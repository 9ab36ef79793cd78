"""All seventeen hooks fire from a running gateway: one test for each, by its name.

``tests/test_docs.py`` demands that ``test_hook_<name>`` exists for every hook.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import (
    CompactionRequest,
    HookContext,
    ModelRequest,
    Outbound,
    Prompt,
    Text,
    ToolCall,
    ToolResult,
    Veto,
    hookimpl,
    tool,
)
from rustyclaw.hookspecs import __dict__ as specs
from rustyclaw.testing import Bot, call


@tool
async def roll(sides: int = 6) -> str:
    """Roll a die."""
    return f"rolled {sides}"


class Watcher:
    """Implements every hook and remembers what it was told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def names(self) -> list[str]:
        return [name for name, _ in self.seen]

    def told(self, hook: str) -> dict[str, Any]:
        return next(facts for name, facts in self.seen if name == hook)


def _watching(name: str, spec: Any) -> Any:
    """Make an implementation with exactly the arguments of the spec."""
    arguments = spec.__code__.co_varnames[: spec.__code__.co_argcount]
    scope: dict[str, Any] = {}
    facts = ", ".join(f"{a!r}: {a}" for a in arguments)
    source = f"async def {name}(self, {', '.join(arguments)}):\n"
    source += f"    self.seen.append(({name!r}, {{{facts}}}))\n"
    exec(source, scope)
    return hookimpl(scope[name])


HOOKS = [n for n, spec in specs.items() if hasattr(spec, "__rustyclaw_kind__")]
for _name in HOOKS:
    setattr(Watcher, _name, _watching(_name, specs[_name]))


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
def script() -> list[Any]:
    return [[*call("roll", sides=20)], "twenty", "again", "and again", "a summary", "x"]


@pytest.fixture
def plugins(watcher: Watcher) -> dict[str, object]:
    return {"hooks.watcher": watcher, "tools.roll": roll}


async def test_a_turn_fires_its_hooks_in_the_order_of_the_specs(
    bot: Bot, watcher: Watcher
) -> None:
    assert await bot.say("roll a die") == "twenty"
    first = list(dict.fromkeys(watcher.names()))
    assert first == [
        "gateway_start",
        "session_start",
        "before_agent_start",
        "llm_input",
        "llm_output",
        "before_tool_call",
        "after_tool_call",
        "tool_result_persist",
        "agent_end",
    ]
    assert watcher.names().count("llm_input") == 2


async def test_all_hooks_fire(tmp_path: Path, watcher: Watcher) -> None:
    async with Bot(
        tmp_path,
        script=[
            [*call("roll")],
            "one",
            "two",
            RuntimeErrorOnce(),
            "a summary",
            "three",
            "four",
        ],
        plugins={"hooks.watcher": watcher, "tools.roll": roll},
        config={"session": {"compact_keep_recent": 1}},
    ) as bot:
        await bot.say("roll")
        await bot.say("and again")
        await bot.say("this is too long")
        await bot.channel.deliver("hello")
        await bot.reply()
        await bot.gateway.reset("main")
    assert set(watcher.names()) == set(HOOKS)


class RuntimeErrorOnce:
    """A script item: the provider says that the prompt is too long."""

    def __call__(self, request: ModelRequest) -> Exception:
        from rustyclaw import ProviderError

        return ProviderError("prompt is too long", kind="context_overflow")


async def test_hook_gateway_start(bot: Bot, watcher: Watcher) -> None:
    assert watcher.told("gateway_start")["gateway"] is bot.gateway


async def test_hook_gateway_stop(tmp_path: Path, watcher: Watcher) -> None:
    async with Bot(tmp_path, plugins={"hooks.watcher": watcher}) as bot:
        await bot.gateway.stop("because")
    assert watcher.told("gateway_stop")["reason"] == "because"


async def test_hook_message_received(bot: Bot, watcher: Watcher) -> None:
    await bot.channel.deliver("hello", sender="bob")
    await bot.reply()
    facts = watcher.told("message_received")
    assert facts["message"].text == "hello"
    assert facts["context"].channel == "fake"


async def test_hook_session_start(bot: Bot, watcher: Watcher) -> None:
    await bot.say("a")
    await bot.say("b")
    assert watcher.names().count("session_start") == 1
    assert watcher.told("session_start")["resumed"] is False


async def test_hook_session_start_tells_a_resumed_session(
    tmp_path: Path, watcher: Watcher
) -> None:
    async with Bot(tmp_path, script=["a"]) as bot:
        await bot.say("a")
    async with Bot(tmp_path, script=["b"], plugins={"hooks.w": watcher}) as bot:
        await bot.say("b")
    assert watcher.told("session_start")["resumed"] is True


async def test_hook_before_agent_start(tmp_path: Path) -> None:
    class Greeter:
        @hookimpl
        async def before_agent_start(self, prompt: Prompt) -> Prompt:
            more = (*prompt.message.content, Text(text="(be brief)"))
            return Prompt(
                system=f"{prompt.system}\nSpeak Latin.",
                message=replace(prompt.message, content=more),
            )

    async with Bot(tmp_path, script=["salve"], plugins={"hooks.g": Greeter()}) as bot:
        await bot.say("hello")
        request = bot.provider.requests[0]
        assert request.system.endswith("Speak Latin.")
        assert request.messages[-1].text == "hello\n(be brief)"
        stored = next((tmp_path / "agents/main/sessions").glob("*.jsonl")).read_text()
        assert "be brief" not in stored, "the transcript keeps the original"


async def test_hook_llm_input(tmp_path: Path) -> None:
    class Cooler:
        @hookimpl
        async def llm_input(self, request: ModelRequest) -> ModelRequest:
            return replace(request, temperature=0.1)

    async with Bot(tmp_path, script=["ok"], plugins={"hooks.c": Cooler()}) as bot:
        await bot.say("hello")
        assert bot.provider.requests[0].temperature == 0.1


async def test_hook_llm_output(bot: Bot, watcher: Watcher) -> None:
    await bot.say("roll")
    response = watcher.told("llm_output")["response"]
    assert response.message.tool_calls[0].name == "roll"
    assert response.usage.output_tokens > 0


async def test_hook_before_tool_call(tmp_path: Path) -> None:
    class Cheat:
        @hookimpl
        async def before_tool_call(self, call: ToolCall) -> ToolCall:
            return replace(call, arguments={"sides": 1})

    async with Bot(
        tmp_path,
        script=[[*call("roll", sides=20)], "done"],
        plugins={"hooks.cheat": Cheat(), "tools.roll": roll},
    ) as bot:
        await bot.say("roll")
        result = bot.provider.requests[1].messages[-1].content[0]
        assert isinstance(result, ToolResult)
        assert result.text == "rolled 1"


async def test_hook_before_tool_call_forbids(tmp_path: Path) -> None:
    class Strict:
        @hookimpl
        async def before_tool_call(self, call: ToolCall) -> None:
            raise Veto("no gambling")

    async with Bot(
        tmp_path,
        script=[[*call("roll")], "a pity"],
        plugins={"hooks.strict": Strict(), "tools.roll": roll},
    ) as bot:
        assert await bot.say("roll") == "a pity"
        result = bot.provider.requests[1].messages[-1].content[0]
        assert isinstance(result, ToolResult)
        assert result.is_error
        assert "no gambling" in result.text


async def test_hook_after_tool_call(bot: Bot, watcher: Watcher) -> None:
    await bot.say("roll")
    facts = watcher.told("after_tool_call")
    assert facts["call"].arguments == {"sides": 20}
    assert facts["result"].text == "rolled 20"
    assert facts["seconds"] >= 0


async def test_hook_tool_result_persist(tmp_path: Path) -> None:
    class Censor:
        @hookimpl
        async def tool_result_persist(self, result: ToolResult) -> ToolResult:
            return replace(result, text="[censored]")

    async with Bot(
        tmp_path,
        script=[[*call("roll")], "done"],
        plugins={"hooks.censor": Censor(), "tools.roll": roll},
    ) as bot:
        await bot.say("roll")
        stored = next((tmp_path / "agents/main/sessions").glob("*.jsonl")).read_text()
        assert "[censored]" in stored
        assert "rolled" not in stored


def _compacting(home: Path, hook: object) -> Bot:
    return Bot(
        home,
        script=["one", "two", RuntimeErrorOnce(), "a summary", "three"],
        plugins={"hooks.h": hook},
        config={"session": {"compact_keep_recent": 1}},
    )


async def test_hook_before_compaction(tmp_path: Path) -> None:
    class Keeper:
        @hookimpl
        async def before_compaction(
            self, request: CompactionRequest
        ) -> CompactionRequest:
            return replace(request, instructions="the secret number")

    async with _compacting(tmp_path, Keeper()) as bot:
        for text in ("first", "second", "third"):
            await bot.say(text)
        assert "the secret number" in bot.provider.requests[3].system


async def test_hook_after_compaction(tmp_path: Path, watcher: Watcher) -> None:
    async with _compacting(tmp_path, watcher) as bot:
        for text in ("first", "second", "third"):
            await bot.say(text)
        assert bot.last.text == "three"
        assert bot.last.compactions == 1
    result = watcher.told("after_compaction")["result"]
    assert result.summary == "a summary"
    assert result.entries >= 2


async def test_hook_agent_end(bot: Bot, watcher: Watcher) -> None:
    await bot.say("roll")
    assert watcher.told("agent_end")["result"] == bot.last


async def test_hook_message_sending(tmp_path: Path) -> None:
    class Signer:
        @hookimpl
        async def message_sending(self, message: Outbound) -> Outbound:
            return replace(message, text=f"{message.text} -- yours")

    async with Bot(tmp_path, script=["hi"], plugins={"hooks.s": Signer()}) as bot:
        await bot.channel.deliver("hello")
        assert await bot.reply() == "hi -- yours"


async def test_hook_message_sending_holds_back(
    tmp_path: Path, watcher: Watcher
) -> None:
    done = anyio.Event()

    class Quiet:
        @hookimpl
        async def message_sending(self, context: HookContext) -> None:
            raise Veto("quiet hours")

        @hookimpl(trylast=True)
        async def message_sent(self) -> None:
            done.set()

    plugins = {"hooks.q": Quiet(), "hooks.w": watcher}
    async with Bot(tmp_path, script=["hi"], plugins=plugins) as bot:
        await bot.channel.deliver("hello")
        await done.wait()
    assert watcher.told("message_sent")["error"] == "quiet hours"
    assert not bot.channel.posted


async def test_hook_message_sent(tmp_path: Path, watcher: Watcher) -> None:
    async with Bot(tmp_path, script=["hi"], plugins={"hooks.w": watcher}) as bot:
        await bot.channel.deliver("hello")
        await bot.reply()
    facts = watcher.told("message_sent")
    assert facts["error"] is None
    assert facts["sent"].message_id == bot.channel.posted[0].message_id


async def test_hook_before_reset(bot: Bot, watcher: Watcher) -> None:
    await bot.say("roll")
    await bot.gateway.reset("main")
    assert watcher.told("before_reset")["reason"] == "reset"


async def test_hook_session_end(bot: Bot, watcher: Watcher) -> None:
    await bot.say("roll")
    await bot.gateway.reset("main")
    assert watcher.told("session_end")["reason"] == "reset"
