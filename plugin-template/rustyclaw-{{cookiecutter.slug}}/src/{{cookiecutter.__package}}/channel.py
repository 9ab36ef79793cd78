"""The channel: chats as text files, the smallest platform there is.

``in/ada.1.txt`` is message 1 of ada; the answer appears as ``out/ada.ID.txt``. Move
files in: one that is still being written would be taken as it is.
"""

from __future__ import annotations

from pathlib import Path

import anyio
from pydantic import Field
from rustyclaw import (
    Capabilities,
    Channel,
    ChannelConfig,
    ChannelError,
    Inbound,
    Inbox,
    Outbound,
    Sender,
    Sent,
    Target,
)


class {{ cookiecutter.__class }}Config(ChannelConfig):
    """The section ``channels.{{ cookiecutter.name }}`` of config.yaml."""

    folder: Path = Field(Path("mailbox"), description="where `in/` and `out/` are")
    poll_seconds: float = Field(
        0.5, gt=0, description="pause between two looks into `in/`"
    )


class {{ cookiecutter.__class }}Channel(Channel):
    """{{ cookiecutter.description }}."""

    Config = {{ cookiecutter.__class }}Config
    config: {{ cookiecutter.__class }}Config
    capabilities = Capabilities(text_limit=4096, idempotent_send=True)

    async def run(self, inbox: Inbox) -> None:
        """Accept every file of ``in/`` and then remove it."""
        folder = anyio.Path(self.config.folder, "in")
        await folder.mkdir(parents=True, exist_ok=True)
        while True:
            async for path in folder.glob("*.*.txt"):
                await inbox.accept(await self._read(path))
                await path.unlink()  # it is durable now: acknowledge
            await anyio.sleep(self.config.poll_seconds)

    async def send(self, target: Target, message: Outbound) -> Sent:
        """Write a file into ``out/``.

        :raises ChannelError: The chat has a name that no file can have.
        """
        name = f"{target.chat_id}.{message.id or 'message'}.txt"
        if Path(name).name != name:
            raise ChannelError(f"chat {target.chat_id!r} is no file", permanent=True)
        folder = anyio.Path(self.config.folder, "out")
        await folder.mkdir(parents=True, exist_ok=True)
        await (folder / name).write_text(message.text, encoding="utf-8")
        return Sent(message_id=name)

    async def _read(self, path: anyio.Path) -> Inbound:
        sender, message_id, _ = path.name.rsplit(".", 2)
        return Inbound(
            message_id=message_id,
            sender=Sender(id=sender),
            target=Target(channel="{{ cookiecutter.name }}", chat_id=sender),
            text=await path.read_text(encoding="utf-8"),
            timestamp=(await path.stat()).st_mtime,
        )
