"""Brave Search. Source: its API documentation, "Web search" (v1)."""

from __future__ import annotations

from urllib.parse import urlencode

from pydantic import BaseModel
from rustyclaw_egress.answers import Answer
from rustyclaw_egress.client import Egress

from rustyclaw_web.search.backend import Hit, SearchBackend, SearchError, hits


class _Result(BaseModel):
    title: str
    url: str
    description: str = ""


class _Web(BaseModel):
    results: list[_Result] = []


class _Answer(BaseModel):
    web: _Web | None = None  # without results it is left out


class Brave(SearchBackend):
    """Searches with a key; counts of 1 to 20."""

    name = "brave"
    home = "https://api.search.brave.com"
    needs_key = True

    async def search(self, egress: Egress, query: str, count: int) -> list[Hit]:
        """Ask; the vendor takes 400 characters and 50 words."""
        words = " ".join(query.split()[:50])[:400]
        answer = await self.ask(
            egress,
            "GET",
            f"/res/v1/web/search?{urlencode({'q': words, 'count': count})}",
            headers={"Accept": "application/json", "X-Subscription-Token": self.key},
        )
        found = self.parsed(answer, _Answer).web or _Web()
        return hits(
            (
                Hit(title=r.title, url=r.url, snippet=r.description)
                for r in found.results
            ),
            count,
        )

    def refusal(self, answer: Answer) -> SearchError:
        """Return what a status means: a key it does not know is 422 here."""
        if answer.status == 422 and b"SUBSCRIPTION_TOKEN_INVALID" in answer.content:
            return self.error("auth", "the key is wrong")
        return super().refusal(answer)
