"""Keeps the head and the tail of a stream, and makes text of them."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])?"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)


class HeadTail:
    """Bytes of which the middle is dropped once there are too many.

    :param limit: How many bytes are kept, half at each end.
    """

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def add(self, chunk: bytes) -> None:
        """Take more bytes; memory stays within twice the limit."""
        self.total += len(chunk)
        room = self._half - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:] if room > 0 else chunk
        if len(self._tail) > 3 * self._half:
            del self._tail[: -self._half]

    def text(self, limit: int) -> str:
        """Return at most ``limit`` bytes as clean text, with a note on the gap."""
        if self.total <= limit and self.total == len(self._head) + len(self._tail):
            return clean(bytes(self._head + self._tail))
        half = min(max(limit // 2, 1), self._half)
        head, tail = bytes(self._head[:half]), bytes(self._tail[-half:])
        dropped = self.total - len(head) - len(tail)
        return f"{clean(head)}\n[{dropped} bytes left out]\n{clean(tail)}"


def shares(limit: int, first: int, second: int) -> tuple[int, int]:
    """Divide a limit between two streams, so that neither starves the other.

    :param limit: Bytes for both.
    :param first: Bytes of the first stream.
    :param second: Bytes of the second stream.
    """
    if first + second <= limit:
        return first, second
    half = limit // 2
    if first <= half:
        return first, limit - first
    if second <= half:
        return limit - second, second
    return half, limit - half


def clean(data: bytes) -> str:
    """Decode bytes and take out what would steer a terminal or hide text."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", _ESCAPES.sub("", text))
