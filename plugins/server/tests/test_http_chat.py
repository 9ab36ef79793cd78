"""``/v1/chat/completions`` and ``/v1/responses``: what is served, and what is not."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import pytest
from rustyclaw import Audio, File, Finished, TextDelta, ToolResult, Usage, tool
from rustyclaw.testing import call, hang
from rustyclaw_server.http.streams import EventStream

from .conftest import Running, serving
from .web import Web, dial, events, head

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
RESPONSE = {"model": "openclaw", "input": "x"}
HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "weather"}}
CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ],
}


@tool(effects={"read"})
async def look() -> str:
    """Look around."""
    return "a table"


@pytest.fixture
def plugins() -> Mapping[str, object]:
    return {"tools.look": look}


@pytest.fixture
async def web(running: Running) -> AsyncIterator[Web]:
    async with Web(running.url, running.token) as web:
        yield web


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "openclaw", "messages": HI, **more}


@pytest.fixture(scope="module")
async def shared(
    tmp_path_factory: pytest.TempPathFactory, anyio_backend: Any
) -> AsyncIterator[Running]:
    """Yield a server for all tests that leave nothing behind."""
    agents = {"list": [{"id": "main"}, {"id": "work"}]}
    home = tmp_path_factory.mktemp("shared")
    async with serving(home, config={"agents": agents}) as running:
        yield running


@pytest.fixture
async def plain(shared: Running) -> AsyncIterator[Web]:
    """Yield a client of the shared server; no model may be asked there."""
    async with Web(shared.url, shared.token) as web:
        yield web
    assert shared.provider.requests == []


# --- What is refused ----------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no messages": ({"messages": []}, 400, "Missing user message in `messages`."),
    "no model": ({"model": None}, 400, "model: "),
    "system alone": (
        {"messages": [{"role": "system", "content": "x"}]},
        400,
        "Missing user message",
    ),
    "assistant last": (
        {"messages": [*HI, {"role": "assistant", "content": "x"}]},
        400,
        "the last message must be",
    ),
    "odd role": ({"messages": [{"role": "king", "content": "x"}]}, 400, "messages.0"),
    "two answers": ({"n": 2}, 400, "'n' is not offered"),
    "json form": (
        {"response_format": {"type": "json_object"}},
        400,
        "answers are text",
    ),
    "old functions": ({"functions": [{"name": "f"}]}, 400, "use `tools`"),
    "logprobs": ({"logprobs": True}, 400, "log probabilities"),
    "sound": ({"modalities": ["text", "audio"]}, 400, "answers are text"),
    "odd tool name": (
        {"tools": [{"type": "function", "function": {"name": "a b"}}]},
        400,
        "tools.0.function.name",
    ),
    "a tool twice": ({"tools": [TOOL, TOOL]}, 400, "two tools have the name 'weather'"),
    "unknown choice": (
        {
            "tools": [TOOL],
            "tool_choice": {"type": "function", "function": {"name": "z"}},
        },
        400,
        "names 'z'",
    ),
    "required, none": ({"tool_choice": "required"}, 400, "there are no tools"),
    "picture elsewhere": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image_url",
                            "image_url": {"url": "http://169.254.169.254/"},
                        }
                    ],
                }
            ]
        },
        400,
        "no URL is fetched",
    ),
    "bad arguments": (
        {
            "messages": [
                *HI,
                {
                    "role": "assistant",
                    "tool_calls": [
                        {"id": "c", "function": {"name": "f", "arguments": "[1]"}}
                    ],
                },
                {"role": "tool", "tool_call_id": "c", "content": "x"},
            ]
        },
        400,
        "not a JSON object",
    ),
    "unknown model": ({"model": "gpt-9"}, 404, "does not exist"),
    "unknown agent": ({"model": "openclaw:nobody"}, 404, "there is no agent 'nobody'"),
    "odd agent": ({"model": "agent:éé"}, 404, "there is no agent"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_done_is_refused(
    name: str, stream: bool, plain: Web
) -> None:
    changes, status, words = REFUSED[name]
    answer = await plain.ask(CHAT, {**chat(), **changes, "stream": stream})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert words in error["message"]
    assert error["type"] == ("not_found" if status == 404 else "invalid_request_error")


RESPONSES_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"bogus": 1}, "bogus"),
    "no input": ({"input": []}, "must end with a user's message"),
    "odd item": ({"input": [{"type": "item_reference", "id": "x"}]}, "input.0"),
    "number": ({"input": 7}, "input"),
    "search": ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
    "background": ({"background": True}, "'background' is not offered"),
    "form": ({"text": {"format": {"type": "json_schema"}}}, "answers are text"),
    "conversation": ({"conversation": "c_1"}, "'conversation' is not offered"),
}


@pytest.mark.parametrize("name", RESPONSES_REFUSED)
async def test_what_a_response_cannot_be_is_refused(name: str, plain: Web) -> None:
    changes, words = RESPONSES_REFUSED[name]
    body = {"model": "openclaw", "input": "hi", **changes}
    answer = await plain.ask(RESPONSES, body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


async def test_a_mistake_does_not_repeat_what_was_sent(plain: Web) -> None:
    body = chat(messages=[{"role": "user", "content": {"password": "hunter2"}}])
    answer = await plain.ask(CHAT, body)
    assert answer.status_code == 400
    assert "hunter2" not in answer.text


async def test_a_gateway_that_stops_takes_no_more(running: Running, web: Web) -> None:
    await running.gateway.stop("test")
    for path, body in ((CHAT, chat()), (RESPONSES, RESPONSE)):
        for stream in (False, True):
            answer = await web.ask(path, {**body, "stream": stream})
            assert answer.status_code == 503
            assert answer.headers["retry-after"]


@pytest.fixture(scope="module")
async def chosen(
    tmp_path_factory: pytest.TempPathFactory, anyio_backend: Any
) -> AsyncIterator[Running]:
    """Yield a server whose sessions pile up."""
    agents = {"list": [{"id": "main"}, {"id": "work"}]}
    home = tmp_path_factory.mktemp("chosen")
    async with serving(home, config={"agents": agents}) as running:
        yield running


# --- Sessions and agents ------------------------------------------------------------


@pytest.fixture
def config() -> Mapping[str, Any]:
    return {"agents": {"list": [{"id": "main"}, {"id": "work"}]}}


@pytest.mark.parametrize(
    ("model", "headers", "key"),
    [
        ("rustyclaw", {}, "agent:main:openai:"),
        ("openclaw:work", {}, "agent:work:openai:"),
        ("openclaw/work", {}, "agent:work:openai:"),
        ("agent:WORK", {}, "agent:work:openai:"),
        ("openclaw", {"x-openclaw-agent-id": "work"}, "agent:work:openai:"),
        ("fake/fake", {"x-openclaw-agent-id": "work"}, "agent:work:openai:"),
        ("openclaw", {"x-openclaw-session-key": "desk"}, "agent:main:desk"),
        ("openclaw:work", {"x-openclaw-session-key": "desk"}, "agent:work:desk"),
        ("fake", {"x-openclaw-session-key": "Hall"}, "agent:main:hall"),
        ("openclaw", {"x-openclaw-session-key": "agent:work:x"}, "agent:work:x"),
    ],
)
async def test_model_and_headers_choose_agent_and_session(
    model: str, headers: dict[str, str], key: str, chosen: Running
) -> None:
    before = {info.key for info in await chosen.gateway.state.sessions.list()}
    async with Web(chosen.url, chosen.token) as web:
        answer = await web.post(CHAT, json=chat(model=model), headers=headers)
    assert answer.status_code == 200, answer.text
    after = {info.key for info in await chosen.gateway.state.sessions.list()}
    (new,) = after - before
    assert new.startswith(key)


@pytest.mark.parametrize(
    ("model", "headers", "words"),
    [
        ("openclaw", {"x-openclaw-agent-id": "nobody"}, "there is no agent 'nobody'"),
        ("openclaw:main", {"x-openclaw-agent-id": "work"}, "different agents"),
        (
            "openclaw:main",
            {"x-openclaw-session-key": "agent:work:x"},
            "is not of agent",
        ),
        ("openclaw", {"x-openclaw-session-key": "agent:nobody:x"}, "no agent 'nobody'"),
        ("openclaw", {"x-openclaw-session-key": "../../etc"}, "is not a session key"),
        ("openclaw", {"x-openclaw-session-key": "a b"}, "printable"),
        ("openclaw", {"x-openclaw-session-key": "x" * 600}, "printable"),
        ("openclaw", {"x-openclaw-session-key": "agent:main"}, "is not a session key"),
    ],
)
async def test_wrong_headers_are_refused(
    model: str, headers: dict[str, str], words: str, plain: Web
) -> None:
    answer = await plain.post(CHAT, json=chat(model=model), headers=headers)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


async def test_a_user_has_a_session_that_goes_on(running: Running, web: Web) -> None:
    for user, text in (("Ann", "one"), ("ann", "hers"), ("Ann", "two")):
        body = chat(user=user, messages=[{"role": "user", "content": text}])
        assert (await web.ask(CHAT, body)).status_code == 200
    said = [[m.text for m in r.messages] for r in running.provider.requests]
    assert said == [["one"], ["hers"], ["one", "one", "two"]]
    keys = {info.key for info in await running.gateway.state.sessions.list()}
    assert "agent:main:openai-user:ann" in keys
    assert len(keys) == 2


@pytest.mark.parametrize("script", [[call("weather"), "noted"]])
async def test_results_before_a_message_find_their_session(
    running: Running, web: Web
) -> None:
    first = await web.ask(CHAT, chat(user="ann", tools=[TOOL]))
    said = first.json()["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"]}
    messages = [*HI, said, {**result, "content": "sun"}]
    messages.append({"role": "user", "content": "and now?"})
    second = await web.ask(CHAT, chat(user="ann", tools=[TOOL], messages=messages))

    assert second.json()["choices"][0]["message"]["content"] == "noted"
    *_, results, last = running.provider.requests[-1].messages
    (block,) = results.content
    assert isinstance(block, ToolResult)
    assert (block.text, block.is_error) == ("sun", False)
    assert last.text == "and now?"


RESULT = {"role": "tool", "tool_call_id": "c9", "content": "x"}
OUTPUT = {"type": "function_call_output", "call_id": "c9", "output": "x"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, chat(messages=[RESULT])),
        (CHAT, chat(messages=[*HI, CALLED, RESULT])),
        (RESPONSES, {"model": "openclaw", "input": [OUTPUT]}),
    ],
)
async def test_results_that_nobody_waits_for_are_refused(
    path: str, body: dict[str, Any], running: Running, web: Web
) -> None:
    answer = await web.ask(path, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "role_ordering"
    assert running.provider.requests == []


# --- What is said -------------------------------------------------------------------


@pytest.mark.parametrize("script", [[["I look. ", *call("look")], "I saw it."]])
async def test_tools_of_the_gateway_run_unseen(running: Running, web: Web) -> None:
    answer = await web.ask(CHAT, chat())
    choice = answer.json()["choices"][0]
    assert choice["message"]["content"] == "I look. \n\nI saw it."
    assert choice["finish_reason"] == "stop"
    assert len(running.provider.requests) == 2


@pytest.mark.parametrize("script", [[["I look. ", *call("look")], "I saw it."] * 2])
async def test_what_is_said_around_a_tool_is_the_same_in_a_stream(web: Web) -> None:
    told = events((await web.ask(CHAT, chat(stream=True))).text)
    assert told[-1] == ("", "[DONE]")
    said = [chunk["choices"][0]["delta"].get("content", "") for _, chunk in told[:-1]]
    assert "".join(said) == "I look. \n\nI saw it."
    body = {"model": "openclaw", "input": "hi", "stream": True}
    last = events((await web.ask(RESPONSES, body)).text)[-2][1]["response"]
    texts = [item["content"][0]["text"] for item in last["output"]]
    assert texts == ["I look. ", "I saw it."]


def cut(reason: Any) -> list[Any]:
    usage = Usage(input_tokens=5, output_tokens=2, cache_read_tokens=3)
    return [TextDelta(text="so far"), Finished(stop_reason=reason, usage=usage)]


@pytest.mark.parametrize(
    ("script", "reason", "why"),
    [
        ([cut("length")] * 2, "length", "max_output_tokens"),
        ([cut("refusal")] * 2, "content_filter", "content_filter"),
    ],
)
async def test_an_answer_may_not_be_whole(reason: str, why: str, web: Web) -> None:
    answer = (await web.ask(CHAT, chat())).json()
    assert answer["choices"][0]["finish_reason"] == reason
    assert answer["usage"] == {
        "prompt_tokens": 8,
        "completion_tokens": 2,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 3},
    }
    answer = (await web.ask(RESPONSES, RESPONSE)).json()
    assert answer["status"] == "incomplete"
    assert answer["incomplete_details"] == {"reason": why}
    assert answer["output"][0]["status"] == "incomplete"
    assert answer["usage"]["input_tokens_details"] == {"cached_tokens": 3}


@pytest.mark.parametrize("script", [["sure"] * 3])
async def test_a_choice_of_tools_reaches_the_model(running: Running, web: Web) -> None:
    other = {"type": "function", "function": {"name": "other"}}
    for choice in (
        "none",
        "required",
        {"type": "function", "function": {"name": "other"}},
    ):
        body = chat(tools=[TOOL, other], tool_choice=choice)
        assert (await web.ask(CHAT, body)).status_code == 200
    offered = [
        ({tool.name for tool in r.tools} - {"look"}, "Answer this with" in r.system)
        for r in running.provider.requests
    ]
    assert offered == [(set(), False), ({"weather", "other"}, True), ({"other"}, True)]


async def test_files_and_recordings_are_handed_on(running: Running, web: Web) -> None:
    data = base64.b64encode(b"%PDF").decode()
    parts = [
        {"type": "file", "file": {"file_data": data, "filename": "a.pdf"}},
        {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
    ]
    await web.ask(CHAT, chat(messages=[{"role": "user", "content": parts}]))
    part = {"type": "input_file", "filename": "b.txt"}
    part["file_data"] = f"data:text/plain;base64,{data}"
    item = {"type": "message", "role": "user", "content": [part]}
    await web.ask(RESPONSES, {"model": "openclaw", "input": [item]})

    seen = [request.messages[-1].content for request in running.provider.requests]
    assert seen == [
        (
            File(data=b"%PDF", media_type="application/pdf", name="a.pdf"),
            Audio(data=b"%PDF", media_type="audio/wav"),
        ),
        (File(data=b"%PDF", media_type="text/plain", name="b.txt"),),
    ]


async def test_lone_surrogates_do_no_harm(web: Web) -> None:
    raw = b'{"model":"openclaw","messages":[{"role":"user","content":"a\\ud83d"}]}'
    answer = await web.post(CHAT, content=raw)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "a\ufffd"


# --- Clients that leave, runs that are silent ---------------------------------------


async def idle(running: Running) -> None:
    """Wait until no run goes on."""
    with anyio.fail_after(5):
        while running.gateway.active_runs():
            await anyio.sleep(0.01)


@pytest.mark.parametrize("script", [[hang(after=1)] * 2])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_the_run(
    stream: bool, path: str, running: Running
) -> None:
    asked = chat() if path == CHAT else RESPONSE
    body = json.dumps({**asked, "stream": stream}).encode()
    lines = {"content-length": str(len(body))}
    async with dial(running.url) as stream_:
        await stream_.send(head("POST", path, lines, running.token) + body)
        with anyio.fail_after(5):
            while not running.gateway.active_runs():
                await anyio.sleep(0.01)
            if stream:
                assert b"200 OK" in await stream_.receive()
    await idle(running)
    (info,) = await running.gateway.state.sessions.list()
    transcript = await running.gateway.state.sessions.transcript(info)
    last = transcript.entries[-1].message
    assert last is not None
    assert last.text.endswith("[stopped]")


@pytest.mark.parametrize("script", [[hang()]])
async def test_a_silent_run_keeps_its_stream_open(
    running: Running, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EventStream, "first_ping_seconds", 0.02)
    monkeypatch.setattr(EventStream, "ping_seconds", 0.02)
    async with web.stream("POST", CHAT, json=chat(stream=True)) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        lines = answer.aiter_lines()
        with anyio.fail_after(5):
            assert [await anext(lines) for _ in range(4)] == [": working", ""] * 2
            while not running.gateway.active_runs():
                await anyio.sleep(0.01)
        running.gateway.abort(running.gateway.active_runs()[0].session_key)
        rest = [line async for line in lines if line.startswith("data")]
    assert "the run was aborted" in rest[-2]
    assert rest[-1] == "data: [DONE]"


async def test_clients_of_the_socket_hear_of_it(running: Running, web: Web) -> None:
    """A run of HTTP is a run like all others: clients of the socket hear of it."""
    client = await running.client()
    await web.ask(CHAT, chat())
    final = await client.event("chat", state="final")
    assert final["sessionKey"].startswith("agent:main:openai:")
    assert final["runId"].startswith("chatcmpl_")
