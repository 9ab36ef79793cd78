"""The request of ``POST /v1/responses``, and what an agent is asked by it.

Field names and rules are those of OpenAI's public API reference; the object is closed,
as it is with OpenClaw (sheet section 14).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag
from rustyclaw import File, Image, Message, RunOptions, Text, ToolResult, ToolSchema

from rustyclaw_server.http.answers import Refused
from rustyclaw_server.http.openai.chat_params import Asked
from rustyclaw_server.http.openai.content import (
    CallId,
    Loose,
    Mode,
    Name,
    Words,
    call_of,
    document,
    offered,
    picture,
)
from rustyclaw_server.http.openai.talk import THINKING
from rustyclaw_server.wire.frames import clean


class InputText(Loose):
    """Words, of whichever side."""

    type: Literal["input_text", "output_text", "text"]
    text: Words


class InputRefusal(Loose):
    """Words of an assistant that refused."""

    type: Literal["refusal"]
    refusal: Words


class InputImage(Loose):
    """A picture as a ``data:`` URL."""

    type: Literal["input_image"]
    image_url: Words


class InputFile(Loose):
    """A file in base64 or as a ``data:`` URL."""

    type: Literal["input_file"]
    file_data: Words
    filename: Annotated[str, Field(max_length=1024)] | None = None


Part = Annotated[
    InputText | InputRefusal | InputImage | InputFile, Field(discriminator="type")
]
Content = Words | Annotated[list[Part], Field(max_length=256)]


class MessageItem(Loose):
    """A message."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content


class CallItem(Loose):
    """A call that the agent has made; ``arguments`` is the text of a JSON object."""

    type: Literal["function_call"]
    call_id: CallId
    name: Name
    arguments: Words


class OutputItem(Loose):
    """What a tool of the caller has answered."""

    type: Literal["function_call_output"]
    call_id: CallId
    output: Content


class ReasoningItem(Loose):
    """Thoughts of an earlier answer; nobody reads them again."""

    type: Literal["reasoning"]


def _kind(item: Any) -> str:
    kind = item.get("type") if isinstance(item, dict) else getattr(item, "type", "")
    return "message" if kind is None else str(kind)


Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[OutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")],
    Discriminator(_kind),
]


class FunctionTool(Loose):
    """A tool of the caller, which runs it."""

    type: Literal["function"]
    name: Name
    description: Words | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionChoice(Loose):
    """The one tool to call."""

    type: Literal["function"]
    name: Name


class Reasoning(Loose):
    """How much to think."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None


class Format(Loose):
    """The form of the answer; there is text alone."""

    type: str = "text"


class TextOptions(Loose):
    """Options of text."""

    format: Format | None = None


class ResponseParams(Loose):
    """A request; keys that nobody knows are refused."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(min_length=1, max_length=512)]
    input: Words | Annotated[list[Item], Field(max_length=10_000)]
    instructions: Words | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=128)] | None = None
    tool_choice: Mode | FunctionChoice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tool_calls: int | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_logprobs: int | None = None
    reasoning: Reasoning | None = None
    text: TextOptions | None = None
    user: Annotated[str, Field(max_length=512)] | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None
    previous_response_id: Annotated[str, Field(max_length=128)] | None = None
    store: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    include: list[str] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    background: bool | None = None
    conversation: Any = None
    prompt: Any = None


def asked(params: ResponseParams) -> Asked:
    """Return what an agent is asked.

    :raises Refused: 400; it cannot be done, or the items make no conversation.
    """
    _refuse_what_is_not_offered(params)
    *given, last = _conversation(params) or [Message.assistant("")]
    if last.role == "assistant":
        text = "the input must end with a user's message or a function_call_output"
        raise Refused(400, text, param="input")
    choice = params.tool_choice
    tools, line = offered(
        [_schema(tool) for tool in params.tools or ()],
        choice if isinstance(choice, str) else "auto",
        choice.name if isinstance(choice, FunctionChoice) else None,
    )
    said = [
        _words(item.content)
        for item in (params.input if isinstance(params.input, list) else ())
        if isinstance(item, MessageItem) and item.role in ("system", "developer")
    ]
    system = (clean(params.instructions or ""), *said, line)
    options = RunOptions(
        system="\n\n".join(filter(None, system)),
        thinking=THINKING.get((params.reasoning and params.reasoning.effort) or ""),
        max_tokens=params.max_output_tokens,
        temperature=params.temperature,
        tools=tools,
    )
    return Asked(message=last, given=tuple(given), options=options)


def _refuse_what_is_not_offered(params: ResponseParams) -> None:
    form = params.text and params.text.format
    wrong = {
        "background": params.background and "use hooks, or the socket",
        "conversation": params.conversation is not None and "use `user`",
        "prompt": params.prompt is not None and "agents have prompts of their own",
        "top_logprobs": params.top_logprobs and "an agent has no log probabilities",
        "text.format": form and form.type != "text" and "answers are text",
    }
    for param, problem in wrong.items():
        if problem:
            raise Refused(400, f"{param!r} is not offered: {problem}", param=param)


def _schema(tool: FunctionTool) -> ToolSchema:
    nothing: dict[str, Any] = {"type": "object", "properties": {}}
    return ToolSchema(
        name=tool.name,
        description=clean(tool.description or ""),
        parameters=tool.parameters or nothing,
    )


def _conversation(params: ResponseParams) -> list[Message]:
    """Return the messages; calls and results that follow each other are one."""
    if isinstance(params.input, str):
        return [Message.user(clean(params.input))]
    messages: list[Message] = []
    names: dict[str, str] = {}

    def add(role: Literal["assistant", "tool"], *blocks: Any) -> None:
        earlier: tuple[Any, ...] = ()
        if messages and messages[-1].role == role:
            earlier = messages.pop().content
        messages.append(Message(role=role, content=(*earlier, *blocks)))

    for place, item in enumerate(params.input):
        at = f"input.{place}"
        if isinstance(item, CallItem):
            names[item.call_id] = item.name
            add("assistant", call_of(item.call_id, item.name, item.arguments, at))
        elif isinstance(item, OutputItem):
            add("tool", _result(item, names.get(item.call_id, ""), at))
        elif isinstance(item, MessageItem) and item.role == "assistant":
            add("assistant", Text(text=_words(item.content)))
        elif isinstance(item, MessageItem) and item.role == "user":
            blocks = tuple(_blocks(item.content, at))
            messages.append(Message(role="user", content=blocks))
    return messages


def _result(item: OutputItem, name: str, at: str) -> ToolResult:
    blocks = list(_blocks(item.output, at))
    text = "\n".join(block.text for block in blocks if isinstance(block, Text))
    media = tuple(block for block in blocks if not isinstance(block, Text))
    return ToolResult(text=text, media=media, call_id=item.call_id, name=name)


def _words(content: str | list[Any]) -> str:
    if isinstance(content, str):
        return clean(content)
    texts = (b.text for b in _blocks(content, "input") if isinstance(b, Text))
    return "\n".join(texts)


def _blocks(content: str | list[Any], at: str) -> Iterator[Text | Image | File]:
    if isinstance(content, str):
        yield Text(text=clean(content))
        return
    for place, part in enumerate(content):
        where = f"{at}.content.{place}"
        if isinstance(part, InputText):
            yield Text(text=clean(part.text))
        elif isinstance(part, InputRefusal):
            yield Text(text=clean(part.refusal))
        elif isinstance(part, InputImage):
            yield picture(part.image_url, where)
        else:
            yield document(part.file_data, part.filename, where)
