"""Paired devices: what they were granted, their tokens, and who waits to be paired.

A grant is what the gateway keeps, never what a client says of itself. A device's
token is derived from a secret of this gateway and a counter, so none is stored;
`DeviceStore.rotate` counts on, and the old token is worth nothing.
"""

from __future__ import annotations

import hmac
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from rustyclaw import MethodError, StorageError

from rustyclaw_server.auth.scopes import covers
from rustyclaw_server.auth.secret import same
from rustyclaw_server.auth.signature import encode

if TYPE_CHECKING:
    from rustyclaw import Gateway

_PENDING_SECONDS = 300.0
_MAX_PENDING = 100
_SECRET_BYTES = 32

_SCHEMA = """
CREATE TABLE IF NOT EXISTS devices (id TEXT PRIMARY KEY, facts TEXT NOT NULL);
"""
_USED = """
UPDATE devices SET facts = json_set(facts, ?, ?)
WHERE id = ? AND json_extract(facts, ?) = ?
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A device's token for one role; times in milliseconds since the epoch."""

    role: str
    scopes: tuple[str, ...]
    serial: int
    created_at: int
    rotated_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A paired device; ``about`` is what it says of itself, for people."""

    id: str
    public_key: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    created_at: int
    approved_at: int
    about: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingRequest:
    """A device that asks to be paired, or for more than it was granted."""

    request_id: str
    device_id: str
    public_key: str
    role: str
    scopes: tuple[str, ...]
    is_repair: bool
    created_at: int
    about: dict[str, Any] = field(default_factory=dict)


class DeviceStore:
    """The devices of one gateway, in its ``state.db``; kept in memory as well."""

    def __init__(
        self, gateway: Gateway, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = gateway.state.database
        self._secret_path = gateway.home / "credentials" / "device-secret"
        self._clock = clock
        self._devices: dict[str, Device] = {}
        self._pending: dict[str, PairingRequest] = {}
        self._secret = b""

    async def load(self) -> None:
        """Read what is kept."""
        self._database.ensure(_SCHEMA)
        rows = await self._database.read(
            lambda db: db.execute("SELECT facts FROM devices").fetchall()
        )
        devices = [_device(json.loads(row[0])) for row in rows]
        self._devices = {device.id: device for device in devices}
        self._secret = _secret(self._secret_path)

    def now(self) -> int:
        """Return milliseconds since the epoch."""
        return int(self._clock() * 1000)

    # --- Pairing ----------------------------------------------------------------------

    def get(self, device_id: str) -> Device | None:
        """Return a paired device."""
        return self._devices.get(device_id)

    def paired(self) -> list[Device]:
        """Return all paired devices, the oldest first."""
        return sorted(self._devices.values(), key=lambda d: d.created_at)

    def pending(self) -> list[PairingRequest]:
        """Return the requests that wait, the oldest first."""
        oldest = self.now() - _PENDING_SECONDS * 1000
        self._pending = {
            name: request
            for name, request in self._pending.items()
            if request.created_at > oldest
        }
        return list(self._pending.values())

    def is_granted(self, device_id: str, role: str, scopes: Iterable[str]) -> bool:
        """Return whether a device may have a role with these scopes."""
        device = self._devices.get(device_id)
        if device is None or role not in device.roles:
            return False
        return covers(device.scopes, scopes)

    def request(
        self,
        device_id: str,
        public_key: str,
        role: str,
        scopes: tuple[str, ...],
        about: dict[str, Any],
    ) -> tuple[PairingRequest, bool]:
        """Return the request of a device, and whether it is a new one.

        :raises MethodError: Too many devices wait.
        """
        for known in self.pending():
            if known.device_id == device_id:
                if (known.role, set(known.scopes)) == (role, set(scopes)):
                    return known, False
                del self._pending[known.request_id]
        if len(self._pending) >= _MAX_PENDING:
            raise MethodError("too many devices wait to be paired", code="UNAVAILABLE")
        request = PairingRequest(
            request_id=str(uuid4()),
            device_id=device_id,
            public_key=public_key,
            role=role,
            scopes=scopes,
            is_repair=device_id in self._devices,
            created_at=self.now(),
            about=about,
        )
        self._pending[request.request_id] = request
        return request, True

    async def approve(self, request_id: str, by: Iterable[str]) -> Device:
        """Pair a device; its grant grows by what it asked for.

        :param by: The scopes of who approves: nobody gives what they do not have.
        :raises MethodError: No such request, or it asks for more than that.
        """
        request = self._waiting(request_id)
        if not covers(by, request.scopes):
            raise MethodError("missing scope: the request asks for more than you have")
        del self._pending[request_id]
        return await self.grant(request)

    async def grant(self, request: PairingRequest) -> Device:
        """Pair the device of a request."""
        now, known = self.now(), self._devices.get(request.device_id)
        known = known or Device(
            id=request.device_id,
            public_key=request.public_key,
            roles=(),
            scopes=(),
            created_at=now,
            approved_at=now,
        )
        self._pending.pop(request.request_id, None)
        return await self._save(
            replace(
                known,
                roles=tuple(sorted({*known.roles, request.role})),
                scopes=tuple(sorted({*known.scopes, *request.scopes})),
                approved_at=now,
                about=request.about,
            )
        )

    def reject(self, request_id: str) -> PairingRequest:
        """Drop a request.

        :raises MethodError: There is none of that id.
        """
        request = self._waiting(request_id)
        del self._pending[request_id]
        return request

    async def rename(self, device_id: str, name: str) -> None:
        """Give a device another name for people.

        :raises MethodError: It is not paired.
        """
        device = self._devices.get(device_id)
        if device is None:
            raise MethodError("unknown deviceId")
        about = {**device.about, "displayName": name}
        await self._save(replace(device, about=about))

    async def remove(self, device_id: str) -> bool:
        """Forget a device; return whether it was paired."""
        known = self._devices.pop(device_id, None) is not None
        query = "DELETE FROM devices WHERE id = ?"
        await self._database.run(lambda db: db.execute(query, (device_id,)))
        return known

    def _waiting(self, request_id: str) -> PairingRequest:
        self.pending()  # forgets those that are too old
        if request_id not in self._pending:
            raise MethodError("unknown requestId")
        return self._pending[request_id]

    # --- Tokens -----------------------------------------------------------------------

    async def issue(
        self, device_id: str, role: str, scopes: Iterable[str]
    ) -> tuple[str, Token]:
        """Return the token of a paired device, a new one if it must grow."""
        device, wanted = self._devices[device_id], tuple(sorted(scopes))
        token = device.tokens.get(role)
        if token and token.revoked_at is None and covers(token.scopes, wanted):
            return self.text_of(device_id, token), token
        token = self._next(device, role, wanted)
        await self._save(replace(device, tokens={**device.tokens, role: token}))
        return self.text_of(device_id, token), token

    def check(self, device_id: str, role: str, text: str) -> Token | None:
        """Return what a device's token grants; ``None`` if it is not a valid one."""
        device = self._devices.get(device_id)
        token = device.tokens.get(role) if device else None
        valid = token is not None and token.revoked_at is None
        expected = self.text_of(device_id, token) if valid and token else ""
        return token if same(text, expected) and valid else None

    async def use(self, device_id: str, token: Token) -> None:
        """Note that a device has come in with its token, now."""
        now, place = self.now(), f'$.tokens."{token.role}"'
        row = (f"{place}.last_used_at", now, device_id, f"{place}.serial", token.serial)
        # Only this fact: the token may be taken away while it is written.
        with suppress(StorageError):  # the device need not suffer for it
            await self._database.run(lambda db: db.execute(_USED, row), durable=False)
        device = self._devices.get(device_id)
        known = device.tokens.get(token.role) if device else None
        if device and known and known.serial == token.serial:
            tokens = {**device.tokens, token.role: replace(known, last_used_at=now)}
            self._devices[device_id] = replace(device, tokens=tokens)

    async def rotate(
        self, device_id: str, role: str, scopes: Iterable[str] | None, by: Iterable[str]
    ) -> tuple[str, Token]:
        """Give a device a new token; the old one fails at once.

        :raises MethodError: No such device or role, or scopes that it or the caller
            does not have.
        """
        device = self._known(device_id, role)
        old = device.tokens.get(role)
        wanted = tuple(sorted(scopes or (old.scopes if old else device.scopes)))
        if not covers(device.scopes, wanted) or not covers(by, wanted):
            raise MethodError("missing scope: a token cannot have more than its device")
        token = replace(self._next(device, role, wanted), rotated_at=self.now())
        await self._save(replace(device, tokens={**device.tokens, role: token}))
        return self.text_of(device_id, token), token

    async def revoke(self, device_id: str, role: str) -> Token:
        """Make a device's token worthless.

        :raises MethodError: No such device, or it has no token of that role.
        """
        device = self._known(device_id, role)
        if role not in device.tokens:
            raise MethodError("unknown deviceId/role")
        token = replace(device.tokens[role], revoked_at=self.now())
        await self._save(replace(device, tokens={**device.tokens, role: token}))
        return token

    def text_of(self, device_id: str, token: Token) -> str:
        """Return the text of a token: 43 characters of base64url."""
        message = f"{device_id}|{token.role}|{token.serial}".encode()
        return encode(hmac.new(self._secret, message, sha256).digest())

    def _next(self, device: Device, role: str, scopes: tuple[str, ...]) -> Token:
        old = device.tokens.get(role)
        serial = old.serial + 1 if old else 1
        # Over a restored backup a counter alone would give an old token again.
        salt = int.from_bytes(token_bytes(4), "big") << 16
        return Token(
            role=role, scopes=scopes, serial=serial + salt, created_at=self.now()
        )

    def _known(self, device_id: str, role: str) -> Device:
        device = self._devices.get(device_id)
        if device is None or role not in device.roles:
            raise MethodError("unknown deviceId/role")
        return device

    async def _save(self, device: Device) -> Device:
        row = (device.id, json.dumps(_facts(device)))

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO devices VALUES (?, ?)", row)

        await self._database.run(write)
        self._devices[device.id] = device
        return device


