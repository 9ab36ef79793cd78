"""``POST /tools/invoke``: the same policy, guards, approvals and limits as in a run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

import anyio
import pytest
from rustyclaw import (
    Ask,
    HookContext,
    Image,
    Tool,
    ToolCall,
    ToolContext,
    ToolError,
    ToolResult,
    Veto,
    hookimpl,
    tool,
)

from .conftest import TOKEN, Running, serving
from .web import Web, dial, head

INVOKE = "/tools/invoke"


@tool
async def roll(sides: int = 6, action: Literal["roll", "look"] = "roll") -> ToolResult:
    """Roll a die."""
    if sides == 0:
        raise ToolError("a die has sides")
    if sides == 1:
        raise ZeroDivisionError("internal")
    picture = Image(data=b"dots", media_type="image/png")
    details = {"sides": sides, "action": action, "set": {1}, "key": TOKEN}
    return ToolResult(text=f"rolled {sides} {TOKEN}", media=(picture,), details=details)


class Careful(Tool):
    """Ask first."""

    name = "careful"
    effects = frozenset({"write"})

    async def check(self, params: Any, context: ToolContext) -> None:
        raise Ask("sure?")

    async def run(self, params: Any, context: ToolContext) -> ToolResult:
        return ToolResult(text=f"done in {context.session_key}")


class Slow(Tool):
    """Take very long."""

    name = "slow"
    timeout_seconds = 60
    ended: list[str] = []

    async def run(self, params: Any, context: ToolContext) -> ToolResult:
        try:
            self.ended.append("started")
            await anyio.sleep_forever()
        finally:
            self.ended.append("cancelled")
        raise AssertionError


class Guard:
    @hookimpl
    async def before_tool_call(self, context: HookContext, call: ToolCall) -> ToolCall:
        if call.arguments.get("sides") == 13:
            raise Veto("unlucky")
        return call


PLUGINS: dict[str, object] = {
    "tools.roll": roll,
    "tools.careful": Careful,
    "tools.slow": Slow,
    "hooks.guard": Guard,
}


@pytest.fixture
def plugins() -> Mapping[str, object]:
    return PLUGINS


@pytest.fixture(scope="module")
async def shared(
    tmp_path_factory: pytest.TempPathFactory, anyio_backend: Any
) -> AsyncIterator[Running]:
    """Yield a server for all tests that leave nothing behind."""
    async with serving(tmp_path_factory.mktemp("shared"), plugins=PLUGINS) as running:
        yield running


@pytest.fixture
async def web(running: Running) -> AsyncIterator[Web]:
    async with Web(running.url, running.token) as web:
        yield web


async def test_a_tool_runs_and_tells_no_secret(web: Web) -> None:
    answer = await web.ask(INVOKE, {"tool": "roll", "args": {"sides": 7}})
    assert answer.status_code == 200
    result = answer.json()["result"]
    text, picture = result["content"]
    assert text["type"] == "text"
    assert text["text"].startswith("rolled 7 ")
    assert picture == {"type": "image", "data": "ZG90cw==", "mimeType": "image/png"}
    assert result["details"]["sides"] == 7
    assert TOKEN not in answer.text


async def test_an_action_is_an_argument(web: Web) -> None:
    for body, action in (
        ({"action": "look"}, "look"),
        ({"action": "look", "args": {"action": "roll"}}, "roll"),
        ({}, "roll"),
    ):
        answer = await web.ask(INVOKE, {"tool": "roll", **body})
        assert answer.json()["result"]["details"]["action"] == action
    slow = await web.ask(INVOKE, {"tool": "careful", "action": "it has none"})
    assert slow.status_code == 403, "the action is left out, and the operator asked"


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        ({"tool": "nope"}, 404, "not_found", "Tool not available: nope"),
        ({"tool": "sessions_spawn"}, 404, "not_found", "Tool not available"),
        ({"tool": "roll", "args": {"sides": "x"}}, 400, "tool_error", "sides"),
        ({"tool": "roll", "args": {"bogus": 1}}, 400, "tool_error", "bogus"),
        ({"tool": "roll", "args": {"sides": 0}}, 500, "tool_error", "a die has sides"),
        ({"tool": "roll", "args": {"sides": 1}}, 500, "tool_error", "ZeroDivision"),
        ({"tool": "roll", "args": {"sides": 13}}, 403, "tool_error", "unlucky"),
        ({"tool": "careful"}, 403, "tool_error", "approval"),
        ({"tool": "roll", "args": []}, 400, "invalid_request_error", "args"),
        ({"args": {}}, 400, "invalid_request_error", "tool"),
        ({"tool": "roll", "sessionKey": "../x"}, 400, "invalid_request_error", "key"),
        ({"tool": "roll", "sessionKey": "agent:nobody:x"}, 400, None, "nobody"),
        (
            {"tool": "careful", "sessionKey": "fake:group:1"},
            404,
            "not_found",
            "careful",
        ),
    ],
)
async def test_what_does_not_run(
    body: dict[str, Any], status: int, kind: str | None, words: str, shared: Running
) -> None:
    async with Web(shared.url, shared.token) as web:
        answer = await web.ask(INVOKE, body)
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert said["ok"] is False
    assert said["error"]["type"] == (kind or "invalid_request_error")
    assert words in said["error"]["message"]


@pytest.mark.parametrize("settings", [{"http": {"tools_deny": ["r*"]}}])
async def test_tools_may_be_kept_from_http(web: Web) -> None:
    assert (await web.ask(INVOKE, {"tool": "roll"})).status_code == 404


async def test_an_operator_may_allow_it(running: Running, web: Web) -> None:
    asked: list[str] = []

    async def yes(approval: Any) -> Any:
        asked.append(approval.reason)
        return "allow-once"

    running.gateway.approvals.attach(yes)
    body = {"tool": "careful", "sessionKey": "desk"}
    answer = await web.ask(INVOKE, body)
    text = answer.json()["result"]["content"][0]["text"]
    assert text == "done in agent:main:desk"
    assert asked == ["sure?"]


async def test_a_client_that_leaves_ends_the_tool(running: Running) -> None:
    Slow.ended.clear()
    body = b'{"tool": "slow"}'
    lines = {"content-length": str(len(body))}
    with anyio.fail_after(5):
        async with dial(running.url) as stream:
            await stream.send(head("POST", INVOKE, lines, running.token) + body)
            while Slow.ended != ["started"]:
                await anyio.sleep(0.01)
        while Slow.ended != ["started", "cancelled"]:
            await anyio.sleep(0.01)


async def test_a_gateway_that_stops_runs_no_tool(running: Running, web: Web) -> None:
    await running.gateway.stop("test")
    assert (await web.ask(INVOKE, {"tool": "roll"})).status_code == 503
