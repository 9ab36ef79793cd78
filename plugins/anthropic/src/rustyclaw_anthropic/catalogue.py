"""What is known about Claude: sizes, and how each generation is made to think.

Sizes and rules are those that Anthropic documented in November 2026 ("Models overview",
"Thinking", "Troubleshooting thinking", "Effort", "Preserved thinking"). The vendor is
asked for sizes, and the config corrects them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rustyclaw import ModelInfo
from rustyclaw_http.catalogue import alike, listed, size_in
from rustyclaw_http.levels import known, nearest

#: How a model thinks: not at all; with a budget; as it sees fit, if it is told to;
#: as it sees fit, unless it is told not to; as it sees fit, always.
Mode = Literal["never", "budget", "asked", "default", "always"]

#: Level of thinking -> budget in tokens.
BUDGETS = {
    "minimal": 1024,
    "low": 2048,
    "medium": 4096,
    "high": 8192,
    "xhigh": 16_384,
    "max": 32_000,
}
#: Effort -> tokens that thinking may take of the answer where there is no budget.
_ROOM = {"low": 4096, "medium": 8192, "high": 16_384, "xhigh": 32_768, "max": 65_536}
#: Anthropic refuses a smaller budget.
_LEAST_BUDGET = 1024
#: Lets blocks that belong to another conversation be dropped instead of refused.
_BINDING_BETA = "thinking-binding-controls-2026-08-01"

_MODERN = re.compile(
    r"claude-(?P<family>[a-z]+)-(?P<major>\d+)(-(?P<minor>\d{1,2}))?\b"
)
_ANCIENT = re.compile(r"claude-(?P<major>[123])([-.](?P<minor>\d))?\b", re.ASCII)


KNOWN = (
    *alike(
        *("claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-1"),
        *("claude-opus-5", "claude-sonnet-5"),
        *("claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6"),
        window=1_000_000,
        output=128_000,
    ),
    *alike("claude-sonnet-4-6", window=1_000_000, output=64_000),
    *alike(
        *("claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5"),
        "claude-sonnet-4-0",
        window=200_000,
        output=64_000,
    ),
    *alike("claude-opus-4-1", "claude-opus-4-0", window=200_000, output=32_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nature:
    """How a model wants to be spoken to.

    :param efforts: The levels that ``output_config.effort`` may have; none: it has no
        such field.
    :param bound: Its thoughts belong to what was said before them, and may not be shown
        again after something else.
    :param warms: It may be told its temperature.
    :param prefills: The conversation may end with its own words.
    """

    mode: Mode
    efforts: tuple[str, ...] = ()
    bound: bool = False
    warms: bool = True
    prefills: bool = True


def nature(model: str) -> Nature:
    """Return how a model wants to be spoken to.

    An unknown Claude is taken for a new one; others who speak this language know
    budgets.
    """
    if "claude" not in model:
        return Nature(mode="budget")
    family, version = _version(model)
    if version < (3, 7):
        return Nature(mode="never")
    if version < (4, 6):
        return Nature(mode="budget")
    mythical = family in ("fable", "mythos")
    bound = version >= (5, 1) if mythical else version >= (5, 5)
    if mythical or version >= (5, 6) or (bound and family != "haiku"):
        mode: Mode = "always"
    elif version >= (5, 0):
        mode = "default"
    else:
        mode = "asked"
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    if version < (4, 7):
        efforts = ("low", "medium", "high", *(["max"] if family == "opus" else []))
    return Nature(
        mode=mode, efforts=efforts, bound=bound, warms=version < (4, 7), prefills=False
    )


def _version(model: str) -> tuple[str, tuple[int, int]]:
    """Return family and version that a name tells."""
    found = _MODERN.search(model) or _ANCIENT.search(model)
    if found is None:
        return "", (99, 0)
    parts = found.groupdict()
    version = (int(parts["major"]), int(parts["minor"] or 0))
    return parts.get("family") or "ancient", version


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """The fields of a request that decide how much a model thinks.

    :param budget: Tokens that the limit of the answer grows by.
    :param on: Whether it may think, so that temperature must not be given.
    """

    fields: Mapping[str, Any]
    budget: int = 0
    on: bool = False
    betas: tuple[str, ...] = ()


def thinking(model: str, level: str, info: ModelInfo, max_tokens: int) -> Thought:
    """Return how a request makes a model think.

    :param level: ``off``, ``on`` or a level; models get the nearest that they have.
    :raises ProviderError: There is no such level.
    """
    wanted, about = known(level), nature(model)
    if about.mode == "never" or (about.mode == "budget" and wanted == "none"):
        return Thought(fields={})
    if about.mode == "budget":
        room = max(info.max_output_tokens, max_tokens) - 1
        budget = max(min(BUDGETS[wanted], room), _LEAST_BUDGET)
        fields = {"thinking": {"type": "enabled", "budget_tokens": budget}}
        return Thought(fields=fields, budget=budget, on=True)
    if wanted == "none" and about.mode == "asked":
        return Thought(fields={})
    if wanted == "none" and about.mode == "default":
        return Thought(fields={"thinking": {"type": "disabled"}})
    effort = nearest(wanted, about.efforts)
    how: dict[str, Any] = {"type": "adaptive"}
    if not about.warms:  # from here on thoughts come without their text by default
        how["display"] = "summarized"
    if about.bound:
        how["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
    return Thought(
        fields={"thinking": how, "output_config": {"effort": effort}},
        budget=_ROOM[effort],
        on=True,
        betas=(_BINDING_BETA,) if about.bound else (),
    )


def infos(answer: Any) -> list[ModelInfo]:
    """Return the models of ``GET /v1/models``."""
    return listed(answer.get("data") if isinstance(answer, Mapping) else None, _info)


def _info(entry: Mapping[str, Any]) -> ModelInfo | None:
    name = entry.get("id")
    if not isinstance(name, str):
        return None
    like = next((info for info in KNOWN if name.startswith(info.id)), None)
    default = like or ModelInfo(id=name, max_output_tokens=4096, vision=True)
    thinks = _supported(entry, "thinking", nature(name).mode != "never")
    return ModelInfo(
        id=name,
        context_window=size_in(entry, "max_input_tokens", default.context_window),
        max_output_tokens=size_in(entry, "max_tokens", default.max_output_tokens),
        vision=_supported(entry, "image_input", default.vision),
        reasoning=thinks,
    )


def _supported(entry: Mapping[str, Any], name: str, default: bool) -> bool:
    able = entry.get("capabilities")
    found = able.get(name) if isinstance(able, Mapping) else None
    said = found.get("supported") if isinstance(found, Mapping) else None
    return said if isinstance(said, bool) else default
