"""Hostile paths: what must be blocked is blocked, what is harmless works."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rustyclaw import ToolContext, ToolError

_DATA = Path(__file__).parent / "data" / "paths.jsonl"
ROWS = [json.loads(line) for line in _DATA.read_text().splitlines()]
RACES = [row for row in ROWS if row["category"] == "race"]
CANARY = "CANARY-OUTSIDE"
RACE_SECONDS = 0.5

#: Runs in a process of its own, so that the swap is truly concurrent.
SWAP = """
import os, sys, time
folder, outside = sys.argv[1:]
os.symlink(outside, folder + ".link")
print("ready", flush=True)
while True:
    os.rename(folder, folder + ".real"); os.rename(folder + ".link", folder)
    time.sleep(0.0004)
    os.rename(folder, folder + ".link"); os.rename(folder + ".real", folder)
    time.sleep(0.0004)
"""


class World:
    """The folders that a row talks about."""

    def __init__(self, base: Path) -> None:
        self.workspace = base / "ws"
        self.outside = base / "out"
        self.state = base / "state"
        for folder in (self.workspace, self.outside, self.state / "agents" / "main"):
            folder.mkdir(parents=True)
        (self.state / "credentials.json").write_text(CANARY)
        self.context = ToolContext(
            agent_id="main",
            session_key="agent:main:main",
            run_id="run-1",
            channel="",
            workspace=self.workspace,
            agent_dir=self.state / "agents" / "main",
            home=self.state,
        )

    def fill(self, value: Any) -> Any:
        """Put the folders into a text of the row."""
        if not isinstance(value, str):
            return value
        for name, text in {
            "{WS}": str(self.workspace),
            "{OUTNAME}": self.outside.name,
            "{OUT}": str(self.outside),
            "{STATEABS}": str(self.state),
            "{STATE}": self.state.name,
        }.items():
            value = value.replace(name, text)
        return value

    def prepare(self, step: dict[str, Any]) -> None:
        """Take one step of the set-up."""
        path = Path(self.fill(step["path"]))
        path.parent.mkdir(parents=True, exist_ok=True)
        match step["do"]:
            case "mkdir":
                path.mkdir(parents=True, exist_ok=True)
            case "write":
                path.write_text(step["data"])
            case "symlink":
                path.symlink_to(self.fill(step["target"]))
            case "hardlink":
                path.hardlink_to(self.fill(step["target"]))
            case "fifo":
                os.mkfifo(path)
            case "sparse":
                path.touch()
                os.truncate(path, step["bytes"])
            case "race_swap":
                pass  # started by the test of races
            case unknown:
                raise AssertionError(f"unknown step {unknown!r}")

    def snapshot(self) -> dict[str, bytes | None]:
        """Return all that is outside of the workspace."""
        return {
            str(path): path.read_bytes() if path.is_file() else None
            for folder in (self.outside, self.state)
            for path in sorted(folder.rglob("*"))
        }


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def arguments_of(row: dict[str, Any], path: Any) -> tuple[str, dict[str, Any]]:
    match row["op"]:
        case "read":
            return "read_file", {"path": path}
        case "list":
            return "file_list", {"path": path}
        case "write":
            content = {"content": "new", "create_dirs": True}
            return "write_file", {"path": path, **content}
        case "edit":
            return "edit_file", {"path": path, "old_text": CANARY, "new_text": "x"}
        case unknown:
            raise AssertionError(f"unknown op {unknown!r}")


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row not in RACES], ids=lambda row: row["id"]
)
async def test_path(
    row: dict[str, Any], world: World, call_in: Callable[..., Any]
) -> None:
    for step in row["setup"]:
        world.prepare(step)
    before = world.snapshot()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    restrict = row.get("restrict", True)
    call = call_in(world.context, restrict_to_workspace=restrict)
    name, arguments = arguments_of(row, world.fill(row["path"]))

    if row["expect"] == "block" and row.get("expect_alt") != (
        "allow_if_outside_unchanged"
    ):
        with pytest.raises(ToolError) as refused:
            await call(name, **arguments)
        text = str(refused.value)
    else:
        text = (await call(name, **arguments)).text

    assert CANARY not in text
    assert world.snapshot() == before
    limits = row.get("limits", {})
    assert time.monotonic() - started < limits.get("max_seconds", 5)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    assert grown < limits.get("max_rss_growth_mib", 64)


@contextmanager
def swapping(folder: Path, outside: Path) -> Iterator[None]:
    """Swap a folder with a link to the outside, about 1000 times a second."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", SWAP, str(folder), str(outside)],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        assert process.poll() is None, "the swap has ended by itself"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("row", RACES, ids=lambda row: row["id"])
async def test_race(
    row: dict[str, Any], world: World, call_in: Callable[..., Any]
) -> None:
    for step in row["setup"]:
        world.prepare(step)
    before = world.snapshot()
    call = call_in(world.context)
    name, arguments = arguments_of(row, row["path"])
    if row["op"] == "write":  # a folder made between two renames would stop the swap
        arguments["create_dirs"] = False
    outcomes = {"done": 0, "refused": 0}

    with swapping(world.workspace / "d", world.outside):
        started = time.monotonic()
        while (
            (passed := time.monotonic() - started) < RACE_SECONDS
            or (not all(outcomes.values()) and passed < 20)  # a busy machine
        ):
            try:
                result = await call(name, **arguments)
            except ToolError as exc:
                outcomes["refused"] += 1
                assert CANARY not in str(exc)  # noqa: PT017 - either outcome is fine
            else:
                outcomes["done"] += 1
                assert CANARY not in result.text

    assert world.snapshot() == before
    assert all(outcomes.values()), outcomes


def test_race_defeats_a_check_of_the_path(world: World) -> None:
    """The twin of the test above: the swap does win against check, then use."""
    (world.workspace / "d").mkdir()
    (world.workspace / "d" / "secret.txt").write_text("inside")
    (world.outside / "secret.txt").write_text(CANARY)
    path = world.workspace / "d" / "secret.txt"
    with swapping(world.workspace / "d", world.outside):
        ends = time.monotonic() + 20
        while time.monotonic() < ends:
            try:
                if os.path.realpath(path) == str(path) and path.read_text() == CANARY:
                    return
            except OSError:
                pass
    pytest.fail("the swap never came between the check and the use")


@pytest.mark.parametrize("name", ["read_file", "write_file", "edit_file", "file_list"])
@pytest.mark.parametrize("kind", ["socket", "char device", "fifo"])
async def test_special_files(
    name: str, kind: str, world: World, call_in: Callable[..., Any]
) -> None:
    path = world.workspace / "special"
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            previous = os.getcwd()
            os.chdir(world.workspace)  # the address of a socket must be short
            try:
                listener.bind("special")
            finally:
                os.chdir(previous)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null")
    all_arguments = {
        "read_file": {},
        "write_file": {"content": "x"},
        "edit_file": {"old_text": "a", "new_text": "b"},
        "file_list": {},
    }
    with pytest.raises(ToolError):
        await call_in(world.context)(name, path="special", **all_arguments[name])
