"""SIGTERM and SIGKILL of a gateway that clients are talking to."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from rustyclaw import Finished, TextDelta

from .client import Client, Device, Failed
from .conftest import TOKEN, serving
from .pacing import Paced
from .process import Process, started
from .raw import Raw

WORDS = 60


def slowly(number: int, words: int = WORDS) -> dict[str, Any]:
    return {
        "sessionKey": f"s{number}",
        "message": f"slowly {words}",
        "idempotencyKey": f"run-{number}",
    }


async def history(client: Client, session: str) -> list[tuple[str, str]]:
    found = await client.ask("chat.history", sessionKey=session)
    return [
        (m["role"], "".join(c.get("text", "") for c in m["content"]))
        for m in found["messages"]
    ]


async def talking(process: Process, clients: list[Client]) -> None:
    """Have each client's run say its first words."""
    for number, client in enumerate(clients):
        assert (await client.ask("chat.send", **slowly(number)))["status"] == "started"
    for number, client in enumerate(clients):
        await client.event("chat", state="delta", runId=f"run-{number}")


async def refused(client: Client, number: int) -> str:
    """Send work until it is refused; return the error's code."""
    while True:
        try:
            await client.ask("chat.send", **slowly(number, 1))
        except Failed as failed:
            return failed.code
        number += 1


async def test_sigterm_under_load_loses_no_answer(tmp_path: Path) -> None:
    device = Device()
    async with started(tmp_path) as process:
        clients = [Client(process.url, token=TOKEN, device=device) for _ in range(4)]
        for client in clients:
            await client.open()
            await client.connect()
        await talking(process, clients)

        began = time.monotonic()
        process.signal(signal.SIGTERM)
        assert await refused(clients[0], 90) == "UNAVAILABLE"
        assert time.monotonic() - began < 2  # 0.1 s on a machine with nothing else
        for number, client in enumerate(clients):
            final = await client.event(
                "chat", 30.0, state="final", runId=f"run-{number}"
            )
            assert final["message"]["content"][0]["text"].split()[-1] == f"w{WORDS - 1}"
            reason = (await client.event("shutdown"))["reason"]
            assert reason == "signal"
            assert await client.closed() == (1012, "service restart")
        assert await process.ended() == 0
        assert not (tmp_path / "gateway.json").exists()
        assert "Traceback" not in process.log
        for client in clients:
            await client.close()

    async with (
        started(tmp_path) as process,
        Client(process.url, token=TOKEN, device=device) as client,
    ):
        for number in range(4):
            said = await history(client, f"s{number}")
            assert [role for role, _ in said] == ["user", "assistant"]
            assert said[1][1].split() == [f"w{n}" for n in range(WORDS)]


async def test_intake_stops_at_once(tmp_path: Path) -> None:
    """Once the gateway says that it stops, it has taken the last work."""
    async with started(tmp_path) as process:
        async with Client(process.url, token=TOKEN) as client:
            await client.ask("chat.send", **slowly(1))
            await client.event("chat", state="delta")
            process.signal(signal.SIGTERM)
            began = time.monotonic()
            assert await refused(client, 2) == "UNAVAILABLE"
            assert time.monotonic() - began < 2
            await client.event("chat", 30.0, state="final", runId="run-1")
        assert await process.ended() == 0


async def answered(client: Client, number: int) -> str:
    """Wait for the end of a run that an earlier process began; return its answer."""
    run_id = f"run-{number}"
    waited = await client.ask("agent.wait", 30.0, runId=run_id, timeoutMs=30_000)
    assert waited["status"] == "ok"
    said = await history(client, f"s{number}")
    assert [role for role, _ in said] == ["user", "assistant"]
    return said[1][1]


