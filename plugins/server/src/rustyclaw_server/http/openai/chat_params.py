"""The request of ``POST /v1/chat/completions``, and what an agent is asked by it.

Field names and rules are those of OpenAI's public API reference. What an agent has no
use for, such as ``seed``, is accepted and left alone; what would change the form of
the answer is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field
from rustyclaw import Message, RunOptions, Text, ToolCall, ToolResult

from rustyclaw_server.http.answers import Refused
from rustyclaw_server.http.openai.content import (
    Block,
    CallId,
    Function,
    Loose,
    Mode,
    Name,
    NamedFunction,
    Words,
    call_of,
    document,
    offered,
    picture,
    recording,
)
from rustyclaw_server.http.openai.talk import THINKING
from rustyclaw_server.wire.frames import clean

NO_USER = "Missing user message in `messages`."


class TextPart(Loose):
    """Words."""

    type: Literal["text"]
    text: Words


class RefusalPart(Loose):
    """Words of an assistant that refused."""

    type: Literal["refusal"]
    refusal: Words


class ImageUrl(Loose):
    """A picture as a ``data:`` URL."""

    url: Words
    detail: str | None = None


class ImagePart(Loose):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl


class AudioData(Loose):
    """A recording in base64."""

    data: Words
    format: Literal["wav", "mp3"]


class AudioPart(Loose):
    """A recording."""

    type: Literal["input_audio"]
    input_audio: AudioData


class FileData(Loose):
    """A file in base64 or as a ``data:`` URL."""

    file_data: Words
    filename: Annotated[str, Field(max_length=1024)] | None = None


class FilePart(Loose):
    """A file."""

    type: Literal["file"]
    file: FileData


Said = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
Part = Annotated[
    TextPart | ImagePart | AudioPart | FilePart, Field(discriminator="type")
]
Parts = Annotated[list[Part], Field(min_length=1, max_length=256)]


class SystemMessage(Loose):
    """Instructions for the agent, beside its own."""

    role: Literal["system", "developer"]
    content: Words | list[TextPart]


class UserMessage(Loose):
    """What the user says."""

    role: Literal["user"]
    content: Words | Parts


class CalledFunction(Loose):
    """A function that was called; ``arguments`` is the text of a JSON object."""

    name: Name
    arguments: Words


class Called(Loose):
    """A call of a tool."""

    id: CallId
    type: Literal["function"] = "function"
    function: CalledFunction


class AssistantMessage(Loose):
    """What the agent has said before."""

    role: Literal["assistant"]
    content: Words | list[Said] | None = None
    tool_calls: Annotated[list[Called], Field(max_length=128)] | None = None


class ToolMessage(Loose):
    """What a tool of the caller has answered."""

    role: Literal["tool"]
    tool_call_id: CallId
    content: Words | list[TextPart]


Turn = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage,
    Field(discriminator="role"),
]


class Tool(Loose):
    """A tool of the caller, which runs it."""

    type: Literal["function"]
    function: Function


class Choice(Loose):
    """The one tool to call."""

    type: Literal["function"]
    function: NamedFunction


class StreamOptions(Loose):
    """``include_usage``: a last chunk tells what it cost."""

    include_usage: bool | None = None


class ResponseFormat(Loose):
    """The form of the answer; there is text alone."""

    type: str


class ChatParams(Loose):
    """A request."""

    model: Annotated[str, Field(min_length=1, max_length=512)]
    messages: Annotated[list[Turn], Field(max_length=10_000)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Mode | Choice | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    reasoning_effort: (
        Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None
    ) = None
    n: Annotated[int, Field(ge=1)] | None = None
    user: Annotated[str, Field(max_length=512)] | None = None
    store: bool | None = None
    logprobs: bool | None = None
    modalities: list[str] | None = None
    response_format: ResponseFormat | None = None
    functions: list[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an agent is asked."""

    message: Message
    given: tuple[Message, ...]
    options: RunOptions


