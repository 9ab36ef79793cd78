"""Proves that a client holds the key of its device (protocol sheet section 3)."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

#: The first 12 bytes of an Ed25519 key in DER; the raw 32 bytes follow.
_SPKI = bytes.fromhex("302a300506032b6570032100")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a client signs; ``scopes`` in the order in which it sent them."""

    device_id: str
    client_id: str
    client_mode: str
    role: str
    scopes: tuple[str, ...]
    signed_at: int
    token: str
    nonce: str
    platform: str
    family: str

    def payloads(self) -> Iterator[bytes]:
        """Yield what may have been signed, the newest version of the format first."""
        parts = (
            *(self.device_id, self.client_id, self.client_mode, self.role),
            *(",".join(self.scopes), str(self.signed_at), self.token),
        )
        if not self.nonce:
            yield "|".join(("v1", *parts)).encode(errors="surrogatepass")
            return
        tail = (self.nonce, self.platform.strip().lower(), self.family.strip().lower())
        yield "|".join(("v3", *parts, *tail)).encode(errors="surrogatepass")
        yield "|".join(("v2", *parts, self.nonce)).encode(errors="surrogatepass")


def raw_key(text: str) -> bytes:
    """Return the 32 bytes of a public key that is base64url, base64 or PEM.

    :raises ValueError: It is no Ed25519 key.
    """
    if "BEGIN" in text:
        lines = [line for line in text.strip().splitlines() if "-----" not in line]
        der = b64decode("".join(lines), validate=True)
        key = der.removeprefix(_SPKI)
    else:
        key = decode(text)
    if len(key) != 32:
        raise ValueError("an Ed25519 public key has 32 bytes")
    return key


def device_id(key: bytes) -> str:
    """Return the id of the device that has a public key."""
    return sha256(key).hexdigest()


def encode(data: bytes) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Read base64url or standard base64, padded or not.

    :raises ValueError: It is neither.
    """
    plain = text.strip().replace("+", "-").replace("/", "_").rstrip("=")
    if len(plain) > 1024 or not plain.isascii():
        raise ValueError("too long, or no base64")
    return b64decode(plain + "=" * (-len(plain) % 4), b"-_", validate=True)


def is_genuine(key: bytes, signature: str, claim: Claim) -> bool:
    """Return whether the holder of a key has signed a claim."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        public, signed = Ed25519PublicKey.from_public_bytes(key), decode(signature)
    except ValueError:
        return False
    for payload in claim.payloads():
        try:
            public.verify(signed, payload)
            return True
        except InvalidSignature:
            continue
    return False
