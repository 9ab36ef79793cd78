"""From entries to a request: whatever the history, a provider must accept it."""

from __future__ import annotations

import re
from dataclasses import replace
from time import perf_counter
from typing import Any, get_args

import pytest
from hypothesis import given, settings, strategies as st
from rustyclaw import (
    Image,
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    TranscriptPolicy,
)
from rustyclaw.agent.context import (
    MISSING_RESULT,
    START,
    SUMMARY_MARK,
    Conversation,
    RepairReport,
    build,
    estimate,
)
from rustyclaw.messages import Block
from rustyclaw.sessions.entries import Entry

POLICY = TranscriptPolicy()
LENIENT = TranscriptPolicy(
    merge_roles=False, start_with_user=False, trim_last_assistant=False
)


def user(text: str) -> Message:
    return Message.user(text)


def calls(*ids: str, text: str = "") -> Message:
    said = (Text(text=text),) if text else ()
    made = (ToolCall(id=i, name="exec", arguments={"i": i}) for i in ids)
    return Message(role="assistant", content=(*said, *made))


def results(**texts: str) -> Message:
    blocks = (ToolResult(call_id=i, name="exec", text=t) for i, t in texts.items())
    return Message(role="tool", content=tuple(blocks))


def built(*messages: Message, policy: TranscriptPolicy = POLICY) -> list[Message]:
    return build(map(Entry.of, messages), policy)


def report(*messages: Message, policy: TranscriptPolicy = POLICY) -> RepairReport:
    return Conversation(map(Entry.of, messages), policy).report


def missing(call_id: str) -> ToolResult:
    return ToolResult(text=MISSING_RESULT, is_error=True, call_id=call_id, name="exec")


# --- Pairing --------------------------------------------------------------------

GOOD = [user("do"), calls("a", "b"), results(a="A", b="B"), Message.assistant("done")]


def test_a_good_history_is_returned_as_it_is() -> None:
    assert built(*GOOD) == GOOD
    assert report(*GOOD) == RepairReport()
    assert built() == []


@pytest.mark.parametrize(
    ("history", "expected", "found"),
    [
        pytest.param(
            [user("do"), calls("a", "b"), results(b="B"), results(a="A")],
            [user("do"), calls("a", "b"), results(a="A", b="B")],
            RepairReport(),
            id="in the order of the calls",
        ),
        pytest.param(
            [user("do"), calls("a"), user("hurry"), results(a="A")],
            [user("do"), calls("a"), results(a="A"), user("hurry")],
            RepairReport(moved=1),
            id="moved before what came between",
        ),
        pytest.param(
            [user("do"), calls("a"), results(a="A"), results(a="A2")],
            [user("do"), calls("a"), results(a="A")],
            RepairReport(duplicates=1),
            id="the first of two",
        ),
        pytest.param(
            [results(a="A"), user("do"), results(b="B"), Message.assistant("ok")],
            [user("do"), Message.assistant("ok")],
            RepairReport(orphans=2),
            id="without a call",
        ),
        pytest.param(
            [user("do"), results(a="early"), calls("a")],
            [user("do"), calls("a"), Message(role="tool", content=(missing("a"),))],
            RepairReport(added=1, orphans=1),
            id="before its call",
        ),
        pytest.param(
            [user("do"), calls("a", "b"), results(b="B"), user("and?")],
            [
                user("do"),
                calls("a", "b"),
                Message(role="tool", content=(missing("a"), *results(b="B").content)),
                user("and?"),
            ],
            RepairReport(added=1),
            id="missing",
        ),
        pytest.param(
            [user("do"), calls("a"), Message.assistant("hm"), results(a="late")],
            [user("do"), calls("a"), results(a="late"), Message.assistant("hm")],
            RepairReport(moved=1),
            id="behind the next answer",
        ),
    ],
)
def test_results_stand_right_after_their_calls(
    history: list[Message], expected: list[Message], found: RepairReport
) -> None:
    assert built(*history) == expected
    assert report(*history) == found


def test_a_result_that_nobody_asked_for_is_not_added() -> None:
    conversation = Conversation(map(Entry.of, GOOD), POLICY)
    conversation.add(results(a="again"))
    assert conversation.messages == GOOD
    assert conversation.report.orphans == 1


def test_calls_without_results_are_dropped_if_the_policy_wants_it() -> None:
    policy = replace(POLICY, synthesize_results=False)
    history = [user("do"), calls("a", "b"), results(b="B"), calls("c"), user("and?")]
    assert built(*history, policy=policy) == [
        user("do"),
        calls("b"),
        results(b="B"),
        user("and?"),
    ]
    assert report(*history, policy=policy) == RepairReport()


