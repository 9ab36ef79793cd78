"""The certificate of ``hooks.server.tls``, checked before anybody connects."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from rustyclaw import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from rustyclaw_server.config import TlsConfig


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """Return what the listener needs; reads files.

    :raises ConfigError: The files cannot be used; says which, and why.
    """
    for name, path in (("cert_path", config.cert_path), ("key_path", config.key_path)):
        _check_readable(name, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(config.cert_path, config.key_path, lambda: "")
    except (ssl.SSLError, OSError) as exc:
        cert, key = str(config.cert_path), str(config.key_path)
        raise ConfigError(
            f"hooks.server.tls: certificate {cert!r} and key {key!r} cannot be used: "
            f"{_reason(exc)}"
        ) from None
    return context


def _check_readable(name: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as exc:
        problem = f"hooks.server.tls.{name}: cannot read {str(path)!r}: {exc.strerror}"
        raise ConfigError(problem) from None


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or ""
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    if "BAD_DECRYPT" in reason or "PASSWORD" in reason or "password" in str(error):
        return "the key is encrypted; write it without a passphrase"
    return "they are no PEM files of a certificate chain and its private key"
