"""A Bot API server for tests, on a real socket of this machine.

::

    with FakeTelegram() as telegram:
        channel = TelegramChannel(TelegramConfig(**telegram.settings()))
        telegram.say("hello", sender=55)
        ...
        assert telegram.shown(55) == ["hello back"]

It keeps what Telegram keeps (updates until they are confirmed, messages with their
edits) and refuses what Telegram refuses, in its words. Source:
https://core.telegram.org/bots/api. It runs in threads, for any event loop.
"""

from __future__ import annotations

import email.parser
import email.policy
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import unquote

TOKEN = "123456:fake-Token_of-a-bot"  # noqa: S105 - opens nothing
USERNAME = "claw_bot"
LIMIT = 4096

Stage = Literal["before", "after", "answered"]
Trouble = Literal["hang", "reset", "reset-after", "garbage", "slow"]

_TAGS = {"b", "i", "u", "s", "code", "pre", "a", "blockquote", "tg-spoiler"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a method; ``files`` by field."""

    method: str
    token: str
    params: Mapping[str, Any]
    files: Mapping[str, tuple[str, bytes, str]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Shown:
    """A message that the bot made.

    :param text: What people read.
    :param history: What they have read there, the newest last.
    """

    bot: str
    chat: int
    id: int
    kind: str
    text: str
    source: str
    params: Mapping[str, Any]
    history: list[str] = field(default_factory=list)
    deleted: bool = False


@dataclass(slots=True, kw_only=True)
class _Bot:
    token: str
    username: str
    updates: dict[int, dict[str, Any]] = field(default_factory=dict)
    next_update: int = 7001
    confirmed: int = 0
    poll: object | None = None
    webhook: dict[str, Any] = field(default_factory=dict)
    last_error: str = ""

    @property
    def id(self) -> int:
        return int(self.token.partition(":")[0])


class Refusal(Exception):
    """The API says no."""

    def __init__(self, status: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.status, self.description = status, description
        self.parameters = parameters


class FakeTelegram:
    """The server, and the people who write to its bots.

    :ivar calls: All calls, in the order they came.
    :ivar messages: By chat and id.
    :ivar blocked: Chats that have blocked the bot.
    :ivar watch: Called with each method before it does anything, after it, and after
        its answer was sent.
    """

    def __init__(self) -> None:
        self._more = threading.Condition()
        self._bots = {TOKEN: _Bot(token=TOKEN, username=USERNAME)}
        self._faults: list[tuple[str, Refusal | Trouble]] = []
        self._closing = threading.Event()
        self._next_id = 1
        self.calls: list[Call] = []
        self.messages: dict[tuple[int, int], Shown] = {}
        self.files: dict[str, tuple[str, bytes]] = {}
        self.blocked: set[int] = set()
        self.watch: Callable[[str, Stage], None] = lambda method, stage: None

    def __enter__(self) -> Self:
        """Listen on a free port."""
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.telegram = self
        self.port = int(self._http.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop listening; whoever waits gets no answer."""
        self._closing.set()
        with self._more:
            self._more.notify_all()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def settings(self, **more: Any) -> dict[str, Any]:
        """Return the section ``channels.telegram`` that leads here."""
        return {"token": TOKEN, "base_url": self.url, "poll_seconds": 1, **more}

    def add_bot(self, token: str, username: str) -> None:
        """Let there be another bot."""
        self._bots[token] = _Bot(token=token, username=username)

    def revoke(self, token: str = TOKEN) -> None:
        """Make a token invalid."""
        del self._bots[token]

    # --- What people do ---------------------------------------------------------------

    def say(
        self,
        text: str = "",
        *,
        sender: int = 55,
        chat: Mapping[str, Any] | None = None,
        token: str = TOKEN,
        **fields: Any,
    ) -> dict[str, Any]:
        """Have somebody write, in private if no chat is named; return the message."""
        with self._more:
            message: dict[str, Any] = {
                "message_id": self._new_id(),
                "date": int(time.time()),
                "chat": dict(chat or {"id": sender, "type": "private"}),
                "from": {"id": sender, "is_bot": False, "first_name": "Al"},
                **({"text": text} if text else {}),
                **fields,
            }
        self.push({"message": message}, token=token)
        return message

    def push(self, update: Mapping[str, Any], *, token: str = TOKEN) -> int:
        """Put an update into a bot's queue; return its id."""
        with self._more:
            bot = self._bots[token]
            identifier = int(update.get("update_id", bot.next_update))
            bot.next_update = identifier + 1
            bot.updates[identifier] = {"update_id": identifier, **update}
            self._more.notify_all()
            return identifier

    def renumber(self, identifier: int, token: str = TOKEN) -> None:
        """Choose the next update's id, as Telegram does after a week of silence."""
        self._bots[token].next_update = identifier

    def delete(self, chat: int, message_id: int) -> None:
        """Have somebody delete a message of the bot."""
        self.messages[chat, message_id].deleted = True

    # --- What goes wrong --------------------------------------------------------------

    def refuse(
        self, method: str, status: int, text: str, *, times: int = 1, **parameters: int
    ) -> None:
        """Have the next calls of a method refused."""
        refusal = Refusal(status, text, **parameters)
        self._faults += [(method, refusal)] * times

    def trouble(self, method: str, what: Trouble, *, times: int = 1) -> None:
        """Have the next calls of a method not answered properly."""
        self._faults += [(method, what)] * times

    def _fault(self, method: str) -> Refusal | Trouble | None:
        with self._more:
            for index, (name, fault) in enumerate(self._faults):
                if name == method:
                    del self._faults[index]
                    return fault
        return None

    # --- The ledger -------------------------------------------------------------------

    def waiting(self, token: str = TOKEN) -> list[int]:
        """Return the updates that nobody has confirmed."""
        with self._more:
            return sorted(self._bots[token].updates)

    def webhook(self, token: str = TOKEN) -> Mapping[str, Any]:
        """Return what `setWebhook` was told."""
        return self._bots[token].webhook

    def shown(self, chat: int) -> list[str]:
        """Return what somebody reads in a chat from the bot, oldest first."""
        with self._more:
            found = [m for (c, _), m in self.messages.items() if c == chat]
            return [message.text for message in found if not message.deleted]

    def made(self, method: str) -> list[Call]:
        """Return the calls of a method."""
        return [call for call in tuple(self.calls) if call.method == method]

    # --- Methods ----------------------------------------------------------------------

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def answer(self, call: Call) -> Any:
        """Do what a method does, and return its result.

        :raises Refusal: The method refuses.
        """
        bot = self._bots.get(call.token)
        if bot is None:
            raise Refusal(401, "Unauthorized")
        method = getattr(self, f"_do_{call.method.lower()}", None)
        if method is None:
            raise Refusal(404, "Not Found: method not found")
        return method(bot, call)

    def _do_getme(self, bot: _Bot, call: Call) -> Any:
        name = {"first_name": "Claw", "username": bot.username}
        return {"id": bot.id, "is_bot": True, **name}

    def _do_getupdates(self, bot: _Bot, call: Call) -> Any:
        me = object()
        end = time.monotonic() + float(call.params.get("timeout", 0))
        offset = call.params.get("offset")
        allowed = call.params.get("allowed_updates") or ["message"]
        with self._more:
            if bot.webhook.get("url"):
                raise Refusal(
                    409,
                    "Conflict: can't use getUpdates method while webhook is active; "
                    "use deleteWebhook to delete the webhook first",
                )
            bot.poll = me
            self._more.notify_all()
            for identifier in [i for i in bot.updates if offset and i < offset]:
                del bot.updates[identifier]
                bot.confirmed = max(bot.confirmed, identifier)
            while True:
                found = [
                    bot.updates[i]
                    for i in sorted(bot.updates)
                    if not offset or i >= offset
                ]
                found = [u for u in found if any(kind in u for kind in allowed)]
                left = end - time.monotonic()
                if bot.poll is not me:
                    raise Refusal(
                        409,
                        "Conflict: terminated by other getUpdates request; make sure "
                        "that only one bot instance is running",
                    )
                if found or left <= 0 or self._closing.is_set():
                    return found[: int(call.params.get("limit", 100))]
                self._more.wait(left)

    def _do_setwebhook(self, bot: _Bot, call: Call) -> Any:
        if not str(call.params.get("url", "")).startswith("https://"):
            raise Refusal(
                400, "Bad Request: bad webhook: An HTTPS URL must be provided"
            )
        bot.webhook = dict(call.params)
        return True

    def _do_deletewebhook(self, bot: _Bot, call: Call) -> Any:
        bot.webhook = {}
        return True

    def _do_getwebhookinfo(self, bot: _Bot, call: Call) -> Any:
        info: dict[str, Any] = {"url": bot.webhook.get("url", "")}
        info["pending_update_count"] = len(bot.updates)
        if bot.last_error:
            info["last_error_message"] = bot.last_error
        return info

    def _do_sendchataction(self, bot: _Bot, call: Call) -> Any:
        self._chat(call)
        return True

    def _do_sendmessage(self, bot: _Bot, call: Call) -> Any:
        chat = self._chat(call)
        return self._put(bot, chat, "text", call, _read(call.params, "text", LIMIT))

    def _do_editmessagetext(self, bot: _Bot, call: Call) -> Any:
        chat = self._chat(call)
        text = _read(call.params, "text", LIMIT)
        with self._more:
            message = self.messages.get((chat, int(call.params["message_id"])))
            if message is None or message.deleted or message.bot != bot.token:
                raise Refusal(400, "Bad Request: message to edit not found")
            if message.source == str(call.params["text"]):
                raise Refusal(
                    400,
                    "Bad Request: message is not modified: specified new message "
                    "content and reply markup are exactly the same as a current "
                    "content and reply markup of the message",
                )
            message.text, message.source = text, str(call.params["text"])
            message.history.append(text)
        return {"message_id": message.id, "chat": {"id": chat}, "text": text}

    def _do_deletemessage(self, bot: _Bot, call: Call) -> Any:
        self.delete(self._chat(call), int(call.params["message_id"]))
        return True

    def _upload(self, bot: _Bot, call: Call) -> Any:
        kind = call.method.removeprefix("send").lower()
        chat = self._chat(call)
        if kind not in call.files:
            raise Refusal(400, f"Bad Request: there is no {kind} in the request")
        return self._put(bot, chat, kind, call, _read(call.params, "caption", 1024))

    _do_sendphoto = _do_sendvoice = _do_sendaudio = _do_senddocument = _upload

    def _do_sendmediagroup(self, bot: _Bot, call: Call) -> Any:
        chat = self._chat(call)
        items = call.params.get("media")
        if not isinstance(items, list) or not 2 <= len(items) <= 10:
            raise Refusal(400, "Bad Request: media must be 2-10 items")
        for item in items:
            if item["media"].removeprefix("attach://") not in call.files:
                raise Refusal(400, "Bad Request: file is not attached")
        return [self._put(bot, chat, item["type"], call, "") for item in items]

    def _do_getfile(self, bot: _Bot, call: Call) -> Any:
        found = self.files.get(str(call.params.get("file_id")))
        if found is None:
            raise Refusal(400, "Bad Request: invalid file_id")
        return {"file_id": call.params["file_id"], "file_path": found[0]}

    def _chat(self, call: Call) -> int:
        """Return the chat of a call, if the bot may write there."""
        try:
            chat = int(call.params["chat_id"])
        except (KeyError, ValueError):
            raise Refusal(400, "Bad Request: chat not found") from None
        if chat in self.blocked:
            raise Refusal(403, "Forbidden: bot was blocked by the user")
        return chat

    def _put(self, bot: _Bot, chat: int, kind: str, call: Call, text: str) -> Any:
        with self._more:
            message = Shown(
                bot=bot.token,
                chat=chat,
                id=self._new_id(),
                kind=kind,
                text=text,
                source=str(call.params.get("text", "")),
                params=call.params,
                history=[text],
            )
            self.messages[chat, message.id] = message
        return {"message_id": message.id, "chat": {"id": chat}, "text": text}


def _read(params: Mapping[str, Any], name: str, limit: int) -> str:
    """Return a text as it is shown.

    :raises Refusal: It is empty, too long, or its marks cannot be read.
    """
    text = str(params.get(name, ""))
    if params.get("parse_mode") == "HTML":
        reader = _Html()
        reader.feed(text)
        reader.close()
        if reader.problem or reader.stack:
            problem = reader.problem or f"Can't find end tag of {reader.stack[-1]!r}"
            raise Refusal(400, f"Bad Request: can't parse entities: {problem}")
        text = "".join(reader.text)
    text = text.strip()
    if name == "text" and not text:
        raise Refusal(400, "Bad Request: message text is empty")
    if len(text.encode("utf-16-le")) // 2 > limit:
        raise Refusal(400, "Bad Request: message is too long")
    return text


class _Html(HTMLParser):
    """Reads Telegram's dialect, which allows no tag of its own making."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.stack: list[str] = []
        self.problem = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _TAGS:
            self.problem = f'Unsupported start tag "{tag}"'
        self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.problem = f'Unmatched end tag "{tag}"'

    def handle_data(self, data: str) -> None:
        if re.search(r"<[a-z/]", data):
            self.problem = "Unexpected end tag"
        self.text.append(data)


# --- HTTP -----------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    telegram: FakeTelegram

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65_536
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """Hand out a file."""
        telegram = self.server.telegram
        match = re.fullmatch(r"/file/bot([^/]+)/(.+)", self.path)
        content = dict(telegram.files.values()).get(unquote(match[2]) if match else "")
        if match is None or match[1] not in telegram._bots or content is None:
            self._refuse(Refusal(404, "Not Found"))
            return
        fault = telegram._fault("download")
        if isinstance(fault, Refusal):
            self._refuse(fault)
        elif fault is not None:
            self._spoil(fault)
        else:
            self._write(200, content, "application/octet-stream")

    def do_POST(self) -> None:
        """Answer a call."""
        telegram = self.server.telegram
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        match = re.fullmatch(r"/bot([^/]+)/(\w+)", self.path)
        if match is None:
            self._refuse(Refusal(404, "Not Found"))
            return
        params, files = _decode(self.headers.get("content-type", ""), body)
        call = Call(method=match[2], token=match[1], params=params, files=files)
        telegram.calls.append(call)
        telegram.watch(call.method, "before")
        fault = telegram._fault(call.method)
        if isinstance(fault, Refusal):
            self._refuse(fault)
            return
        if fault is not None and fault not in ("reset-after", "slow"):
            self._spoil(fault)
            return
        try:
            result = telegram.answer(call)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        telegram.watch(call.method, "after")
        if fault is not None:
            self._spoil(fault)
            return
        self._say(200, {"ok": True, "result": result})
        telegram.watch(call.method, "answered")

    def _refuse(self, refusal: Refusal) -> None:
        answer: dict[str, Any] = {"ok": False, "error_code": refusal.status}
        answer["description"] = refusal.description
        if refusal.parameters:
            answer["parameters"] = refusal.parameters
        self._say(refusal.status, answer)

    def _spoil(self, what: Trouble) -> None:
        """Do not answer as one should."""
        self.close_connection = True
        if what == "garbage":
            self._write(502, b"<html>Bad Gateway</html>", "text/html")
        elif what in ("hang", "slow"):
            if what == "slow":
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 90000\r\n\r\n{")
                self.wfile.flush()
            self.server.telegram._closing.wait()
        else:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def _say(self, status: int, value: Any) -> None:
        self._write(status, json.dumps(value).encode(), "application/json")

    def _write(self, status: int, body: bytes, media_type: str) -> None:
        with suppress(ConnectionError):
            self.send_response(status)
            self.send_header("content-type", media_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _decode(
    content_type: str, body: bytes
) -> tuple[dict[str, Any], dict[str, tuple[str, bytes, str]]]:
    """Return the parameters and the files of a request."""
    if not content_type.startswith("multipart/form-data"):
        return (json.loads(body) if body else {}), {}
    head = f"content-type: {content_type}\r\n\r\n".encode()
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    params: dict[str, Any] = {}
    files: dict[str, tuple[str, bytes, str]] = {}
    for part in parser.parsebytes(head + body).iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        if not isinstance(content, bytes):
            continue
        if (file_name := part.get_filename()) is not None:
            files[name] = (file_name, content, part.get_content_type())
            continue
        text = content.decode()
        try:
            params[name] = json.loads(text)
        except ValueError:
            params[name] = text
    return params, files