def _secret(path: Path) -> bytes:
    """Return the secret that tokens are derived from; made at first use."""
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        return _new_secret(path)
    except OSError as exc:
        problem = f"cannot read {str(path)!r}: {exc.strerror}"
        raise StorageError(problem) from None
    if len(secret) != _SECRET_BYTES:  # tokens made from less could be guessed
        problem = f"{str(path)!r} does not hold {_SECRET_BYTES} bytes"
        raise StorageError(f"{problem}; remove it, and devices get new tokens")
    return secret


def _new_secret(path: Path) -> bytes:
    secret, new = token_bytes(_SECRET_BYTES), path.with_suffix(".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(fd)
        new.replace(path)
    except OSError as exc:
        problem = f"cannot write {str(path)!r}: {exc.strerror}"
        raise StorageError(problem) from None
    return secret


def _facts(value: Any) -> Any:
    if isinstance(value, Device | Token):
        return {name: _facts(getattr(value, name)) for name in value.__slots__}
    if isinstance(value, dict):
        return {name: _facts(item) for name, item in value.items()}
    return value


def _device(facts: dict[str, Any]) -> Device:
    tokens = {
        role: Token(**{**token, "scopes": tuple(token["scopes"])})
        for role, token in facts.pop("tokens").items()
    }
    roles, scopes = tuple(facts.pop("roles")), tuple(facts.pop("scopes"))
    return Device(**facts, roles=roles, scopes=scopes, tokens=tokens)
