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
    _read("cert_path", config.cert_path)
    if b"ENCRYPTED" in _read("key_path", config.key_path):
        problem = f"hooks.server.tls.key_path: {str(config.key_path)!r} is encrypted"
        raise ConfigError(f"{problem}; write the key without a passphrase")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a function OpenSSL might ask for a passphrase on the terminal.
        context.load_cert_chain(config.cert_path, config.key_path, lambda: "")
    except (ssl.SSLError, OSError) as exc:
        cert, key = str(config.cert_path), str(config.key_path)
        raise ConfigError(
            f"hooks.server.tls: certificate {cert!r} and key {key!r} cannot be used: "
            f"{_reason(exc)}"
        ) from None
    return context


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        problem = f"hooks.server.tls.{name}: cannot read {str(path)!r}: {exc.strerror}"
        raise ConfigError(problem) from None


def _reason(error: Exception) -> str:
    if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    return "they are no PEM files of a certificate chain and its private key"
