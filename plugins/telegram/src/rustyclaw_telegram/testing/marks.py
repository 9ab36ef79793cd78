"""What people read of a text, or why Telegram refuses it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

_TAGS = {"b", "i", "u", "s", "code", "pre", "a", "blockquote", "tg-spoiler"}


class Refusal(Exception):
    """The API says no."""

    def __init__(self, status: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.status, self.description = status, description
        self.parameters = parameters


def shown_text(params: Mapping[str, Any], name: str, limit: int) -> str:
    """Return a text as it is shown.

    :raises Refusal: It is empty, too long, or its marks cannot be read.
    """
    text = str(params.get(name, ""))
    if params.get("parse_mode") == "HTML":
        reader = _Html()
        reader.feed(text)
        reader.close()
        if reader.problem or reader.stack:
            problem = reader.problem or f"Can't find end tag of {reader.stack[-1]!r}"
            raise Refusal(400, f"Bad Request: can't parse entities: {problem}")
        text = "".join(reader.text)
    text = text.strip()
    if name == "text" and not text:
        raise Refusal(400, "Bad Request: message text is empty")
    if len(text.encode("utf-16-le")) // 2 > limit:
        raise Refusal(400, "Bad Request: message is too long")
    return text


class _Html(HTMLParser):
    """Reads Telegram's dialect, which allows no tag of its own making."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.stack: list[str] = []
        self.problem = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _TAGS:
            self.problem = f'Unsupported start tag "{tag}"'
        self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.problem = f'Unmatched end tag "{tag}"'

    def handle_data(self, data: str) -> None:
        if re.search(r"<[a-z/]", data):
            self.problem = "Unexpected end tag"
        self.text.append(data)
