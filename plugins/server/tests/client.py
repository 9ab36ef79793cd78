"""A client of the gateway protocol for tests: strict about what it is sent.

::

    async with Client(url, token=token) as client:
        assert (await client.ask("health"))["ok"]
        await client.ask("chat.send", sessionKey="main", ...)
        final = await client.event("chat", state="final")

It connects as a device of its own with a real key. Whatever it waits for has a
deadline. An answer that a real client would drop fails the test.
"""

from __future__ import annotations

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Self
from uuid import uuid4

import websockets
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed

TIMEOUT = 10.0
ADMIN, READ, WRITE = "operator.admin", "operator.read", "operator.write"
APPROVALS, PAIRING = "operator.approvals", "operator.pairing"
#: All that an operator may have.
SCOPES = (ADMIN, READ, WRITE, APPROVALS, PAIRING)


class Failed(Exception):
    """The gateway answered with an error."""

    def __init__(self, frame: Mapping[str, Any]) -> None:
        self.error: dict[str, Any] = frame["error"]
        self.payload: Any = frame.get("payload")
        self.code: str = self.error["code"]
        self.message: str = self.error["message"]
        self.details: Any = self.error.get("details")
        super().__init__(f"{self.code}: {self.message}")


class Closed(Exception):
    """The gateway closed the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code, self.reason = code, reason


def b64(data: bytes) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


class Device:
    """A device with its key; may be used for several connections."""

    def __init__(self, seed: bytes | None = None) -> None:
        self.key = (
            Ed25519PrivateKey.from_private_bytes(seed)
            if seed
            else Ed25519PrivateKey.generate()
        )
        raw = self.key.public_key().public_bytes_raw()
        self.public_key = b64(raw)
        self.id = sha256(raw).hexdigest()

    def sign(self, *parts: str) -> str:
        """Sign parts of a payload."""
        return b64(self.key.sign("|".join(parts).encode()))


@dataclass(slots=True, kw_only=True)
class Hello:
    """What a client says in ``connect``; see `params`.

    :param signature: Which payload is signed: ``v1``, ``v2`` or ``v3``; ``""``: the
        client has no device.
    :param shown: The ``auth`` object; by default the token of the client.
    :param extra: Further parameters, or other values for some.
    """

    device: Device | None = None
    signature: str = "v3"
    role: str = "operator"
    scopes: Sequence[str] = SCOPES
    caps: Sequence[str] = ()
    client_id: str = "test"
    mode: str = "test"
    platform: str = "linux"
    protocol: tuple[int, int] = (3, 3)
    shown: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def params(self, nonce: str) -> dict[str, Any]:
        """Return the parameters of ``connect``, signed over a nonce."""
        shown = self.shown or {}
        params: dict[str, Any] = {
            "minProtocol": self.protocol[0],
            "maxProtocol": self.protocol[1],
            "client": {
                "id": self.client_id,
                "version": "1",
                "platform": self.platform,
                "mode": self.mode,
            },
            "caps": list(self.caps),
            "role": self.role,
            "scopes": list(self.scopes),
        }
        if shown:
            params["auth"] = dict(shown)
        if self.device and self.signature:
            secret = (
                shown.get("token")
                or shown.get("deviceToken")
                or shown.get("bootstrapToken")
                or ""
            )
            params["device"] = self._proof(self.device, nonce, secret)
        return params | dict(self.extra)

    def _proof(self, device: Device, nonce: str, secret: str) -> dict[str, Any]:
        signed_at = int(time.time() * 1000)
        parts = [self.signature, device.id, self.client_id, self.mode, self.role]
        parts += [",".join(self.scopes), str(signed_at), secret]
        if self.signature != "v1":
            parts.append(nonce)
        if self.signature == "v3":
            parts += [self.platform.lower().strip(), ""]
        proof = {
            "id": device.id,
            "publicKey": device.public_key,
            "signature": device.sign(*parts),
            "signedAt": signed_at,
        }
        return proof if self.signature == "v1" else proof | {"nonce": nonce}


class Client:
    """A connection to the gateway; as a context it connects on entry.

    :param url: Of the gateway, ``http`` or ``ws``.
    :param token: The shared token, if no ``shown`` is given.
    :param headers: Of the upgrade, such as ``{"x-forwarded-for": "192.0.2.7"}``,
        which makes the client a remote one, or ``{"origin": ...}``.
    :param hello: As `Hello` takes it; without a ``device`` one is made.
    :ivar hello_ok: What the gateway answered to ``connect``.
    :ivar frames: All frames that came in, in order.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        path: str = "/",
        **hello: Any,
    ) -> None:
        self.url = url.replace("http", "ws", 1) + path
        hello.setdefault("device", Device())
        hello.setdefault("shown", {"token": token} if token else None)
        self.hello = Hello(**hello)
        self.headers = dict(headers or {})
        self.frames: list[dict[str, Any]] = []
        self.hello_ok: dict[str, Any] = {}
        self.nonce = ""
        self._taken: set[int] = set()
        self._changed = asyncio.Event()
        self._closed: Closed | None = None
        self._reader: asyncio.Task[None] | None = None
        self._socket: websockets.asyncio.client.ClientConnection

    async def __aenter__(self) -> Self:
        await self.open()
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the socket and wait for the challenge."""
        origin = self.headers.pop("origin", None)
        self._socket = await open_socket(
            self.url,
            origin=origin,  # type: ignore[arg-type]  # a text will do
            additional_headers=self.headers,
            compression=None,
            max_size=2**26,
            ping_interval=None,
            proxy=None,
            open_timeout=TIMEOUT,
        )
        self._reader = asyncio.create_task(self._read())
        self.nonce = (await self.event("connect.challenge"))["nonce"]

    async def connect(self) -> dict[str, Any]:
        """Say who we are; return and keep ``hello-ok``.

        :raises Failed: The gateway refused.
        """
        self.hello_ok = await self.ask("connect", **self.hello.params(self.nonce))
        assert self.hello_ok["type"] == "hello-ok"
        return self.hello_ok

    async def close(self) -> None:
        """Close the connection."""
        await self._socket.close()
        if self._reader is not None:
            await self._reader

    async def closed(self, seconds: float = TIMEOUT) -> tuple[int, str]:
        """Wait until the gateway closes; return code and reason."""
        async with asyncio.timeout(seconds):
            while self._closed is None:
                await self._changed.wait()
        return self._closed.code, self._closed.reason

    # --- Requests ---------------------------------------------------------------------

    async def ask(self, method: str, seconds: float = TIMEOUT, /, **params: Any) -> Any:
        """Call a method and return its first answer.

        :raises Failed: It is an error.
        """
        return await (await self.request(method, params)).answer(seconds)

    async def request(
        self, method: str, params: Any = None, request_id: str = ""
    ) -> Pending:
        """Send a request; what it is answered is read from what this returns."""
        request_id = request_id or str(uuid4())
        frame = {"type": "req", "id": request_id, "method": method}
        if params is not None:
            frame["params"] = params
        await self.send(frame)
        return Pending(self, request_id)

    async def send(self, frame: Any) -> None:
        """Send a frame; a text or bytes go as they are."""
        raw = isinstance(frame, str | bytes)
        await self._socket.send(frame if raw else json.dumps(frame))

    # --- What comes in ----------------------------------------------------------------

    async def event(
        self, name: str = "", seconds: float = TIMEOUT, /, **facts: Any
    ) -> Any:
        """Return the payload of the next event of a name that has these facts.

        Events that were passed over can still be read under their own names.
        """
        return (await self.event_frame(name, seconds, **facts))["payload"]

    async def event_frame(
        self, name: str = "", seconds: float = TIMEOUT, /, **facts: Any
    ) -> dict[str, Any]:
        """Return the whole frame of that event."""

        def wanted(frame: dict[str, Any]) -> bool:
            if frame["type"] != "event" or name not in ("", frame["event"]):
                return False
            payload = frame["payload"]
            return all(payload.get(key) == value for key, value in facts.items())

        return await self._next(wanted, seconds, f"event {name!r} with {facts}")

    async def _next(self, wanted: Any, seconds: float, what: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(seconds):
                start = 0
                while True:
                    for number in range(start, len(self.frames)):
                        if number not in self._taken and wanted(self.frames[number]):
                            self._taken.add(number)
                            return self.frames[number]
                    start = len(self.frames)
                    if self._closed is not None:
                        raise self._closed
                    await self._changed.wait()
        except TimeoutError:
            seen = [_brief(frame) for frame in self.frames[-12:]]
            raise AssertionError(f"no {what} within {seconds} s; saw {seen}") from None

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Return the frames of all events so far, read or not."""
        return [
            frame
            for frame in self.frames
            if frame["type"] == "event" and name in ("", frame["event"])
        ]

    async def settled(self) -> None:
        """Return when all that the gateway sent until now has been read."""
        with suppress(Failed):  # its answer is queued behind them
            await self.ask("no.such-method")

    async def _read(self) -> None:
        try:
            async for raw in self._socket:
                frame = json.loads(raw)
                check_frame(frame)
                self.frames.append(frame)
                self._wake()
        except ConnectionClosed:
            pass
        finally:
            code, reason = self._socket.close_code, self._socket.close_reason
            self._closed = Closed(code or 1006, reason or "")
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that is on its way; it may be answered more than once."""

    client: Client
    id: str

    async def frame(self, seconds: float = TIMEOUT) -> dict[str, Any]:
        """Return the next answer as a frame."""

        def wanted(frame: dict[str, Any]) -> bool:
            return bool(frame["type"] == "res" and frame["id"] == self.id)

        return await self.client._next(wanted, seconds, f"answer to {self.id!r}")

    async def answer(self, seconds: float = TIMEOUT) -> Any:
        """Return the payload of the next answer.

        :raises Failed: It is an error.
        """
        frame = await self.frame(seconds)
        if not frame["ok"]:
            raise Failed(frame)
        return frame["payload"]


_KEYS = {
    "res": {"type", "id", "ok", "payload", "error"},
    "event": {"type", "event", "payload", "seq", "stateVersion"},
}


def check_frame(frame: dict[str, Any]) -> None:
    """Check an envelope as real clients do, which drop what they do not know."""
    unknown = frame.keys() - _KEYS[frame["type"]]
    assert not unknown, f"unknown keys {unknown} in {frame}"
    empty = [k for k, v in frame.items() if v is None and k != "payload"]
    assert not empty, f"nulls in {frame}"
    if frame["type"] == "res":
        assert isinstance(frame["id"], str)
        if not frame["ok"]:
            assert (
                {"code", "message"}
                <= frame["error"].keys()
                <= {*("code", "message", "details", "retryable", "retryAfterMs")}
            )
    elif "seq" in frame:
        assert type(frame["seq"]) is int


def _brief(frame: dict[str, Any]) -> str:
    return json.dumps(frame)[:160]
