"""Bodies and requests that nobody wrote: no error of ours, whatever comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from itertools import pairwise
from typing import Any

import anyio.to_thread
import pytest
from hypothesis import given, settings as limited, strategies as st
from pydantic import ValidationError
from rustyclaw import Message, tool
from rustyclaw_server.http.answers import Refused
from rustyclaw_server.http.body import mistaken
from rustyclaw_server.http.hooks import _value
from rustyclaw_server.http.openai import chat_params, response_params
from rustyclaw_server.http.untrusted import Marks

from .conftest import TOKEN, Running, serving
from .web import Web

HOOK = TOKEN[::-1]
EXAMPLES = 6


@tool
async def file_list(path: str) -> str:
    """List files, as the example in the description asks."""
    return f"nothing in {path}"


words = st.text(max_size=20)
odd: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3)
    ),
    max_leaves=8,
)
urls = st.sampled_from(["data:image/png;base64,QUJD", "data:,x", "http://x", "data:x"])
parts = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": words})
    | st.fixed_dictionaries(
        {
            "type": st.just("image_url"),
            "image_url": st.fixed_dictionaries({"url": urls}),
        }
    )
    | odd,
    max_size=3,
)
calls = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from(["c1", "c2", ""]),
            "function": st.fixed_dictionaries(
                {"name": st.sampled_from(["f", "g h"]), "arguments": words}
            ),
        }
    )
    | odd,
    max_size=2,
)
turns = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "king"])},
    optional={
        "content": words | parts | odd,
        "tool_calls": calls,
        "tool_call_id": st.sampled_from(["c1", "c3"]),
    },
)
chats = st.fixed_dictionaries(
    {"model": st.just("openclaw"), "messages": st.lists(turns | odd, max_size=5)},
    optional={"n": odd, "tools": odd, "tool_choice": odd, "temperature": odd},
)
items = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(
            ["message", "function_call", "function_call_output", "reasoning", "odd"]
        ),
        "role": st.sampled_from(["user", "assistant", "system", "king"]),
        "content": words | parts | odd,
        "call_id": st.sampled_from(["c1", "c2"]),
        "name": st.sampled_from(["f", "g h"]),
        "arguments": words,
        "output": words | odd,
    },
)
responses = st.fixed_dictionaries(
    {"model": st.just("openclaw"), "input": words | st.lists(items | odd, max_size=5)},
    optional={"tools": odd, "tool_choice": odd, "text": odd, "reasoning": odd},
)


def understood(module: Any, model: Any, body: Any) -> Any:
    """Return what an agent would be asked, or the refusal."""
    try:
        return module.asked(model.model_validate(body))
    except ValidationError as exc:
        refused = mistaken(exc, body)
        assert refused.message
        return refused
    except Refused as refused:
        return refused


@given(chats)
def test_any_chat_is_asked_or_refused(body: Any) -> None:
    found = understood(chat_params, chat_params.ChatParams, body)
    if isinstance(found, Refused):
        assert found.status == 400
    else:
        check(found)


@given(responses)
def test_any_response_is_asked_or_refused(body: Any) -> None:
    found = understood(response_params, response_params.ResponseParams, body)
    if isinstance(found, Refused):
        assert found.status == 400
    else:
        check(found)


def check(asked: chat_params.Asked) -> None:
    assert asked.message.role in ("user", "tool")
    for one in (*asked.given, asked.message):
        assert isinstance(one, Message)
        one.text.encode()
    roles = [one.role for one in (*asked.given, asked.message)]
    assert ("tool", "tool") not in pairwise(roles)


@given(odd, st.text(max_size=30))
def test_any_field_of_any_body_is_text(body: Any, dotted: str) -> None:
    facts = body if isinstance(body, dict) else {"body": body}
    assert isinstance(_value(facts, dotted), str)


@given(st.text())
def test_marks_end_where_they_should(text: str) -> None:
    marks = Marks()
    around = marks.around(text)
    begin, end = around.split("\n", 1)[0], around.rsplit("\n", 1)[1]
    assert around.count(begin) == around.count(end) == 1


# --- A real server ------------------------------------------------------------------


@pytest.fixture(scope="module")
async def shared(
    tmp_path_factory: pytest.TempPathFactory, anyio_backend: Any
) -> AsyncIterator[Running]:
    home = tmp_path_factory.mktemp("shared")
    hooks = {"enabled": True, "token": HOOK, "per_minute": 100_000}
    plugins = {"tools.file_list": file_list}
    settings = {"hooks": hooks}
    async with serving(home, plugins=plugins, settings=settings) as running:
        yield running


async def test_schemathesis_finds_no_error_of_ours(shared: Running) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    async with Web(shared.url, shared.token) as web:
        document = (await web.get("/openapi.json")).json()
    schema = schemathesis.openapi.from_dict(document)
    found = [one.ok() for one in schema.get_all_operations()]
    assert len(found) == sum(map(len, document["paths"].values()))
    seen: Counter[int] = Counter()
    for operation in found:
        home = operation.path == "/rpc"
        hook = operation.path.startswith("/hooks/")
        secret = shared.server.control_secret if home else shared.token
        check = partial(answers, operation, shared.url, HOOK if hook else secret, seen)
        await anyio.to_thread.run_sync(check)
    assert seen[200] >= 9, "the examples in the description work"
    assert seen[400] > 9


def answers(operation: Any, url: str, secret: str, seen: Counter[int]) -> None:
    """Check the answers to an operation's example, and to what its schema allows."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks as openapi

    checks = [
        not_a_server_error,
        openapi.status_code_conformance,
        openapi.content_type_conformance,
        openapi.response_schema_conformance,
    ]
    headers = {"authorization": f"Bearer {secret}"}

    def ask(case: Any) -> None:
        answer = case.call(base_url=url, headers=headers, timeout=10)
        case.validate_response(answer, checks=checks)
        seen[answer.status_code] += 1

    def ask_or_fail(case: Any) -> None:
        try:
            ask(case)
        except BaseExceptionGroup as group:  # schemathesis collects what is wrong
            raise AssertionError("\n".join(map(str, group.exceptions))) from None

    ask_or_fail(operation.Case(**example_of(operation)))

    @limited(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None)
    @given(operation.as_strategy())
    def ask_all(case: Any) -> None:
        ask_or_fail(case)

    ask_all()


def example_of(operation: Any) -> dict[str, Any]:
    """Return the example in the description, as a case of schemathesis has it."""
    values: dict[str, Any] = {}
    raw = operation.definition.raw
    if any(one["in"] == "path" for one in raw["parameters"]):
        values["path_parameters"] = {"model": "openclaw"}
    if body := raw.get("requestBody"):
        values["media_type"] = "application/json"
        values["body"] = body["content"]["application/json"]["example"]
    return values
