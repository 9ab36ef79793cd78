"""A disk that is full or read-only: nothing is acknowledged that is not kept."""

from __future__ import annotations

import logging
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from rustyclaw import Gateway, StorageError, hookimpl
from rustyclaw.testing import Bot


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process grow, as on a full disk.

    The limit says EFBIG instead of ENOSPC; for those who write it is the same.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_not_acknowledged_and_passes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Bot(tmp_path, script=["one", "two"]) as bot:
        await bot.channel.deliver("first")
        assert await bot.reply() == "one"
        with full_disk():
            message = await bot.channel.deliver("second")
            await anyio.sleep(0.1)  # the platform delivers it again and again
            assert message not in bot.channel.acknowledged
        assert await bot.reply() == "two"
        assert bot.channel.acknowledged[-1] == message


async def test_a_disk_that_fills_up_during_a_run_delays_the_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The message is accepted, the transcript cannot grow, and later it can."""
    called = anyio.Event()
    go_on = anyio.Event()

    class Slow:
        @hookimpl
        async def llm_output(self) -> None:
            called.set()
            await go_on.wait()

    async with Bot(tmp_path, script=["x", "x"], plugins={"hooks.s": Slow()}) as bot:
        await bot.channel.deliver("hello")
        await called.wait()
        with full_disk(), caplog.at_level(logging.ERROR):
            go_on.set()
            with anyio.fail_after(5):
                while "has to wait" not in caplog.text:
                    await anyio.sleep(0.01)
        assert not bot.channel.posted
        assert await bot.reply() == "x"
        lines = next(tmp_path.glob("agents/*/sessions/*.jsonl")).read_text()
        assert lines.count('"source"') == 1
        assert lines.endswith("\n")


async def test_a_run_in_this_process_tells_that_the_disk_is_full(
    tmp_path: Path,
) -> None:
    async with Bot(tmp_path, script=["one", "two"]) as bot:
        await bot.say("hello")
        with full_disk():
            await bot.say("more")
        assert bot.last.error is not None
        assert bot.last.error.kind == "storage"
        assert "free space" in bot.last.error.message
        assert await bot.say("again") == "two"


async def test_a_home_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    home = tmp_path / "file"
    home.write_text("not a folder")
    with pytest.raises(StorageError, match="cannot use"):
        async with Gateway({}, home=home, discover=False):
            raise AssertionError("it must not start")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, where the tests may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if (
        not shutil.which("mount")
        or subprocess.run(mount, capture_output=True).returncode
    ):
        pytest.skip("may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(place)], check=True)


async def test_a_read_only_home_stops_the_start_with_one_line(mounted: Path) -> None:
    remount(mounted, "ro")
    with pytest.raises(StorageError, match=r"cannot (use|lock)") as refused:
        async with Gateway({}, home=mounted, discover=False):
            raise AssertionError("it must not start")
    assert "\n" not in str(refused.value)
