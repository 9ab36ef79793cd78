"""Calls of the Bot API, and what their failures mean.

Source: https://core.telegram.org/bots/api, "Making requests". The address of each
call contains the token, so no error and no log line may show an address; the
transport is used without a client because httpx's client logs them.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
from rustyclaw import ChannelError

_CALL_SECONDS = 20.0
_UPLOAD_SECONDS = 50.0
_DOWNLOAD_SECONDS = 30.0
_CLOSE_SECONDS = 2.0
#: A hundred updates, each with a text of 4096 characters and its entities.
_MAX_ANSWER = 16_777_216
#: A server that names no time, or an absurd one.
_RETRY_SECONDS, _LONGEST_RETRY = 5.0, 3600.0

Files = Mapping[str, tuple[str, bytes, str]]


class TelegramError(ChannelError):
    """A call failed; ``permanent`` if the same call cannot succeed later.

    :param status: HTTP status, or the API's ``error_code``; 0: there was no answer.
    :param retry_after: Seconds that Telegram wants us to wait.
    :param migrated_to: The chat has this id from now on.
    """

    def __init__(
        self,
        description: str,
        *,
        method: str,
        status: int = 0,
        retry_after: float | None = None,
        migrated_to: int | None = None,
    ) -> None:
        permanent = 400 <= status < 500 and status not in (408, 409, 429)
        said = f" ({status})" if status else ""
        super().__init__(
            f"telegram, {method}{said}: {description}{_remedy(status, description)}",
            permanent=permanent,
        )
        self.status = status
        self.description = description.lower()
        self.retry_after = retry_after
        self.migrated_to = migrated_to

    def says(self, *texts: str) -> bool:
        """Return whether it is a refusal with one of these texts, in lower case."""
        return self.status == 400 and any(text in self.description for text in texts)


def _remedy(status: int, description: str) -> str:
    if status in (401, 404):
        return "; the token is not valid (any more): ask BotFather for a new one"
    if status == 409 and "webhook" not in description.lower():
        return "; somebody else polls with this token: stop them"
    return ""


class Transport:
    """The connections to one Bot API server, shared by all accounts."""

    def __init__(self, *, proxy: str | None = None) -> None:
        self._proxy = proxy
        self._http: httpx.AsyncHTTPTransport | None = None

    async def __aenter__(self) -> Self:
        """Read the trusted certificates; nothing is connected yet."""
        context = await anyio.to_thread.run_sync(ssl.create_default_context)
        self._http = httpx.AsyncHTTPTransport(
            verify=context,
            trust_env=False,
            proxy=self._proxy,
            limits=httpx.Limits(max_connections=50, keepalive_expiry=60),
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        http, self._http = self._http, None
        if http is not None:
            with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
                await http.aclose()

    @property
    def is_open(self) -> bool:
        """Whether calls can be made."""
        return self._http is not None

    async def fetch(
        self, request: httpx.Request, *, method: str, seconds: float, limit: int
    ) -> tuple[int, bytes]:
        """Send a request; return status and body.

        :param seconds: For everything, up to the last byte.
        :param limit: Longest body in bytes.
        :raises TelegramError: No answer, or too long a one.
        """
        if self._http is None:
            raise TelegramError("the channel is closed", method=method)
        request.read()
        request.stream = _Body(request.content)
        request.extensions = {"timeout": httpx.Timeout(None, connect=10).as_dict()}
        try:
            with anyio.fail_after(seconds):
                response = await self._http.handle_async_request(request)
                return response.status_code, await _read(response, limit)
        except TimeoutError:
            problem = f"no answer within {seconds:g} s"
        except httpx.HTTPError as exc:  # its text may name the address
            problem = f"the connection failed ({type(exc).__name__})"
        except _TooLong:
            problem = f"the answer has over {limit} bytes"
        raise TelegramError(problem, method=method)


class _TooLong(Exception):
    pass


class _Body(httpx.AsyncByteStream):
    """The bytes of a request; httpx's own is a generator that a cancel leaves open."""

    def __init__(self, content: bytes) -> None:
        self._left = [content] if content else []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