def test_an_id_that_is_used_again_belongs_to_its_own_turn() -> None:
    history = [
        *(user("do"), calls("t1"), results(t1="A")),
        *(calls("t1"), calls("t1", "t1"), results(t1="C1"), results(t1="C2")),
    ]
    messages = built(*history)
    pairs = [
        (b.call_id, b.text)
        for m in messages
        for b in m.content
        if isinstance(b, ToolResult)
    ]
    assert [text for _, text in pairs] == ["A", MISSING_RESULT, "C1", "C2"]
    assert [i for i, _ in pairs] == [c.id for m in messages for c in m.tool_calls]
    assert len({i for i, _ in pairs}) == 4


def test_calls_without_an_id_or_a_name() -> None:
    anonymous = calls("", "")
    history = [user("do"), anonymous]
    history += [Message(role="tool", content=(ToolResult(text=t),)) for t in "AB"]
    _, asked, answered = built(*history)
    assert [b.text for b in answered.content if isinstance(b, ToolResult)] == ["A", "B"]
    first, second = (call.id for call in asked.tool_calls)
    assert first
    assert second
    assert first != second
    nameless = Message(role="assistant", content=(ToolCall(id="x", name=""),))
    assert built(user("do"), nameless, results(x="X")) == [user("do")]


def test_a_result_without_a_name_gets_that_of_its_call() -> None:
    bare = Message(role="tool", content=(ToolResult(call_id="a", text="A"),))
    assert built(user("do"), calls("a"), bare)[-1] == results(a="A")


def test_results_inside_of_a_user_message_are_results() -> None:
    mixed = Message(
        role="user", content=(*results(a="A").content, Text(text="and now?"))
    )
    assert built(user("do"), calls("a"), mixed) == [
        *(user("do"), calls("a"), results(a="A"), user("and now?"))
    ]


# --- Ids ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "ids", "expected"),
    [
        ("keep", ["call_1|fc_1", "", "x"], ["call_1|fc_1", "defaulttoolid", "x"]),
        ("keep", ["x", "x", "x", "xx2"], ["x", "xx2", "xx3", "xx2x2"]),
        ("strict", ["call_1|fc", "toolu-é9"], ["call1fc", "toolu9"]),
        ("strict", ["", "--"], ["defaulttoolid", "sanitizedtoolid"]),
        ("strict", ["a" * 50], ["a" * 40]),
        ("strict", ["a_b", "ab"], ["ab", "abda23614e"]),
        ("strict9", ["call_12345678"], ["call12345"]),
        ("strict9", ["", "a"], ["defaultid", "86f7e437f"]),
    ],
)
def test_ids_are_made_fit_and_calls_and_results_agree(
    mode: Any, ids: list[str], expected: list[str]
) -> None:
    policy = replace(POLICY, tool_call_ids=mode)
    blocks = tuple(ToolResult(call_id=i, text=i) for i in ids)
    history = [user("do"), calls(*ids), Message(role="tool", content=blocks)]
    _, asked, answered = built(*history, policy=policy)
    assert [call.id for call in asked.tool_calls] == expected
    answers = [b for b in answered.content if isinstance(b, ToolResult)]
    assert [b.call_id for b in answers] == expected
    assert [b.text for b in answers] == ids


@pytest.mark.parametrize("mode", ["keep", "strict", "strict9"])
def test_ids_that_always_collide_cost_no_more_each_time(mode: Any) -> None:
    conversation = Conversation([], replace(POLICY, tool_call_ids=mode))
    started = perf_counter()
    for _ in range(5000):
        conversation.add(calls("c"))
        conversation.add(results(c="C"))
    assert perf_counter() - started < 2  # some 0.1 s on an idle machine
    ids = [call.id for m in conversation.messages for call in m.tool_calls]
    assert len(set(ids)) == 5000


# --- Roles and blocks -----------------------------------------------------------


def test_neighbours_of_one_role_are_joined_block_by_block() -> None:
    history = [user("a"), user("a"), Message.assistant("b"), calls("c", text="d")]
    joined = built(*history, results(c="C"))
    assert [m.role for m in joined] == ["user", "assistant", "tool"]
    assert joined[0].content == (Text(text="a"), Text(text="a"))
    assert joined[1].text == "b\nd"
    apart = built(*history, results(c="C"), policy=LENIENT)
    assert apart == [*history, results(c="C")]


def test_a_history_begins_with_the_user() -> None:
    hello = Message.assistant("hello")
    assert built(hello, user("hi")) == [user(START), hello, user("hi")]
    assert built(hello, user("hi"), policy=LENIENT) == [hello, user("hi")]


