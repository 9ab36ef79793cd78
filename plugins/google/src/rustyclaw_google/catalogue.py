"""What is known about Gemini: sizes, and how each generation is made to think.

Sizes and rules are those that Google documented in November 2026 ("Gemini models",
"Gemini thinking"). The vendor is asked for sizes, and the config corrects them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rustyclaw import ModelInfo
from rustyclaw_http.catalogue import alike, listed, size_in
from rustyclaw_http.levels import known, nearest

#: Level of thinking -> budget in tokens, for Gemini 2.5.
BUDGETS = {
    "minimal": 1024,
    "low": 2048,
    "medium": 4096,
    "high": 8192,
    "xhigh": 16_384,
    "max": 24_576,
}
#: Level of Gemini 3 -> tokens that thinking may take of the answer.
_ROOM = {"minimal": 1024, "low": 4096, "medium": 8192, "high": 32_768}
#: The least budget of Gemini 2.5 Pro, which always thinks.
_PRO_LEAST = 128
_NAME = re.compile(r"gemini-(\d+)(?:\.(\d+))?\b", re.ASCII)
#: What the list also holds, and cannot hold a conversation with tools.
_SPECIALISTS = re.compile(r"embedding|-tts|-image|-live|native-audio|aqa|computer-use")


KNOWN = alike(
    *("gemini-3.8-flash", "gemini-3.6-flash", "gemini-3.1-pro-preview"),
    *("gemini-3.1-flash-lite", "gemini-3-flash-preview"),
    *("gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"),
    window=1_048_576,
    output=65_536,
)


def version(model: str) -> tuple[int, int]:
    """Return the generation of a model; an alias without one is taken for new."""
    found = _NAME.search(model)
    if found:
        return int(found[1]), int(found[2] or 0)
    return (99, 0) if model.startswith("gemini-") else (0, 0)


def levels(model: str) -> tuple[str, ...]:
    """Return the levels of thinking that a model of generation 3 has."""
    generation = version(model)
    if "pro" in model:
        return ("low", "high") if generation < (3, 1) else ("low", "medium", "high")
    if generation < (3, 8):
        return ("minimal", "low", "medium", "high")
    return ("low", "medium", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """How a request makes a model think.

    :param config: ``thinkingConfig``; empty: the model is not told.
    :param room: Tokens that the limit of the answer grows by: thoughts count, too.
    """

    config: Mapping[str, Any]
    room: int = 0


def thinking(model: str, level: str) -> Thought:
    """Return how a request makes a model think.

    :param level: ``off``, ``on`` or a level; models get the nearest that they have.
    :raises ProviderError: There is no such level.
    """
    wanted = known(level)
    tells = wanted != "none"
    if version(model) < (2, 5):
        return Thought(config={})
    if version(model) >= (3, 0):
        chosen = nearest(wanted, levels(model))
        config = {"thinkingLevel": chosen, "includeThoughts": tells}
        return Thought(config=config, room=_ROOM[chosen])
    budget = BUDGETS.get(wanted, _PRO_LEAST if "pro" in model else 0)
    config = {"thinkingBudget": budget, "includeThoughts": tells}
    return Thought(config=config, room=budget)


def infos(answer: Any) -> list[ModelInfo]:
    """Return the models of ``GET /v1beta/models`` that generate text."""
    return listed(answer.get("models") if isinstance(answer, Mapping) else None, _info)


def _info(entry: Mapping[str, Any]) -> ModelInfo | None:
    if not isinstance(entry.get("name"), str):
        return None
    methods = entry.get("supportedGenerationMethods")
    if not isinstance(methods, list) or "generateContent" not in methods:
        return None
    name = entry["name"].removeprefix("models/")
    if _SPECIALISTS.search(name):
        return None
    default = ModelInfo(id=name)
    thinks = entry.get("thinking")
    return ModelInfo(
        id=name,
        context_window=size_in(entry, "inputTokenLimit", default.context_window),
        max_output_tokens=size_in(entry, "outputTokenLimit", default.max_output_tokens),
        vision=version(name) > (0, 0) or name.startswith(("gemma-3-", "gemma-4")),
        reasoning=thinks if isinstance(thinks, bool) else version(name) >= (2, 5),
    )
