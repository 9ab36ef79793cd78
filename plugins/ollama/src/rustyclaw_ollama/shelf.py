"""What is installed, and what each model can, as ``/api/show`` tells it.

Source: Ollama API reference, "List models" and "Show model details".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rustyclaw import ModelInfo

#: A larger window is not used unasked: each token of it takes memory.
MAX_WINDOW = 32_768
#: What Ollama takes where nobody says anything.
OWN_WINDOW = 4096
_LATEST = ":latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is known of one model.

    :param able: Its capabilities; ``None``: this Ollama does not tell them.
    :param length: The longest window that it was made for; ``0``: unknown.
    :param remote: It runs elsewhere, so that its window takes no memory here.
    """

    able: frozenset[str] | None = None
    length: int = 0
    family: str = ""
    remote: bool = False

    def can(self, capability: str) -> bool:
        """Return whether a model can do something; who is unknown can."""
        return self.able is None or capability in self.able


def shown(answer: Any) -> Shown:
    """Return what ``POST /api/show`` tells."""
    if not isinstance(answer, Mapping):
        return Shown()
    able, facts = answer.get("capabilities"), answer.get("model_info")
    facts = facts if isinstance(facts, Mapping) else {}
    family = facts.get("general.architecture")
    family = family if isinstance(family, str) else ""
    length = facts.get(f"{family}.context_length")
    if not isinstance(length, int):
        ends = (v for k, v in facts.items() if str(k).endswith(".context_length"))
        length = next((value for value in ends if isinstance(value, int)), 0)
    return Shown(
        able=frozenset(map(str, able)) if isinstance(able, list) else None,
        length=max(length, 0),
        family=family,
        remote=bool(answer.get("remote_host") or answer.get("remote_model")),
    )


def names(answer: Any) -> list[str]:
    """Return the models of ``GET /api/tags``, the newest first."""
    entries = answer.get("models") if isinstance(answer, Mapping) else None
    found = (
        entry.get("name") or entry.get("model")
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, Mapping)
    )
    return [name for name in found if isinstance(name, str)]


def aliases(name: str) -> tuple[str, ...]:
    """Return all names under which a model may be asked for."""
    short = name.removesuffix(_LATEST)
    return (name,) if short == name else (name, short)


def info(name: str, model: Shown, window: int) -> ModelInfo:
    """Return a model as the core wants it."""
    return ModelInfo(
        id=name,
        context_window=window,
        max_output_tokens=window,
        vision="vision" in (model.able or ()),
        reasoning="thinking" in (model.able or ()),
    )
