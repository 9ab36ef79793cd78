"""Session locks: one holder, in this process and among all others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from rustyclaw import SessionError
from rustyclaw.sessions.locks import SessionLock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions" / "00000000000000aa.jsonl"


async def test_two_locks_of_one_process_exclude_each_other(path: Path) -> None:
    async with SessionLock(path):
        with pytest.raises(
            SessionError,
            match=rf"'00000000000000aa' is locked by process {os.getpid()}; try again",
        ):
            async with SessionLock(path, timeout_seconds=0):
                pass
    async with SessionLock(path, timeout_seconds=0):
        pass
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_a_lock_is_free_after_an_error_and_can_be_used_again(path: Path) -> None:
    lock = SessionLock(path, timeout_seconds=0)
    for _ in range(2):
        with pytest.raises(KeyError):
            async with lock:
                raise KeyError
    async with lock:
        pass


async def test_what_is_called_under_the_lock_frees_it_when_it_fails(path: Path) -> None:
    other, held = SessionLock(path, timeout_seconds=0), []

    def look() -> None:
        held.append(other._try())
        raise KeyError

    with pytest.raises(KeyError):
        async with SessionLock(path, then=look):
            pytest.fail("it was entered")
    assert held == [f"process {os.getpid()}"]
    async with other:
        pass


async def test_a_waiter_gets_the_lock_when_it_is_free(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, refused, sleep = [], anyio.Event(), anyio.sleep

    async def sleep_after_a_try(seconds: float) -> None:
        refused.set()
        await sleep(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep_after_a_try)

    async def wait() -> None:
        async with SessionLock(path):
            order.append("waiter")

    async with anyio.create_task_group() as group, SessionLock(path):
        group.start_soon(wait)
        await refused.wait()
        order.append("holder")
    assert order == ["holder", "waiter"]


async def test_a_waiter_can_be_cancelled(path: Path) -> None:
    async with SessionLock(path):
        with anyio.move_on_after(0.1) as scope:
            async with SessionLock(path, timeout_seconds=60):
                pytest.fail("there are two holders")
        assert scope.cancelled_caught
    async with SessionLock(path, timeout_seconds=0):
        pass


async def test_a_left_over_lock_file_of_a_dead_process_is_no_lock(path: Path) -> None:
    path.parent.mkdir()
    lock_file = path.with_name(f"{path.name}.lock")
    lock_file.write_text("999999999")
    async with SessionLock(path, timeout_seconds=0):
        assert lock_file.read_text() == str(os.getpid())
        assert not path.exists()


async def test_a_holder_that_has_not_said_its_name(path: Path) -> None:
    async with SessionLock(path):
        path.with_name(f"{path.name}.lock").write_bytes(b"\xff")
        with pytest.raises(SessionError, match="locked by another process"):
            async with SessionLock(path, timeout_seconds=0):
                pass


def test_the_lock_library_is_imported_only_to_lock() -> None:
    script = "import rustyclaw.sessions.store, rustyclaw.sessions.locks, sys"
    check = "sys.exit('filelock' in sys.modules)"
    subprocess.run([sys.executable, "-c", f"{script}; {check}"], check=True)
