"""The secret that all callers share: token or password, or a proxy's word."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from rustyclaw import StorageError

if TYPE_CHECKING:
    from rustyclaw_server.auth.address import Peer
    from rustyclaw_server.config import AuthConfig


def same(given: str, wanted: str) -> bool:
    """Compare in constant time, whatever the lengths are."""
    digests = (
        sha256(t.encode(errors="surrogatepass")).digest() for t in (given, wanted)
    )
    return hmac.compare_digest(*digests)


class SharedSecret:
    """What callers must show; read anew for each of them, so that it can change.

    :param folder: Keeps the token that is made at first start, for its owner alone.
    """

    def __init__(self, config: AuthConfig, folder: Path) -> None:
        self.config = config
        self.path = folder / "gateway-token"

    @property
    def mode(self) -> str:
        """``token``, ``password``, ``trusted-proxy`` or ``none``."""
        return self.config.mode

    @property
    def is_generated(self) -> bool:
        """Whether the token is one that was made here."""
        return self.mode == "token" and self.config.token is None

    def value(self) -> str:
        """Return token or password.

        :raises StorageError: The token's file can neither be read nor made.
        """
        chosen = self.config.password if self.mode == "password" else self.config.token
        if chosen is not None:
            return chosen.get_secret_value()
        try:
            return self.path.read_text("ascii").strip() or self.renew()
        except FileNotFoundError:
            return self.renew()
        except (OSError, UnicodeDecodeError) as exc:
            raise StorageError(f"cannot read {str(self.path)!r}: {exc}") from None

    def renew(self) -> str:
        """Make a new token and return it; whoever used the old one must reconnect."""
        token = token_urlsafe(32)
        new = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(fd, "w", encoding="ascii") as file:
                file.write(f"{token}\n")
            new.replace(self.path)
        except OSError as exc:
            problem = f"cannot write {str(self.path)!r}: {exc.strerror}"
            raise StorageError(problem) from None
        return token

    def problem(self, token: str, password: str) -> str:
        """Return ``missing`` or ``mismatch``; empty if it is right."""
        if self.mode == "none":
            return ""
        given = password if self.mode == "password" else token
        if not given:
            return "missing"
        return "" if same(given, self.value()) else "mismatch"

    def proxy_user(self, peer: Peer, headers: Mapping[str, str]) -> str:
        """Return the user whom a trusted proxy names; empty if it names none."""
        if self.mode != "trusted-proxy" or not peer.is_proxy:
            return ""
        user = headers.get(self.config.user_header.lower(), "").strip()
        needed = all(headers.get(h.lower()) for h in self.config.required_headers)
        allowed = not self.config.allow_users or user in self.config.allow_users
        return user if needed and allowed else ""
