"""Turns a page into the Markdown of what it is about."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: A page with less text than this, but much more in all, was all navigation.
_FEW_CHARS = 200
#: Beside what the library drops by itself: navigation, forms, what is hidden.
_CLUTTER = [
    "aside",
    "dialog",
    "[role=banner]",
    "[role=complementary]",
    "[role=contentinfo]",
    "[role=dialog]",
    "[role=navigation]",
    "[role=search]",
    "[aria-hidden=true]",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What is on a page; ``title`` may be empty."""

    title: str
    text: str


def read_html(html: str, *, url: str) -> Page:
    """Return the main content of a page; blocking, so call it in a thread.

    :param url: What its links are relative to.
    :raises ValueError: It cannot be read.
    """
    html = html.encode("utf-8", "replace").decode("utf-8")
    title, text = _convert(html, url, is_everything=False)
    if len(text) < _FEW_CHARS:
        everything = _convert(html, url, is_everything=True)[1]
        if len(everything) > 2 * len(text):
            text = everything
    return Page(title=title, text=text)


def _convert(html: str, url: str, *, is_everything: bool) -> tuple[str, str]:
    # imported when first needed: 40 ms, 8 MiB
    from html_to_markdown import ConversionOptions, PreprocessingOptions, convert
    from html_to_markdown.exceptions import ConversionError

    options = ConversionOptions(
        preprocessing=PreprocessingOptions(
            enabled=True,
            preset="minimal" if is_everything else "aggressive",
            remove_navigation=not is_everything,
            remove_forms=True,
        ),
        exclude_selectors=[] if is_everything else _CLUTTER,
        extract_metadata=True,
        skip_images=True,
        hidden_content="drop",
        base_url=url,
    )
    try:
        result = convert(html, options)
    except ConversionError as exc:
        raise ValueError(f"the page cannot be read: {exc}") from exc
    # it repeats the metadata in front of the text
    text = re.sub(r"\A---\n.*?\n---\n", "", result.content or "", flags=re.DOTALL)
    return result.metadata.document.title or "", text.strip()
