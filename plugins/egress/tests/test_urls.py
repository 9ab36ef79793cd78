"""URLs are read in one way or not at all."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import example, given, strategies as st
from rustyclaw_egress.errors import Refused
from rustyclaw_egress.urls import MAX_URL_CHARS, join, parse

PIECES = st.sampled_from(
    [
        *("http", "https", "HTTP", "file", ":", "/", "//", "///", "\\", "@", "#", "?"),
        *("%", "%2f", "%00", "[", "]", ".", "..", "\u3002", "\uff0e", "example.com"),
        *("127.0.0.1", "127.1", "0x7f.1", "017700000001", "::1", "fe80::1%25eth0"),
        *("localhost", ":80", ":0", ":", ":\u0668\u0660", "&", "=", " ", "\t", "\n"),
        *("\0", "\u00ad", "\u200b", "ß", "ⓛ", "é", "xn--e1afmkfd", "-", "_", "a", "1"),
        *("\ud800", "😀", "user:pw"),
    ]
)  # fmt: skip
URLISH = st.one_of(
    st.text(),
    st.text().map(lambda text: f"http://{text}"),
    st.lists(PIECES, max_size=8).map("".join),
    st.lists(PIECES, max_size=8).map(lambda pieces: "http://" + "".join(pieces)),
)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://EXAMPLE.COM:443/A", "https://example.com/A"),
        ("http://example.com.:80/", "http://example.com/"),
        ("http://example.com:/", "http://example.com/"),
        ("http://example.com:00080/", "http://example.com/"),
        ("https://example.com:8443/a?b#c", "https://example.com:8443/a?b"),
        ("https://example.com?x=1", "https://example.com/?x=1"),
        ("https://пример.example/путь", "https://xn--e1afmkfd.example/%D0%BF%D1%83%D1%82%D1%8C"),
        ("https://\uff25\uff38\uff21\uff2d\uff30\uff2c\uff25.com/", "https://example.com/"),
        ("https://example。com/", "https://example.com/"),
        ("https://exam\u00adple.com/", "https://example.com/"),
        ("https://_dmarc.example.com/", "https://_dmarc.example.com/"),
        ("https://example.com/a%2Fb?c=%41", "https://example.com/a%2Fb?c=%41"),
        ('https://example.com/<a>|"b"{}', "https://example.com/%3Ca%3E%7C%22b%22%7B%7D"),
        ("https://example.com/\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "https://example.com/%D9%85%DB%8C%E2%80%8C%D8%AE%D9%88%D8%A7%D9%87%D9%85"),
        ("http://8.8.8.8./", "http://8.8.8.8/"),
        ("http://[2606:4700::0:1111]:8080/", "http://[2606:4700::1111]:8080/"),
        ("https://10.example.com/", "https://10.example.com/"),
    ],
)  # fmt: skip
def test_read(text: str, url: str) -> None:
    assert parse(text).url == url


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "syntax"),
        ("example.com", "syntax"),
        ("//example.com/", "syntax"),
        ("http:example.com", "syntax"),
        ("http:/example.com", "syntax"),
        ("http://example.com/a b", "syntax"),
        ("http://example.com\\@evil.example/", "syntax"),
        ("http://example.com/\ud800", "syntax"),
        ("http://example.com/" + "a" * MAX_URL_CHARS, "syntax"),
        ("ftp://example.com/", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("example.com:80/", "scheme"),
        ("http://user@example.com/", "userinfo"),
        ("http://@example.com/", "userinfo"),
        ("http:///", "host"),
        ("http://?", "host"),
        ("http://:80/", "host"),
        ("http://example..com/", "host"),
        ("http://example.com../", "host"),
        ("http://.example.com/", "host"),
        ("http://exam%70le.com/", "host"),
        ("http://exa mple.com/".replace(" ", "\u3000"), "host"),
        ("http://exam(ple.com/", "host"),
        ("http://" + "a" * 64 + ".com/", "host"),
        ("http://" + "a." * 127 + "com/", "host"),
        ("http://127.1/", "host"),
        ("http://0x7f000001/", "host"),
        ("http://1.2.3.0x/", "host"),
        ("http://2130706433/", "host"),
        ("http://01.02.03.04/", "host"),
        ("http://256.1.1.1/", "host"),
        ("http://[::1/", "host"),
        ("http://::1/", "host"),
        ("http://[::g]/", "host"),
        ("http://[fe80::1%25eth0]/", "host"),
        ("http://[fe80::1%eth0]/", "host"),
        ("http://[v1.a]/", "host"),
        ("http://[127.0.0.1]/", "host"),
        ("http://example.com:0/", "port"),
        ("http://example.com:65536/", "port"),
        ("http://example.com:123456/", "port"),
        ("http://example.com:80:80/", "port"),
        ("http://example.com:+80/", "port"),
        ("http://example.com:٨٠/", "port"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        parse(text)
    assert caught.value.reason == reason


def test_errors_do_not_repeat_secrets() -> None:
    for text in ("http://u:s3cret@h.example/", "s3cret", "http://h.example/ ?k=s3cret"):
        with pytest.raises(Refused) as caught:
            parse(text)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/x", "https://a.example:8443/x"),
        ("x?y", "https://a.example:8443/d/x?y"),
        ("?y", "https://a.example:8443/d/e?y"),
        ("../x", "https://a.example:8443/x"),
        ("", "https://a.example:8443/d/e"),
        ("#f", "https://a.example:8443/d/e"),
        ("//b.example/x", "https://b.example/x"),
        ("http://b.example", "http://b.example/"),
    ],
)
def test_join(location: str, url: str) -> None:
    assert join(parse("https://a.example:8443/d/e"), location).url == url


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/a b", "syntax"),
        ("\\\\b.example", "syntax"),
        ("https:/b.example", "syntax"),
        ("https:b", "syntax"),
        ("///b.example", "host"),
        ("//u@b.example", "userinfo"),
        ("//127.1/", "host"),
        ("file:///etc/passwd", "scheme"),
        ("x" * (MAX_URL_CHARS + 1), "syntax"),
    ],
)
def test_join_refused(location: str, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        join(parse("https://a.example/d/e"), location)
    assert caught.value.reason == reason


@given(URLISH)
@example("http://a@b@c/")
@example("http://example.com:80\\@127.0.0.1/")
def test_every_parser_reads_the_same(text: str) -> None:
    try:
        found = parse(text)
    except Refused:
        return
    url = found.url
    assert url.isascii()
    assert parse(url) == found
    theirs, standard = httpx.URL(url), urlsplit(url)
    for scheme, host, port in (
        (theirs.scheme, theirs.raw_host.decode().strip("[]"), theirs.port),
        (standard.scheme, standard.hostname, standard.port),
    ):
        assert scheme == found.scheme
        assert host == found.host
        assert port in (found.port, None)
    assert theirs.raw_path.decode().partition("?")[0] != ""
    if text.isascii():  # and what came in already meant the same to others
        before = urlsplit(text)
        assert (before.hostname or "").removesuffix(".") in (found.host, _long(text))


def _long(text: str) -> str:
    """Return an IPv6 host as it was written; ours is the short form."""
    host = urlsplit(text).hostname or ""
    return host if ":" in host else ""


@given(URLISH, URLISH)
def test_a_redirect_is_read_or_refused(base: str, location: str) -> None:
    try:
        start = parse(base)
    except Refused:
        start = parse("https://a.example/")
    try:
        found = join(start, location)
    except Refused:
        return
    assert parse(found.url) == found
