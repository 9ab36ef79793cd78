"""Summaries for the core's compaction."""

from __future__ import annotations

import pytest
from rustyclaw import Message, ToolCall

SYSTEM = "Summarise the conversation below so that it can be continued."
WRITTEN_DOWN = """\
user: please list the files
and more on a second line

assistant: [calls file_list {'path': 'docs'}]

tool: [file_list answered: [file] a.txt (5 bytes)]

assistant: There is a.txt.

user: remember that my dog is Rex

assistant: [calls memory_set {'key': 'dog', 'value': 'Rex'}]

tool: [memory_set answered: ok]"""


async def summarised(chat, *messages: Message) -> str:
    chat.system, chat.tools, chat.messages = SYSTEM, (), list(messages)
    return (await chat.step()).text


@pytest.mark.parametrize("model", ["assistant", "script"])
async def test_a_written_down_conversation(chat, model: str) -> None:
    chat.model = model
    assert await summarised(chat, Message.user(WRITTEN_DOWN)) == (
        "Extracted by rules from the earlier conversation:\n"
        "- The user asked: please list the files\n"
        "- The user asked: remember that my dog is Rex\n"
        "- Remembered: dog = Rex\n"
        "- Files: docs"
    )


async def test_the_messages_themselves(chat) -> None:
    call = ToolCall(id="1", name="write_file", arguments={"path": "b.txt"})
    summary = await summarised(
        chat,
        Message.user("write b.txt"),
        Message(role="assistant", content=(call,)),
        Message.assistant("Done."),
    )
    assert "- The user asked: write b.txt" in summary
    assert "- Files: b.txt" in summary
    assert "Done." not in summary


async def test_a_summary_of_a_summary_keeps_what_it_can(chat) -> None:
    first = await summarised(chat, Message.user(WRITTEN_DOWN))
    text = f"Summary so far:\n{first}\n\nuser: read z.txt"
    second = await summarised(chat, Message.user(text))
    assert "- Remembered: dog = Rex" in second
    assert "- The user asked: please list the files" in second
    assert "- The user asked: read z.txt" in second


async def test_the_summary_of_another_model_is_kept(chat) -> None:
    text = "Summary so far:\n## Goal\nThe user builds a boat.\n\nuser: go on"
    summary = await summarised(chat, Message.user(text))
    assert "The user builds a boat." in summary
    assert "- The user asked: go on" in summary
    assert "Summary so far" not in summary


async def test_what_is_oldest_is_left_out_first(chat) -> None:
    spoken = "\n\n".join(f"user: request {n} {'x' * 200}" for n in range(50))
    summary = await summarised(chat, Message.user(f"{WRITTEN_DOWN}\n\n{spoken}"))
    assert len(summary) <= 1500
    assert "request 49" in summary
    assert "request 3 " not in summary
    assert "dog = Rex" in summary


async def test_nothing_is_called_for_a_summary(chat) -> None:
    chat.system, chat.tools = SYSTEM, ()
    await chat.say("user: run `ls`")
    assert not chat.calls


@pytest.mark.parametrize(
    "change",
    [{"system": "You are helpful.\n" * 40 + "Write summaries."}, {"tools": None}],
)
async def test_other_requests_are_not_taken_for_one(chat, change) -> None:
    chat.system, chat.tools = SYSTEM, ()
    if "tools" in change:
        chat.tools = ("exec",)
    chat.system = change.get("system", SYSTEM)
    assert "Extracted by rules" not in await chat.say("hello")