def test_what_is_empty_is_left_out() -> None:
    blank = Message(role="assistant", content=(Text(text=" \n"), Text(text="")))
    only_thinking = Message(role="assistant", content=(Thinking(text="hm"),))
    nothing = Message(role="user", content=())
    half = Message(role="user", content=(Text(text=""), Text(text="x")))
    assert built(user("a"), blank, only_thinking, nothing, half) == [
        Message(role="user", content=(Text(text="a"), Text(text="x")))
    ]


def test_thinking_is_kept_unchanged_or_dropped() -> None:
    thinking = Thinking(text=" hm ", signature="sig")
    answer = Message(role="assistant", content=(thinking, Text(text="so")))
    assert built(user("a"), answer)[-1] == answer
    dropped = built(user("a"), answer, policy=replace(POLICY, keep_thinking=False))
    assert dropped[-1] == Message.assistant("so")


def test_only_a_final_answer_loses_its_trailing_white_space() -> None:
    history = [user("a "), Message.assistant("b \n"), user("c "), calls("x", text="d ")]
    *head, _ = built(*history, results(x="X"))
    assert head == history
    assert built(*history[:2])[-1] == Message.assistant("b")
    assert built(*history[:2], policy=LENIENT)[-1] == Message.assistant("b \n")


@pytest.mark.parametrize("role", ["user", "assistant", "tool"])
def test_blocks_that_a_role_cannot_have_are_dropped(role: Any) -> None:
    image = Image(data=b"x", media_type="image/png")
    content = (Text(text="t"), image, Thinking(text="h"), ToolCall(id="c", name="n"))
    kept = build([Entry.of(Message(role=role, content=content))], LENIENT)
    allowed: dict[str, tuple[type[Block], ...]] = {
        "user": (Text, Image),
        "assistant": (Text, Thinking, ToolCall),
        "tool": (),
    }
    assert [type(b) for m in kept[:1] for b in m.content] == list(allowed[role])


def test_oversized_results_are_cut_to_head_and_tail() -> None:
    text = "head " + "x" * 5000 + " tail"
    entries = list(map(Entry.of, [user("do"), calls("a"), results(a=text)]))
    (result,) = build(entries, POLICY, result_limit=1000)[-1].content
    assert isinstance(result, ToolResult)
    assert len(result.text) <= 1000
    assert result.text.startswith("head ")
    assert " tail" in result.text


# --- Compaction -----------------------------------------------------------------


def test_a_summary_stands_for_what_came_before() -> None:
    entries = list(map(Entry.of, [user("one"), Message.assistant("1"), user("two")]))
    marker = Entry.compaction(summary="they counted", first_kept_id=entries[2].id)
    after = Entry.of(Message.assistant("2"))
    first, last = build([*entries, marker, after], POLICY)
    assert first == Message(
        role="user",
        content=(Text(text=f"{SUMMARY_MARK}\n\nthey counted"), Text(text="two")),
    )
    assert last == Message.assistant("2")


@pytest.mark.parametrize("kept", ["", "missing"])
def test_a_compaction_that_points_nowhere_keeps_what_follows(kept: str) -> None:
    old = [Entry.of(user("one")), Entry.compaction(summary="older")]
    marker = Entry.compaction(summary="s", first_kept_id=kept)
    after = [Entry.of(Message.assistant("2")), Entry.of(user("three"))]
    first, *rest = build([*old, marker, *after], POLICY)
    assert first.text == f"{SUMMARY_MARK}\n\ns"
    assert rest == [e.message for e in after]


def test_other_entries_are_not_shown() -> None:
    odd = [Entry(kind="system", event="x"), Entry(kind="unknown", data={"type": "y"})]
    assert build([*odd, Entry.of(user("a")), *odd], POLICY) == [user("a")]


def test_a_conversation_begins_again_after_a_compaction() -> None:
    entries = list(map(Entry.of, [*GOOD, user("long " * 100)]))
    conversation = Conversation(entries, POLICY)
    large = conversation.tokens
    conversation.rebuild([*entries, Entry.compaction(summary="s")])
    assert conversation.messages == [user(f"{SUMMARY_MARK}\n\ns")]
    assert conversation.tokens < large


