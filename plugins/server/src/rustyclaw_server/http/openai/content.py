"""What messages are made of: parts of both interfaces, as blocks of the core.

Pictures and files come as ``data:`` URLs or base64. What is elsewhere is not fetched:
whoever may ask is not thereby allowed to make this machine connect anywhere.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from rustyclaw import Audio, File, Image, Text, ToolCall, ToolSchema

from rustyclaw_server.http.answers import Refused
from rustyclaw_server.wire.frames import clean

#: Bytes of one picture or file, as for attachments of the socket.
MEDIA_BYTES = 5_000_000
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.=+-]+)*?;base64,(.*)", re.DOTALL)

Words = Annotated[str, Field(max_length=10_000_000)]
Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
CallId = Annotated[str, Field(min_length=1, max_length=256)]
Block = Text | Image | Audio | File


class Loose(BaseModel):
    """A part of a request whose further keys are nobody's business."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class Function(Loose):
    """A function of the caller; ``parameters`` is a JSON Schema."""

    name: Name
    description: Words | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def schema_of(self) -> ToolSchema:
        """Return it as the model of an agent is shown it."""
        nothing: dict[str, Any] = {"type": "object", "properties": {}}
        return ToolSchema(
            name=self.name,
            description=clean(self.description or ""),
            parameters=self.parameters or nothing,
        )


class NamedFunction(Loose):
    """The one function to call."""

    name: Name


Mode = Literal["none", "auto", "required"]


def offered(
    schemas: list[ToolSchema], mode: Mode, named: str | None
) -> tuple[tuple[ToolSchema, ...], str]:
    """Return the tools to offer, and a line for the model if it has to call one.

    No provider can be forced through an agent; a line is as far as that goes.

    :raises Refused: Two tools have one name, or none has the one that was chosen.
    """
    names = [schema.name for schema in schemas]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Refused(400, f"two tools have the name {twice!r}", param="tools")
    if named:
        schemas = [schema for schema in schemas if schema.name == named]
        if not schemas:
            problem = f"tool_choice names {named!r}, which is not among the tools"
            raise Refused(400, problem, param="tool_choice")
        return tuple(schemas), f"Answer this with a call of the tool {named!r}."
    if mode == "none":
        return (), ""
    if mode == "required":
        if not schemas:
            problem = "tool_choice is `required`, but there are no tools"
            raise Refused(400, problem, param="tool_choice")
        listed = ", ".join(names)
        return tuple(schemas), f"Answer this with a call of one of: {listed}."
    return tuple(schemas), ""


def call_of(call_id: str, name: str, arguments: str, param: str) -> ToolCall:
    """Return a call that stands in the history.

    :raises Refused: Its arguments are no JSON object.
    """
    try:
        value = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refused(400, "arguments are not a JSON object", param=param)
    return ToolCall(id=call_id, name=name, arguments=value)


def picture(url: str, param: str) -> Image:
    """Return a picture.

    :raises Refused: It is elsewhere, no picture, or too large.
    """
    kind, data = _data_url(url, param)
    if kind not in _IMAGES:
        known = ", ".join(_IMAGES)
        raise Refused(400, f"{kind[:80]!r} is no kind of picture: {known}", param=param)
    return Image(data=_bytes(data, param), media_type=kind)


def document(data: str, name: str | None, param: str) -> File | Image:
    """Return a file; a picture among files is shown as one.

    :raises Refused: It is no base64, or too large.
    """
    kind = "application/octet-stream"
    if data.startswith("data:"):
        kind, data = _data_url(data, param)
    elif (name or "").lower().endswith(".pdf"):
        kind = "application/pdf"
    raw = _bytes(data, param)
    if kind in _IMAGES:
        return Image(data=raw, media_type=kind)
    return File(data=raw, media_type=kind, name=clean(name or "file")[:255])


def recording(data: str, form: str, param: str) -> Audio:
    """Return a recording.

    :raises Refused: It is no base64, or too large.
    """
    kind = {"mp3": "audio/mpeg", "wav": "audio/wav"}[form]
    return Audio(data=_bytes(data, param), media_type=kind)


def _data_url(url: str, param: str) -> tuple[str, str]:
    match = _DATA.fullmatch(url)
    if match is None:
        problem = "send it inline as `data:<type>;base64,<data>`; no URL is fetched"
        raise Refused(400, problem, param=param)
    return (match[1] or "text/plain").lower(), match[2]


def _bytes(data: str, param: str) -> bytes:
    if len(data) > MEDIA_BYTES * 4 / 3 + 4:
        raise Refused(400, f"it has more than {MEDIA_BYTES} bytes", param=param)
    try:
        raw = b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(400, "it is not base64", param=param) from None
    if not raw:
        raise Refused(400, "it is empty", param=param)
    return raw
