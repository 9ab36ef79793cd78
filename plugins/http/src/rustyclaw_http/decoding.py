"""From the bytes of a streamed answer to its events; nothing here does I/O.

Bytes arrive in pieces that respect neither lines nor characters. Everything is
bounded, whatever is sent.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Item_co = TypeVar("Item_co", covariant=True)

_BOM = b"\xef\xbb\xbf"
_PIECE_BYTES = 256 * 1024


class TooLarge(Exception):
    """An event or a line is longer than the limit, which its text is."""


class NotReadable(Exception):
    """The bytes are not what they were announced to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSentEvent:
    """An event of a stream; ``event`` is its type, ``message`` if it names none."""

    event: str = "message"
    data: str = ""


class Decoder(Protocol, Generic[Item_co]):
    """Takes bytes as they come and yields what is complete."""

    def feed(self, data: bytes) -> Iterator[Item_co]:
        """Take more bytes."""
        ...

    def flush(self) -> Iterator[Item_co]:
        """Say that no more will come."""
        ...


class EventDecoder:
    """Server-sent events, as the HTML standard has them (section 9.2.6).

    ``id`` and ``retry`` are ignored: no vendor resumes a stream. An event without its
    blank line is incomplete and never leaves.

    :param limit: Upper bound of an event, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = bytearray()
        self._after_return = False
        self._first = True
        self._type = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[ServerSentEvent]:
        """Take more bytes; the decoder holds at most its limit of them.

        :raises TooLarge: An event is.
        """
        if self._after_return and data.startswith(b"\n"):
            data = data[1:]  # a line may end in \r\n, in two pieces
            self._after_return = False
        if data:
            self._after_return = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line += line
            yield from self._take(bytes(self._line))
            self._line.clear()
        self._line += rest
        self._check(len(self._line))

    def flush(self) -> Iterator[ServerSentEvent]:
        """Drop what is incomplete."""
        yield from ()

    def _take(self, line: bytes) -> Iterator[ServerSentEvent]:
        if self._first:
            line, self._first = line.removeprefix(_BOM), False
        if not line:
            if self._data:
                text = "\n".join(self._data)
                yield ServerSentEvent(event=self._type or "message", data=text)
            self._type, self._data, self._size = "", [], 0
            return
        name, _, value = line.partition(b":")  # a comment has an empty name
        text = value.removeprefix(b" ").decode(errors="replace")
        if name == b"data":
            self._data.append(text)
            self._size += len(value) + 1
            self._check(0)
        elif name == b"event":
            self._type = text

    def _check(self, more: int) -> None:
        if self._size + more > self._limit:
            raise TooLarge(self._limit)


class JsonLineDecoder:
    """JSON values, one a line; the last may lack its line end.

    :param limit: Upper bound of a line, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Take more bytes.

        :raises TooLarge: A line is.
        :raises NotReadable: A line is no JSON.
        """
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line += line
            yield from self.flush()
        self._line += rest
        if len(self._line) > self._limit:
            raise TooLarge(self._limit)

    def flush(self) -> Iterator[Any]:
        """Take what has come as a line.

        :raises NotReadable: It is no JSON.
        """
        line = bytes(self._line).strip()
        self._line.clear()
        if line:
            yield decoded(line)


class Inflater:
    """Undoes the ``content-encoding`` of a vendor that compresses unasked.

    :raises NotReadable: Nobody knows this encoding.
    """

    def __init__(self, encoding: str) -> None:
        self._zlib: Any = None
        if encoding in ("gzip", "x-gzip", "deflate"):
            self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32)  # finds out which
        elif encoding not in ("", "identity"):
            raise NotReadable(f"it is compressed with {encoding!r}")

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take more bytes, and yield pieces of bounded size.

        :raises NotReadable: They are not compressed as was said.
        """
        if self._zlib is None:
            yield data
            return
        while data:
            try:
                yield self._zlib.decompress(data, _PIECE_BYTES)
            except zlib.error as exc:
                raise NotReadable(f"it cannot be decompressed: {exc}") from exc
            data = self._zlib.unconsumed_tail


class Mender:
    """Joins the halves of characters that JSON escapes have torn apart.

    A vendor may send ``\\ud83e`` in one event and ``\\udd80`` in the next. What stays
    half becomes U+FFFD: no file and no platform takes it.
    """

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        """Return more text, whole; a first half waits for the second."""
        text, self._half = self._half + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        try:
            text.encode()
        except UnicodeEncodeError:
            pairs = text.encode("utf-16-le", "surrogatepass")
            return pairs.decode("utf-16-le", "replace")
        return text


def decoded(data: bytes) -> Any:
    """Return decoded JSON.

    :raises NotReadable: It is none.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise NotReadable(f"it is no JSON: {exc}") from exc
