"""The published Python SDK of OpenAI against a real server."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from rustyclaw import Image, ModelRequest, ToolResult
from rustyclaw.testing import call, fault

from .conftest import Running

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
FLAT: Any = {"type": "function", **WEATHER["function"]}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)


def forecast(request: ModelRequest) -> Any:
    """Call the caller's tool, then tell what it has answered."""
    last = request.messages[-1]
    results = [block for block in last.content if isinstance(block, ToolResult)]
    if results:
        return " and ".join(f"{r.name} says {r.text}" for r in results)
    assert "weather" in {tool.name for tool in request.tools}
    return ["Let me see. ", *call("weather", city="Bern"), *call("weather", city="Rom")]


@pytest.fixture
async def sdk(running: Running) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=f"{running.url}/v1", api_key=running.token, max_retries=0, timeout=10
    ) as sdk:
        yield sdk


# --- Chat completions ---------------------------------------------------------------


async def test_chat(running: Running, sdk: AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.create(
        model="rustyclaw",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "first"},
            {"role": "user", "content": "two"},
        ],
        max_tokens=77,
        temperature=0.25,
        reasoning_effort="high",
    )

    (request,) = running.provider.requests
    assert [(m.role, m.text) for m in request.messages] == [
        ("user", "one"),
        ("assistant", "first"),
        ("user", "two"),
    ]
    assert request.system.endswith("Be brief.\n\nBe kind.")
    assert request.max_tokens == 77
    assert request.temperature == 0.25
    assert request.thinking == "high"
    (choice,) = answer.choices
    assert choice.message.content == "two"
    assert choice.finish_reason == "stop"
    assert answer.model == "rustyclaw"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens == 1
    total = answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.total_tokens == total


async def test_chat_streams(running: Running, sdk: AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(
        model="openclaw:main",
        messages=[{"role": "user", "content": "hello streaming world"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]

    *told, last = chunks
    assert [c.choices[0].delta.role for c in told[:2]] == ["assistant", None]
    said = [c.choices[0].delta.content or "" for c in told]
    assert len([piece for piece in said if piece]) > 3
    assert "".join(said) == "hello streaming world"
    assert [c.choices[0].finish_reason for c in told] == [None] * (len(told) - 1) + [
        "stop"
    ]
    assert all(chunk.usage is None for chunk in told)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens > 0
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize("script", [[forecast, forecast]])
async def test_tools_make_a_round_trip(running: Running, sdk: AsyncOpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "what weather?"}]
    first = await sdk.chat.completions.create(
        model="openclaw", messages=messages, tools=[WEATHER]
    )
    (choice,) = first.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see. "
    calls = choice.message.tool_calls or []
    assert [json.loads(c.function.arguments)["city"] for c in calls] == ["Bern", "Rom"]  # type: ignore[union-attr]  # functions alone

    messages.append(choice.message.to_dict())
    messages += [
        {"role": "tool", "tool_call_id": one.id, "content": f"sun {n}"}
        for n, one in enumerate(calls)
    ]
    second = await sdk.chat.completions.create(
        model="openclaw", messages=messages, tools=[WEATHER]
    )

    assert (
        second.choices[0].message.content == "weather says sun 0 and weather says sun 1"
    )
    assert second.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("script", [[forecast]])
async def test_tools_stream(running: Running, sdk: AsyncOpenAI) -> None:
    async with sdk.chat.completions.stream(
        model="openclaw",
        messages=[{"role": "user", "content": "what weather?"}],
        tools=[WEATHER],
    ) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_completion()

    (choice,) = final.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see. "
    assert [c.function.name for c in choice.message.tool_calls or []] == ["weather"] * 2
    cities = [json.loads(c.function.arguments) for c in choice.message.tool_calls or []]
    assert cities == [{"city": "Bern"}, {"city": "Rom"}]


async def test_a_picture_is_seen(running: Running, sdk: AsyncOpenAI) -> None:
    url = f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"
    await sdk.chat.completions.create(
        model="openclaw",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is this?"},
                    {"type": "image_url", "image_url": {"url": url}},
                ],
            }
        ],
    )
    content = running.provider.requests[0].messages[-1].content
    assert Image(data=PIXEL, media_type="image/png") in content


@pytest.mark.parametrize("script", [[fault(after=1, error=ValueError("boom"))] * 2])
async def test_errors_reach_the_caller(running: Running, sdk: AsyncOpenAI) -> None:
    ask: Any = {"model": "openclaw", "messages": [{"role": "user", "content": "x"}]}
    with pytest.raises(openai.InternalServerError) as caught:
        await sdk.chat.completions.create(**ask)
    assert caught.value.status_code == 500
    assert caught.value.response.headers["x-should-retry"] == "false"

    stream = await sdk.chat.completions.create(**ask, stream=True)
    with pytest.raises(openai.APIError, match="boom"):
        async for _ in stream:
            pass
    with pytest.raises(openai.NotFoundError) as missing:
        await sdk.chat.completions.create(**{**ask, "model": "gpt-9"})
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError):
        await sdk.with_options(api_key="wrong").chat.completions.create(**ask)


# --- Responses ----------------------------------------------------------------------


