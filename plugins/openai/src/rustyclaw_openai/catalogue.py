"""What is known about models: sizes, pictures, and how much they can think.

Sizes are those that the vendors documented in November 2026; the config corrects
them, and vendors that tell sizes themselves are asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rustyclaw import ModelInfo
from rustyclaw_http.catalogue import alike, listed

OPENAI = (
    *alike("gpt-5.6", "gpt-5.6-sol", window=1_050_000, output=128_000),
    *alike("gpt-5.6-terra", "gpt-5.6-luna", window=1_050_000, output=128_000),
    *alike("gpt-5.5", window=1_050_000, output=128_000),
    *alike("gpt-5.4", window=1_050_000, output=128_000),
    *alike("gpt-5.4-mini", "gpt-5.4-nano", window=400_000, output=128_000),
    *alike("gpt-5.2", "gpt-5.1", "gpt-5", window=400_000, output=128_000),
    *alike("gpt-5-mini", "gpt-5-nano", window=400_000, output=128_000),
    *alike("o3", "o4-mini", window=200_000, output=100_000),
    *alike(
        *("gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano"),
        window=1_047_576,
        output=32_768,
        reasoning=False,
    ),
    *alike("gpt-4o", "gpt-4o-mini", window=128_000, output=16_384, reasoning=False),
)
GROQ = (
    *alike(
        *("openai/gpt-oss-120b", "openai/gpt-oss-20b"),
        window=131_072,
        output=65_536,
        vision=False,
    ),
    *alike(
        "llama-3.3-70b-versatile",
        window=131_072,
        output=32_768,
        vision=False,
        reasoning=False,
    ),
)
MISTRAL = (
    *alike("mistral-medium-latest", window=262_144, output=65_536),
    *alike("mistral-small-latest", window=262_144, output=65_536),
    *alike("mistral-large-latest", window=262_144, output=65_536, reasoning=False),
    *alike(
        "codestral-latest", window=256_000, output=32_768, vision=False, reasoning=False
    ),
)
DEEPSEEK = (
    *alike("deepseek-flash", window=1_000_000, output=384_000),
    *alike("deepseek-v4-pro", window=1_000_000, output=384_000, vision=False),
)
XAI = (
    *alike("grok-4.3", window=1_000_000, output=131_072),
    *alike("grok-4", window=256_000, output=131_072),
    *alike("grok-3-mini", window=131_072, output=32_768, vision=False),
)
OPENROUTER = alike("openrouter/auto", window=200_000, output=32_768)

#: Models of OpenAI -> the levels that they take, the first match counts.
_EFFORTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"gpt-5(\.\d+)?-chat", ()),
    (r"gpt-5-pro", ("high",)),
    (r"gpt-5\.\d+-pro", ("medium", "high", "xhigh")),
    (r"gpt-5(\.\d+)?-codex", ("low", "medium", "high")),
    (r"gpt-5\.([6-9]|\d\d)", ("none", "low", "medium", "high", "xhigh", "max")),
    (r"gpt-5\.[2-5]", ("none", "low", "medium", "high", "xhigh")),
    (r"gpt-5\.1", ("none", "low", "medium", "high")),
    (r"gpt-5", ("minimal", "low", "medium", "high")),
    (r"o[134](-|$)|gpt-oss", ("low", "medium", "high")),
)


def openai_efforts(model: str) -> tuple[str, ...]:
    """Return the levels of thinking that a model of OpenAI takes; none: it cannot."""
    name = model.rpartition("/")[2].removeprefix("ft:")
    found = (levels for pattern, levels in _EFFORTS if re.match(pattern, name))
    return next(found, ())


def infos(answer: Any) -> list[ModelInfo]:
    """Return the models of a list, as OpenRouter, Groq, Mistral, vLLM ... give it.

    Models that generate no text are left out where the list tells.
    """
    entries = answer.get("data") if isinstance(answer, Mapping) else answer
    return listed(entries, _info)


def _info(entry: Mapping[str, Any]) -> ModelInfo | None:
    if not isinstance(entry.get("id"), str) or entry.get("type") == "embeddings":
        return None
    top, can = _mapping(entry, "top_provider"), _mapping(entry, "capabilities")
    if can.get("completion_chat") is False:
        return None
    senses = _mapping(entry, "architecture").get("input_modalities") or ()
    takes = entry.get("supported_parameters") or ()
    default = ModelInfo(id=entry["id"])
    return ModelInfo(
        id=entry["id"],
        context_window=_first(
            entry.get("loaded_context_length"),  # LM Studio
            entry.get("max_model_len"),  # vLLM
            entry.get("context_length"),  # OpenRouter
            entry.get("context_window"),  # Groq
            entry.get("max_context_length"),  # Mistral, LM Studio
            _mapping(entry, "meta").get("n_ctx"),  # llama.cpp
            default.context_window,
        ),
        max_output_tokens=_first(
            top.get("max_completion_tokens"),
            entry.get("max_completion_tokens"),
            default.max_output_tokens,
        ),
        vision="image" in senses
        or can.get("vision") is True
        or entry.get("type") == "vlm",
        reasoning="reasoning" in takes or can.get("reasoning") is True,
    )


def _mapping(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = entry.get(key)
    return value if isinstance(value, Mapping) else {}


def _first(*sizes: Any) -> int:
    return next(size for size in sizes if isinstance(size, int) and size > 0)
