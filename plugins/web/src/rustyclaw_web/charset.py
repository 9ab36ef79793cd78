"""Finds out which characters the bytes of a page are.

The order is that of the HTML standard: byte order mark, HTTP header, what the
document says of itself; then UTF-8 if it is that, else windows-1252.
"""

from __future__ import annotations

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})"
    rb"|^\s*<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:-]{1,40})",
    re.IGNORECASE,
)
_LOOKED_AT = 4096  # bytes; the standard says 1024, real pages are untidier
#: What browsers read instead: supersets that the labels are really used for.
_MEANT = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "utf-16": "utf-16-le",
}
#: Python's names for what is no character set of the web.
_NEVER = {"utf-7", "idna", "punycode", "unicode-escape", "raw-unicode-escape"}


def decode(content: bytes, declared: str | None) -> str:
    """Return the text of an answer; what cannot be read becomes U+FFFD.

    :param declared: The charset of the Content-Type header, if it has one.
    """
    for mark, codec in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(codec, "replace")
    candidates = [declared]
    if found := _DECLARED.search(content[:_LOOKED_AT]):
        label = (found[1] or found[2]).decode("ascii")
        # it was read as bytes of ASCII, so it is no UTF-16 whatever it says
        candidates.append("utf-8" if label.lower().startswith("utf-16") else label)
    for label in candidates:
        if name := _known(label):
            return content.decode(name, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as exc:
        # a page that was cut off may end in the middle of a character
        if exc.start >= len(content) - 3:
            return content.decode("utf-8", "replace")
        return content.decode("cp1252", "replace")


def _known(label: str | None) -> str | None:
    """Return the name of a codec for text, if a label has one."""
    try:
        name = codecs.lookup((label or "").strip().strip("\"'")).name
        b"a".decode(name, "replace")  # raises for codecs that are not for text
    except (LookupError, ValueError):
        return None
    name = _MEANT.get(name, name)
    return None if name in _NEVER or name.startswith(("mbcs", "oem")) else name