@pytest.mark.parametrize("by", ["SIGTERM", "SIGKILL", "gateway.restart"])
async def test_a_run_that_is_cut_off_is_resumed_once(by: str, tmp_path: Path) -> None:
    """Three runs, of which two go on, and one waits for the first."""
    device, hasty = Device(), {"drain_seconds": 0.1}
    async with started(tmp_path, gateway=hasty) as process:
        clients = [Client(process.url, token=TOKEN, device=device) for _ in range(2)]
        for client in clients:
            await client.open()
            await client.connect()
        await talking(process, clients)
        waits = {"sessionKey": "s0", "message": "next", "idempotencyKey": "run-2"}
        await clients[0].ask("agent", **waits)  # that it is accepted
        if by == "gateway.restart":
            await clients[0].ask(by, delayMs=0)
            await process.served()
        else:
            process.signal(signal.Signals[by])
            await process.ended()
        for client in clients:
            code, _ = await client.closed()
            assert code == (1006 if by == "SIGKILL" else 1012)
            states = [e["payload"]["state"] for e in client.events("chat")]
            assert {*states} == {"delta"}
            await client.close()
        if by == "gateway.restart":
            await resumed(process, device)
    if by != "gateway.restart":
        async with started(tmp_path, gateway=hasty) as process:
            await resumed(process, device)


async def resumed(process: Process, device: Device) -> None:
    """Check that clients get the answers to what they sent to an earlier process."""
    async with Client(process.url, token=TOKEN, device=device) as client:
        again = await client.ask("chat.send", **slowly(1))
        assert again["status"] in ("in_flight", "ok")
        assert (await answered(client, 1)).split() == [f"w{n}" for n in range(WORDS)]
        waits = {"sessionKey": "s0", "message": "next", "idempotencyKey": "run-2"}
        pending = await client.request("agent", waits)
        while "result" not in (answer := await pending.answer(30)):
            assert answer["status"] == "accepted"
        assert answer["result"]["payloads"][0]["text"].endswith("next")
        said = await history(client, "s0")
        assert [role for role, _ in said] == ["user", "assistant"] * 2
        assert said[1][1].split() == [f"w{n}" for n in range(WORDS)]


async def test_nothing_is_taken_once_the_signal_is_heard(tmp_path: Path) -> None:
    """By events, not by the clock: a few turns of the loop, and the drain goes on."""
    go_on = anyio.Event()
    script: list[Any] = [[TextDelta(text="so far"), go_on, Finished()]]
    config = {"gateway": {"drain_seconds": 30}}
    home, model = tmp_path / "home", Paced(script=script)
    async with serving(home, provider=model, config=config) as running:
        gateway, client = running.gateway, await running.client()
        await client.ask("chat.send", **slowly(1))
        await client.event("chat", state="delta")
        async with anyio.create_task_group() as group:
            group.start_soon(gateway.serve)
            while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                await anyio.lowlevel.checkpoint()  # it does not listen yet

            signal.raise_signal(signal.SIGTERM)
            turns = 0
            while not gateway.draining:
                turns += 1
                await anyio.lowlevel.checkpoint()
            assert turns <= 10, "intake has stopped before anything else is done"

            with pytest.raises(Failed) as failed:
                await client.ask("chat.send", **slowly(2))
            assert failed.value.code == "UNAVAILABLE"
            raw = await Raw.open(running.url)
            assert (raw.status, "retry-after" in raw.head) == (503, True)
            raw.drop()
            (run,) = gateway.active_runs()  # the drain has not ended
            assert run.session_key == "agent:main:s1"
            go_on.set()
            await client.event("chat", state="final", runId="run-1")
        assert len(model.requests) == 1


@pytest.mark.parametrize("clean", [False, True])
async def test_after_a_kill_clients_go_on(clean: bool, tmp_path: Path) -> None:
    device = Device()
    async with started(tmp_path) as process:
        client = Client(process.url, token=TOKEN, device=device)
        await client.open()
        hello = await client.connect()
        if not clean:
            await talking(process, [client])
        process.signal(signal.SIGKILL)
        assert await process.ended() == -signal.SIGKILL
        assert (await client.closed())[0] == 1006
        await client.close()
        assert (tmp_path / "gateway.json").exists()

    async with started(tmp_path) as process:
        shown = {"deviceToken": hello["auth"]["deviceToken"]}
        async with Client(process.url, shown=shown, device=device) as client:
            if not clean:
                assert len((await answered(client, 0)).split()) == WORDS
            sent = {"sessionKey": "s1", "message": "hi", "idempotencyKey": "again"}
            await client.ask("chat.send", **sent)
            final = await client.event("chat", state="final", runId="again")
            assert final["message"]["content"][0]["text"].split()[-1] == "hi"
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
        assert "Traceback" not in process.log
