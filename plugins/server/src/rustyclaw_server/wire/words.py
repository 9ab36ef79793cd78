"""What an assistant has said, as clients know it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rustyclaw import Usage


def now_ms() -> int:
    """Return the time in milliseconds since the epoch."""
    return int(time.time() * 1000)


def assistant(text: str) -> dict[str, Any]:
    """Return an assistant's message."""
    content = [{"type": "text", "text": text}]
    return {"role": "assistant", "content": content, "timestamp": now_ms()}


def injected(text: str) -> dict[str, Any]:
    """Return an assistant's message that the gateway itself has written."""
    kinds = ("input", "output", "cacheRead", "cacheWrite", "total")
    usage = {**dict.fromkeys((*kinds[:4], "totalTokens"), 0)}
    return {
        **assistant(text),
        "stopReason": "stop",
        "usage": {**usage, "cost": dict.fromkeys(kinds, 0)},
        "api": "rustyclaw",
        "provider": "openclaw",
        "model": "gateway-injected",
    }


def usage_of(usage: Usage) -> dict[str, int]:
    """Return tokens."""
    return {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cacheRead": usage.cache_read_tokens,
        "cacheWrite": usage.cache_write_tokens,
        "totalTokens": usage.prompt_tokens + usage.output_tokens,
    }
