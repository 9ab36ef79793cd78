"""From what a vendor answered to a typed `ProviderError` that people can read."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from rustyclaw import ProviderError

from rustyclaw_http.classify import Kind, classify, observed_tokens

MASK = "***"
_LONGEST_MESSAGE = 600
#: Nobody waits longer; what a vendor says beyond is nonsense.
_LONGEST_WAIT_SECONDS = 86_400.0

_KEYS = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk|gsk|xai|csk|pplx|nvapi|r8|hf)[-_][\w-]{8,}"
    r"|AIza[\w-]{20,}|eyJ[\w-]{8,}\.[\w.-]{16,})"
    r"|(?<=bearer )[\w.~+/=-]{6,}"
    r"|(?<=[?&]key=)[^&\s\"'<>]+|(?<=api[_-]key=)[^&\s\"'<>]+",
    re.ASCII | re.IGNORECASE,
)
_REQUEST_IDS = (
    "x-request-id", "request-id", "apim-request-id", "x-ms-request-id",
    "x-groq-request-id", "cf-ray",
)  # fmt: skip
#: Fields of an error object that hold codes, which decide more than the message.
_CODES = ("type", "code", "status", "reason", "error_type")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SPAN = r"((?:\d+(?:\.\d+)?(?:ms|h|m|s))+|\d+(?:\.\d+)? ?(?:ms|s)\w*)"
_SAID_WAIT = re.compile(
    rf"(?:try again|retry|wait)[^\d\n]{{0,24}}{_SPAN}|\"retryDelay\": ?\"{_SPAN}\"",
    re.IGNORECASE,
)
#: Kind of a failure -> what to do about it; {name} is the provider.
_REMEDIES: dict[Kind, str] = {
    "auth": "check `providers.{name}.api_key`",
    "auth_permanent": "set another key in `providers.{name}.api_key`",
    "billing": "top up the account, or use another provider",
    "model_not_found": "choose another model, or check `providers.{name}.base_url`",
}


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without secrets and control characters.

    :param secrets: Values to look for besides whatever looks like a key.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _KEYS.sub(MASK, text)
    return "".join(c if c.isprintable() else " " for c in text)


def error_from_answer(
    provider: str,
    *,
    status: int | None,
    body: str | bytes | Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
) -> ProviderError:
    """Return the error that an answer stands for.

    Serves for refused requests and for errors that arrive within a stream.

    :param provider: Entry-point name of the provider.
    :param status: Of the HTTP answer; ``None`` within a stream.
    :param body: What the vendor said: JSON or any other text.
    :param headers: Of the answer, with names in lower case.
    """
    headers = headers or {}
    content = _parsed(body)
    objects = list(_error_objects(content))
    message = next((m for m in map(_message, objects) if m), "")
    if not objects:
        message = _plain(body)
    inner = next((c for c in map(_inner_status, objects) if c), None)
    status = inner if status in (None, 200) else status
    codes = " ".join(c for fault in objects for c in _code_words(fault))
    kind = classify(f"{codes} {message}".strip(), status=status)
    raw = content if isinstance(content, str) else json.dumps(content)
    said = f"answered {status}" if status else "failed"
    text = f"provider {provider!r} {said}"
    if message or codes:
        text += f": {_cut(message or codes)}"
    if request_id := next((headers[n] for n in _REQUEST_IDS if headers.get(n)), ""):
        text += f" (request id {request_id[:100]})"
    if remedy := _REMEDIES.get(kind):
        text += f"; {remedy.format(name=provider)}"
    return ProviderError(
        masked(text, secrets),
        kind=kind,
        provider=provider,
        status=status,
        retry_after=retry_after(headers, raw) if kind != "context_overflow" else None,
        observed_tokens=observed_tokens(message),
    )


# --- How long to wait -----------------------------------------------------------


def retry_after(
    headers: Mapping[str, str], body: str = "", *, now: float | None = None
) -> float | None:
    """Return the seconds that a vendor asks us to wait, at most a day.

    Read are ``retry-after-ms``, ``retry-after`` (seconds or an HTTP date, RFC 9110),
    the reset times of exhausted limits (OpenAI, Groq, Anthropic, OpenRouter), and
    the texts of OpenAI, Azure and Google.

    :param headers: With names in lower case.
    :param now: Seconds since the epoch; by default the clock.
    """
    now = time.time() if now is None else now
    for seconds in _waits(headers, body, now):
        if seconds is not None and isfinite(seconds) and seconds >= 0:
            return min(seconds, _LONGEST_WAIT_SECONDS)
    return None


def _waits(headers: Mapping[str, str], body: str, now: float) -> Iterator[float | None]:
    """Yield what is said about waiting, the most reliable first."""
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        yield milliseconds / 1000
    if value := headers.get("retry-after"):
        yield _moment(value, now)
    if found := _SAID_WAIT.search(body):
        yield _span(found[1] or found[2])
    resets = []
    for name, value in headers.items():
        if "ratelimit" not in name or "remaining" not in name:
            continue
        if _number(value) == 0:
            reset = headers.get(name.replace("remaining", "reset"), "")
            resets.append(_moment(reset, now))
    known = [seconds for seconds in resets if seconds is not None]
    yield max(known) if known else None


def _moment(value: str, now: float) -> float | None:
    """Return the seconds until what a header says: a number, a span, or a date."""
    value = value.strip()
    number = _number(value)
    if number is not None:
        if number > 1e11:  # milliseconds since the epoch
            return number / 1000 - now
        return number - now if number > 1e9 else number
    if _DURATION.match(value):
        return _span(value)
    try:
        if value[:4].isdigit():
            moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        else:
            moment = parsedate_to_datetime(value)
        return max(moment.timestamp() - now, 0.0)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _number(value: str | None) -> float | None:
    try:
        return float(value[:40]) if value else None
    except ValueError:
        return None


def _span(value: str) -> float | None:
    """Return the seconds of ``1m26.4s``, ``20ms`` or ``20 seconds``."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    parts = _DURATION.findall(value.replace(" ", ""))
    return sum(float(n) * units[unit] for n, unit in parts) if parts else None


