"""Frames of the gateway protocol (sheet sections 1 and 2), read and written.

A frame is one JSON object. Clients drop answers with unknown keys or with nulls in
the envelope, so absent fields are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

_SURROGATE = re.compile("[\ud800-\udfff]")
_REQUEST_KEYS = {"type", "id", "method", "params"}
#: How deep a frame may be nested; what handles it later may recurse.
_MAX_DEPTH = 64
#: Objects and lists in a frame, and values in them: what reading it costs.
_MAX_CONTAINERS = 100_000
_MAX_VALUES = 1_000_000
#: Keys of one object.
_MAX_KEYS = 10_000
#: Things wrong with parameters that a client is told at once.
_MAX_PROBLEMS = 20


class BadFrame(Exception):
    """A frame that cannot be used.

    :param reply_to: The id to answer to; ``None``: say nothing.
    """

    def __init__(self, problem: str, reply_to: str | None = "invalid") -> None:
        super().__init__(problem)
        self.reply_to = reply_to


class Request(NamedTuple):
    """A client's request."""

    id: str
    method: str
    params: Mapping[str, Any]


class Wire(BaseModel):
    """Base of parameters and results: camelCase outside, exact JSON types.

    Each is built when it is first used: there are many, and a start has to be quick.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        defer_build=True,
        extra="forbid",
        populate_by_name=True,
        strict=True,
        hide_input_in_errors=True,
    )


Text = Field(min_length=1, max_length=1024)


class Client(Wire):
    """Who connects, in its own words."""

    id: str = Text
    mode: Literal["webchat", "cli", "ui", "backend", "node", "probe", "test", "worker"]
    version: str = Text
    platform: str = Text
    display_name: str | None = None
    device_family: str | None = None
    model_identifier: str | None = None
    instance_id: str | None = None


class DeviceProof(Wire):
    """A device's identity and signature; see `rustyclaw_server.auth.signature`."""

    id: str = Text
    public_key: str = Field(max_length=4096)
    signature: str = Field(max_length=4096)
    signed_at: int
    nonce: str | None = None


class Credentials(Wire):
    """What a client shows; which of it counts depends on the mode of auth."""

    token: str | None = Field(None, max_length=4096)
    password: str | None = Field(None, max_length=4096)
    device_token: str | None = Field(None, max_length=4096)
    bootstrap_token: str | None = Field(None, max_length=4096)
    approval_runtime_token: str | None = Field(None, max_length=4096)
    agent_runtime_identity_token: str | None = Field(None, max_length=4096)


class ConnectParams(Wire):
    """Parameters of ``connect``."""

    min_protocol: int = Field(ge=1)
    max_protocol: int = Field(ge=1)
    client: Client
    caps: list[str] = Field([], max_length=64)
    commands: list[str] = Field([], max_length=512)
    permissions: dict[str, bool] = Field({}, max_length=256)
    path_env: str | None = None
    role: str = "operator"
    scopes: list[str] = Field([], max_length=64)
    device: DeviceProof | None = None
    auth: Credentials | None = None
    locale: str | None = None
    user_agent: str | None = None


#: Client ids of all releases that speak protocol 3 or 4 (sheet section 2).
CLIENT_IDS = frozenset(
    {
        *("cli", "gateway-client", "node-host", "test", "fingerprint"),
        *("webchat", "webchat-ui", "rustyclaw-control-ui", "rustyclaw-cli"),
        *("moltbot-control-ui", "moltbot-probe", "moltbot-macos", "moltbot-ios"),
        *("moltbot-android", "openclaw-control-ui", "openclaw-probe", "openclaw-tui"),
        *("openclaw-macos", "openclaw-ios", "openclaw-android", "openclaw-linux"),
        *("openclaw-watchos", "openclaw-worker", "openclaw-browser-copilot"),
    }
)

# --- Reading ----------------------------------------------------------------------


def parse(text: str) -> Any:
    """Read a JSON text as strictly as a parser that others would use on it.

    :raises BadFrame: It is no JSON, says a key twice, or is too deep or large.
    """
    opened = text.count("{") + text.count("[")
    if opened > _MAX_CONTAINERS or text.count(",") > _MAX_VALUES:
        raise BadFrame("invalid request frame: too many parts")
    try:
        value = _DECODER.decode(text)
    except BadFrame:
        raise
    except RecursionError:
        raise BadFrame("invalid request frame: nested too deeply") from None
    except ValueError:
        raise BadFrame("invalid request frame: not JSON") from None
    if opened > _MAX_DEPTH and _is_deep(value):
        raise BadFrame("invalid request frame: nested too deeply")
    # Only an escape can be half of a character, as of a text that was cut.
    return _whole(value) if "\\ud" in text or "\\uD" in text else value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            part
            for outer in level
            if isinstance(outer, dict | list)
            for part in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(part, dict | list) for part in level)


def _whole(value: Any) -> Any:
    """Return a value whose texts have no lone surrogates."""
    match value:
        case str():
            return clean(value)
        case list():
            return [_whole(item) for item in value]
        case dict():
            return {clean(key): _whole(item) for key, item in value.items()}
    return value


