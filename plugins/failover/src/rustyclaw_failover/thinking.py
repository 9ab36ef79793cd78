"""The next level of thinking to try after a model has refused one."""

from __future__ import annotations

import re
from collections.abc import Collection

#: The least first; the words that `rustyclaw` and its users know.
LEVELS = ("off", "minimal", "low", "medium", "high", "xhigh")
_WORDS = {
    "off": "off none",
    "minimal": "min minimal think",
    "low": "on enable enabled low thinkhard",
    "medium": "mid med medium thinkharder harder",
    "high": "high ultra ultrathink thinkhardest highest max",
    "xhigh": "xhigh",
}
_LEVEL_OF = {word: level for level, words in _WORDS.items() for word in words.split()}
_SUPPORTED = re.compile(r"supported values(?: are)?:\s*([^\n]+)", re.IGNORECASE)
_QUOTED = re.compile(r"['\"`]([\w -]+)['\"`]")
#: What vendors say who take no thinking, or less of it: OpenAI, Ollama, Anthropic,
#: Google, vLLM.
_REFUSED = re.compile(
    r"does(n't| not) support (extended )?(thinking|reasoning)"
    r"|think value .{0,20} is not supported"
    r"|(thinking|reasoning)\w*['\"` ]{0,3} (is|are) not (supported|available|enabled)"
    r"|unsupported (parameter|value|field).{0,40}(reasoning|thinking|effort)"
    r"|(reasoning[_. ]effort|thinking[_. ]?(level|budget|config)?|effort)\b.{0,60}"
    r"\b(not supported|unsupported|not available|is invalid|not a valid)"
    r"|does not support .{0,40}\b(reasoning[_. ]effort|thinking|effort)\b"
    r"|budget_tokens.{0,40}must be less than|max_tokens.{0,40}must be greater than"
    r".{0,40}budget_tokens"
    r"|(thinking[_ ]?budget|budget_tokens).{0,60}(invalid|out of range|only works)",
    re.IGNORECASE | re.DOTALL,
)


#: What Google says of a model that cannot do without.
_ALWAYS = re.compile(r"only works in thinking mode", re.IGNORECASE)


def normal(word: str) -> str | None:
    """Return the level that a vendor's word means, or ``None`` if it is none."""
    return _LEVEL_OF.get(re.sub(r"[^a-z]", "", word.lower()))


def next_level(level: str, refusal: str, tried: Collection[str]) -> str | None:
    """Return the level to try next, or ``None`` if the refusal is about anything else.

    :param level: What was refused.
    :param refusal: What the vendor said.
    :param tried: Levels that this profile was asked for already.
    """
    if _ALWAYS.search(refusal):
        return next((name for name in LEVELS[1:] if name not in tried), None)
    now = level if level in (*LEVELS, "max") else normal(level) or "off"
    if found := _SUPPORTED.search(refusal):
        listed = re.split(r"\.(?:\s|$)|\(", found[1])[0]
        words = _QUOTED.findall(listed) or re.split(r",|\band\b|\bor\b", listed)
        offered = [name for name in map(normal, words) if name]
        if offered:
            return next((name for name in offered if name not in tried), None)
    if now == "off" or not _REFUSED.search(refusal):
        return None
    below = LEVELS[: LEVELS.index(now)] if now in LEVELS else LEVELS
    return next((name for name in reversed(below) if name not in tried), None)
