"""What conversations have cost, read from their transcripts.

A transcript is digested once and again only when its file has changed. Providers here
tell no prices, so every cost is 0 and is counted as missing.
"""

from __future__ import annotations

import os
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from rustyclaw import RustyclawError, ToolCall, ToolResult, Usage

if TYPE_CHECKING:
    from rustyclaw import Gateway

_CACHED, _FILES = 512, 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What counts of one message; ``seconds`` since what it answers."""

    time: float
    role: str
    usage: Usage | None = None
    model: str = ""
    seconds: float | None = None
    tools: tuple[str, ...] = ()
    results: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """A range of days in a time zone, both ends included."""

    first: date
    last: date
    zone: timezone

    def day(self, seconds: float) -> date:
        """Return the day of a time."""
        return datetime.fromtimestamp(seconds, self.zone).date()

    def has(self, seconds: float) -> bool:
        """Return whether a time is within."""
        return self.first <= self.day(seconds) <= self.last

    def __len__(self) -> int:
        return max((self.last - self.first).days + 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session, and the digest of all its transcripts or of the current one."""

    info: Any
    path: Path
    lines: tuple[Line, ...]


class UsageBook:
    """Digests of transcripts."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._digests: OrderedDict[Path, tuple[tuple[int, int], tuple[Line, ...]]]
        self._digests = OrderedDict()

    async def sessions(self, key: str = "", limit: int = _FILES) -> list[Session]:
        """Return the sessions with their current transcripts, the last used first."""
        store, found = self._gateway.state.sessions, []
        if key:
            info = await store.get(key)
            infos = [info] if info else []
        else:
            infos = list(await store.list(limit=limit))
        for info in infos:
            path = store.path_of(info)
            found.append(Session(info=info, path=path, lines=await self.lines(info)))
        return found

    async def everything(self, days: Days) -> list[Line]:
        """Return all that was said in a range, also before sessions were reset."""
        gateway, found = self._gateway, list[Line]()
        paths = await anyio.to_thread.run_sync(_transcripts, gateway.home, days)
        for agent_id in {agent_id for agent_id, _ in paths}:
            for info in await gateway.state.sessions.list(agent=agent_id, limit=1):
                for path in (path for of, path in paths if of == agent_id):
                    found += await self.lines(replace(info, session_id=path.stem))
        return [line for line in found if days.has(line.time)]

    async def lines(self, info: Any) -> tuple[Line, ...]:
        """Return the digest of a session's transcript."""
        store = self._gateway.state.sessions
        path = store.path_of(info)
        try:
            found = await anyio.to_thread.run_sync(os.stat, path)
            mark = (found.st_mtime_ns, found.st_size)
            known = self._digests.get(path)
            if known is None or known[0] != mark:
                transcript = await store.transcript(info)
                known = (mark, tuple(_digest(transcript.entries)))
                self._digests[path] = known
        except (OSError, RustyclawError):  # gone, or damaged: the doctor tells
            return ()
        self._digests.move_to_end(path)
        while len(self._digests) > _CACHED:
            self._digests.popitem(last=False)
        return known[1]


def _transcripts(home: Path, days: Days) -> list[tuple[str, Path]]:
    """Return agent and path of the transcripts that may have lines of a range."""
    start = datetime.combine(days.first, datetime.min.time(), days.zone).timestamp()
    found = [
        (path.stat().st_mtime, path) for path in home.glob("agents/*/sessions/*.jsonl")
    ]
    recent = sorted((f for f in found if f[0] >= start), reverse=True)[:_FILES]
    return [(path.parent.parent.name, path) for _, path in recent]


def _digest(entries: Iterable[Any]) -> Iterator[Line]:
    before: float | None = None
    for entry in entries:
        message = entry.message
        if message is None:
            continue
        calls = [b.name for b in message.content if isinstance(b, ToolCall)]
        results = [b for b in message.content if isinstance(b, ToolResult)]
        is_answer = message.role == "assistant"
        failed = sum(result.is_error for result in results)
        yield Line(
            time=entry.timestamp,
            role=message.role,
            usage=entry.usage,
            model=entry.model or "",
            seconds=entry.timestamp - before
            if is_answer and before is not None and entry.usage
            else None,
            tools=tuple(calls),
            results=len(results),
            errors=failed + (entry.stop_reason == "error"),
        )
        before = entry.timestamp