def request(text: str) -> Request:
    """Read a request.

    :raises BadFrame: It is none.
    """
    raw = parse(text)
    if not isinstance(raw, dict):
        raise BadFrame("invalid request frame: at root: must be object")
    name = raw.get("id")
    reply_to = str(name) if isinstance(name, str | int) and name != "" else "invalid"
    kind = raw.get("type")
    if kind != "req":
        silent = kind in ("res", "event")  # an answer is for nobody to answer
        problem = "invalid request frame: at /type: must be equal to constant"
        raise BadFrame(problem, None if silent else reply_to[:256])
    problem = _problem_of(raw)
    if problem:
        raise BadFrame(f"invalid request frame: {problem}", reply_to[:256])
    return Request(raw["id"], raw["method"], raw.get("params") or {})


def _problem_of(raw: dict[str, Any]) -> str:
    for key in ("id", "method"):
        if key not in raw:
            return f"at root: must have required property '{key}'"
        if not isinstance(raw[key], str):
            return f"at /{key}: must be string"
        if not raw[key]:
            return f"at /{key}: must NOT have fewer than 1 characters"
    if len(raw["id"]) > 1024 or len(raw["method"]) > 1024:
        return "id and method must NOT have more than 1024 characters"
    if unknown := raw.keys() - _REQUEST_KEYS:
        return f"at root: unexpected property '{min(unknown)[:80]}'"
    if raw.get("params") is not None and not isinstance(raw["params"], dict):
        return "at /params: must be object"
    return ""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MAX_KEYS:
        raise BadFrame("invalid request frame: too many keys")
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadFrame("invalid request frame: a key is there twice")
    return found


def _no_constant(name: str) -> Any:
    raise BadFrame(f"invalid request frame: {name} is not JSON")


#: Made once: `json.loads` with such wishes makes a decoder for each text.
_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)


def problems(error: ValidationError) -> str:
    """Say what is wrong with parameters, in the words that clients know."""
    parts = []
    for item in error.errors(include_url=False, include_input=False)[:_MAX_PROBLEMS]:
        *where, last = (str(part)[:80] for part in item["loc"] or ("",))
        pointer = "".join(f"/{part}" for part in where)
        at = f"at {pointer}: " if pointer else ""
        if item["type"] == "missing":
            parts.append(f"{at}must have required property '{last}'")
        elif item["type"] == "extra_forbidden":
            parts.append(f"{at or 'at root: '}unexpected property '{last}'")
        else:
            parts.append(
                f"at {pointer}/{last}: {item['msg'].lower()}".replace("/:", ":")
            )
    return "; ".join(parts)


M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], raw: Any, *, strict: bool) -> M:
    """Return parameters as their model.

    :param strict: Whether keys that the model does not know are errors (protocol 3)
        or are left out (protocol 4).
    :raises ValidationError: See `problems`.
    """
    return model.model_validate(raw if strict else _known(model, raw))


def _known(model: type[BaseModel], raw: Any) -> Any:
    """Return a value without the keys that a model and its parts do not know."""
    if not isinstance(raw, dict):
        return raw
    found = {}
    for name, field in model.model_fields.items():
        alias = field.alias or name
        if alias in raw:
            parts = [
                part
                for part in (field.annotation, *get_args(field.annotation))
                if isinstance(part, type) and issubclass(part, BaseModel)
            ]
            found[alias] = _known(parts[0], raw[alias]) if parts else raw[alias]
    return found


def clean(text: str) -> str:
    """Return text without lone surrogates, which no UTF-8 can carry."""
    return _SURROGATE.sub("\ufffd", text) if _SURROGATE.search(text) else text


# --- Writing ----------------------------------------------------------------------


def dump(value: Any) -> str:
    """Return a value as compact JSON."""
    return _ENCODER.encode(value)


def ok(request_id: str, payload: Any) -> str:
    """Return a good answer."""
    return dump({"type": "res", "id": request_id, "ok": True, "payload": payload})


def failed(
    request_id: str,
    code: str,
    message: str,
    *,
    details: Any = None,
    payload: Any = None,
    retry_after_ms: int | None = None,
) -> str:
    """Return a bad answer; what is ``None`` is left out."""
    error: dict[str, Any] = {"code": code, "message": message}
    if details is not None:
        error["details"] = details
    if retry_after_ms is not None:
        error |= {"retryable": True, "retryAfterMs": retry_after_ms}
    frame = {"type": "res", "id": request_id, "ok": False, "error": error}
    if payload is not None:
        frame["payload"] = payload
    return dump(frame)


def event_head(name: str, payload: Any) -> str:
    """Return an event without its closing brace, to be completed for each client."""
    return f'{{"type":"event","event":{dump(name)},"payload":{dump(payload)}'


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: a result's fields that were set."""
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True, exclude_unset=True, mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    raise TypeError(f"{value!r} is no JSON")


_ENCODER = json.JSONEncoder(separators=(",", ":"), default=plain)
