"""Shows a file to a model: numbered lines, or a picture."""

from __future__ import annotations

import os
import re
from io import BufferedReader

from rustyclaw import Image, ToolError, ToolResult

MAX_IMAGE_BYTES = 5 * 1024 * 1024
#: Finding line N means reading all before it; further in, a search is cheaper.
MAX_SKIPPED_BYTES = 64 * 1024 * 1024

_CHUNK = 1024 * 1024
_HEAD = 8192
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_BINARY = (b"%PDF-", b"\x1f\x8b", b"PK\x03\x04", b"\x7fELF")


def show_file(
    stream: BufferedReader, path: str, *, offset: int, limit: int, max_bytes: int
) -> ToolResult:
    """Return the lines from ``offset`` on, as many as fit, or the whole picture.

    :param limit: Most lines to return.
    :param max_bytes: Most bytes of the file to return.
    :raises ToolError: It is binary, or ``offset`` is not in reach.
    """
    head = stream.read(_HEAD)
    size = os.fstat(stream.fileno()).st_size
    if media_type := picture_type(head):
        return _picture(stream, path, head, media_type)
    if head and not head.strip(b"\0"):
        return ToolResult(
            text=f"[{path!r} is sparse: its first {len(head)} of {size} bytes are NUL]"
        )
    if b"\0" in head or head.startswith(_BINARY):
        hint = "it looks like UTF-16; " if head.startswith(_UTF_16) else ""
        raise ToolError(
            f"{path!r} is binary ({size} bytes) and not shown; {hint}convert it to "
            "UTF-8 text first"
        )
    stream.seek(len(_BOM) if head.startswith(_BOM) else 0)
    _skip_lines(stream, path, offset)
    lines, cut, more = _take_lines(stream, limit, max_bytes)
    if not lines:
        return ToolResult(text=f"[{path!r} is empty]")
    return _numbered(lines, offset, cut=cut, more=more)


def picture_type(head: bytes) -> str | None:
    """Return the MIME type of a picture that models can see, by its first bytes."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return None


def _picture(
    stream: BufferedReader, path: str, head: bytes, media_type: str
) -> ToolResult:
    data = head + stream.read(MAX_IMAGE_BYTES + 1 - len(head))
    if len(data) > MAX_IMAGE_BYTES:
        raise ToolError(
            f"the picture {path!r} has more than {MAX_IMAGE_BYTES} bytes; make it "
            "smaller first"
        )
    return ToolResult(
        text=f"[{path!r}: {media_type}, {len(data)} bytes]",
        media=(Image(data=data, media_type=media_type),),
    )


def _skip_lines(stream: BufferedReader, path: str, offset: int) -> None:
    """Move the stream to the start of line ``offset``."""
    left, skipped, ends_line = offset, 0, False
    while left:
        chunk = stream.read(_CHUNK)
        if not chunk:
            count = offset - left + (not ends_line and skipped > 0)
            raise ToolError(
                f"offset {offset} is past the end: {path!r} has {count} lines"
            )
        found = chunk.count(b"\n")
        if found >= left:
            end = 0
            for _ in range(left):
                end = chunk.index(b"\n", end) + 1
            stream.seek(end - len(chunk), os.SEEK_CUR)
            break
        left -= found
        skipped += len(chunk)
        ends_line = chunk.endswith(b"\n")
        if skipped >= MAX_SKIPPED_BYTES:
            raise ToolError(
                f"line {offset} of {path!r} was not found within the first "
                f"{skipped} bytes, and no more is searched; there, "
                f"{offset - left} lines end"
            )
    if offset and not stream.peek(1):
        raise ToolError(f"offset {offset} is past the end: {path!r} has {offset} lines")


def _take_lines(
    stream: BufferedReader, limit: int, max_bytes: int
) -> tuple[list[bytes], bool, bool]:
    """Return lines that fit, whether the only one is cut, and whether more follow."""
    lines: list[bytes] = []
    left = max_bytes
    while len(lines) < limit:
        line = stream.readline(left + 1)
        if len(line) > left:
            if lines:
                return lines, False, True
            return [line[:left]], True, True
        if not line:
            return lines, False, False
        lines.append(line)
        left -= len(line)
    return lines, False, bool(stream.read(1))


def _numbered(lines: list[bytes], offset: int, *, cut: bool, more: bool) -> ToolResult:
    texts = re.sub(rb"\0+", b"\xff", b"".join(lines)).decode("utf-8", "replace")
    shown = [
        f"{number:>6}\t{line.removesuffix(chr(13))}"
        for number, line in enumerate(
            texts.removesuffix("\n").split("\n"), start=offset + 1
        )
    ]
    following = offset + len(shown)
    if cut:
        shown.append(f"[line {following} is longer and was cut]")
    if "\ufffd" in texts:
        shown.append("[some bytes are not valid UTF-8 text and shown as \ufffd]")
    if more:
        shown.append(f"[there is more; continue with offset={following}]")
    details = {"next_offset": following} if more else {}
    return ToolResult(text="\n".join(shown), details=details)
