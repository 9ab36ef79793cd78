"""Cuts long tool output to its head and tail."""

from __future__ import annotations

import re

#: Characters of one tool result by size of the model's window (in tokens).
_LIMITS = ((200_000, 64_000), (100_000, 32_000), (0, 16_000))
_IMPORTANT_TAIL = re.compile(
    r"error|exception|failed|fatal|traceback|panic|stack trace|errno|exit code"
    r"|total|summary|result|complete|finished|done",
    re.IGNORECASE,
)
_MARKER = "\n\n[... the middle is left out; head and tail are shown ...]\n\n"


def result_limit(context_window: int, override: int | None = None) -> int:
    """Return how many characters of one tool result a model is shown."""
    return override or next(n for window, n in _LIMITS if context_window >= window)


def cut_text(text: str, limit: int, *, hint: str = "ask for specific parts") -> str:
    """Return ``text`` in at most ``limit`` characters, as head and tail.

    The tail gets 30 % if it seems to matter (an error, a total, the end of a JSON
    value), else 15 %. Cuts move to line breaks that are near.

    :param hint: What the reader can do to see more; part of the notice.
    """
    if len(text) <= limit:
        return text
    notice = f"\n\n[{len(text) - limit} or more characters left out; {hint}]"
    budget = limit - len(notice) - len(_MARKER)
    if budget < 2:
        return text[: max(limit, 0)]
    ending = text[-2000:]
    matters = _IMPORTANT_TAIL.search(ending) or ending.rstrip().endswith("}")
    tail_size = min(int(budget * (0.3 if matters else 0.15)), 4000)
    head_size = budget - tail_size
    head, tail = text[:head_size], text[len(text) - tail_size :]
    if (line_end := head.rfind("\n")) > head_size * 0.8:
        head = head[:line_end]
    if 0 <= (line_start := tail.find("\n")) < tail_size * 0.2:
        tail = tail[line_start + 1 :]
    return f"{head}{_MARKER}{tail}{notice}"
