"""What vendors say of a level of thinking that they do not take."""

from __future__ import annotations

import pytest
from rustyclaw_failover.thinking import LEVELS, next_level, normal

OPENAI = (
    "Unsupported value: 'reasoning_effort' does not support 'minimal' with this model. "
    "Supported values are: 'low', 'medium', and 'high'."
)


@pytest.mark.parametrize(
    ("words", "level"),
    [
        ("off none", "off"),
        ("on enable enabled low thinkhard think-hard", "low"),
        ("min minimal think", "minimal"),
        ("mid med medium thinkharder harder", "medium"),
        ("high ultra ultrathink thinkhardest highest max", "high"),
        ("xhigh x-high x_high", "xhigh"),
        ("purple 7", None),
    ],
)
def test_words(words: str, level: str | None) -> None:
    assert {normal(word) for word in words.split()} == {level}
    assert normal("think hard") == "low"


@pytest.mark.parametrize(
    ("level", "refusal", "tried", "wanted"),
    [
        ("minimal", OPENAI, {"minimal"}, "low"),
        ("minimal", OPENAI, {"minimal", "low"}, "medium"),
        ("minimal", OPENAI, {"minimal", "low", "medium", "high"}, None),
        ("xhigh", "supported values: low, medium and high (request id r)", (), "low"),
        (
            "high",
            "Supported values are: low and medium.\nnext line, high",
            {"low"},
            "medium",
        ),
        ("low", "Supported values are: 'auto', 'none'.", (), "off"),
        ("low", "Supported values are: 'auto'.", (), None),
        (
            "off",
            "Budget 0 is invalid. This model only works in thinking mode.",
            {"off"},
            "minimal",
        ),
        (
            "high",
            'think value "high" is not supported for this model',
            {"high"},
            "medium",
        ),
        ("high", '"gemma" does not support thinking', {"high"}, "medium"),
        ("medium", '"gemma" does not support thinking', {"medium"}, "low"),
        ("minimal", "Thinking is not supported by this model", {"minimal"}, "off"),
        ("high", "thinking is not supported", set(LEVELS), None),
        ("off", "thinking is not supported", (), None),
        ("max", "effort 'max' is not supported", {"max"}, "xhigh"),
        ("xhigh", "reasoning_effort 'xhigh' is not supported", {"xhigh"}, "high"),
        (
            "high",
            "`max_tokens` must be greater than `thinking.budget_tokens`",
            {"high"},
            "medium",
        ),
        ("high", "budget_tokens must be less than max_tokens", {"high"}, "medium"),
        ("high", "Unsupported parameter: 'reasoning.effort'", {"high"}, "medium"),
        ("high", "messages.1: tool_use ids were found without results", (), None),
        ("high", 'Unknown name "temperature": is not supported', (), None),
        ("high", "this model does not exist", (), None),
    ],
)
def test_the_next_level(
    level: str, refusal: str, tried: set[str], wanted: str | None
) -> None:
    assert next_level(level, refusal, tried) == wanted
