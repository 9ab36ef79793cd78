"""What a vendor's failure means: one table for all vendors.

`classify` is all that decides. Text that is unmistakable comes first, then the status,
then words that mean little by themselves. A vendor that says something new gets a
new row of `RULES`, and a realistic answer in ``tests/test_classify.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

#: The kinds of `rustyclaw.ProviderError`.
Kind = Literal[
    "rate_limit", "overloaded", "auth", "auth_permanent", "billing",
    "context_overflow", "timeout", "format", "model_not_found", "retry_limit",
    "unknown",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: a text that matches means this kind of failure.

    :param weak: Only heard when the status says nothing: such words also stand in
        texts about something else.
    """

    kind: Kind
    pattern: re.Pattern[str]
    weak: bool = False


def _rules(kind: Kind, *patterns: str, weak: bool = False) -> tuple[Rule, ...]:
    flags = re.IGNORECASE | re.DOTALL
    return tuple(Rule(kind, re.compile(text, flags), weak) for text in patterns)


#: Tested in this order. A failure of an image comes before overflow ("too large"),
#: limits on tokens per minute before overflow (Groq answers 413), billing before rate
#: limits (OpenAI answers 429 when the credit is gone).
RULES: tuple[Rule, ...] = (
    *_rules("format", r"image (dimensions?|size|exceeds)|image.{0,40}too (large|many)"),
    *_rules(
        "billing",
        r"insufficient[_ ]quota",
        r"payment required",
        r"insufficient (credits|balance|funds)",
        r"credit balance",
        r"billing_(error|hard_limit_reached|not_active)",
        r"plans & billing",
        r"requires? more credits",
        r"used all (of )?(its |your )?available credits",
        r"billing.{0,60}(upgrade|credits|payment)|(purchase|upgrade).{0,60}billing",
    ),
    *_rules(
        "rate_limit",
        r"tokens per (minute|day)|\btp[md]\b",
        r"requests per (minute|day|second)|\brp[md]\b",
        r"rate[_ -]?limit",
        r"too many requests",
        r"exceeded your current quota",
        r"resource[_ ](has been )?exhausted",
        r"quota exceeded|exceeded.{0,20} quota",
        r"usage limit",
        r"throttl",
        r"model_cooldown",
        r"(daily|weekly|monthly) limit",
        r"(service_tier_)?capacity[_ ]exceeded",
    ),
    *_rules(
        "overloaded",
        r"overloaded",
        r"high (demand|traffic|load)",
        r"(at|over) capacity",
        r"service[_ ]unavailable.{0,80}(overload|capacity|busy)",
        r"server (is )?busy|maximum pending requests",
        r"insufficient_system_resource",
    ),
    *_rules(
        "context_overflow",
        r"context[_ ](length|window)[_ ]exceeded",
        r"(maximum|max) context (length|size)|maximum prompt length",
        r"prompt (is )?too long",
        r"exceeds? .{0,30}context (window|length|size)",
        r"context overflow",
        r"request_too_large|request exceeds the maximum size",
        r"413.{0,80}too large|payload too large|request entity too large",
        r"model token limit",
        r"exceeds? (the )?(model's )?(maximum )?context( limit)?",
        r"max_tokens.{0,60}exceed.{0,60}context",
        r"input (is )?(length|too long).{0,60}(exceed|context|model|$)",
        r"input token count.{0,60}exceeds the maximum",
        r"too large for model with \d+ maximum context",
        r"request size exceeds.{0,40}context",
    ),
    *_rules(
        "format",
        r"string should match pattern",
        r"tool_use[._]id",
        r"invalid request format",
        r"tool call id was",
        r"requires more system memory",  # Ollama; waiting does not help
    ),
    *_rules(
        "auth_permanent",
        r"(api )?key (has been|was|is) (revoked|disabled|deactivated|deleted)",
        r"key_disabled",
        r"(account|organization|user).{0,20}(deactivated|disabled|suspended)",
        r"permission_error",
        r"not allowed for this organization",
    ),
    *_rules(
        "auth",
        r"(invalid|incorrect)[_ ](x-)?api[_ -]?key",
        r"api[_ ]key[_ ](not valid|invalid|expired)|invalid x-api-key",
        r"authentication_error|unauthenticated",
        r"(invalid|expired)[_ ](bearer |access )?token|token has expired",
        r"oauth token refresh failed|re-authenticate",
        r"no (credentials|api key|auth credentials|cookie auth credentials) found",
        r"(no|missing) (api key|authentication|credentials)|didn't provide an api key",
    ),
    *_rules(
        "model_not_found",
        r"model[_ ]not[_ ]found|unknown[_ ]model",
        r"model.{0,80}(does not exist|not found|no longer available|is not supported)",
        r"does not exist or you do not have access",
        r"not_found_error.{0,40}model",
        r"(is )?not a valid model( id)?|invalid[_ ]model|no endpoints found",
        r"deploymentnotfound|deployment.{0,60}does not exist",
    ),
    *_rules(
        "timeout",  # the model, not the request: Google
        r"malformed_(function_call|response)|unexpected_tool_call",
    ),
    *_rules("rate_limit", r"\b429\b", weak=True),
    *_rules("billing", r"\b402\b", weak=True),
    *_rules(
        "auth",
        r"authentication",
        r"unauthorized",
        r"forbidden",
        r"access denied|permission[_ ]denied",
        r"insufficient permissions",
        r"expired",
        r"\b40[13]\b",
        weak=True,
    ),
    *_rules(
        "timeout",
        r"time[d-]?[ _]?out",
        r"deadline[_ ]exceeded",
        r"econn(refused|reset|aborted)|enotfound|etimedout|epipe|eai_again",
        r"connection (error|reset|refused|closed|aborted)|broken pipe",
        r"fetch failed|socket hang up|network (error|connection lost)|disconnected",
        r"without sending any chunks",
        r"stop reason: (abort|error)",
        r"(api|server)_error|internal (server )?error|bad gateway|service unavailable",
        weak=True,
    ),
    *_rules("format", r"invalid_request_error|invalid_argument|bad request", weak=True),
)

