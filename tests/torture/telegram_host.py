"""The process that is killed: a gateway with the real Telegram channel and real tools.

Only the model is scripted: it fetches a page, writes what it read into a file, and
answers. Like ``host.py`` it forks a gateway for each line that it reads.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
from rustyclaw import (
    Finished,
    Gateway,
    ModelRequest,
    Provider,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    ToolResult,
)
from rustyclaw_files.tools import FilesTools
from rustyclaw_telegram.channel import TelegramChannel
from rustyclaw_telegram.config import TelegramConfig
from rustyclaw_telegram.testing import TOKEN
from rustyclaw_web.config import WebConfig
from rustyclaw_web.tools import WebTools


class HastyTelegram(TelegramChannel):
    """Shows drafts more often than people could read, so that kills meet them."""

    capabilities = replace(TelegramChannel.capabilities, draft_seconds=0.02)


class Reader(Provider):
    """Fetches, writes, answers; what a crash has interrupted it does again."""

    default_model = "reader"

    def __init__(self, pages: str) -> None:
        super().__init__()
        self._pages = pages

    async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
        asked: list[str] = []
        results: list[ToolResult] = []
        for message in request.messages:
            if message.role == "user":
                asked += re.findall(r"\bq\d+\b", message.text)
            elif message.role == "assistant" and not message.tool_calls:
                asked, results = [], []
            results += [b for b in message.content if isinstance(b, ToolResult)]
        fine = {r.name: r.text for r in results if not r.is_error}
        number = f"c{len(request.messages)}"
        if "web_fetch" not in fine:
            url = f'{{"url": "{self._pages}/{asked[-1]}"}}'
            yield ToolCallDelta(index=0, id=number, name="web_fetch", arguments=url)
            yield Finished(stop_reason="tool_calls")
            return
        fact = re.search(r"fact-q\d+", fine["web_fetch"])
        told = fact[0] if fact else "nothing"
        if "write_file" not in fine:
            # a later question may have joined the one that was read about
            name = told.removeprefix("fact-")
            given = f'{{"path": "{name}.txt", "content": "{told}"}}'
            yield ToolCallDelta(index=0, id=number, name="write_file", arguments=given)
            yield Finished(stop_reason="tool_calls")
            return
        said = f"Here is **the answer** to {' and '.join(asked)}: `{told}`, all of it."
        for word in said.split():
            yield TextDelta(text=f"{word} ")
            await anyio.sleep(0.01)
        yield Finished()


async def live(home: Path, telegram: str, pages: str) -> None:
    host = pages.removeprefix("http://").partition("/")[0]
    config = TelegramConfig(token=TOKEN, base_url=telegram, poll_seconds=5)
    plugins = {
        "channels.telegram": HastyTelegram(config),
        "providers.fake": Reader(pages),
        "tools.files": FilesTools(),
        "tools.web": WebTools(WebConfig(egress={"allowed_hosts": [host]})),
    }
    async with Gateway({}, home=home, plugins=plugins, discover=False) as gateway:
        await gateway.serve()


def main() -> None:
    home, telegram, pages = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            anyio.run(live, home, telegram, pages)
            os._exit(0)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(status, flush=True)


if __name__ == "__main__":
    main()
