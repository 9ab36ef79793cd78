"""The Bot API server: its ledger, its people and its methods."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from rustyclaw_telegram.testing.marks import Refusal, shown_text
from rustyclaw_telegram.testing.wire import Handler, Server, Trouble

TOKEN = "123456:fake-Token_of-a-bot"  # noqa: S105 - opens nothing
USERNAME = "claw_bot"
LIMIT = 4096

Stage = Literal["before", "after", "answered"]


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
        self.closing = threading.Event()
        self._next_id = 1
        self.calls: list[Call] = []
        self.messages: dict[tuple[int, int], Shown] = {}
        self.files: dict[str, tuple[str, bytes]] = {}
        self.blocked: set[int] = set()
        self.watch: Callable[[str, Stage], None] = lambda method, stage: None

    def __enter__(self) -> Self:
        """Listen on a free port."""
        self._http = Server(("127.0.0.1", 0), Handler)
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
        self.closing.set()
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
        """Put an update into a bot's queue; return its id.

        :param update: With an ``update_id`` it is shown with that one, right or wrong.
        """
        with self._more:
            bot = self._bots[token]
            identifier = bot.next_update
            bot.next_update = identifier + 1
            bot.updates[identifier] = {"update_id": identifier, **update}
            self._more.notify_all()
            return identifier

    def set_webhook(self, token: str = TOKEN, **params: Any) -> None:
        """Have somebody set a webhook from elsewhere."""
        self._bots[token].webhook = params

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

    def fault(self, method: str) -> Refusal | Trouble | None:
        """Return what goes wrong with this call, once for each that was ordered."""
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

    def knows(self, token: str) -> bool:
        """Return whether a token is valid."""
        return token in self._bots

    def note(
        self,
        method: str,
        token: str,
        params: Mapping[str, Any],
        files: Mapping[str, tuple[str, bytes, str]],
    ) -> Call:
        """Keep a call in the ledger, and return it."""
        call = Call(method=method, token=token, params=params, files=files)
        self.calls.append(call)
        return call

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
                if found or left <= 0 or self.closing.is_set():
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
        return self._put(
            bot, chat, "text", call, shown_text(call.params, "text", LIMIT)
        )

    def _do_editmessagetext(self, bot: _Bot, call: Call) -> Any:
        chat = self._chat(call)
        text = shown_text(call.params, "text", LIMIT)
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
        key = self._chat(call), int(call.params["message_id"])
        if key not in self.messages or self.messages[key].deleted:
            raise Refusal(400, "Bad Request: message to delete not found")
        self.delete(*key)
        return True

    def _upload(self, bot: _Bot, call: Call) -> Any:
        kind = call.method.removeprefix("send").lower()
        chat = self._chat(call)
        if kind not in call.files:
            raise Refusal(400, f"Bad Request: there is no {kind} in the request")
        return self._put(
            bot, chat, kind, call, shown_text(call.params, "caption", 1024)
        )

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
