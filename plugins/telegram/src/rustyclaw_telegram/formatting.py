"""Markdown, as models write it, as Telegram shows it.

A text becomes pieces, each with the tags that it stands in; pieces are split by the
length of what is shown, and only then become HTML. So no cut falls into a tag or an
entity. Source for tags and nesting: https://core.telegram.org/bots/api, "Formatting
options"; a message has at most 4096 UTF-16 code units after parsing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

#: UTF-16 code units of one message.
LIMIT = 4096

#: Tags whose text is not cut if it can be helped.
_WHOLE = ("pre", "code", "a ")
#: Marks and their tags, the innermost first.
_STYLES = {
    **{"***": ("i", "b"), "___": ("i", "b"), "**": ("b",), "__": ("b",)},
    **{"*": ("i",), "_": ("i",), "~~": ("s",), "||": ("tg-spoiler",)},
}
_INLINE = re.compile(
    r"""
    \\(?P<escaped>[!-/:-@\[-`{-~])
    | (?<!`)(?P<ticks>`{1,10})(?!`)(?P<code>[^`]+|[^`].{0,500}?[^`])(?P=ticks)(?!`)
    | !?\[(?P<label>[^\[\]]{0,1000})\]\(\s*<?(?P<url>[^\s<>()]{1,2000}
        (?:\([^\s<>()]{0,500}\)[^\s<>()]{0,500}){0,5})>?(?:\s+"[^"]{0,500}")?\s*\)
    | <(?P<auto>https?://[^\s<>]{1,2000})>
    | (?P<mark>\*\*\*|___|\*\*|__|~~|\|\||\*|_)
    """,
    re.VERBOSE,
)
_LINK = re.compile(r"(https?://|mailto:|tel:|tg://)[^\s\"<>]+", re.IGNORECASE)
_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$")
_HEADING = re.compile(r" {0,3}#{1,6}\s+(?P<text>.*)$")
_QUOTE = re.compile(r" {0,3}> ?(?P<text>.*)$")
_BULLET = re.compile(r"(?P<indent>\s*)[-*+]\s+(?:\[(?P<box>[ xX])\]\s+)?(?P<text>.*)$")
_RULE = re.compile(r" {0,3}(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,})$")
_LANGUAGE = re.compile(r"[\w+#.-]{1,40}")


@dataclass(frozen=True, slots=True)
class Piece:
    """A text and the tags around it, the outermost first."""

    text: str
    tags: tuple[str, ...] = ()


def messages(markdown: str, limit: int = LIMIT) -> list[list[Piece]]:
    """Return a text as the messages that show it, none longer than the limit.

    There is none if there is nothing to show.
    """
    clean = markdown.encode(errors="replace").decode()
    clean = clean.replace("\r\n", "\n").replace("\x00", "")
    found = _split(list(_merged(_blocks(clean.split("\n")))), limit)
    if not found and clean.strip():  # nothing but marks: show them
        return _split([Piece(clean)], limit)
    return found


def plain(pieces: Iterable[Piece]) -> str:
    """Return what a message shows, without its tags."""
    return "".join(piece.text for piece in pieces)


def as_html(pieces: Iterable[Piece]) -> str:
    """Return a message as HTML; every tag is closed."""
    out: list[str] = []
    open_tags: tuple[str, ...] = ()
    for piece in pieces:
        out += _change(open_tags, piece.tags)
        out.append(escape(piece.text, quote=False))
        open_tags = piece.tags
    return "".join((*out, *_change(open_tags, ())))


def units(text: str) -> int:
    """Return the length of a text as Telegram counts it: in UTF-16 code units."""
    return len(text) + sum(char > "\uffff" for char in text)


def _change(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    for tag in reversed(old[same:]):
        yield f"</{tag.partition(' ')[0]}>"
    for tag in new[same:]:
        yield f"<{tag}>"


# --- Blocks ---------------------------------------------------------------------------


def _blocks(lines: Sequence[str]) -> Iterator[Piece]:
    at = 0
    while at < len(lines):
        if at:
            yield Piece("\n")
        if fence := _FENCE.match(lines[at]):
            at += 1
            code: list[str] = []
            close = re.compile(rf" {{0,3}}{re.escape(fence['fence'])}[`~]*\s*$")
            while at < len(lines) and not close.match(lines[at]):
                code.append(lines[at])
                at += 1
            at += 1
            yield _code_block(code, fence["info"])
        elif "|" in lines[at] and _is_table_rule("".join(lines[at + 1 : at + 2])):
            start = at
            while at < len(lines) and "|" in lines[at]:
                at += 1
            yield Piece("\n".join(lines[start:at]), ("pre",))
        elif _QUOTE.match(lines[at]):
            quoted: list[str] = []
            while at < len(lines) and (quote := _QUOTE.match(lines[at])):
                quoted.append(quote["text"])
                at += 1
            for index, line in enumerate(quoted):
                yield from ([Piece("\n", ("blockquote",))] if index else [])
                yield from _tagged(_line(line), "blockquote")
        else:
            yield from _line(lines[at])
            at += 1


def _is_table_rule(line: str) -> bool:
    """Return whether a line parts the head of a table from its rows."""
    return {"|", "-"} <= set(line) <= set("|-: \t")


def _code_block(lines: Sequence[str], info: str) -> Piece:
    language = _LANGUAGE.match(info.strip())
    inner = (f'code class="language-{language[0]}"',) if language else ()
    return Piece("\n".join(lines), ("pre", *inner))


def _line(line: str) -> Iterator[Piece]:
    """Yield the pieces of a line that is no code."""
    if heading := _HEADING.match(line):
        text = heading["text"].rstrip().rstrip("#").rstrip()
        yield from _tagged(_inline(text), "b")
    elif _RULE.match(line):
        yield Piece("———")
    elif bullet := _BULLET.match(line):
        mark = {None: "•", " ": "☐"}.get(bullet["box"], "☑")
        yield Piece(f"{bullet['indent']}{mark} ")
        yield from _inline(bullet["text"])
    else:
        yield from _inline(line)


def _tagged(pieces: Iterable[Piece], tag: str) -> Iterator[Piece]:
    for piece in pieces:
        known = tag in piece.tags or (tag == "b" and "code" in piece.tags)
        yield piece if known else Piece(piece.text, (tag, *piece.tags))


# --- Within a line --------------------------------------------------------------------


def _inline(text: str) -> list[Piece]:
    """Return the pieces of a line; a mark without its partner is text."""
    out: list[Piece] = []
    opened: list[tuple[str, int]] = []
    at = 0
    for found in _INLINE.finditer(text):
        out.append(Piece(text[at : found.start()]))
        at = found.end()
        if (mark := found["mark"]) is None:
            out += _atom(found)
            continue
        before = text[max(0, found.start() - 1) : found.start()]
        opens, closes = _flanks(mark, before, text[at : at + 1])
        for part in _parts(mark, opened) if closes else (mark,):
            _close_or_open(part, out, opened, opens=opens, closes=closes)
    out.append(Piece(text[at:]))
    return [piece for piece in out if piece.text]


def _parts(mark: str, opened: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    """Return a mark as those that it closes: three stars may be one and two."""
    names = [name for name, _ in opened]
    if len(mark) < 3 or mark in names or {mark[0], mark[:2]} - set(names):
        return (mark,)
    inner = max(mark[0], mark[:2], key=names.index)
    return (inner, mark[len(inner) :])


def _close_or_open(
    mark: str,
    out: list[Piece],
    opened: list[tuple[str, int]],
    *,
    opens: bool,
    closes: bool,
) -> None:
    """Put tags around what stands since the partner of a mark, or keep the mark."""
    partner = next((i for i, (name, _) in enumerate(opened) if name == mark), None)
    start = len(out) if partner is None else opened[partner][1]
    if closes and any(piece.text for piece in out[start + 1 :]):
        inner: Iterable[Piece] = out[start + 1 :]
        for tag in _STYLES[mark]:
            inner = list(_tagged(inner, tag))
        out[start:] = inner
        del opened[partner:]
        return
    if opens and partner is None:
        opened.append((mark, len(out)))
    out.append(Piece(mark))


def _flanks(mark: str, before: str, after: str) -> tuple[bool, bool]:
    """Return whether a mark may open and may close, by what stands beside it."""
    opens = bool(after) and not after.isspace()
    closes = bool(before) and not before.isspace()
    if mark[0] == "_":  # snake_case is no emphasis
        opens = opens and not before.isalnum()
        closes = closes and not after.isalnum()
    return opens, closes


def _atom(found: re.Match[str]) -> list[Piece]:
    if found["escaped"]:
        return [Piece(found["escaped"])]
    if found["ticks"]:
        code = found["code"]
        if code[0] == code[-1] == " " and code.strip():
            code = code[1:-1]
        return [Piece(code, ("code",))]
    if found["auto"]:
        return [Piece(found["auto"], (f'a href="{escape(found["auto"])}"',))]
    label, url = found["label"] or found["url"], found["url"]
    if not _LINK.fullmatch(url):
        return [Piece(found[0])]
    tag = f'a href="{escape(url)}"'
    return [
        Piece(piece.text, (*(t for t in piece.tags if t != "code"), tag))
        for piece in _inline(label)
    ]


# --- Pieces of a length ---------------------------------------------------------------


def _merged(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Join neighbours with the same tags, and drop what shows nothing."""
    last: Piece | None = None
    for piece in pieces:
        if not piece.text:
            continue
        if last is not None and last.tags == piece.tags:
            last = Piece(last.text + piece.text, last.tags)
        else:
            if last is not None:
                yield last
            last = piece
    if last is not None:
        yield last


def _split(pieces: Sequence[Piece], limit: int) -> list[list[Piece]]:
    text = plain(pieces)
    spans: list[tuple[int, int]] = []
    at = 0
    for piece in pieces:
        if any(tag.startswith(_WHOLE) for tag in piece.tags):
            spans.append((at, at + len(piece.text)))
        at += len(piece.text)
    out, start = [], 0
    while start < len(text):
        end = _cut(text, start, limit, spans)
        if part := _trimmed(_slice(pieces, start, end)):
            out.append(part)
        start = end
    return out


def _cut(text: str, start: int, limit: int, spans: list[tuple[int, int]]) -> int:
    """Return where a message that begins at ``start`` ends.

    At the last paragraph, line or space of its second half that lies outside of code
    and links; else at the last line or space; else where it is full.
    """
    full, left = start, limit
    while full < len(text) and (left := left - 1 - (text[full] > "\uffff")) >= 0:
        full += 1
    if full == len(text):
        return full
    full = max(full, start + 1)
    least = start + (full - start) // 2
    while spans and spans[0][1] <= start:
        spans.pop(0)
    inside = [(a, b) for a, b in spans if a < full]
    for outside in (True, False):
        for mark in ("\n\n", "\n", " "):
            at = text.rfind(mark, least, full + 1)
            while at >= least and outside and any(a < at < b for a, b in inside):
                at = text.rfind(mark, least, at)
            if at >= least and at > start:
                return at
    return full


def _slice(pieces: Sequence[Piece], start: int, end: int) -> list[Piece]:
    out, at = [], 0
    for piece in pieces:
        text = piece.text[max(0, start - at) : max(0, end - at)]
        if text:
            out.append(Piece(text, piece.tags))
        at += len(piece.text)
    return out


def _trimmed(pieces: list[Piece]) -> list[Piece]:
    """Drop white space at both ends, which Telegram drops as well.

    The indentation of code at the beginning stays.
    """
    while pieces:
        first = pieces[0]
        if text := first.text.lstrip("\n" if "pre" in first.tags else None):
            pieces[0] = Piece(text, first.tags)
            break
        del pieces[0]
    while pieces:
        last = pieces[-1]
        if text := last.text.rstrip():
            pieces[-1] = Piece(text, last.tags)
            break
        del pieces[-1]
    return pieces
