"""Who writes: an id that this gateway has signed, kept by the visitor's browser."""

from __future__ import annotations

import hmac
import os
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes, token_hex
from time import monotonic

_MAX_KEYS = 10_000


class Visitors:
    """Issues and checks tokens of the form ``<id>.<signature>``.

    :param secret: Signs the ids; whoever has it can be any visitor.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def of(cls, folder: Path) -> Visitors:
        """Return the visitors of a folder, which keeps the secret for its owner."""
        path = folder / "secret"
        try:
            return cls(path.read_bytes())
        except FileNotFoundError:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(fd, "wb") as file:
                secret = token_bytes(32)
                file.write(secret)
            return cls(secret)

    def issue(self) -> str:
        """Return the token of a new visitor."""
        visitor = token_hex(16)
        return f"{visitor}.{self._sign(visitor)}"

    def check(self, token: str) -> str | None:
        """Return the id that a token is for; ``None`` if we did not sign it."""
        visitor, _, signature = token.partition(".")
        expected = self._sign(visitor)
        genuine = hmac.compare_digest(signature.encode(), expected.encode())
        return visitor if genuine and len(visitor) == 32 else None

    def _sign(self, visitor: str) -> str:
        digest = hmac.new(
            self._secret, visitor.encode(errors="replace"), sha256
        ).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()


class Rate:
    """Lets each key pass so many times a minute."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = monotonic) -> None:
        self._full, self._clock = float(per_minute), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, key: str) -> bool:
        """Count one try, and return whether it may pass."""
        now = self._clock()
        tokens, then = self._buckets.pop(key, (self._full, now))
        tokens = min(self._full, tokens + (now - then) * self._full / 60)
        passes = tokens >= 1
        self._buckets[key] = (tokens - passes, now)
        while len(self._buckets) > _MAX_KEYS:
            self._buckets.popitem(last=False)
        return passes