#: Statuses that say enough when the text does not.
_STATUSES: dict[Kind, tuple[int, ...]] = {
    "format": (*range(300, 400), 400, 405, 411, 413, 415, 422),
    "auth": (401, 403),
    "billing": (402,),
    "timeout": (408, 409, 425, 499, 500, 502, 503, 504, *range(520, 528)),
    "model_not_found": (410,),
    "rate_limit": (429, 498),
    "overloaded": (529,),
}
STATUSES = {status: kind for kind, all_of in _STATUSES.items() for status in all_of}

#: These words say that it was no overflow, whatever else the text says.
_NOT_OVERFLOW = re.compile(r"context window.{0,40}too small|minimum", re.IGNORECASE)
_PERIODIC = re.compile(
    r"daily|weekly|monthly|resets? (at|in)|try again (in|at)|per (day|week|month)",
    re.IGNORECASE,
)
#: A refusal is short; what is longer is prose, whose words mean nothing.
_LONGEST_REFUSAL = 4000
_OBSERVED = (
    r"prompt is too long: (\d+) tokens",
    r"resulted in (\d+) tokens",
    r"requested (?:about )?(\d+) (?:output |input )?tokens",
    r"input token count[^\d]{0,20}(\d+)",
    r"contains at least (\d+) (?:input )?tokens",
    r"request \((\d+) tokens\)",
    r"prompt contains (\d+) tokens",
)


def classify(text: str, *, status: int | None = None) -> Kind:
    """Return the kind of a failure, as `rustyclaw.ProviderError` names kinds.

    :param text: What the vendor said: its codes, types and message, in any order.
    :param status: HTTP status of the answer, or the one that its body names.
    """
    text = f"{status or ''} {text[:_LONGEST_REFUSAL]}"
    by_status = None if status is None else STATUSES.get(status)
    for rule in RULES:
        if rule.weak and by_status is not None:
            break  # all weak rules stand last
        if rule.pattern.search(text) and not _excused(rule.kind, text):
            return _refined(rule.kind, text, status)
    return _refined(by_status or "unknown", text, status)


def observed_tokens(text: str) -> int | None:
    """Return the size of the prompt, if the vendor counted it in its refusal."""
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", text[:_LONGEST_REFUSAL])
    for pattern in _OBSERVED:
        if found := re.search(pattern, plain, re.IGNORECASE):
            return int(found[1][:12])
    return None


def _excused(kind: Kind, text: str) -> bool:
    return kind == "context_overflow" and bool(_NOT_OVERFLOW.search(text))


def _refined(kind: Kind, text: str, status: int | None) -> Kind:
    """Tell a spent credit from a limit that comes back by itself."""
    if kind == "billing" and status == 402 and _PERIODIC.search(text):
        return "rate_limit"
    return kind
