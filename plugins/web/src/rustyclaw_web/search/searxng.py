"""SearXNG, a search server of one's own. Source: its documentation, "Search API"."""

from __future__ import annotations

from urllib.parse import urlencode

from pydantic import BaseModel
from rustyclaw_egress.answers import Answer
from rustyclaw_egress.client import Egress

from rustyclaw_web.search.backend import Hit, SearchBackend, SearchError, hits


class _Result(BaseModel):
    title: str = ""
    url: str
    content: str | None = None


class _Answer(BaseModel):
    results: list[_Result]


class Searxng(SearchBackend):
    """Searches on the operator's server, whose settings must list the format json."""

    name = "searxng"

    async def search(self, egress: Egress, query: str, count: int) -> list[Hit]:
        """Ask."""
        headers = {"Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        answer = await self.ask(
            egress,
            "GET",
            f"/search?{urlencode({'q': query, 'format': 'json'})}",
            headers=headers,
        )
        return hits(
            (
                Hit(title=r.title, url=r.url, snippet=r.content or "")
                for r in self.parsed(answer, _Answer).results
            ),
            count,
        )

    def refusal(self, answer: Answer) -> SearchError:
        """Return what a status means: 403 is what it says without that format."""
        if answer.status == 403:
            return self.error(
                "auth",
                "it refuses JSON; add `json` to `search.formats` of its settings",
            )
        return super().refusal(answer)
