"""What all search services have in common: a question, hits, and ways to fail."""

from __future__ import annotations

import html
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from rustyclaw import ToolError
from rustyclaw_egress.answers import Answer
from rustyclaw_egress.client import Egress
from rustyclaw_egress.errors import EgressError, FetchFailed

Model = TypeVar("Model", bound=BaseModel)

SearchErrorKind = Literal[
    "not_configured",
    "auth",
    "quota",
    "rate_limit",
    "blocked",  # it takes us for a robot
    "unavailable",
    "timeout",
    "malformed",
]


class SearchError(ToolError):
    """A search failed.

    :param kind: The class of the failure.
    :param retry_after: What the service said of when to come again.
    """

    def __init__(
        self, message: str, *, kind: SearchErrorKind, retry_after: str | None = None
    ) -> None:
        super().__init__(message)
        self.kind: SearchErrorKind = kind
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One result: three lines of plain text that a stranger wrote."""

    title: str
    url: str
    snippet: str


class SearchBackend(ABC):
    """A search service.

    :param url: Its address without a slash at the end.
    :param key: What it wants to be shown, or an empty text.

    :cvar name: As in the config, for messages.
    :cvar home: The vendor's own address, if there is one.
    :cvar needs_key: It answers nobody without a key.
    """

    name: ClassVar[str]
    home: ClassVar[str | None] = None
    needs_key: ClassVar[bool] = False

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key

    @abstractmethod
    async def search(self, egress: Egress, query: str, count: int) -> list[Hit]:
        """Ask.

        :raises SearchError: There is no answer.
        """

    async def ask(
        self,
        egress: Egress,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: bytes = b"",
    ) -> Answer:
        """Send a request and sort out failures.

        :raises SearchError: It did not work.
        """
        try:
            answer = await egress.fetch(
                method, f"{self.url}{path}", headers=headers, content=content
            )
        except EgressError as exc:
            late = isinstance(exc, FetchFailed) and exc.reason == "timeout"
            raise self.error("timeout" if late else "unavailable", str(exc)) from exc
        if answer.status in (200, 202):
            return answer
        raise self.refusal(answer)

    def refusal(self, answer: Answer) -> SearchError:
        """Return what an answer other than 200 means."""
        match answer.status:
            case 401 | 403:
                return self.error("auth", "the key is wrong or not allowed to do that")
            case 402 | 432 | 433:
                return self.error("quota", "the plan is used up")
            case 429:
                retry_after = answer.headers.get("retry-after", "")[:40] or None
                wait = f"; wait {retry_after} s" if retry_after else "; wait a little"
                return self.error("rate_limit", f"too many requests{wait}", retry_after)
            case status if status >= 500:
                return self.error("unavailable", f"status {status}; try again later")
            case status:
                return self.error("malformed", f"status {status}")

    def error(
        self, kind: SearchErrorKind, what: str, retry_after: str | None = None
    ) -> SearchError:
        """Return a failure of this service."""
        return SearchError(
            f"search by {self.name!r} failed: {what}",
            kind=kind,
            retry_after=retry_after,
        )

    def parsed(self, answer: Answer, model: type[Model]) -> Model:
        """Read an answer in JSON.

        :raises SearchError: It is something else.
        """
        try:
            return model.model_validate(json.loads(answer.content))
        except (ValidationError, ValueError, RecursionError):
            raise self.error(
                "malformed", "the answer is not what it should be"
            ) from None


def hits(found: Iterable[Hit], count: int) -> list[Hit]:
    """Return the first results that lead to a page, as plain text."""
    plain = (
        Hit(title=line(hit.title), url=hit.url.strip(), snippet=line(hit.snippet))
        for hit in found
        if re.match(r"https?://[^\s<>]+\Z", hit.url.strip())
    )
    return list(plain)[:count]


def line(text: str, limit: int = 400) -> str:
    """Return a text without tags, entities and line breaks."""
    words = html.unescape(re.sub(r"<[^<>]{0,200}>", "", text)).split()
    plain = " ".join(words)
    return plain if len(plain) <= limit else f"{plain[:limit]}…"
