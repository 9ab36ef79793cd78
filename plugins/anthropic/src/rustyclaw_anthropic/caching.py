"""Marks what the vendor shall remember of a prompt, and read from there next time.

A mark says "up to here". Tools come before the system prompt, and that before the
messages, so there is one behind each, and two in the conversation: what ends the
request, and what ended the one before. Four are allowed. Prompts that are too short
are simply not remembered. Source: "Prompt caching" of Anthropic's documentation.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

#: Blocks that may bear a mark; thoughts may not.
_MARKABLE = {"text", "image", "document", "tool_result", "tool_use"}


def mark(body: Json, lifetime: str) -> None:
    """Add the marks to the body of a request.

    :param lifetime: ``5m``, which is the vendor's own default, or ``1h``.
    """
    sign = {"type": "ephemeral"}
    if lifetime != "5m":
        sign["ttl"] = lifetime
    if body.get("tools"):
        body["tools"][-1]["cache_control"] = sign
    if body.get("system"):
        body["system"][-1]["cache_control"] = sign
    asked = [turn for turn in body["messages"] if turn["role"] == "user"]
    for turn in asked[-2:]:
        if turn["content"][-1]["type"] in _MARKABLE:
            turn["content"][-1]["cache_control"] = sign
