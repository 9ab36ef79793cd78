"""Follows the frames of a WebSocket by their headers (RFC 6455, section 5.2).

The library below us reads what has come in, however much that is and whatever length
a header announces. With this one can stop after some frames, so that a flood of tiny
ones leaves time for others, and refuse a frame before its payload is there.
"""

from __future__ import annotations

#: The longest header: two bytes, the length in eight, the mask in four.
_HEADER = 14


class TooLong(Exception):
    """A header has announced more than may come."""


class Meter:
    """Where the frames of one byte stream begin and end."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    @property
    def inside(self) -> bool:
        """Whether a frame has begun that is not there to its end."""
        return bool(self._left or self._head)

    def cut(self, data: bytes, limit: int, frames: int) -> int:
        """Return how many bytes hold at most so many frames, or the end of one.

        :param limit: Bytes of a payload.
        :raises TooLong: A payload has more.
        """
        at, end = 0, len(data)
        while at < end and frames:
            if not self._left:
                view = self._head + data[at : at + _HEADER]
                size, header = _read(view)
                if not header:  # it goes on in the next data
                    self._head = view
                    return end
                if size > limit:
                    raise TooLong
                at += header - len(self._head)
                self._head, self._left = b"", size
            step = min(self._left, end - at)
            at += step
            self._left -= step
            frames -= not self._left
        return at


def _read(view: bytes) -> tuple[int, int]:
    """Return the lengths of payload and header; a header of 0 is not there yet."""
    if len(view) < 2:
        return 0, 0
    size, more = view[1] & 0x7F, 0
    if size > 125:
        more = 2 if size == 126 else 8
        size = int.from_bytes(view[2 : 2 + more], "big")
    header = 2 + more + (4 if view[1] & 0x80 else 0)
    return (size, header) if len(view) >= header else (0, 0)
