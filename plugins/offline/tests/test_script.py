"""Scripts: how they are played, and what is said about mistakes in them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import get_args, get_type_hints

import anyio
import pytest
from rustyclaw import Message, ProviderError, TextDelta, ToolResult
from rustyclaw_offline.config import OfflineConfig
from rustyclaw_offline.provider import OfflineProvider
from rustyclaw_offline.steps import ErrorKind


@pytest.fixture
def play(chat, tmp_path: Path):
    """Return a function that starts a conversation with a script."""

    def play(text: str, **config):
        path = tmp_path / "demo.yaml"
        path.write_text(dedent(text), encoding="utf-8")
        chat.provider = OfflineProvider(OfflineConfig(script=path, **config))
        chat.model = "script"
        return chat

    return play


DEMO = """\
    # a comment
    - - say: Hello! What shall I do?
    - - think: I should look first.
      - call: {file_list: {path: docs}}
      - call:
          read_file: {path: a.txt, limit: 3}
          memory_list:
      - say: "Here they are:"
      - say: " two files."
      - call: {exec: {command: date}}
      - say: Done.
    - when: good (?:bye|night)
      steps:
        - say: Good bye.
    """


async def test_turns_are_played_by_position(play) -> None:
    chat = play(DEMO)
    assert await chat.say("hi") == "Hello! What shall I do?"
    assert await chat.say("look") == "Done."
    assert [[call.name for call in calls] for calls in chat.rounds] == [
        ["file_list", "read_file", "memory_list"],
        ["exec"],
    ]
    assert chat.calls[1:3] == [
        ("read_file", {"path": "a.txt", "limit": 3}),
        ("memory_list", {}),
    ]
    ids = [call.id for calls in chat.rounds for call in calls]
    assert ids == ["call_2_1", "call_2_2", "call_2_3", "call_2_4"]
    texts = [message.text for message in chat.messages if message.tool_calls]
    assert texts == ["", "Here they are: two files."]


async def test_a_pattern_is_played_whenever_it_is_found(play) -> None:
    chat = play(DEMO)
    assert await chat.say("Good Night, then") == "Good bye."
    assert await chat.say("hi, good bye") == "Good bye."


async def test_thoughts_are_streamed_when_thinking_is_on(play) -> None:
    chat = play("- [{think: Hm.}, {say: Yes.}]")
    chat.thinking = "high"
    assert await chat.say("hi") == "Yes."
    assert chat.thoughts == ["Hm."]


async def test_a_request_beyond_the_script_is_an_error(play) -> None:
    chat = play("- [say: Once.]")
    await chat.say("hi")
    with pytest.raises(ProviderError, match="no turn for request 2") as failed:
        await chat.say("again")
    assert failed.value.kind == "format"


async def test_a_played_out_turn_says_nothing_more(play) -> None:
    chat = play("- [call: {exec: {command: ls}}]")
    assert await chat.say("hi") == ""
    assert len(chat.rounds) == 1


@pytest.mark.parametrize("kind", ["rate_limit", "context_overflow", "auth", "unknown"])
async def test_an_error_is_raised_where_it_stands(play, kind: str) -> None:
    chat = play(f"- [say: So far., error: {{kind: {kind}, message: no more}}]")
    chat.messages.append(Message.user("hi"))
    events = []

    async def collect() -> None:
        async for event in chat.provider.stream(chat.request):
            events.append(event)

    with pytest.raises(ProviderError, match="no more") as failed:
        await collect()
    assert failed.value.kind == kind
    assert failed.value.provider == "offline"
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "So far."


def test_all_kinds_of_errors_can_be_played() -> None:
    hints = get_type_hints(ProviderError.__init__)
    assert get_args(ErrorKind) == get_args(hints["kind"])


async def test_a_hang_is_silent_and_can_be_cancelled(play) -> None:
    chat = play("- [say: wait, hang: 3600, say: over]")
    chat.messages.append(Message.user("hi"))
    events = []
    with anyio.move_on_after(0.2) as scope:
        async for event in chat.provider.stream(chat.request):
            events.append(event)
    assert scope.cancelled_caught
    assert events == [TextDelta(text="wait")]


async def test_a_short_hang_goes_on_and_delay_overrules_the_config(play) -> None:
    chat = play("- [delay: 0, hang: 0.001, say: over and out]", delay_ms=10_000)
    with anyio.fail_after(5):
        assert await chat.say("hi") == "over and out"


async def test_results_do_not_choose_the_turn(play) -> None:
    chat = play(DEMO)
    chat.answer = lambda call: ToolResult(text="good bye")
    await chat.say("hi")
    assert await chat.say("look") == "Done."


async def test_without_a_script_the_remedy_is_named(chat) -> None:
    chat.model = "script"
    with pytest.raises(ProviderError, match=r"set `providers\.offline\.script`"):
        await chat.say("hi")


async def test_a_mended_script_is_read_again(play, tmp_path: Path) -> None:
    chat = play("- [sya: Hello.]")
    with pytest.raises(ProviderError):
        await chat.say("hi")
    chat.messages.clear()
    (tmp_path / "demo.yaml").write_text("- [say: Hello.]")
    assert await chat.say("hi") == "Hello."


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", None, "is empty; write a list of turns"),
        ("a: 1", 1, "expected a list of turns"),
        ("- [say: x", 1, "expected ',' or ']'"),
        ("- [say: x]\n-\n", 2, "expected a turn"),
        ("- - say: x\n  - sya: y", 2, "unknown 'sya'; did you mean 'say'?"),
        ("- - wander: x", 1, "unknown 'wander'; use say, think, call"),
        ("- - say: x\n    think: y", 1, "a step is one `name: value`"),
        ("- - just words", 1, "a step is one `name: value`"),
        ("- - say: [a]", 1, "expected a text"),
        ("- - say:", 1, "expected a text"),
        ("- - call: exec", 1, "write a call as"),
        ("- - call: {exec: [a]}", 1, "arguments are a mapping"),
        ("- - call: {exec: {1: a}}", 1, "arguments are a mapping"),
        ("- - call: {exec: {a: 2026-01-01}}", 1, "what JSON can hold; quote dates"),
        ("- - call: {exec: {a: .nan}}", 1, "what JSON can hold"),
        ("- - call: {exec: &a {b: *a}}", 1, "what JSON can hold"),
        ("- - call: {exec: {a: !!python/object:os.x {}}}", 1, "what JSON can hold"),
        ("- - error: auth", 1, "write an error as"),
        ("- - error: {message: x}", 1, "this error lacks 'kind'"),
        ("- - error:\n      kind: rate_limits", 2, "did you mean 'rate_limit'?"),
        ("- - hang: long", 1, "expected a number from 0"),
        ("- - hang: -1", 1, "expected a number from 0"),
        ("- - hang: .nan", 1, "expected a number from 0"),
        ("- - delay: 1e99", 1, "expected a number from 0"),
        ("- when: x", 1, "this turn lacks 'steps'"),
        ("- steps: [say: x]", 1, "this turn lacks 'when'"),
        ("- when: x\n  steps: [say: x]\n  then: y", 3, "unknown 'then'"),
        ("- when: (\n  steps: [say: x]", 1, "`when` is not a regular expression"),
        ("- when: x\n  when: y\n  steps: [say: x]", 2, "'when' is here twice"),
        ("- [say: \x00]", None, "is not readable as YAML"),
    ],
)
async def test_a_mistake_is_named_with_its_line(play, text, line, problem) -> None:
    chat = play(text)
    with pytest.raises(ProviderError) as failed:
        await chat.say("hi")
    message = str(failed.value)
    assert failed.value.kind == "format"
    assert "demo.yaml'" in message
    assert problem in message
    if line is not None:
        assert f"line {line}: " in message


async def test_a_missing_file_is_named(chat, tmp_path: Path) -> None:
    chat.provider = OfflineProvider(OfflineConfig(script=tmp_path / "none.yaml"))
    chat.model = "script"
    with pytest.raises(ProviderError, match=r"none\.yaml' cannot be read"):
        await chat.say("hi")


async def test_a_huge_file_is_refused(chat, tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"#" * 1_048_577)
    chat.provider = OfflineProvider(OfflineConfig(script=path))
    chat.model = "script"
    with pytest.raises(ProviderError, match="over 1048576 bytes"):
        await chat.say("hi")