async def _read(response: httpx.Response, limit: int) -> bytes:
    pieces = aiter(cast("AsyncIterator[bytes]", response.stream))
    body = bytearray()
    try:
        async for piece in pieces:
            body += piece
            if len(body) > limit:
                raise _TooLong
    finally:
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
            await response.aclose()
            # The generators below are nested; now that their connection is gone,
            # the next read ends all of them, and trio finds none left open.
            with suppress(Exception):
                async for _ in pieces:
                    await anyio.lowlevel.checkpoint()
    return bytes(body)


class BotApi:
    """The Bot API for one token."""

    def __init__(self, transport: Transport, base_url: str, token: str) -> None:
        self._transport = transport
        self._base, self._token = base_url, token

    @property
    def bot_id(self) -> str:
        """The id of the bot, which its token begins with."""
        return self._token.partition(":")[0]

    async def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        files: Files | None = None,
        seconds: float | None = None,
    ) -> Any:
        """Call a method; return its result.

        :param params: ``None`` values are left out.
        :param files: By field: name, content and media type.
        :raises TelegramError: It failed.
        """
        given = {k: v for k, v in (params or {}).items() if v is not None}
        url = f"{self._base}/bot{self._token}/{method}"
        if files:
            fields = {
                k: v if isinstance(v, str) else json.dumps(v) for k, v in given.items()
            }
            request = httpx.Request("POST", url, data=fields, files=dict(files))
            seconds = seconds or _UPLOAD_SECONDS
        else:
            request = httpx.Request("POST", url, json=given)
        request.headers["accept-encoding"] = "identity"
        status, body = await self._transport.fetch(
            request, method=method, seconds=seconds or _CALL_SECONDS, limit=_MAX_ANSWER
        )
        return _result(method, status, body)

    async def download(self, file_id: str, limit: int) -> bytes:
        """Return the content of a file that somebody sent.

        :param limit: Most bytes; more is an error.
        :raises TelegramError: It failed.
        """
        found = await self.call("getFile", {"file_id": file_id})
        path = found.get("file_path") if isinstance(found, dict) else None
        if not isinstance(path, str) or ".." in path.split("/") or path[:1] == "/":
            raise TelegramError("it names no path that can be read", method="getFile")
        url = f"{self._base}/file/bot{self._token}/{quote(path)}"
        request = httpx.Request("GET", url, headers={"accept-encoding": "identity"})
        status, body = await self._transport.fetch(
            request, method="download", seconds=_DOWNLOAD_SECONDS, limit=limit
        )
        if status != 200:
            problem = "the file cannot be had"
            raise TelegramError(problem, method="download", status=status)
        return body


def _result(method: str, status: int, body: bytes) -> Any:
    """Return the result that an answer holds.

    :raises TelegramError: It holds an error, or it is no answer of the Bot API.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
        # What a proxy or a broken server says is no judgement about the call.
        status = status if status >= 500 or status == 429 else 0
        retry = _RETRY_SECONDS if status == 429 else None
        problem = "the answer is not of the Bot API"
        raise TelegramError(problem, method=method, status=status, retry_after=retry)
    if answer["ok"] and status == 200:
        return answer.get("result")
    code = answer.get("error_code")
    code = code if isinstance(code, int) and 400 <= code < 600 else max(status, 400)
    parameters = answer.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    migrated = parameters.get("migrate_to_chat_id")
    raise TelegramError(
        str(answer.get("description") or "no reason is given")[:500],
        method=method,
        status=code,
        retry_after=_seconds(parameters.get("retry_after")) if code == 429 else None,
        migrated_to=migrated if isinstance(migrated, int) else None,
    )


def _seconds(value: Any) -> float:
    if isinstance(value, int | float) and value >= 0:
        return min(float(value), _LONGEST_RETRY)
    return _RETRY_SECONDS