# --- What the vendor said -------------------------------------------------------


def _parsed(body: str | bytes | Mapping[str, Any]) -> Any:
    if isinstance(body, Mapping):
        return body
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _error_objects(content: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the objects that describe an error, the outermost first.

    ``{"error": {...}}`` (OpenAI, Anthropic, Google), ``{"error": "text"}`` (Ollama,
    xAI), ``[{"error": ...}]`` (Google), ``{"message": ...}`` (Mistral), ``{"detail":
    ...}`` (FastAPI: vLLM, Mistral), ``metadata.raw`` (OpenRouter, of its upstream).
    """
    if isinstance(content, list) and content:
        content = content[0]
    if not isinstance(content, Mapping):
        return
    error = content.get("error")
    if isinstance(error, str):
        yield {**content, "message": error}
    elif isinstance(error, Mapping):
        yield error
        metadata = error.get("metadata")
        if isinstance(metadata, Mapping) and metadata.get("raw"):
            raw = metadata["raw"]
            yield {"raw": raw if isinstance(raw, str) else json.dumps(raw)}
        details = error.get("details")
        if isinstance(details, list):
            yield from (d for d in details if isinstance(d, Mapping))
    else:
        yield content


def _message(fault: Mapping[str, Any]) -> str:
    for key in ("message", "detail", "msg", "error_description", "title"):
        value = fault.get(key)
        if isinstance(value, str) and value.strip():
            raw = fault.get("raw")
            return f"{value} {raw}" if isinstance(raw, str) else value
        if isinstance(value, list | Mapping) and value:
            return json.dumps(value)
    return ""


def _code_words(fault: Mapping[str, Any]) -> Iterator[str]:
    for key in _CODES:
        if isinstance(fault.get(key), str):
            yield fault[key]
    raw = fault.get("raw")
    if isinstance(raw, str):
        yield raw[:_LONGEST_MESSAGE]


def _inner_status(fault: Mapping[str, Any]) -> int | None:
    """Return the HTTP status that an error object names, as OpenRouter does."""
    for key in ("code", "status", "status_code"):
        value = fault.get(key)
        if isinstance(value, str) and value.isdecimal():
            value = int(value[:4])
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return None


def _plain(body: object) -> str:
    """Return a body that is no JSON as one line of text, without HTML tags."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", text[:20_000], flags=re.S)
    return " ".join(text.split())


def _cut(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."
