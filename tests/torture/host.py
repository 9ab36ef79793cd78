"""The process that is killed: a gateway with a channel on a loopback socket.

It imports everything once and then forks a gateway for each line that it reads, so
that two hundred rounds take a minute instead of ten. Each fork is a real process
with a gateway of its own, and is killed like one.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import anyio
import anyio.lowlevel
from rustyclaw import (
    Capabilities,
    Channel,
    ChannelConfig,
    Finished,
    Gateway,
    Inbound,
    Inbox,
    Message,
    ModelRequest,
    Outbound,
    Provider,
    RunOptions,
    Sender,
    Sent,
    StreamEvent,
    Target,
    TextDelta,
    ToolCallDelta,
    tool,
)


class WireChannel(Channel):
    """Speaks JSON lines to the fake platform; acknowledges after ``accept``."""

    capabilities = Capabilities(idempotent_send=True, draft_seconds=0)

    def __init__(self, port: int) -> None:
        super().__init__(ChannelConfig(dm_policy="open", allow_from=("*",)))
        self._port = port
        self._receipts: dict[str, anyio.Event] = {}
        self._drafts: dict[str, str] = {}
        self._calls = count()
        self._writing = anyio.Lock()

    async def run(self, inbox: Inbox) -> None:
        self._stream = await anyio.connect_tcp("127.0.0.1", self._port)
        buffer = b""
        async for chunk in self._stream:
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                frame = json.loads(line)
                if "receipt" in frame:
                    self._drafts[frame["receipt"]] = frame.get("draft", "")
                    self._receipts[frame["receipt"]].set()
                    continue
                await self._take(frame, inbox)
                await self._write({"ack": frame["id"]})

    async def _take(self, frame: dict[str, str], inbox: Inbox) -> None:
        """Accept a message; or, as a client of a server would, submit a run."""
        target = Target(channel="wire", chat_id=frame["chat"])
        if frame["source"].startswith("run:"):
            assert isinstance(inbox, Gateway)
            await inbox.submit(
                Message.user(frame["text"]),
                session=f"task-{frame['chat']}",
                options=RunOptions(run_id=frame["id"]),
                target=target,
            )
            return
        await inbox.accept(
            Inbound(
                message_id=frame["id"],
                sender=Sender(id=frame["chat"]),
                target=target,
                text=frame["text"],
            )
        )

    async def send(self, target: Target, message: Outbound) -> Sent:
        frame = {"send": message.id, "chat": target.chat_id, "text": message.text}
        await self._ask(message.id, frame | {"draft": message.draft or ""})
        return Sent(message_id=message.id)

    async def draft(
        self, target: Target, text: str, draft: str | None, reply_to: str | None
    ) -> str:
        """Show a draft; the platform knows no key that would make this repeatable."""
        call = f"draft-call-{next(self._calls)}"
        await self._ask(call, {"show": call, "draft": draft or "", "text": text})
        return self._drafts.pop(call)

    async def _ask(self, name: str, frame: dict[str, str]) -> None:
        receipt = self._receipts[name] = anyio.Event()
        await self._write(frame)
        await receipt.wait()

    async def _write(self, frame: dict[str, str]) -> None:
        async with self._writing:
            await self._stream.send(json.dumps(frame).encode() + b"\n")


class ToolUser(Provider):
    """Calls a tool, then answers with the texts of all open questions.

    After a crash a question may stand before a tool call, the next one after it.
    """

    default_model = "tool-user"

    async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
        await anyio.lowlevel.checkpoint()
        if request.messages[-1].role == "user":
            yield ToolCallDelta(index=0, id=f"c{len(request.messages)}", name="note")
            yield Finished(stop_reason="tool_calls")
            return
        asked: list[str] = []
        for message in request.messages:
            if message.role == "user":
                asked.append(message.text)
            elif message.role == "assistant" and not message.tool_calls:
                asked.clear()
        for word in f"answer to {' and '.join(asked)}".split():
            yield TextDelta(text=f"{word} ")
            await anyio.lowlevel.checkpoint()
        yield Finished()


@tool
async def note() -> str:
    """Do nothing for a moment."""
    await anyio.sleep(0.002)
    return "noted"


async def live(home: Path, port: int) -> None:
    plugins = {
        "channels.wire": WireChannel(port),
        "providers.fake": ToolUser(),
        "tools.note": note,
    }
    async with Gateway({}, home=home, plugins=plugins, discover=False) as gateway:
        await gateway.serve()


def main() -> None:
    home, port = Path(sys.argv[1]), int(sys.argv[2])
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            anyio.run(live, home, port)
            os._exit(0)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(status, flush=True)


if __name__ == "__main__":
    main()
