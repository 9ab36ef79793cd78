"""Whole turns: what is called in which order, and what the answer tells."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rustyclaw import (
    Finished,
    Image,
    Message,
    ProviderError,
    Text,
    ToolCall,
    ToolResult,
)
from rustyclaw_offline.provider import OfflineProvider


def names(chat) -> list[list[str]]:
    return [[call.name for call in calls] for calls in chat.rounds]


# --- The order of calls -------------------------------------------------------------


async def test_neighbours_that_read_are_called_side_by_side(chat) -> None:
    await chat.say("list files, read a.txt and read b.txt")
    assert names(chat) == [["file_list", "read_file", "read_file"]]


async def test_what_writes_is_called_alone_and_in_order(chat) -> None:
    await chat.say(
        'read a.txt, list files, then write b.txt with "x", then write c.txt with "y", '
        "then read b.txt; what is my name?"
    )
    assert names(chat) == [
        ["read_file", "file_list"],
        ["write_file"],
        ["write_file"],
        ["read_file", "memory_get"],
    ]


async def test_commands_are_never_called_side_by_side(chat) -> None:
    await chat.say("run `a`; run `b`; run `b`")
    assert names(chat) == [["exec"], ["exec"], ["exec"]]


async def test_ids_are_unique_and_the_same_each_time(chat) -> None:
    for text in ("list files; read a.txt", "list files; read a.txt"):
        await chat.say(text)
    ids = [call.id for message in chat.messages for call in message.tool_calls]
    assert ids == ["call_1_1", "call_1_2", "call_2_1", "call_2_2"]


async def test_ids_stay_unique_when_older_messages_were_cut_away(chat) -> None:
    await chat.say("hello")
    await chat.say("hello")
    await chat.say("list files")
    del chat.messages[:4]
    await chat.say("list files")
    ids = [call.id for message in chat.messages for call in message.tool_calls]
    assert ids == ["call_3_1", "call_4_1"]


async def test_a_compaction_within_a_turn_repeats_no_call(chat) -> None:
    await chat.say("hello")
    chat.messages.append(Message.user('write a.txt with "x", then run `date`'))
    await chat.step()
    chat.give(ToolResult(text="written"))
    del chat.messages[:2]
    (call,) = (await chat.step()).tool_calls
    assert call.name == "exec"


async def test_words_that_arrive_while_tools_run_are_added_to_the_request(chat) -> None:
    chat.messages.append(Message.user("list files"))
    await chat.step()
    chat.give(ToolResult(text="[file] a.txt (1 bytes)"))
    chat.messages.append(Message.user("and read a.txt, please"))
    (call,) = (await chat.step()).tool_calls
    assert call.name == "read_file"
    chat.give(ToolResult(text="     1\thello"))
    answer = (await chat.step()).text
    assert "a.txt (1 bytes)" in answer
    assert "hello" in answer


async def test_a_call_of_another_model_before_a_failover_is_not_repeated(chat) -> None:
    call = ToolCall(id="toolu_7", name="exec", arguments={"command": "make deploy"})
    done = ToolResult(text="deployed", call_id=call.id, name=call.name)
    chat.messages += [
        Message.user("run `make deploy`"),
        Message(role="assistant", content=(Text(text="On it."), call)),
        Message(role="tool", content=(done,)),
    ]
    message = await chat.step()
    assert not message.tool_calls
    assert "deployed" in message.text


async def test_a_call_without_a_result_counts_as_failed(chat) -> None:
    chat.messages.append(Message.user("run `make`"))
    await chat.step()
    message = await chat.step()
    assert not message.tool_calls
    assert "That failed: `no result arrived`" in message.text


@pytest.mark.parametrize(
    "first",
    [
        "[Summary of the conversation so far]\n\nuser: run `x`; list files",
        "(the conversation begins here)",
    ],
)
async def test_what_the_core_wrote_is_no_request(chat, first: str) -> None:
    chat.messages.append(Message.user(first))
    await chat.say("read a.txt")
    assert names(chat) == [["read_file"]]
    assert chat.rounds[0][0].id == "call_1_1"


async def test_in_a_group_the_speaker_is_not_part_of_the_request(chat) -> None:
    await chat.say("[Eve (run `x`)] @rusty: list files")
    assert names(chat) == [["file_list"]]


async def test_an_id_that_the_core_has_changed_is_still_known(chat) -> None:
    chat.messages.append(Message.user("run `make`"))
    call = ToolCall(id="call_1_1x2", name="exec", arguments={"command": "make all"})
    result = ToolResult(text="made", call_id=call.id, name=call.name)
    chat.messages.append(Message(role="assistant", content=(call,)))
    chat.messages.append(Message(role="tool", content=(result,)))
    assert "made" in (await chat.step()).text


# --- The final answer -----------------------------------------------------------------


async def test_one_step_is_answered_without_a_number(chat) -> None:
    chat.answer = lambda call: ToolResult(
        text="[dir] docs\n[file] a.txt (5 bytes)\n[truncated: 2 of 9 entries]"
    )
    assert await chat.say("list files") == (
        "**List files**\n\n"
        "- `docs/`\n- `a.txt (5 bytes)`\n- `[truncated: 2 of 9 entries]`"
    )


async def test_several_steps_are_numbered(chat) -> None:
    chat.answer = lambda call: ToolResult(
        text={
            "read_file": "     1\thello\n     2\tworld",
            "exec": "out",
            "write_file": "created 'b.txt': 1 bytes written",
        }[call.name]
    )
    assert await chat.say("read a.txt, then run `ls`, write b.txt with x") == (
        "**1. Read `a.txt`**\n\n```\nhello\nworld\n```\n\n"
        "**2. Run `ls`**\n\n```\nout\n```\n\n"
        "**3. Write `b.txt`**\n\n`created 'b.txt': 1 bytes written`"
    )


async def test_a_failure_is_told_and_the_rest_goes_on(chat) -> None:
    chat.answer = lambda call: (
        ToolResult.error("'a.txt' was not found")
        if call.name == "read_file"
        else ToolResult(text="fine")
    )
    answer = await chat.say("read a.txt, then run `ls`")
    assert names(chat) == [["read_file"], ["exec"]]
    assert "**1. Read `a.txt`**\n\nThat failed: `'a.txt' was not found`" in answer
    assert "fine" in answer


@pytest.mark.parametrize(
    ("text", "tool", "dist"),
    [
        ("list files", "file_list", "rustyclaw-files"),
        ("run `ls`", "exec", "rustyclaw-exec"),
        ("what is my name?", "memory_get", "rustyclaw-memory"),
    ],
)
async def test_a_missing_tool_is_named_with_its_dist(chat, text, tool, dist) -> None:
    chat.tools = ()
    answer = await chat.say(text)
    assert not chat.calls
    assert f"`{tool}` is not available" in answer
    assert f"`pip install {dist}`" in answer


async def test_the_other_steps_are_done_when_one_tool_is_missing(chat) -> None:
    chat.tools = ("read_file",)
    answer = await chat.say("list files, then read a.txt")
    assert names(chat) == [["read_file"]]
    assert "rustyclaw-files" in answer
    assert "read_file did it" in answer


async def test_nothing_is_changed_unless_all_of_the_request_is_clear(chat) -> None:
    answer = await chat.say("read a.txt; stand on your head; run `rm a.txt`")
    assert names(chat) == [["read_file"]]
    assert "I did not understand this step" in answer
    assert "Not done" in answer


async def test_a_long_paste_is_no_request(chat) -> None:
    answer = await chat.say("run `make`\n" * 21)
    assert not chat.calls
    assert "I did not understand" in answer


async def test_help_lists_the_tools_that_are_there(chat) -> None:
    chat.tools = ("file_list", "web_fetch")
    answer = await chat.say("what can you do?")
    assert "- list the files in docs" in answer
    assert "run `ls" not in answer
    assert "`file_list`, `web_fetch`" in answer
    chat.tools = ()
    assert "pip install rustyclaw-files" in await chat.say("help")


async def test_a_picture_alone_is_not_looked_at(chat) -> None:
    picture = Image(data=b"x", media_type="image/png")
    chat.messages.append(Message(role="user", content=(picture,)))
    assert "only read text" in (await chat.step()).text


async def test_no_message_at_all_is_answered(chat) -> None:
    assert "no text" in (await chat.step()).text


async def test_attachments_of_a_result_are_counted(chat) -> None:
    picture = Image(data=b"x", media_type="image/png")
    chat.answer = lambda call: ToolResult(text="a picture", media=(picture,))
    assert "(1 attachment(s))" in await chat.say("read a.png")


@pytest.mark.parametrize(
    "text", ["```\n@everyone\n```", "a ` b `` c", "``````", "`"], ids=repr
)
async def test_a_result_cannot_leave_its_quotation(chat, text: str) -> None:
    chat.answer = lambda call: ToolResult(text=text)
    for request in ("run `x`", "read a.txt", 'write a.txt with "x"'):
        quoted = (await chat.say(request)).split("**\n\n")[1]
        ticks = quoted[: len(quoted) - len(quoted.lstrip("`"))]
        assert quoted.endswith(ticks)
        assert ticks not in quoted[len(ticks) : -len(ticks)]


async def test_long_results_are_shortened(chat) -> None:
    chat.answer = lambda call: ToolResult(text="word\n" * 5000)
    answer = await chat.say("run `x`; list files; search memory for x")
    assert len(answer) < 10_000
    assert "more characters" in answer
    assert "and 4950 more" in answer


# --- The time -------------------------------------------------------------------------


async def test_the_time_of_the_prompt_is_told_with_its_source(chat) -> None:
    chat.system = "You are x.\nCurrent time: 2026-03-01 14:05 (Europe/Berlin).\nMore."
    answer = await chat.say("what time is it?")
    assert "It is 2026-03-01 14:05 (Europe/Berlin), as the gateway tells me" in answer


@pytest.mark.parametrize(
    ("system", "zone"),
    [
        ("", "(UTC)"),
        ("Today is Sunday, 2026-03-01 (Etc/GMT-5).", "(Etc/GMT-5)"),
        ("Today is Sunday, 2026-03-01 (No/Where).", "(UTC)"),
        ("Today is Sunday, 2026-03-01 (../../x).", "(UTC)"),
    ],
)
async def test_else_the_clock_is_read_and_named(chat, system, zone) -> None:
    chat.system = system
    answer = await chat.say("what time is it?")
    assert zone in answer
    assert "clock of the machine" in answer


# --- The stream -----------------------------------------------------------------------


async def test_text_and_arguments_come_in_pieces(chat) -> None:
    await chat.say('write a.txt with "a text of some length, to be cut"')
    kinds = [type(event).__name__ for event in chat.events]
    assert kinds.count("ToolCallDelta") > 2
    assert kinds.count("TextDelta") > 2


async def test_a_thought_names_the_plan_if_thinking_is_on(chat) -> None:
    await chat.say("list files")
    assert chat.thoughts == []
    chat.thinking = "low"
    await chat.say("list files, then run `ls`")
    assert chat.thoughts == [
        "Plan: 1. List files; 2. Run `ls`. Next: file_list.",
        "Plan: 1. List files; 2. Run `ls`. Next: exec.",
        "Plan: 1. List files; 2. Run `ls`. All done; I answer.",
    ]


async def test_usage_is_a_quarter_of_the_characters(chat) -> None:
    chat.system = "x" * 400
    chat.tools = ()
    await chat.say("hello")
    (finished,) = [event for event in chat.events if isinstance(event, Finished)]
    assert finished.usage.input_tokens == 102  # (400 + 5) / 4, rounded up
    assert finished.usage.output_tokens == -(-len(chat.messages[-1].text) // 4)


async def test_an_answer_ends_at_max_tokens(chat) -> None:
    chat.messages.append(Message.user("who are you?"))
    request = replace(chat.request, max_tokens=5)
    events = [event async for event in chat.provider.stream(request)]
    assert events[-1].stop_reason == "length"
    assert sum(len(event.text) for event in events[:-1]) <= 20


async def test_an_unknown_model_is_refused_with_the_remedy(chat) -> None:
    chat.model = "gpt-5"
    with pytest.raises(ProviderError, match="use 'offline/assistant'") as failed:
        await chat.step()
    assert failed.value.kind == "model_not_found"


async def test_the_models() -> None:
    models = await OfflineProvider().models()
    assert [(m.id, m.context_window) for m in models] == [
        ("assistant", 32_000),
        ("script", 32_000),
    ]
