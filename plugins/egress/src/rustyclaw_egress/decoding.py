"""Undoes gzip and deflate piece by piece, so that a bomb has no time to go off.

httpx inflates whatever one read brought, which can be a thousand times as much.
We only offer servers what the standard library can undo in bounded steps.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from rustyclaw_egress.errors import FetchFailed

ACCEPT_ENCODING = "gzip, deflate"
PIECE = 65_536

_GZIP_BITS = 16 + zlib.MAX_WBITS


class Decoder:
    """Turns the bytes of an answer into those that were meant.

    :param encoding: The value of Content-Encoding.
    :raises FetchFailed: It is one that we did not offer.
    """

    def __init__(self, encoding: str) -> None:
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise FetchFailed(
                "encoding", f"the answer is compressed as {encoding[:40]!r}"
            )
        self._is_gzip = name.endswith("gzip")
        self._is_plain = name in ("", "identity")
        self._inflater: zlib._Decompress | None = None
        self._members = 0
        self._is_over = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what came out, in pieces of at most `PIECE` bytes.

        :raises FetchFailed: It is not what the header says.
        """
        if self._is_plain:
            for start in range(0, len(data), PIECE):
                yield data[start : start + PIECE]
            return
        while data and not self._is_over:
            inflater = self._inflater or self._begin(data)
            if inflater is None:
                return
            try:
                piece = inflater.decompress(data, PIECE)
                data = inflater.unconsumed_tail
                while piece:
                    yield piece
                    piece = inflater.decompress(data, PIECE)
                    data = inflater.unconsumed_tail
            except zlib.error:
                raise FetchFailed(
                    "encoding", "the answer is not compressed as it says"
                ) from None
            if inflater.eof:
                self._inflater, data = None, inflater.unused_data
                self._members += 1

    def end(self) -> None:
        """Say that there is no more.

        :raises FetchFailed: The last piece is missing.
        """
        if self._inflater is not None:
            raise FetchFailed("encoding", "the compressed answer was cut off")

    def _begin(self, data: bytes) -> zlib._Decompress | None:
        """Return what inflates the next member; ``None`` if there is no more."""
        if self._members and not (self._is_gzip and data.startswith(b"\x1f")):
            self._is_over = True  # gzip allows several members; this is padding
            return None
        bits = _GZIP_BITS if self._is_gzip else zlib.MAX_WBITS
        # RFC 9110 wants a zlib header for deflate; some servers leave it out.
        if not self._is_gzip and data[0] & 0x0F != zlib.DEFLATED:
            bits = -zlib.MAX_WBITS
        self._inflater = zlib.decompressobj(bits)
        return self._inflater
