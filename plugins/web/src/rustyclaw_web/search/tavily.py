"""Tavily. Source: its API reference, "Search"."""

from __future__ import annotations

import json

from pydantic import BaseModel
from rustyclaw_egress.client import Egress

from rustyclaw_web.search.backend import Hit, SearchBackend, hits


class _Result(BaseModel):
    title: str
    url: str
    content: str = ""


class _Answer(BaseModel):
    results: list[_Result]


class Tavily(SearchBackend):
    """Searches with a key; 432 and 433 say that the plan or the budget is used up."""

    name = "tavily"
    home = "https://api.tavily.com"
    needs_key = True

    async def search(self, egress: Egress, query: str, count: int) -> list[Hit]:
        """Ask."""
        question = {"query": query, "max_results": count, "search_depth": "basic"}
        answer = await self.ask(
            egress,
            "POST",
            "/search",
            headers={
                "Authorization": f"Bearer {self.key}",
                "Content-Type": "application/json",
                "Accept": "application/json",
            },
            content=json.dumps(question).encode(),
        )
        return hits(
            (
                Hit(title=r.title, url=r.url, snippet=r.content)
                for r in self.parsed(answer, _Answer).results
            ),
            count,
        )
