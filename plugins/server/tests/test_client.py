"""The test client and its fixture: a real handshake on a real port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Running


@pytest.mark.parametrize("signature", ["v1", "v2", "v3"])
@pytest.mark.parametrize("protocol", [(3, 3), (4, 4), (1, 9)])
async def test_all_signatures_connect(
    running: Running, signature: str, protocol: tuple[int, int]
) -> None:
    client = await running.client(signature=signature, protocol=protocol)

    assert client.hello_ok["protocol"] == (3 if protocol == (3, 3) else 4)
    assert (await client.ask("health"))["ok"]


async def test_a_conversation(running: Running) -> None:
    client = await running.client()

    sent = {"sessionKey": "main", "message": "hi", "idempotencyKey": "run-1"}
    assert await client.ask("chat.send", **sent) == {
        "runId": "run-1",
        "status": "started",
    }
    final: Any = await client.event("chat", state="final", runId="run-1")

    assert final["message"]["content"][0]["text"] == "hi"
