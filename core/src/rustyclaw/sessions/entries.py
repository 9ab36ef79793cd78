"""What a transcript holds, and how an entry is written as one line of JSON."""

from __future__ import annotations

import json
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from functools import partial
from itertools import count
from secrets import randbits
from typing import Any, Literal, get_args

from rustyclaw.messages import Block, Message, StopReason, Usage

_serial = count(randbits(20))


def new_id() -> str:
    """Return 16 hex digits: milliseconds, then a running number."""
    return f"{time.time_ns() // 1_000_000:011x}{next(_serial) & 0xFFFFF:05x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a transcript; which fields count depends on its kind.

    :param source: Inbox id of a user's message.
    :param answers: Inbox ids that a final assistant message answers.
    :param synthetic: Written by the core, not by a person or a model.
    :param first_kept_id: The first entry that a compaction left alone.
    :param data: JSON value of a ``system`` entry; the whole of an ``unknown`` one.
    """

    kind: Literal["message", "compaction", "system", "unknown"]
    id: str = field(default_factory=new_id)
    parent_id: str | None = None
    timestamp: float = field(default_factory=lambda: round(time.time(), 3))
    data: Any = None
    message: Message | None = None
    source: str | None = None
    answers: tuple[str, ...] = ()
    usage: Usage | None = None
    stop_reason: StopReason | None = None
    model: str | None = None
    synthetic: bool = False
    summary: str = ""
    first_kept_id: str = ""
    tokens_before: int = 0
    tokens_after: int = 0
    event: str = ""

    @classmethod
    def of(cls, message: Message, **facts: Any) -> Entry:
        """Return an entry that holds a message."""
        return cls(kind="message", message=message, **facts)

    @classmethod
    def compaction(cls, **facts: Any) -> Entry:
        """Return an entry that puts a summary in the place of older ones."""
        return cls(kind="compaction", **facts)


#: A block's type on disk is its class's name in snake_case.
_CLASSES: dict[str, Any] = {
    re.sub(r"(?<=.)(?=[A-Z])", "_", cls.__name__).lower(): cls
    for cls in get_args(Block)
}
_TAGS = {cls: tag for tag, cls in _CLASSES.items()}
_FIELDS: dict[Any, dict[str, Any]] = {
    cls: {
        f.name: f.default if f.default_factory is MISSING else f.default_factory()
        for f in fields(cls)
    }
    for cls in (Entry, *_TAGS)
}
for _name in ("kind", "id", "parent_id", "timestamp", "data"):
    del _FIELDS[Entry][_name]  # every line has these, or they need care
#: JSON allows these raw, but editors and `str.splitlines` break lines at them.
_LINE_BREAKS = re.compile("[\x85\u2028\u2029]")

# --- To JSON --------------------------------------------------------------------


def encode(entry: Entry) -> bytes:
    """Return an entry as one line, line break included.

    :raises ValueError: It is nested too deeply, or in itself.
    """
    if entry.kind == "unknown":
        return json_line(entry.data)
    line: dict[str, Any] = {"type": entry.kind, "id": entry.id}
    line |= {"parent": entry.parent_id, "time": entry.timestamp}
    if entry.data is not None:
        line["data"] = entry.data
    return json_line(line | _facts(entry))


def encode_block(block: Block) -> dict[str, Any]:
    """Return a content block as an object for JSON; base64 stands for bytes."""
    facts = _facts(block)
    if "data" in facts:
        facts["data"] = b64encode(facts["data"]).decode()
    return {"type": _TAGS[type(block)]} | facts


def json_line(record: Any) -> bytes:
    """Return a value as one line of UTF-8."""
    try:
        text = _JSON.encode(record)
    except RecursionError:
        raise ValueError("an entry is nested too deeply") from None
    text = _LINE_BREAKS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can carry
        return json.dumps(json.loads(text)).encode() + b"\n"


def _facts(value: Any) -> dict[str, Any]:
    """Return the fields that do not have their default."""
    defaults = _FIELDS[type(value)].items()
    return {n: v for n, default in defaults if (v := getattr(value, n)) != default}


def _plain(value: Any) -> Any:
    if type(value) in _TAGS:
        return encode_block(value)
    if isinstance(value, Message | Usage):
        return {name: getattr(value, name) for name in value.__slots__}
    return dict(value) if isinstance(value, Mapping) else str(value)


_JSON = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), skipkeys=True, default=_plain
)

# --- From JSON ------------------------------------------------------------------


def decode(raw: Any, default_id: str = "") -> Entry:
    """Return the entry that a decoded line holds; unknown kinds are kept as they are.

    :param default_id: For an entry without an id.
    :raises ValueError: It is no entry.
    """
    if not isinstance(raw, dict) or not isinstance(kind := raw.get("type"), str):
        raise ValueError("an entry is a JSON object with a type")
    name, parent = str(raw.get("id") or default_id), raw.get("parent")
    try:
        if kind in ("user", "assistant"):  # as the first rustyclaw wrote them
            kind, raw = "message", {**raw, "message": {**raw, "role": kind}}
        if kind not in ("message", "compaction", "system"):
            return Entry(kind="unknown", id=name, timestamp=0.0, data=raw)
        when = _seconds(raw.get("time", raw.get("timestamp")))
        if kind == "system" and raw.get("event") == "compaction":
            kind, raw = "compaction", raw["data"]
        facts = _read(Entry, raw)
        facts |= {"kind": kind, "id": name, "timestamp": when, "data": raw.get("data")}
        facts["parent_id"] = parent if isinstance(parent, str) else None
        if (kind == "message") != ("message" in facts):
            raise ValueError("a message is missing, or in the wrong place")
        return Entry(**facts)
    except (KeyError, TypeError, AttributeError, OverflowError) as exc:
        raise ValueError(f"an entry of type {kind!r} is damaged: {exc!r}") from None


def decode_block(raw: Mapping[str, Any]) -> Any:
    """Return the content block of a JSON object; what it lacks is empty."""
    cls = _CLASSES[raw["type"]]
    return cls(**_read(cls, raw))


def _read(cls: type, raw: Mapping[str, Any]) -> dict[str, Any]:
    facts = {}
    for name, default in _FIELDS[cls].items():
        value = raw.get(name)
        wanted = _TYPES.get(name, str)
        if value is None:
            if default is not MISSING:
                continue
            value = wanted()
        if not isinstance(value, wanted):
            raise ValueError(f"{name!r} is no {wanted.__name__}")
        facts[name] = _READ[name](value) if name in _READ else value
    return facts


def _message(raw: dict[str, Any]) -> Message:
    if raw["role"] not in ("user", "assistant", "tool"):
        raise ValueError(f"{raw['role']!r} is no role")
    content = raw.get("content") or ()
    if isinstance(content, str):
        content = ({"type": "text", "text": content},)
    return Message(role=raw["role"], content=tuple(map(decode_block, content)))


def _seconds(raw: Any) -> float:
    if isinstance(raw, str):
        return datetime.fromisoformat(raw).timestamp()
    return float(raw or 0)


#: What a field is in JSON, if it is no text, and how it is read from that.
_TYPES: dict[str, type] = {
    **dict.fromkeys(("message", "usage", "arguments", "details"), dict),
    **dict.fromkeys(("redacted", "is_error", "synthetic"), bool),
    **dict.fromkeys(("tokens_before", "tokens_after"), int),
    **dict.fromkeys(("answers", "media"), list),
}
_READ: dict[str, Any] = {
    "message": _message,
    "answers": lambda raw: tuple(map(str, raw)),
    "usage": lambda raw: Usage(**{n: int(raw.get(n, 0)) for n in Usage.__slots__}),
    "data": partial(b64decode, validate=True),
    "media": lambda raw: tuple(map(decode_block, raw)),
}
