"""What conversations have cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field
from rustyclaw import MethodError, Text, ToolCall, ToolResult

from rustyclaw_server import usage
from rustyclaw_server.auth.scopes import ADMIN, READ
from rustyclaw_server.methods.base import Anything, Context, Loose, method
from rustyclaw_server.usage import Days, Line, Session
from rustyclaw_server.wire.frames import Wire, clean

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAY = Field(None, pattern=r"^\d{4}-\d{2}-\d{2}$")
_POINTS, _CHARS = 100, 2000
Key = Field(min_length=1, max_length=512)


class UsageStatus(Wire):
    """What vendors say of quotas; none here does."""

    updated_at: int
    providers: list[dict[str, Any]]


@method("usage.status", scope=READ, params=Anything, result=UsageStatus)
async def usage_status(params: Anything, context: Context) -> dict[str, Any]:
    """Return the quotas that vendors tell of; no provider here does so yet."""
    return {"updatedAt": _now(), "providers": []}


class CostParams(Anything):
    """Parameters of ``usage.cost``."""

    days: int | None = Field(None, ge=1, le=3660)
    start_date: str | None = _DAY
    end_date: str | None = _DAY
    mode: str | None = None
    utc_offset: str | None = Field(None, max_length=16)


@method("usage.cost", scope=READ, params=CostParams, result=Loose)
async def usage_cost(params: CostParams, context: Context) -> dict[str, Any]:
    """Return tokens by day over a range of days; costs are not known."""
    days = _days(params)
    lines = await context.server.usage.everything(days)
    spent = [line for line in lines if line.usage is not None]
    daily = [
        {"date": day.isoformat(), **usage.totals(group)}
        for day, group in usage.grouped(spent, lambda line: days.day(line.time))
    ]
    answer = {"updatedAt": _now(), "days": len(days), "daily": daily}
    return {**answer, "totals": usage.totals(spent)}


def _days(params: Any) -> Days:
    try:
        return usage.days_of(
            days=getattr(params, "days", None),
            start=params.start_date,
            end=params.end_date,
            offset=params.utc_offset,
        )
    except (ValueError, OverflowError):
        text = "a date is written YYYY-MM-DD, an offset UTC+5:30"
        raise MethodError(f"invalid range; {text}") from None


# --- By session -----------------------------------------------------------------------


class SessionsParams(Wire):
    """Parameters of ``sessions.usage``."""

    key: str | None = Field(None, max_length=512)
    start_date: str | None = _DAY
    end_date: str | None = _DAY
    mode: str | None = None
    utc_offset: str | None = Field(None, max_length=16)
    group_by: str | None = None
    include_historical: bool | None = None
    limit: int | None = Field(None, ge=1, le=1000)
    include_context_weight: bool | None = None


@method(
    "sessions.usage", scope=ADMIN, params=SessionsParams, result=Loose, listed=False
)
async def sessions_usage(params: SessionsParams, context: Context) -> dict[str, Any]:
    """Return what each session has used in a range of days, and sums of it."""
    days = _days(params)
    key = context.gateway.key(params.key) if params.key else ""
    default = await context.server.catalog.default()
    rows, everything, by_agent, by_channel = [], list[Line](), [], []
    for session in await context.server.usage.sessions(key, params.limit or 50):
        lines = [line for line in session.lines if days.has(line.time)]
        if not lines and not key:
            continue
        row = _row(session, lines, days)
        row.setdefault("modelProvider", default.provider)
        row.setdefault("model", default.model)
        rows.append(row)
        everything += lines
        by_agent.append((row["agentId"], lines))
        by_channel.append((row["channel"], lines))
    return {
        "updatedAt": _now(),
        "startDate": days.first.isoformat(),
        "endDate": days.last.isoformat(),
        "sessions": rows,
        "totals": usage.totals(everything),
        "aggregates": {
            "messages": usage.messages(everything),
            "tools": usage.tools(everything),
            "byModel": usage.by_model(everything),
            "byProvider": usage.by_model(everything, models=False),
            "byAgent": _sums("agentId", by_agent),
            "byChannel": _sums("channel", by_channel),
            **_of("latency", usage.latency(everything)),
            "dailyLatency": list(_daily_latency(everything, days)),
            "modelDaily": list(_daily_models(everything, days)),
            "daily": [
                {
                    "date": day.isoformat(),
                    "tokens": usage.totals(group)["totalTokens"],
                    "cost": 0,
                    "messages": usage.messages(group)["total"],
                    "toolCalls": usage.messages(group)["toolCalls"],
                    "errors": usage.messages(group)["errors"],
                }
                for day, group in usage.grouped(everything, lambda n: days.day(n.time))
            ],
        },
    }


def _sums(name: str, parts: list[tuple[str, list[Line]]]) -> list[dict[str, Any]]:
    together: dict[str, list[Line]] = {}
    for key, lines in parts:
        together.setdefault(key, []).extend(lines)
    return [{name: key, "totals": usage.totals(together[key])} for key in together]


def _of(name: str, value: Any) -> dict[str, Any]:
    return {} if value is None else {name: value}


def _row(session: Session, lines: list[Line], days: Days) -> dict[str, Any]:
    info = session.info
    target = info.last_target
    shared = info.key.split(":")[3:-1][:1] in (["group"], ["channel"])
    channel, chat = (target.channel if target else "webchat"), "direct"
    if shared:
        chat = "group"
    row: dict[str, Any] = {
        "key": info.key,
        **_of("label", info.label),
        "sessionId": info.session_id,
        "scope": "instance",
        "sessionFamilyKey": info.key,
        "currentSessionId": info.session_id,
        "includedSessionIds": [info.session_id],
        "historicalInstanceCount": 1,
        "updatedAt": int(info.updated_at * 1000),
        "agentId": info.agent_id,
        "channel": channel,
        "chatType": chat,
        "origin": {"provider": channel, "surface": channel, "chatType": chat},
    }
    if info.model:
        provider, _, model = info.model.partition("/")
        row |= {"modelProvider": provider, "model": model}
    return row | {"usage": _details(session, lines, days), "contextWeight": None}


def _details(session: Session, lines: list[Line], days: Days) -> dict[str, Any]:
    times = [int(line.time * 1000) for line in lines]
    by_day = usage.grouped(lines, lambda line: days.day(line.time))
    return {
        **usage.totals(lines),
        "sessionId": session.info.session_id,
        "sessionFile": str(session.path),
        **_of("firstActivity", min(times, default=None)),
        **_of("lastActivity", max(times, default=None)),
        "durationMs": max(times) - min(times) if times else 0,
        "activityDates": [day.isoformat() for day, _ in by_day],
        "dailyBreakdown": [
            {
                "date": day.isoformat(),
                "tokens": usage.totals(group)["totalTokens"],
                "cost": 0,
            }
            for day, group in by_day
        ],
        "dailyMessageCounts": [
            {"date": day.isoformat(), **usage.messages(group)} for day, group in by_day
        ],
        "utcQuarterHourMessageCounts": [
            {**quarter, **usage.messages(group)} for quarter, group in _quarters(lines)
        ],
        "utcQuarterHourTokenUsage": [
            {**quarter, **_tokens(group)} for quarter, group in _quarters(lines)
        ],
        "dailyLatency": list(_daily_latency(lines, days)),
        "dailyModelUsage": list(_daily_models(lines, days)),
        "messageCounts": usage.messages(lines),
        "toolUsage": usage.tools(lines),
        "modelUsage": usage.by_model(lines),
        **_of("latency", usage.latency(lines)),
    }


def _tokens(lines: Sequence[Line]) -> dict[str, int]:
    whole = usage.totals(lines)
    names = ("input", "output", "cacheRead", "cacheWrite", "totalTokens", "totalCost")
    return {name: whole[name] for name in names}


def _quarters(lines: list[Line]) -> Iterator[tuple[dict[str, Any], list[Line]]]:
    """Yield the quarters of an hour in which something was said."""
    for index, group in usage.grouped(lines, lambda line: int(line.time // 900)):
        day = time.strftime("%Y-%m-%d", time.gmtime(index * 900))
        yield {"date": day, "quarterIndex": index % 96}, group


def _daily_latency(lines: Sequence[Line], days: Days) -> Iterator[dict[str, Any]]:
    for day, group in usage.grouped(lines, lambda line: days.day(line.time)):
        if times := usage.latency(group):
            yield {"date": day.isoformat(), **times}


def _daily_models(lines: Sequence[Line], days: Days) -> Iterator[dict[str, Any]]:
    for day, group in usage.grouped(lines, lambda line: days.day(line.time)):
        for row in usage.by_model(group):
            whole = row.pop("totals")
            facts = {"tokens": whole["totalTokens"], "cost": 0}
            yield {"date": day.isoformat(), **row, **facts}


# --- One session ----------------------------------------------------------------------


class OneParams(Wire):
    """Parameters of ``sessions.usage.timeseries`` and ``sessions.usage.logs``."""

    key: str = Key
    limit: int | None = Field(None, ge=1, le=1000)


@method(
    "sessions.usage.timeseries",
    scope=ADMIN,
    params=OneParams,
    result=Loose,
    listed=False,
)
async def sessions_usage_timeseries(
    params: OneParams, context: Context
) -> dict[str, Any]:
    """Return the tokens of a session over time, in at most 100 points."""
    session = await _one(params.key, context)
    spent = [line for line in session.lines if line.usage is not None]
    step = max(-(-len(spent) // _POINTS), 1)
    points, so_far = [], 0
    for start in range(0, len(spent), step):
        group = spent[start : start + step]
        whole = _tokens(group)
        whole.pop("totalCost")
        so_far += whole["totalTokens"]
        point = {"timestamp": int(group[-1].time * 1000), **whole, "cost": 0}
        points.append({**point, "cumulativeTokens": so_far, "cumulativeCost": 0})
    return {"sessionId": session.info.session_id, "points": points}


@method(
    "sessions.usage.logs", scope=ADMIN, params=OneParams, result=Loose, listed=False
)
async def sessions_usage_logs(params: OneParams, context: Context) -> dict[str, Any]:
    """Return the last messages of a session as lines of a log."""
    session = await _one(params.key, context)
    transcript = await context.gateway.state.sessions.transcript(session.info)
    rows = []
    for entry in transcript.entries[-(params.limit or 200) :]:
        if entry.message is None:
            continue
        role = entry.message.role
        text = clean("\n".join(_shown(block) for block in entry.message.content))
        row: dict[str, Any] = {"timestamp": int(entry.timestamp * 1000)}
        row["role"] = "toolResult" if role == "tool" else role
        row["content"] = f"{text[:_CHARS]}…" if len(text) > _CHARS else text
        if entry.usage is not None:
            row |= {"tokens": usage.tokens(entry.usage)["totalTokens"], "cost": 0}
        rows.append(row)
    return {"logs": rows}


def _shown(block: Any) -> str:
    match block:
        case Text(text=text):
            return text
        case ToolCall(name=name):
            return f"[Tool: {name}]"
        case ToolResult(name=name, text=text):
            return f"[Tool: {name}]\n[Tool Result]\n{text}"
    return f"[{type(block).__name__.lower()}]"


async def _one(key: str, context: Context) -> Session:
    found = await context.server.usage.sessions(context.gateway.key(key))
    if not found:
        raise MethodError(f"no session found: {key}")
    return found[0]


def _now() -> int:
    return int(time.time() * 1000)
