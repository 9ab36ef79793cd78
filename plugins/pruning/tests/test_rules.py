"""Each rule by itself: when, what, how far, and what is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError
from rustyclaw import Image, Message, Text, Thinking, ToolCall, ToolResult
from rustyclaw_pruning.config import PLACEHOLDER, PruningConfig
from rustyclaw_pruning.pruning import last_turns, prune, repeat, size_of

WINDOW = 10_000  # tokens, so 40,000 characters
BIG = "x" * 20_000


def config(**changes: Any) -> PruningConfig:
    return PruningConfig.model_validate({"min_prunable_tool_chars": 0, **changes})


def turn(
    number: int, *results: ToolResult | str, tool: str = "look"
) -> tuple[Message, ...]:
    """Return a question, a message that calls tools, their results, and an answer."""
    made = [r if isinstance(r, ToolResult) else ToolResult(text=r) for r in results]
    ids = [f"{number}-{n}" for n in range(len(made))]
    calls = tuple(ToolCall(id=i, name=tool) for i in ids)
    answers = tuple(
        ToolResult(
            text=r.text, is_error=r.is_error, media=r.media, call_id=i, name=tool
        )
        for i, r in zip(ids, made, strict=True)
    )
    return (
        Message.user(f"question {number}"),
        Message(role="assistant", content=calls),
        Message(role="tool", content=answers),
        Message.assistant(f"answer {number}"),
    )


ENDING = (*turn(8, "small"), *turn(9, "small"))


def results(messages: Sequence[Message]) -> list[ToolResult]:
    return [b for m in messages for b in m.content if isinstance(b, ToolResult)]


def texts(messages: Sequence[Message]) -> list[str]:
    return [result.text for result in results(messages)]


def kinds(messages: Sequence[Message]) -> list[str]:
    """Say of each result whether it is whole, trimmed or cleared."""
    return [
        "cleared"
        if t == PLACEHOLDER
        else "trimmed"
        if "[Tool result trimmed" in t
        else "whole"
        for t in texts(messages)
    ]


# --- When ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "changes", "expected"),
    [
        (11_800, {}, "whole"),  # below 30 % of the window
        (12_000, {}, "trimmed"),
        (12_000, {"soft_trim_ratio": 0.31}, "whole"),
        (12_000, {"hard_clear_ratio": 0.05}, "cleared"),
        (
            12_000,
            {"hard_clear_ratio": 0.05, "hard_clear": {"enabled": False}},
            "trimmed",
        ),
        # what trimming left is less than it is worth to clear
        (
            12_000,
            {"hard_clear_ratio": 0.05, "min_prunable_tool_chars": 4_000},
            "trimmed",
        ),
        (
            12_000,
            {"hard_clear_ratio": 0.05, "min_prunable_tool_chars": 3_000},
            "cleared",
        ),
    ],
)
def test_the_ratios_decide(size: int, changes: Any, expected: str) -> None:
    messages = (*turn(0, "x" * size), *ENDING)

    assert kinds(prune(messages, WINDOW, config(**changes)).messages)[0] == expected


@pytest.mark.parametrize("window", [0, -1])
def test_without_a_window_nothing_is_pruned(window: int) -> None:
    messages = (*turn(0, BIG), *ENDING)

    assert prune(messages, window, config()).messages is messages


@pytest.mark.parametrize(
    ("block", "size"),
    [
        (Text(text="abc"), 3),
        (Thinking(text="abcd", signature="long" * 9), 4),
        (ToolCall(id="1", name="look", arguments={"at": "sky"}), 4 + 13),
        (ToolCall(id="1", name="look", arguments={"at": object()}), 4 + 128),
        (Image(data=b"x", media_type="image/png"), 8_000),
        (ToolResult(text="abc", media=(Image(data=b"", media_type="i/p"),)), 8_003),
    ],
)
def test_sizes(block: Any, size: int) -> None:
    assert size_of(Message(role="user", content=(block,))) == size


# --- What is protected --------------------------------------------------------------

PICTURE = ToolResult(text=BIG, media=(Image(data=b"x", media_type="image/png"),))
THREE = (*turn(0, "a"), *turn(1, BIG), *turn(2, BIG))


@pytest.mark.parametrize(
    ("messages", "changes", "expected"),
    [
        ((*turn(0, BIG), *ENDING), {}, ["trimmed", "whole", "whole"]),
        # the last three assistant messages, and all that follows the first of them
        (THREE, {}, ["whole", "trimmed", "whole"]),
        (THREE, {"keep_last_assistants": 0}, ["whole", "trimmed", "trimmed"]),
        ((*turn(0, BIG),), {}, ["whole"]),  # fewer assistants than are kept
        # before the first message of the user
        (
            (*turn(0, BIG)[1:], *turn(1, BIG), *ENDING),
            {},
            ["whole", "trimmed", "whole", "whole"],
        ),
        ((*turn(0, PICTURE), *ENDING), {}, ["whole"] * 3),
        ((*turn(0, ToolResult.error(BIG)), *ENDING), {}, ["whole"] * 3),
        (
            (*turn(0, ToolResult.error(BIG)), *ENDING),
            {"keep_errors": False},
            ["trimmed", "whole", "whole"],
        ),
    ],
)
def test_what_is_protected(messages: Any, changes: Any, expected: list[str]) -> None:
    rules = config(hard_clear={"enabled": False}, **changes)

    assert kinds(prune(messages, WINDOW, rules).messages) == expected


def test_what_people_and_models_say_is_left_alone() -> None:
    messages = (Message.user(BIG), Message.assistant(BIG), *turn(0, BIG), *ENDING)

    pruned = prune(messages, WINDOW, config(hard_clear_ratio=0)).messages

    assert kinds(pruned) == ["cleared", "whole", "whole"]
    assert [m for m in pruned if m.role != "tool"] == [
        m for m in messages if m.role != "tool"
    ]


@pytest.mark.parametrize(
    ("allow", "deny", "pruned"),
    [
        ([], [], True),
        (["look"], [], True),
        (["LO*"], [], True),
        (["read_*"], [], False),
        (["*"], ["look"], False),
        ([], ["L*k"], False),
        ([], [" look "], False),
    ],
)
def test_tools_are_allowed_and_denied(
    allow: list[str], deny: list[str], pruned: bool
) -> None:
    messages = (*turn(0, BIG, tool="Look"), *ENDING)
    rules = config(tools={"allow": allow, "deny": deny})

    assert (prune(messages, WINDOW, rules).messages is not messages) is pruned


# --- What is done -------------------------------------------------------------------


def test_a_trim_keeps_head_and_tail_and_says_so() -> None:
    text = "h" * 1_500 + "m" * 9_000 + "t" * 1_500
    pruned = prune((*turn(0, text), *ENDING), WINDOW, config())

    assert texts(pruned.messages)[0] == (
        f"{'h' * 1_500}\n...\n{'t' * 1_500}\n\n"
        "[Tool result trimmed: kept first 1500 and last 1500 characters of 12000.]"
    )
    assert dict(pruned.deeds) == {"0-0": "trim"}


def test_all_long_results_are_trimmed_and_the_oldest_cleared_until_it_is_enough() -> (
    None
):
    many = [message for n in range(8) for message in turn(n, "x" * 10_000)]
    rules = config(hard_clear_ratio=0.4)

    pruned = prune((*many, *ENDING), WINDOW, rules).messages

    done = kinds(pruned)
    assert done[-2:] == ["whole", "whole"]
    cleared = done.count("cleared")
    assert 0 < cleared < 8
    assert done[:8] == ["cleared"] * cleared + ["trimmed"] * (8 - cleared)
    assert sum(map(size_of, pruned)) < 0.4 * 4 * WINDOW


def test_a_cleared_result_stays_the_answer_to_its_call() -> None:
    messages = (*turn(0, ToolResult.error(BIG)), *ENDING)
    rules = config(hard_clear_ratio=0, keep_errors=False)

    (first, *_) = results(prune(messages, WINDOW, rules).messages)

    assert (first.call_id, first.name, first.is_error) == ("0-0", "look", True)


@pytest.mark.parametrize("placeholder", ["", "   "])
def test_an_empty_placeholder_is_ignored(placeholder: str) -> None:
    rules = config(hard_clear_ratio=0, hard_clear={"placeholder": placeholder})

    assert (
        texts(prune((*turn(0, BIG), *ENDING), WINDOW, rules).messages)[0] == PLACEHOLDER
    )


def test_the_given_messages_are_not_changed() -> None:
    messages = (*turn(0, BIG), *ENDING)
    prune(messages, WINDOW, config(hard_clear_ratio=0))

    assert messages == (*turn(0, BIG), *ENDING)


@pytest.mark.parametrize(
    "wrong",
    [
        {"soft_trim": {"head_chars": 2_000, "tail_chars": 2_000}},
        {"soft_trim_ratio": 1.1},
        {"hard_clear_ratio": -0.1},
        {"keep_last_assistants": -1},
        {"mode": "sometimes"},
        {"history_turns": {"*": 0}},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        PruningConfig.model_validate(wrong)


# --- Turns --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turns", "first"), [(1, "question 2"), (2, "question 1"), (9, "question 0")]
)
def test_only_the_last_turns_are_sent(turns: int, first: str) -> None:
    messages = (*turn(0, "a"), *turn(1, "b"), *turn(2, "c"))

    kept = last_turns(messages, turns, "[Summary")

    assert kept[0].text == first
    assert kept == messages[len(messages) - len(kept) :]


def test_a_summary_is_not_a_turn_to_be_left_out() -> None:
    summary = Text(text="[Summary] of old")
    first = Message(role="user", content=(summary, Text(text="question")))
    messages = (first, Message.assistant("a"), *turn(1, "b"), *turn(2, "c"))

    kept = last_turns(messages, 1, "[Summary]")

    assert kept[0].content == (summary, Text(text="question 2"))
    assert kept[1:] == messages[-3:]


# --- Whatever comes -----------------------------------------------------------------

TOOL_RESULTS = st.builds(
    ToolResult,
    text=st.integers(0, 6_000).map(lambda n: "x" * n),
    is_error=st.booleans(),
    media=st.sampled_from([(), (Image(data=b"x", media_type="image/png"),)]),
)
CONVERSATIONS = st.lists(st.lists(TOOL_RESULTS, max_size=3), max_size=8).map(
    lambda shape: tuple(m for n, rs in enumerate(shape) for m in turn(n, *rs))
)
CONFIGS = st.fixed_dictionaries(
    {
        "keep_last_assistants": st.integers(0, 4),
        "soft_trim_ratio": st.floats(0, 1),
        "hard_clear_ratio": st.floats(0, 1),
        "min_prunable_tool_chars": st.sampled_from([0, 2_000, 10_000]),
        "keep_errors": st.booleans(),
        "soft_trim": st.tuples(st.integers(0, 900), st.integers(0, 900)).map(
            lambda p: {"max_chars": 2_000, "head_chars": p[0], "tail_chars": p[1]}
        ),
        "hard_clear": st.booleans().map(lambda on: {"enabled": on}),
    }
).map(PruningConfig.model_validate)


def skeleton(messages: Sequence[Message]) -> list[Any]:
    """Return all of a conversation but the texts of results."""
    return [
        [
            (b.call_id, b.name, b.is_error, b.media) if isinstance(b, ToolResult) else b
            for b in message.content
        ]
        for message in messages
    ]


@given(messages=CONVERSATIONS, rules=CONFIGS, window=st.integers(0, 8_000))
def test_pairs_stay_nothing_grows_and_twice_is_once(
    messages: tuple[Message, ...], rules: PruningConfig, window: int
) -> None:
    pruned = prune(messages, window, rules)

    assert skeleton(pruned.messages) == skeleton(messages)
    for before, after in zip(texts(messages), texts(pruned.messages), strict=True):
        assert len(after) <= len(before)
    assert prune(pruned.messages, window, rules).messages == pruned.messages
    assert repeat(messages, pruned.deeds, rules) == pruned.messages


@given(messages=CONVERSATIONS, turns=st.integers(1, 9))
def test_last_turns_never_part_a_call_from_its_result(
    messages: tuple[Message, ...], turns: int
) -> None:
    kept = last_turns(messages, turns, "[Summary")

    assert kept == messages[len(messages) - len(kept) :]
    assert not kept or kept[0].role == "user"
    assert sum(m.role == "user" for m in kept) == min(
        turns, sum(m.role == "user" for m in messages)
    )
