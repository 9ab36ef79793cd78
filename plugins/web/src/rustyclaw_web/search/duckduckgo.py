"""DuckDuckGo's page for browsers without scripts.

There is no documented interface; what we rely on is the shape of the page: links of
the class ``result__a``, snippets of the class ``result__snippet``, advertisements
within ``result--ad``, targets wrapped as ``/l/?uddg=URL``. If it takes us for a
robot, it answers with status 202 and a form (``anomaly``).
"""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from rustyclaw_egress.client import Egress

from rustyclaw_web.charset import decode
from rustyclaw_web.search.backend import Hit, SearchBackend, hits

_HEADERS = {
    "Accept": "text/html",
    "Accept-Language": "en",
    "Content-Type": "application/x-www-form-urlencoded",
}
_VOID = {"br", "img", "input", "meta", "link", "hr", "wbr"}


class DuckDuckGo(SearchBackend):
    """Searches without a key."""

    name = "duckduckgo"
    home = "https://html.duckduckgo.com"

    async def search(self, egress: Egress, query: str, count: int) -> list[Hit]:
        """Ask."""
        answer = await self.ask(
            egress,
            "POST",
            "/html/",
            headers=_HEADERS,
            content=urlencode({"q": query}).encode(),
        )
        page = _ResultPage(self.url)
        page.feed(decode(answer.content, "utf-8"))
        page.close()
        if answer.status == 202 or page.is_challenge:
            raise self.error(
                "blocked", "it takes us for a robot; try later or use another backend"
            )
        if not page.found and not page.is_empty:
            raise self.error("malformed", "its page looks different from what we know")
        return hits(page.found, count)


class _ResultPage(HTMLParser):
    """Collects the results of a page."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.found: list[Hit] = []
        self.is_empty = False
        self.is_challenge = False
        self._url = url
        self._depth = 0
        self._ad_depth: int | None = None
        self._reading: str | None = None
        self._href = ""
        self._words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        classes = set(values.get("class", "").split())
        if tag not in _VOID:
            self._depth += 1
        if "result--ad" in classes and self._ad_depth is None:
            self._ad_depth = self._depth
        self.is_empty |= bool(classes & {"no-results", "result--no-result"})
        self.is_challenge |= any(name.startswith("anomaly") for name in classes)
        if self._ad_depth is not None:
            return
        if tag == "a" and "result__a" in classes:
            self._begin("title")
            self._href = values.get("href", "")
        elif "result__snippet" in classes:
            self._begin("snippet")

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        if self._ad_depth is not None and self._depth <= self._ad_depth:
            self._ad_depth = None
        self._depth -= 1
        if self._reading == "title" and tag == "a":
            self._end()
            title, url = "".join(self._words), _target(self._url, self._href)
            self.found.append(Hit(title=title, url=url, snippet=""))
        elif self._reading == "snippet" and tag in ("a", "div", "td"):
            self._end()
            if self.found:
                last = self.found[-1]
                self.found[-1] = Hit(
                    title=last.title, url=last.url, snippet="".join(self._words)
                )

    def handle_data(self, data: str) -> None:
        if self._reading:
            self._words.append(data)

    def _begin(self, what: str) -> None:
        self._reading, self._words = what, []

    def _end(self) -> None:
        self._reading = None


def _target(base: str, href: str) -> str:
    """Return where a link leads; most go through the service itself."""
    try:
        url = urljoin(f"{base}/html/", href)
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.path == "/l/":
        return parse_qs(parts.query).get("uddg", [""])[0]
    return url