# --- Size -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        ((), 0),
        ((Text(text="x" * 400),), 100),
        ((Text(text="x"),), 1),
        ((Thinking(text="x" * 40), Text(text="x" * 40)), 20),
        ((Image(data=b"x" * 10**6, media_type="image/png"),), 1600),
        ((ToolResult(text="x" * 80, details={"y": "z" * 1000}),), 20),
        ((ToolResult(media=(Image(data=b"", media_type="image/png"),)),), 1600),
        ((ToolCall(id="i", name="exec", arguments={"command": "x" * 380}),), 100),
    ],
)
def test_the_size_of_a_message_is_estimated(content: Any, tokens: int) -> None:
    assert estimate(Message(role="user", content=content)) == pytest.approx(
        tokens, abs=1
    )


# --- Whatever comes -------------------------------------------------------------

ids = st.sampled_from(["", "a", "b", "c-1", "c_1", "a" * 50])
short = st.sampled_from(["", " ", "x", "y \n", "z" * 300])
block = (
    st.builds(Text, text=short)
    | st.builds(Thinking, text=short)
    | st.builds(ToolCall, id=ids, name=st.sampled_from(["", "exec"]))
    | st.builds(ToolResult, call_id=ids, text=short)
    | st.just(Image(data=b"x", media_type="image/png"))
)
message = st.builds(
    Message,
    role=st.sampled_from(["user", "assistant", "tool"]),
    content=st.lists(block, max_size=4).map(tuple),
)
entry = st.builds(
    Entry, kind=st.just("message"), id=st.sampled_from("12345"), message=message
) | st.builds(
    Entry,
    kind=st.just("compaction"),
    summary=short,
    first_kept_id=st.sampled_from(["", "1", "2", "9"]),
)
policy = st.builds(
    TranscriptPolicy,
    tool_call_ids=st.sampled_from(["keep", "strict", "strict9"]),
    synthesize_results=st.booleans(),
    merge_roles=st.booleans(),
    start_with_user=st.booleans(),
    keep_thinking=st.booleans(),
    trim_last_assistant=st.booleans(),
)
ID_FORM = {"keep": r".+", "strict": r"[a-zA-Z0-9]{1,40}", "strict9": r"[a-zA-Z0-9]{9}"}


@settings(max_examples=300, deadline=None)
@given(st.lists(entry, max_size=10), policy)
def test_a_request_is_valid_whatever_the_history(
    entries: list[Entry], policy: TranscriptPolicy
) -> None:
    messages = build(entries, policy, result_limit=100)
    seen: set[str] = set()
    expected: list[str] = []
    for before, now in zip([None, *messages], messages, strict=False):
        blocks = now.content
        assert blocks
        assert not all(isinstance(b, Thinking) for b in blocks)
        assert all(b.text.strip() for b in blocks if isinstance(b, Text))
        answers = [b for b in blocks if isinstance(b, ToolResult)]
        assert [b.call_id for b in answers] == expected
        assert (now.role == "tool") == bool(expected) == bool(answers)
        assert all(len(b.text) <= 100 for b in answers)
        if before is None:
            assert now.role == "user" or not policy.start_with_user
        elif policy.merge_roles:
            assert now.role != before.role
        if not policy.keep_thinking:
            assert not any(isinstance(b, Thinking) for b in blocks)
        expected = [call.id for call in now.tool_calls]
        assert not expected or now.role == "assistant"
        assert all(call.name for call in now.tool_calls)
        assert all(re.fullmatch(ID_FORM[policy.tool_call_ids], i) for i in expected)
        assert len(expected) == len(set(expected) - seen)
        seen.update(expected)
    assert expected == []
    last = messages[-1].content[-1] if messages else None
    is_answer = isinstance(last, Text) and messages[-1].role == "assistant"
    if isinstance(last, Text) and is_answer and policy.trim_last_assistant:
        assert last.text == last.text.rstrip()

    again = build(map(Entry.of, messages), policy, result_limit=100)
    assert again == messages
    assert set(map(type, again)) <= {Message}


@settings(max_examples=100, deadline=None)
@given(st.lists(entry, max_size=6), st.lists(message, max_size=6), policy)
def test_a_conversation_that_goes_on_equals_one_that_is_read_again(
    entries: list[Entry], more: list[Message], policy: TranscriptPolicy
) -> None:
    conversation = Conversation(entries, policy)
    following = build(map(Entry.of, more), policy)  # as a run would append them
    for each in following:
        if each == user(START) and conversation.messages:
            continue
        conversation.add(each)
        entries = [*entries, Entry.of(each)]
    again = Conversation(entries, policy)
    if not any(e.kind == "compaction" for e in entries[-len(following) :]):
        assert conversation.messages == again.messages
        assert conversation.tokens == again.tokens


def test_every_kind_of_block_has_a_place() -> None:
    from rustyclaw.agent.context import _ALLOWED

    assert {kind for kinds in _ALLOWED.values() for kind in kinds} == set(
        get_args(Block)
    )