def days_of(
    *, days: int | None, start: str | None, end: str | None, offset: str | None
) -> Days:
    """Return the range that parameters mean; by default the last 30 days.

    :param offset: Such as ``UTC+5:30``; by default UTC.
    :raises ValueError: A date or an offset cannot be read.
    """
    zone = UTC
    if offset:
        sign, _, rest = offset.upper().removeprefix("UTC").partition("+")
        minus = offset.upper().removeprefix("UTC").startswith("-")
        hours, _, minutes = (rest or sign.lstrip("-") or "0").partition(":")
        delta = timedelta(hours=int(hours), minutes=int(minutes or 0))
        zone = timezone(-delta if minus else delta)
    today = datetime.now(zone).date()
    last = date.fromisoformat(end) if end else today
    first = date.fromisoformat(start) if start else None
    if first is None:
        first = last - timedelta(days=(days or 30) - 1)
    return Days(first=first, last=last, zone=zone)


# --- Sums -------------------------------------------------------------------------


def totals(lines: Iterable[Line]) -> dict[str, int]:
    """Return the tokens of messages as clients know them."""
    whole, count = Usage(), 0
    for line in lines:
        if line.usage is not None:
            whole, count = whole + line.usage, count + 1
    return tokens(whole) | {
        "totalCost": 0,
        "inputCost": 0,
        "outputCost": 0,
        "cacheReadCost": 0,
        "cacheWriteCost": 0,
        "missingCostEntries": count,
    }


def tokens(usage: Usage) -> dict[str, int]:
    """Return tokens as clients know them."""
    parts = {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cacheRead": usage.cache_read_tokens,
        "cacheWrite": usage.cache_write_tokens,
    }
    return parts | {"totalTokens": sum(parts.values())}


def grouped(
    lines: Iterable[Line], key: Callable[[Line], Any]
) -> list[tuple[Any, list[Line]]]:
    """Return messages by a key, sorted by it."""
    groups = defaultdict(list)
    for line in lines:
        groups[key(line)].append(line)
    return sorted(groups.items())


def messages(lines: Sequence[Line]) -> dict[str, int]:
    """Return how many messages there are, by kind."""
    roles = Counter(line.role for line in lines)
    return {
        "total": roles["user"] + roles["assistant"],
        "user": roles["user"],
        "assistant": roles["assistant"],
        "toolCalls": sum(len(line.tools) for line in lines),
        "toolResults": sum(line.results for line in lines),
        "errors": sum(line.errors for line in lines),
    }


def tools(lines: Sequence[Line]) -> dict[str, Any]:
    """Return how often each tool was called."""
    counts = Counter(name for line in lines for name in line.tools)
    rows = [{"name": name, "count": n} for name, n in counts.most_common(50)]
    total = sum(counts.values())
    return {"totalCalls": total, "uniqueTools": len(counts), "tools": rows}


def latency(lines: Iterable[Line]) -> dict[str, int] | None:
    """Return how long answers took, in milliseconds."""
    times = sorted(round(1000 * line.seconds) for line in lines if line.seconds)
    if not times:
        return None
    return {
        "count": len(times),
        "avgMs": round(sum(times) / len(times)),
        "p95Ms": times[min(int(len(times) * 0.95), len(times) - 1)],
        "minMs": times[0],
        "maxMs": times[-1],
    }


def by_model(lines: Iterable[Line], *, models: bool = True) -> list[dict[str, Any]]:
    """Return usage by model, or by provider."""
    rows = []
    spent = [line for line in lines if line.usage is not None]
    for (provider, model), group in grouped(spent, lambda n: _names(n, models)):
        row: dict[str, Any] = {"provider": provider}
        if models:
            row["model"] = model
        rows.append({**row, "count": len(group), "totals": totals(group)})
    return rows


def _names(line: Line, models: bool) -> tuple[str, str]:
    provider, _, model = line.model.partition("/")
    return provider, model if models else ""
