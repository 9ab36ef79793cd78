"""Markdown as Telegram shows it."""

from __future__ import annotations

import time
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given, strategies as st
from rustyclaw_telegram.formatting import as_html, messages, plain, units

TABLE = [
    ("plain", "plain"),
    ("a < b & c > d", "a &lt; b &amp; c &gt; d"),
    ("**bold** and __bold__", "<b>bold</b> and <b>bold</b>"),
    ("*it* and _it_", "<i>it</i> and <i>it</i>"),
    ("**bold *both* bold**", "<b>bold <i>both</i> bold</b>"),
    ("***both***", "<b><i>both</i></b>"),
    ("~~gone~~ ||dark||", "<s>gone</s> <tg-spoiler>dark</tg-spoiler>"),
    ("snake_case_name", "snake_case_name"),
    ("2 * 3 * 4", "2 * 3 * 4"),
    ("an *open one", "an *open one"),
    ("**open", "**open"),
    ("a **** b", "a **** b"),
    ("`a < b`", "<code>a &lt; b</code>"),
    ("`` a ` b ``", "<code>a ` b</code>"),
    ("`*no*`", "<code>*no*</code>"),
    ("**a `b` c**", "<b>a </b><code>b</code><b> c</b>"),
    (r"\*no\* \_no\_", "*no* _no_"),
    (
        "[a *b*](https://x.example/?a=1&b=2)",
        '<a href="https://x.example/?a=1&amp;b=2">a </a>'
        '<i><a href="https://x.example/?a=1&amp;b=2">b</a></i>',
    ),
    (
        "[x](https://en.example/wiki/A_(b))",
        '<a href="https://en.example/wiki/A_(b)">x</a>',
    ),
    ('[x](https://x.example "title")', '<a href="https://x.example">x</a>'),
    ("![pic](https://x.example/a.png)", '<a href="https://x.example/a.png">pic</a>'),
    ("<https://x.example>", '<a href="https://x.example">https://x.example</a>'),
    ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
    ('[x](https://a"b)', "[x](https://a&quot;b)".replace("&quot;", '"')),
    ("[x] (y)", "[x] (y)"),
    ("# Head *it*", "<b>Head <i>it</i></b>"),
    ("## Head ##", "<b>Head</b>"),
    ("#hashtag", "#hashtag"),
    ("- one\n- **two**\n  - three", "• one\n• <b>two</b>\n  • three"),
    ("- [ ] open\n- [x] done", "☐ open\n☑ done"),
    ("1. one\n2. two", "1. one\n2. two"),
    ("a\n\n---\n\nb", "a\n\n———\n\nb"),
    ("> one\n> *two*", "<blockquote>one\n<i>two</i></blockquote>"),
    ("```\na < b\n```", "<pre>a &lt; b</pre>"),
    (
        "x\n```python title\n  **a**\n```\ny",
        'x\n<pre><code class="language-python">  **a**</code></pre>\ny',
    ),
    ("```js\nlet open", '<pre><code class="language-js">let open</code></pre>'),
    ("~~~\n```\n~~~", "<pre>```</pre>"),
    ("|a|b|\n|-|-|\n|1|2|", "<pre>|a|b|\n|-|-|\n|1|2|</pre>"),
    ("a | b", "a | b"),
    ("a\r\nb\x00", "a\nb"),
]


@pytest.mark.parametrize(("markdown", "html"), TABLE)
def test_table(markdown: str, html: str) -> None:
    (message,) = messages(markdown)

    assert as_html(message) == html


@pytest.mark.parametrize("nothing", ["", "   ", "\n\n"])
def test_nothing_is_no_message(nothing: str) -> None:
    assert messages(nothing) == []


def test_nothing_but_marks_are_shown_as_they_are() -> None:
    (message,) = messages("```\n```")

    assert plain(message) == "```\n```"


# --- Cuts -----------------------------------------------------------------------------


def test_length_is_in_utf_16() -> None:
    parts = messages("😀" * 4096)

    assert [units(plain(part)) for part in parts] == [4096, 4096]


def test_a_cut_prefers_paragraphs_then_lines_then_words() -> None:
    assert [plain(p) for p in messages("aa aa\n\nbb bb", 9)] == ["aa aa", "bb bb"]
    assert [plain(p) for p in messages("aaa aaa\nbb bb", 10)] == ["aaa aaa", "bb bb"]
    assert [plain(p) for p in messages("aaa aaa bbb", 9)] == ["aaa aaa", "bbb"]
    assert [plain(p) for p in messages("aaaaaaa", 3)] == ["aaa", "aaa", "a"]


def test_a_link_is_not_cut_if_there_is_a_place_before_it() -> None:
    text = "one two three [four five six](https://x.example)"

    assert [plain(p) for p in messages(text, 20)] == ["one two three", "four five six"]


def test_code_that_is_longer_than_a_message_is_closed_and_opened_again() -> None:
    code = "\n".join(f"    line {n}" for n in range(20))

    parts = messages(f"```python\n{code}\n```", 100)

    for part in parts:
        html = as_html(part)
        assert html.startswith('<pre><code class="language-python">    line')
        assert html.endswith("</code></pre>")
    assert "\n".join(plain(part) for part in parts) == code


marks = st.sampled_from(
    [
        *("**", "*", "_", "__", "`", "``", "```", "\n", "\n\n", "> ", "# ", "- ", "|"),
        *("[", "](", ")", "https://x.example", "<", "&", "~~", "||", "\\", " ", "😀"),
        *("a", "-"),
    ]
)
texts = st.one_of(st.text(), st.lists(marks, max_size=60).map("".join))


class Balanced(HTMLParser):
    """Fails on a tag that is not closed in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        assert tag not in self.stack, "no tag stands in itself"
        assert not {"code"} & set(self.stack), "nothing stands in code"
        self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@given(texts, st.integers(1, 40))
def test_any_text_becomes_sound_messages(markdown: str, limit: int) -> None:
    for part in messages(markdown, limit):
        shown = plain(part)
        assert shown.strip() == shown.rstrip() or shown.startswith((" ", "\t"))
        assert 0 < units(shown) <= max(limit, 2)
        reader = Balanced()
        reader.feed(as_html(part))
        reader.close()
        assert not reader.stack
        assert "".join(reader.text).replace("\r", "\n") == shown.replace("\r", "\n")


@given(st.text(alphabet="ab \n😀", min_size=1), st.integers(2, 20))
def test_a_cut_loses_nothing_but_white_space(text: str, limit: int) -> None:
    parts = [plain(part) for part in messages(text, limit)]

    assert "".join("".join(parts).split()) == "".join(text.split())
    assert unescape("".join(parts)) == "".join(parts)


@pytest.mark.parametrize(
    "nasty",
    [
        *("*a " * 20_000, "[" * 40_000, "[a](" * 10_000, "`a``a" * 8000, "# " * 20_000),
        *("# " + " " * 40_000 + "x", "-|" * 20_000 + "x", "> " * 20_000),
        *("a|b\n" + "-|:" * 13_000 + "x", "```" + " " * 40_000 + "`"),
        *("||a" * 13_000, "* " * 20_000 + "x"),
    ],
    ids=lambda text: f"{text[:6]!r}",
)
def test_nothing_takes_long(nasty: str) -> None:
    start = time.process_time()
    messages(nasty)
    assert time.process_time() - start < 1.5
