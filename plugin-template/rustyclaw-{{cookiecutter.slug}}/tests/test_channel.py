"""Behaviour of the channel."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from rustyclaw import ChannelError, Inbound, Outbound, Target

from {{ cookiecutter.__package }}.channel import (
    {{ cookiecutter.__class }}Channel,
    {{ cookiecutter.__class }}Config,
)


class OneMessage:
    """An inbox that stops the channel after the first message."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self.scope = scope
        self.messages: list[Inbound] = []

    async def accept(self, message: Inbound) -> bool:
        self.messages.append(message)
        self.scope.cancel()
        return True


@pytest.fixture
def channel(tmp_path: Path) -> {{ cookiecutter.__class }}Channel:
    config = {{ cookiecutter.__class }}Config(folder=tmp_path)
    return {{ cookiecutter.__class }}Channel(config)


async def test_a_file_is_a_message(
    channel: {{ cookiecutter.__class }}Channel,
    tmp_path: Path,
) -> None:
    file = tmp_path / "in" / "ada.1.txt"
    file.parent.mkdir()
    file.write_text("hi")

    with anyio.fail_after(5), anyio.CancelScope() as scope:
        inbox = OneMessage(scope)
        await channel.run(inbox)

    assert [(m.sender.id, m.message_id, m.text) for m in inbox.messages] == [
        ("ada", "1", "hi")
    ]


async def test_an_answer_is_a_file(
    channel: {{ cookiecutter.__class }}Channel,
    tmp_path: Path,
) -> None:
    target = Target(channel="{{ cookiecutter.name }}", chat_id="ada")

    await channel.send(target, Outbound(text="hello", id="7"))

    assert (tmp_path / "out" / "ada.7.txt").read_text() == "hello"


async def test_a_chat_cannot_leave_the_folder(
    channel: {{ cookiecutter.__class }}Channel,
) -> None:
    target = Target(channel="{{ cookiecutter.name }}", chat_id="../ada")

    with pytest.raises(ChannelError, match="is no file"):
        await channel.send(target, Outbound(text="hello"))