def asked(params: ChatParams) -> Asked:
    """Return what an agent is asked.

    :raises Refused: 400; it cannot be done, or the messages make no conversation.
    """
    _refuse_what_is_not_offered(params)
    *given, last = _conversation(params) or [Message.assistant("")]
    if last.role == "assistant":
        if any(message.role == "user" for message in given):
            text = "the last message must be of role `user` or `tool`"
            raise Refused(400, text, param="messages")
        raise Refused(400, NO_USER, param="messages")
    choice = params.tool_choice
    tools, line = offered(
        [tool.function.schema_of() for tool in params.tools or ()],
        choice if isinstance(choice, str) else "auto",
        choice.function.name if isinstance(choice, Choice) else None,
    )
    said = (_words(t.content) for t in params.messages if isinstance(t, SystemMessage))
    options = RunOptions(
        system="\n\n".join(filter(None, (*said, line))),
        thinking=THINKING.get(params.reasoning_effort or ""),
        max_tokens=params.max_completion_tokens or params.max_tokens,
        temperature=params.temperature,
        tools=tools,
    )
    return Asked(message=last, given=tuple(given), options=options)


def _refuse_what_is_not_offered(params: ChatParams) -> None:
    form = params.response_format
    wrong = {
        "n": (params.n or 1) > 1 and "there is one answer; ask again for another",
        "logprobs": params.logprobs and "an agent has no log probabilities",
        "modalities": "audio" in (params.modalities or ()) and "answers are text",
        "functions": params.functions and "use `tools`",
        "response_format": form and form.type != "text" and "answers are text",
    }
    for param, problem in wrong.items():
        if problem:
            raise Refused(400, f"{param!r} is not offered: {problem}", param=param)


def _conversation(params: ChatParams) -> list[Message]:
    """Return the messages; results of tools that follow each other are one."""
    messages: list[Message] = []
    names: dict[str, str] = {}
    for place, turn in enumerate(params.messages):
        at = f"messages.{place}"
        if isinstance(turn, UserMessage):
            messages.append(Message(role="user", content=tuple(_blocks(turn, at))))
        elif isinstance(turn, AssistantMessage):
            calls = [
                call_of(c.id, c.function.name, c.function.arguments, f"{at}.tool_calls")
                for c in turn.tool_calls or ()
            ]
            names.update((call.id, call.name) for call in calls)
            content = _said(turn, calls)
            messages.append(Message(role="assistant", content=content))
        elif isinstance(turn, ToolMessage):
            result = ToolResult(
                text=_words(turn.content),
                call_id=turn.tool_call_id,
                name=names.get(turn.tool_call_id, ""),
            )
            earlier = ()
            if messages and messages[-1].role == "tool":
                earlier = messages.pop().content  # type: ignore[assignment]  # blocks
            messages.append(Message(role="tool", content=(*earlier, result)))
    return messages


def _said(turn: AssistantMessage, calls: list[ToolCall]) -> tuple[Text | ToolCall, ...]:
    words = _words(turn.content or "")
    return (*([Text(text=words)] if words else ()), *calls)


def _words(content: str | list[Any]) -> str:
    if isinstance(content, str):
        return clean(content)
    texts = (part.refusal if part.type == "refusal" else part.text for part in content)
    return clean("\n".join(texts))


def _blocks(turn: UserMessage, at: str) -> Iterator[Block]:
    if isinstance(turn.content, str):
        yield Text(text=clean(turn.content))
        return
    for place, part in enumerate(turn.content):
        where = f"{at}.content.{place}"
        if isinstance(part, TextPart):
            yield Text(text=clean(part.text))
        elif isinstance(part, ImagePart):
            yield picture(part.image_url.url, where)
        elif isinstance(part, AudioPart):
            yield recording(part.input_audio.data, part.input_audio.format, where)
        else:
            yield document(part.file.file_data, part.file.filename, where)
