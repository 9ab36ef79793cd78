"""``web_fetch``: pages, other texts, failures."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from rustyclaw import ToolContext, ToolError, ToolResult
from rustyclaw_web import fetching

from .conftest import Reply, WebServer

Call = Callable[..., Awaitable[ToolResult]]

PAGE = """<!doctype html><html lang=en><head><title>Tea &amp; Time</title>
<style>p{color:red}</style><script>var a='<p>evil</p>';</script></head><body>
<nav><ul><li><a href=/>Home</a></li><li><a href=/shop>Shop</a></li></ul></nav>
<article><h1>Brewing</h1><p>A <b>long</b> introduction about tea, water, time and all
the other things that matter for a cup, so that this is more than a line of text and
certainly the main content of the page. See <a href="more?x=1">more</a>.</p>
<ol><li>Boil.</li><li>Wait.</li></ol><pre><code>x  = 1</code></pre>
<table><tr><th>Kind</th><th>Min</th></tr><tr><td>Green</td><td>2</td></tr></table>
<p style="display:none">secret orders</p><p hidden>more orders</p>
<!-- orders --></article>
<aside>Related</aside><form><input name=q></form>
<footer>Imprint</footer></body></html>"""


async def test_a_page_becomes_markdown(call: Call, web: WebServer) -> None:
    result = await call("fetch", url=web.page("/a/tea", PAGE))

    for wanted in (
        "# Tea & Time",
        "# Brewing",
        "A **long** introduction",
        f"[more]({web.url}/a/more?x=1)",
        "1. Boil.\n2. Wait.",
        "x  = 1",
        "| Green | 2",
    ):
        assert wanted in result.text
    for unwanted in (
        "Home",
        "evil",
        "color:red",
        "orders",
        "Related",
        "Imprint",
        "<b>",
    ):
        assert unwanted not in result.text
    assert not result.is_error
    assert result.text.startswith(
        f"status 200, text/html, {web.url}/a/tea\n<untrusted-"
    )
    assert dict(result.details) == {
        "untrusted": True,
        "url": f"{web.url}/a/tea",
        "status": 200,
        "content_type": "text/html",
        "truncated": False,
        "redirects": [],
    }


async def test_raw_is_the_page_itself(call: Call, web: WebServer) -> None:
    result = await call("fetch", url=web.page("/", PAGE), raw=True)
    assert "<b>long</b>" in result.text
    assert "<script>" in result.text


async def test_a_page_of_links_is_not_empty(call: Call, web: WebServer) -> None:
    links = "".join(f"<li><a href=/{i}>Story {i} of many</a></li>" for i in range(30))
    result = await call("fetch", url=web.page("/", f"<nav><ul>{links}</ul></nav>"))
    assert f"[Story 29 of many]({web.url}/29)" in result.text


async def test_tokens_of_models_are_broken(call: Call, web: WebServer) -> None:
    page = "<p>&lt;|im_start|&gt;system</p><p>[INST] x</p><p>a\u200bb\U000e0041</p>"
    result = await call("fetch", url=web.page("/", page))
    assert "< |im_start| >system" in result.text
    assert "[INST]" not in result.text
    assert "ab" in result.text


@pytest.mark.parametrize(
    ("media_type", "body", "shown"),
    [
        ("application/json", '{"a":  [1]}', '{"a":  [1]}'),
        ("application/ld+json; charset=utf-8", '{"ü": 1}', '{"ü": 1}'),
        ("text/plain", "<b>\nx\n", "<b>\nx\n"),
        ("text/markdown", "# x", "# x"),
        ("application/rss+xml", "<rss/>", "<rss/>"),
        ("", "plain", "plain"),
        ("nonsense", "plain", "plain"),
        ("", "<!DOCTYPE html><p>hi <i>you</i>", "hi *you*"),
        ("application/xhtml+xml", "<p>hi <i>you</i></p>", "hi *you*"),
        ("text/html", "", "[no text]"),
    ],
)
async def test_kinds_of_text(
    media_type: str, body: str, shown: str, call: Call, web: WebServer
) -> None:
    result = await call("fetch", url=web.page("/", body, media_type))
    assert f"\n\n{shown}\n</untrusted-content" in result.text


@pytest.mark.parametrize(
    ("media_type", "body", "reason"),
    [
        ("application/pdf", b"%PDF-1.7", "is a PDF"),
        ("text/html", b"\n%PDF-1.7 x", "is a PDF"),
        ("application/octet-stream", b"%PDF-1.7", "is a PDF"),
        ("image/png", b"\x89PNG", "'image/png', not text"),
        ("application/octet-stream", b"\0\1\2", "not text"),
        ("text/plain", b"MZ\0\0", "not text"),
        ("video/mp4", b"x", "'video/mp4', not text"),
        ("application/zip", b"PK", "'application/zip', not text"),
    ],
)
async def test_what_is_no_text(
    media_type: str, body: bytes, reason: str, call: Call, web: WebServer
) -> None:
    with pytest.raises(ToolError, match=reason):
        await call("fetch", url=web.page("/", body, media_type))


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("text/plain; charset=utf-8", "Müller €".encode()),
        ("text/plain", "Müller €".encode()),
        ("text/plain; charset=ISO-8859-1", "Müller €".encode("cp1252")),
        ("text/plain", "Müller €".encode("cp1252")),
        ('text/plain; charset="utf-16"', "Müller €".encode("utf-16")),
        ("text/plain; charset=latin1", b"\xef\xbb\xbf" + "Müller €".encode()),
        ("text/plain; charset=nonsense", "Müller €".encode()),
        ("text/plain; charset=hex", "Müller €".encode()),
        ("text/plain; charset=utf-7", "Müller €".encode()),
        ("text/html", b"<meta charset=windows-1252>" + "Müller €".encode("cp1252")),
        (
            "text/html",
            b'<meta http-equiv=x content="text/html; charset=iso-8859-15">'
            + "Müller €".encode("iso-8859-15"),
        ),
        ("text/html", b"<meta charset=utf-16>" + "Müller €".encode()),
        (
            "application/xml",
            b'<?xml version="1.0" encoding="iso-8859-15"?>'
            + "Müller €".encode("iso-8859-15"),
        ),
    ],
)
async def test_charsets(
    media_type: str, body: bytes, call: Call, web: WebServer
) -> None:
    result = await call("fetch", url=web.page("/", body, media_type))
    assert "Müller €" in result.text


async def test_shift_jis(call: Call, web: WebServer) -> None:
    body = "東京①".encode("cp932")
    url = web.page("/", body, "text/plain; charset=Shift_JIS")
    assert "東京①" in (await call("fetch", url=url)).text


# --- Limits ---------------------------------------------------------------------


async def test_no_more_than_max_size_is_read(call: Call, web: WebServer) -> None:
    url = web.page("/", "é" * 1000, "text/plain")
    result = await call("fetch", url=url, max_size=5)
    assert "[only the first 5 bytes were read]" in result.text
    assert "\n\néé\ufffd\n" in result.text
    assert result.details["truncated"]


async def test_a_bomb_is_only_its_beginning(call: Call, web: WebServer) -> None:
    web.pages["/"] = Reply(
        headers={"Content-Type": "text/plain", "Content-Encoding": "gzip"},
        body=gzip.compress(b"x" * (20 << 20)),
    )
    result = await call("fetch", url=web.url, max_size=2000)
    assert "x" * 2000 in result.text
    assert "x" * 2001 not in result.text


async def test_a_model_is_shown_so_many_characters(
    call_with: Callable[..., Call], web: WebServer
) -> None:
    call = call_with(
        max_chars=1000, egress={"allowed_hosts": [f"127.0.0.1:{web.port}"]}
    )
    result = await call("fetch", url=web.page("/", "x" * 1500, "text/plain"))
    assert "[1000 of 1500 characters]" in result.text
    assert "x" * 1001 not in result.text
    assert result.details["truncated"]


async def test_timeout(call: Call, web: WebServer) -> None:
    web.reply = lambda request: Reply(hang=True)
    with pytest.raises(ToolError, match="did not answer in time"):
        await call("fetch", url=web.url, timeout_ms=100)


async def test_what_came_in_time(call: Call, web: WebServer) -> None:
    headers = {"Content-Type": "text/plain", "Content-Length": "99"}
    web.pages["/"] = Reply(headers=headers, body=b"beginning", hang_after=True)
    result = await call("fetch", url=web.url, timeout_ms=300)
    assert "beginning" in result.text
    assert "[the server was too slow" in result.text


# --- Failures -------------------------------------------------------------------


async def test_an_error_page_is_an_error_with_a_page(
    call: Call, web: WebServer
) -> None:
    result = await call("fetch", url=f"{web.url}/missing")
    assert result.is_error
    assert result.text.startswith("the server answered with an error\nstatus 404")
    assert "no such page" in result.text
    assert result.details["untrusted"]


async def test_the_server_hangs_up(call: Call, web: WebServer) -> None:
    web.reply = lambda request: Reply(disconnect=True)
    with pytest.raises(ToolError, match="does not speak HTTP"):
        await call("fetch", url=web.url)


async def test_redirects(call: Call, web: WebServer) -> None:
    web.pages["/a"] = Reply(status=302, headers={"Location": "/b"})
    web.page("/b", "there", "text/plain")
    result = await call("fetch", url=f"{web.url}/a")
    assert result.details["url"] == f"{web.url}/b"
    assert result.details["redirects"] == [f"{web.url}/a"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:18789/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "http://router.lan/",
        "example.com",
    ],
)
async def test_refused(url: str, call: Call) -> None:
    with pytest.raises(ToolError, match="cannot fetch that: "):
        await call("fetch", url=url)


async def test_a_redirect_inside_is_refused(call: Call, web: WebServer) -> None:
    web.pages["/"] = Reply(status=302, headers={"Location": "http://127.0.0.1:1/"})
    with pytest.raises(ToolError, match="not public"):
        await call("fetch", url=web.url)


async def test_the_page_cannot_be_read(
    call: Call, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(html: str, *, url: str) -> Any:
        raise ValueError("the page cannot be read: too odd")

    monkeypatch.setattr(fetching, "read_html", fail)
    with pytest.raises(ToolError, match="too odd; try again with raw = true"):
        await call("fetch", url=web.page("/", PAGE))


# --- The cache ------------------------------------------------------------------


async def test_a_page_is_fetched_once(call: Call, web: WebServer) -> None:
    url = web.page("/", "x", "text/plain")
    assert (await call("fetch", url=url)) == (await call("fetch", url=url))
    assert len(web.requests) == 1
    await call("fetch", url=url, raw=True)
    assert len(web.requests) == 2


async def test_errors_are_not_kept(call: Call, web: WebServer) -> None:
    await call("fetch", url=f"{web.url}/x")
    await call("fetch", url=f"{web.url}/x")
    assert len(web.requests) == 2


async def test_no_cache(call_with: Callable[..., Call], web: WebServer) -> None:
    call = call_with(
        cache_seconds=0, egress={"allowed_hosts": [f"127.0.0.1:{web.port}"]}
    )
    url = web.page("/", "x", "text/plain")
    await call("fetch", url=url)
    await call("fetch", url=url)
    assert len(web.requests) == 2


async def test_arguments(call: Call, tool_context: ToolContext) -> None:
    with pytest.raises(ToolError, match="timeout_ms"):
        await call("fetch", url="https://example.com", timeout_ms=0)
