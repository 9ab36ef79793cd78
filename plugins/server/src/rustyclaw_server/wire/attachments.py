"""Attachments of ``chat.send`` and ``agent``: base64, bounded (sheet section 6)."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any

from rustyclaw import Audio, File, Image, MethodError

_MAX_BYTES = 5_000_000
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")


def media_of(attachments: Iterable[Mapping[str, Any]]) -> list[Image | Audio | File]:
    """Return what is attached to a message.

    :raises MethodError: One is no base64, or too large.
    """
    return [_media(number, one) for number, one in enumerate(attachments)]


def _media(number: int, one: Mapping[str, Any]) -> Image | Audio | File:
    content, kind = one.get("content"), one.get("mimeType")
    name = one.get("fileName") or f"attachment-{number + 1}"
    if not isinstance(content, str) or not isinstance(name, str):
        raise MethodError(f"attachment {number + 1}: content must be base64 text")
    head, comma, data = content.partition(",")
    if comma and head.startswith("data:"):
        kind = kind or head.removeprefix("data:").partition(";")[0]
    else:
        data = content
    if len(data) > _MAX_BYTES * 4 / 3 + 4:
        raise MethodError(f"attachment {name!r} has more than {_MAX_BYTES} bytes")
    try:
        raw = b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise MethodError(f"attachment {name!r} is not base64") from None
    kind = kind if isinstance(kind, str) and kind else "application/octet-stream"
    if kind in _IMAGES:
        return Image(data=raw, media_type=kind)
    if kind.startswith("audio/"):
        return Audio(data=raw, media_type=kind)
    return File(data=raw, media_type=kind, name=name[:255])
