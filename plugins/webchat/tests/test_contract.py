"""The contract of a channel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest
from rustyclaw import Target, WebRequest
from rustyclaw.testing import ChannelContract
from rustyclaw_webchat.channel import WebchatChannel


class TestWebchat(ChannelContract):
    target: ClassVar[Target] = Target(
        channel="webchat", chat_id="0" * 32, chat_type="channel"
    )

    @pytest.fixture
    def channel(self, tmp_path: Path) -> WebchatChannel:
        channel = WebchatChannel()
        channel.folder = tmp_path
        return channel

    async def deliver(self, channel: Any) -> None:
        routes = [route for route in channel.routes() if route.method == "POST"]
        handlers = {route.path: route.handler for route in routes}

        async def post(path: str, token: str = "", **body: str) -> Any:
            headers = {"authorization": f"Bearer {token}"} if token else {}
            text = json.dumps(body).encode()
            request = WebRequest(method="POST", path=path, headers=headers, body=text)
            return await handlers[path](request)

        with anyio.fail_after(5):
            while (made := await post("/webchat/visitor")).status != 200:
                await anyio.sleep(0.01)  # it is being opened
        token = json.loads(made.body)["token"]
        answer = await post("/webchat/messages", token, id="1", text="hello")
        channel.accepted = answer.status == 202

    def acknowledged(self, channel: Any) -> bool:
        return getattr(channel, "accepted", False)
