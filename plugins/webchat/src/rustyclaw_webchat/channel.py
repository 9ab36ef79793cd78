"""The chat as a channel: visitors write by HTTP, answers stream to their pages."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.to_thread
from rustyclaw import (
    Busy,
    Capabilities,
    Channel,
    ChannelError,
    Inbound,
    Inbox,
    Outbound,
    Route,
    Sender,
    Sent,
    Target,
    WebRequest,
    WebResponse,
)

from rustyclaw_webchat.config import WebchatConfig
from rustyclaw_webchat.pages import Pages
from rustyclaw_webchat.store import Said, Store
from rustyclaw_webchat.streams import Event, Streams, TooMany
from rustyclaw_webchat.visitors import Rate, Visitors

_BASE = "/webchat"
_MAX_BODY = 65_536
_FORGET_SECONDS = 6 * 3600.0


class WebchatChannel(Channel):
    """A chat for web pages; one room, and so one session, for each visitor."""

    Config = WebchatConfig
    capabilities = Capabilities(
        text_limit=100_000, idempotent_send=True, draft_seconds=0.25
    )

    def __init__(self, config: WebchatConfig | None = None) -> None:
        super().__init__(config)
        settings: WebchatConfig = self.config
        self._streams = Streams()
        self._pages = Pages(settings)
        self._rate = Rate(settings.messages_per_minute)
        self._newcomers = Rate(settings.visitors_per_minute)
        self._visitors: Visitors | None = None
        self._store: Store | None = None
        self._inbox: Inbox | None = None

    async def __aenter__(self) -> Self:
        """Read the secret that signs visitors' ids; make it at the first start."""
        folder = self.folder
        self._visitors = await anyio.to_thread.run_sync(Visitors.of, folder)
        self._store = Store(folder / "messages.db")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the pages' streams and the file."""
        self._streams.close()
        if self._store is not None:
            await self._store.close()
        self._visitors = self._store = None

    async def run(self, inbox: Inbox) -> None:
        """Take what visitors write, until cancelled."""
        self._inbox = inbox
        try:
            while True:
                if self._store is not None:
                    await self._store.forget(self.config.keep_days)
                await anyio.sleep(_FORGET_SECONDS)
        finally:
            self._inbox = None

    # --- To the visitor ---------------------------------------------------------------

    async def send(self, target: Target, message: Outbound) -> Sent:
        """Keep a message, and show it on the visitor's open pages."""
        if self._store is None:
            raise ChannelError("the chat is closed; try again later")
        message_id = message.id or f"out-{time.time_ns()}"
        said, is_new = await self._store.add(
            target.chat_id, message_id, "assistant", message.text
        )
        if is_new:
            self._streams.send(target.chat_id, "message", _shown(said))
        return Sent(message_id=str(said.seq))

    async def draft(
        self, target: Target, text: str, draft: str | None, reply_to: str | None
    ) -> str | None:
        """Show the answer so far; nothing of it is kept."""
        self._streams.send(target.chat_id, "draft", {"text": text})
        return draft or f"draft:{reply_to}"

    def status(self) -> Mapping[str, Any]:
        """Return where the page is."""
        return {"page": _BASE}

    # --- From the visitor -------------------------------------------------------------

    def routes(self) -> Sequence[Route]:
        """Return the page, its script, and what the script calls."""
        paths = (f"{_BASE}/visitor", f"{_BASE}/messages", f"{_BASE}/events")
        calls = (self._visitor, self._message, self._events)
        methods = ("POST", "POST", "GET")
        return (
            *self._pages.routes(_BASE),
            *(
                Route(
                    method=method,
                    path=path,
                    handler=self._guarded(call),
                    max_body_bytes=_MAX_BODY,
                )
                for method, path, call in zip(methods, paths, calls, strict=True)
            ),
            *(
                Route(method="OPTIONS", path=path, handler=self._pages.preflight)
                for path in paths
            ),
        )

    def _guarded(
        self, handler: Callable[[WebRequest], Awaitable[WebResponse]]
    ) -> Callable[[WebRequest], Awaitable[WebResponse]]:
        """Let only pages call that may embed the chat, and while it is open."""

        async def guarded(request: WebRequest) -> WebResponse:
            headers = self._pages.cors(request)
            if headers is None:
                return _error(403, "this site may not embed the chat")
            if self._visitors is None or self._store is None:
                return _error(503, "the chat is closed; try again later", headers)
            answer = await handler(request)
            return WebResponse(
                status=answer.status,
                body=answer.body,
                headers={**answer.headers, **headers},
            )

        return guarded

    async def _visitor(self, request: WebRequest) -> WebResponse:
        """Greet a new visitor."""
        if not self._newcomers.allows(request.peer):
            return _error(429, "too many visitors from your address; wait a minute")
        assert self._visitors is not None  # noqa: S101 - `_guarded` has looked
        return _json({"token": self._visitors.issue()})

    async def _message(self, request: WebRequest) -> WebResponse:
        """Take a message; it is durable when the answer is 202."""
        visitor = self._who(request)
        if visitor is None:
            return _error(401, "unknown visitor; ask for a new token")
        if not self._rate.allows(visitor):
            return _error(429, "too many messages; wait a little")
        try:
            body = json.loads(request.body)
            message_id, text = str(body["id"]), str(body["text"]).strip()
        except (ValueError, TypeError, KeyError, RecursionError):
            return _error(400, "send JSON with `id` and `text`")
        limit = self.config.max_chars
        if not text or len(text) > limit or not 0 < len(message_id) <= 64:
            return _error(400, f"a message has 1 to {limit} characters")
        if self._inbox is None or self._store is None:
            return _error(503, "the chat is closed; try again later")
        text = text.encode(errors="replace").decode()
        target = Target(channel="webchat", chat_id=visitor, chat_type="channel")
        inbound = Inbound(
            message_id=f"{visitor}:{message_id}",
            sender=Sender(id=visitor, name="visitor"),
            target=target,
            text=text,
            timestamp=time.time(),
        )
        said, is_new = await self._store.add(visitor, f"in:{message_id}", "user", text)
        try:
            await self._inbox.accept(inbound)
        except Busy:
            return _error(503, "too busy; try again in a moment")
        if is_new:
            self._streams.send(visitor, "message", _shown(said))
        return _json({"seq": said.seq}, 202)

    async def _events(self, request: WebRequest) -> WebResponse:
        """Stream what is said from now on, after what the page has missed."""
        visitor = self._who(request)
        if visitor is None:
            return _error(401, "unknown visitor; ask for a new token")
        try:
            self._streams.check(visitor)
        except TooMany:
            return _error(429, "too many pages are open; close one")
        last = request.headers.get("last-event-id", "0")
        after = int(last) if last.isdecimal() and len(last) < 19 else 0
        store = self._store
        assert store is not None  # noqa: S101 - `_guarded` has looked

        async def missed() -> list[Event]:
            return [
                ("message", _shown(said)) for said in await store.after(visitor, after)
            ]

        headers = {
            "content-type": "text/event-stream",
            "cache-control": "no-store",
            "x-accel-buffering": "no",
        }
        return WebResponse(body=self._streams.open(visitor, missed), headers=headers)

    def _who(self, request: WebRequest) -> str | None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or self._visitors is None:
            return None
        return self._visitors.check(token.strip())


def _shown(said: Said) -> dict[str, Any]:
    return asdict(said)


def _json(value: Any, status: int = 200) -> WebResponse:
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    return WebResponse(status=status, body=json.dumps(value).encode(), headers=headers)


def _error(
    status: int, message: str, headers: Mapping[str, str] | None = None
) -> WebResponse:
    answer = _json({"error": message}, status)
    return WebResponse(
        status=status, body=answer.body, headers={**answer.headers, **(headers or {})}
    )