async def test_a_response(running: Running, sdk: AsyncOpenAI) -> None:
    answer = await sdk.responses.create(
        model="openclaw",
        instructions="Be brief.",
        input=[
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "first"},
            {"role": "user", "content": [{"type": "input_text", "text": "two"}]},
        ],
        max_output_tokens=99,
        metadata={"for": "test"},
    )

    (request,) = running.provider.requests
    assert [m.text for m in request.messages] == ["one", "first", "two"]
    assert request.system.endswith("Be brief.")
    assert request.max_tokens == 99
    assert answer.output_text == "two"
    assert answer.status == "completed"
    assert answer.metadata == {"for": "test"}
    assert answer.usage is not None
    assert answer.usage.output_tokens == 1
    assert answer.usage.input_tokens > 0


async def test_a_response_goes_on(running: Running, sdk: AsyncOpenAI) -> None:
    first = await sdk.responses.create(model="openclaw", input="one")
    second = await sdk.responses.create(
        model="openclaw", input="two", previous_response_id=first.id
    )
    texts = [m.text for m in running.provider.requests[-1].messages]
    assert texts == ["one", "one", "two"]
    assert second.previous_response_id == first.id

    with pytest.raises(openai.BadRequestError, match="not the last"):
        await sdk.responses.create(
            model="openclaw", input="again", previous_response_id=first.id
        )
    with pytest.raises(openai.BadRequestError, match="there is no response"):
        await sdk.responses.create(
            model="openclaw", input="again", previous_response_id="resp_0"
        )


async def test_a_response_that_is_not_stored_leaves_no_session(
    running: Running, sdk: AsyncOpenAI
) -> None:
    first = await sdk.responses.create(model="openclaw", input="one", store=False)
    assert await running.gateway.state.sessions.list() == ()
    with pytest.raises(openai.BadRequestError, match="there is no response"):
        await sdk.responses.create(
            model="openclaw", input="two", previous_response_id=first.id
        )
    kept = await sdk.responses.create(model="openclaw", input="one")
    assert kept.store is True  # type: ignore[attr-defined]  # the SDK keeps what it does not know
    assert len(await running.gateway.state.sessions.list()) == 1


async def test_a_response_streams(running: Running, sdk: AsyncOpenAI) -> None:
    stream = await sdk.responses.create(
        model="openclaw", input="hello streaming world", stream=True
    )
    events = [event async for event in stream]

    kinds = [event.type for event in events]
    deltas = kinds.count("response.output_text.delta")
    assert deltas > 3
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * deltas,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last: Any = events[-1]
    assert last.response.output_text == "hello streaming world"
    assert last.response.usage.output_tokens > 0


@pytest.mark.parametrize("script", [[forecast, forecast]])
async def test_response_tools_make_a_round_trip(
    running: Running, sdk: AsyncOpenAI
) -> None:
    said: list[Any] = [{"role": "user", "content": "what weather?"}]
    first = await sdk.responses.create(model="openclaw", input=said, tools=[FLAT])
    assert [item.type for item in first.output] == ["message", *["function_call"] * 2]
    said += [item.to_dict() for item in first.output]
    calls: list[Any] = [i for i in first.output if i.type == "function_call"]
    said += [
        {"type": "function_call_output", "call_id": c.call_id, "output": f"sun {n}"}
        for n, c in enumerate(calls)
    ]
    second = await sdk.responses.create(model="openclaw", input=said, tools=[FLAT])
    assert second.output_text == "weather says sun 0 and weather says sun 1"


@pytest.mark.parametrize("script", [[forecast, forecast]])
async def test_response_tools_stream_and_go_on(
    running: Running, sdk: AsyncOpenAI
) -> None:
    async with sdk.responses.stream(
        model="openclaw", input="what weather?", tools=[FLAT]
    ) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()

    assert kinds[-5:] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    calls: list[Any] = [item for item in final.output if item.type == "function_call"]
    assert [json.loads(c.arguments) for c in calls] == [
        {"city": "Bern"},
        {"city": "Rom"},
    ]
    results: Any = [
        {"type": "function_call_output", "call_id": c.call_id, "output": "rain"}
        for c in calls
    ]
    second = await sdk.responses.create(
        model="openclaw", input=results, previous_response_id=final.id, tools=[FLAT]
    )
    assert second.output_text.count("rain") == 2


@pytest.mark.parametrize("script", [[fault(after=2, error=ValueError("boom"))]])
async def test_a_response_fails_in_its_stream(
    running: Running, sdk: AsyncOpenAI
) -> None:
    stream = await sdk.responses.create(model="openclaw", input="x", stream=True)
    events: list[Any] = [event async for event in stream]
    assert events[-1].type == "response.failed"
    assert events[-1].response.status == "failed"
    assert "boom" in events[-1].response.error.message
    assert events[-1].response.output[0].status == "incomplete"
    assert [event.sequence_number for event in events] == list(range(len(events)))


# --- Models -------------------------------------------------------------------------


async def test_models_are_listed(running: Running, sdk: AsyncOpenAI) -> None:
    names = [model.id async for model in await sdk.models.list()]
    assert names == ["rustyclaw", "openclaw", "openclaw:main", "fake/fake"]
    for name in names:
        assert (await sdk.models.retrieve(name)).id == name
        answer = await sdk.chat.completions.create(
            model=name, messages=[{"role": "user", "content": name}]
        )
        assert answer.choices[0].message.content == name
    with pytest.raises(openai.NotFoundError):
        await sdk.models.retrieve("fake/other")
