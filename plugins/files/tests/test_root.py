"""The root: never outside, never in the gateway's state, whatever the path says."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rustyclaw import ToolContext, ToolError
from rustyclaw_files.root import Root

# --- The gateway's state ------------------------------------------------------


@pytest.fixture
def secret(tool_context: ToolContext) -> Path:
    folder = tool_context.home / "credentials"
    folder.mkdir()
    (folder / "token").write_text("secret")
    return folder / "token"


@pytest.fixture
def free(call_in: Callable[..., Any], tool_context: ToolContext) -> Any:
    """A ``call`` that is not restricted to the workspace."""
    return call_in(tool_context, restrict_to_workspace=False)


async def test_free_paths(free: Any, tool_context: ToolContext, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link").symlink_to("a.txt")
    await free("write_file", path=f"{elsewhere}/a.txt", content="one")
    await free("edit_file", path=f"{elsewhere}/link", old_text="one", new_text="two")
    read = await free("read_file", path="/.." + str(elsewhere / "link"))
    assert read.text == "     1\ttwo"
    listed = await free("file_list", path=str(elsewhere))
    assert listed.text == "[file] a.txt (3 bytes)\n[file] link (3 bytes)"
    (tool_context.workspace / "out").symlink_to(elsewhere)
    assert (await free("read_file", path="out/a.txt")).text == "     1\ttwo"
    assert (await free("file_list")).text == "[dir] out"


async def test_free_paths_go_up_from_the_workspace(
    call_in: Callable[..., Any], tool_context: ToolContext, tmp_path: Path
) -> None:
    context = replace(tool_context, workspace=tmp_path / "a" / "ws")
    free = call_in(context, restrict_to_workspace=False)
    await free("write_file", path="../b/x.txt", content="x", create_dirs=True)
    assert (tmp_path / "a" / "b" / "x.txt").read_text() == "x"
    assert (await free("read_file", path="../b/../b/x.txt")).text == "     1\tx"


async def test_workspace_is_reached_through_state(
    free: Any, tool_context: ToolContext, tmp_path: Path
) -> None:
    (tool_context.workspace / "a.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tool_context.workspace)
    (tmp_path / "home-link").symlink_to(tool_context.home)
    for path in (
        f"{tool_context.workspace}/a.txt",
        "../workspace/a.txt",
        f"{tmp_path}/link/a.txt",
        f"{tmp_path}/home-link/agents/main/workspace/a.txt",
    ):
        assert (await free("read_file", path=path)).text == "     1\tmine"


@pytest.mark.parametrize(
    "path",
    [
        "{home}/credentials/token",
        "{home}/../home/credentials/token",
        "{tmp}/home-link/credentials/token",
        "{tmp}/token-link",
        "../../../credentials/token",
        "..",
        "../..",
        "inner/token",
        "/proc/self/root{home}/credentials/token",
        "/proc/self/cwd/credentials/token",
        "{home}",
        "{home}/new",
        "{home}/new/file",
        "{home}/agents/main/memory.db",
        "../memory.db",
        "/proc/self/environ",
        "/proc/self/mem",
        "/proc",
        "/dev/zero",
    ],
)
@pytest.mark.parametrize("restrict", [True, False])
async def test_state_is_off_limits(
    path: str,
    restrict: bool,
    secret: Path,
    call_in: Callable[..., Any],
    tool_context: ToolContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tool_context.home)
    (tmp_path / "home-link").symlink_to(tool_context.home)
    (tmp_path / "token-link").symlink_to(secret)
    (tool_context.agent_dir / "memory.db").write_text("secret")
    (tool_context.workspace / "inner").symlink_to(secret.parent)
    before = snapshot(tool_context.home)
    path = path.format(home=tool_context.home, tmp=tmp_path)
    call = call_in(tool_context, restrict_to_workspace=restrict)
    for name, arguments in {
        "read_file": {},
        "write_file": {"content": "x", "create_dirs": True},
        "edit_file": {"old_text": "secret", "new_text": "x"},
        "file_list": {},
    }.items():
        with pytest.raises(ToolError) as refused:
            await call(name, path=path, **arguments)
        assert "secret" not in str(refused.value)
    assert snapshot(tool_context.home) == before


def snapshot(folder: Path) -> dict[Path, str | bytes | None]:
    """Return all below a folder; of a link its target, not what is behind it."""
    return {
        path: os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("restrict", [True, False])
async def test_state_inside_the_workspace(
    restrict: bool,
    secret: Path,
    call_in: Callable[..., Any],
    tool_context: ToolContext,
    tmp_path: Path,
) -> None:
    context = replace(tool_context, workspace=tmp_path)
    (tmp_path / "alias").symlink_to("home")
    call = call_in(context, restrict_to_workspace=restrict)
    for path in ("home/credentials/token", "alias/credentials/token", "home/new"):
        with pytest.raises(ToolError, match="state of the gateway"):
            await call("read_file", path=path)
        with pytest.raises(ToolError, match="state of the gateway"):
            await call("write_file", path=path, content="x", create_dirs=True)
    with pytest.raises(ToolError, match="state of the gateway"):
        await call("file_list", path="home")
    listed = await call("file_list", recursive=True)
    assert listed.text.split("\n") == [
        "[dir] alias (skipped: state of the gateway)",
        "[dir] home (skipped: state of the gateway)",
    ]
    assert snapshot(secret.parent) == {secret: b"secret"}


async def test_state_as_workspace(
    call_in: Callable[..., Any], tool_context: ToolContext
) -> None:
    context = replace(tool_context, workspace=tool_context.home)
    with pytest.raises(ToolError, match="a workspace of its own"):
        await call_in(context)("file_list")


async def test_missing_state_is_no_obstacle(
    call_in: Callable[..., Any], tool_context: ToolContext, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere"
    context = replace(tool_context, home=nowhere, agent_dir=nowhere / "agent")
    assert (await call_in(context)("file_list")).text == "[nothing is there]"


async def test_workspace_may_be_a_link(
    call_in: Callable[..., Any], tool_context: ToolContext, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tool_context.workspace)
    context = replace(tool_context, workspace=tmp_path / "link")
    call = call_in(context)
    await call("write_file", path=f"{tmp_path}/link/a.txt", content="x")
    for path in ("a.txt", f"{tool_context.workspace}/a.txt"):
        assert (await call("read_file", path=path)).text == "     1\tx"
    with pytest.raises(ToolError, match="outside the workspace"):
        await call("read_file", path=f"{tmp_path}/linked/a.txt")


# --- Descriptors --------------------------------------------------------------


def make_root(workspace: Path, **settings: Any) -> Root:
    nowhere = workspace.parent / "nowhere"
    return Root(workspace, home=nowhere, agent_dir=nowhere, **settings)


@contextmanager
def same_number_of_descriptors() -> Iterator[None]:
    before = len(os.listdir("/dev/fd"))
    yield
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("restrict", [True, False])
def test_no_descriptor_is_left_open(restrict: bool, tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    (workspace / "a" / "b").mkdir(parents=True)
    (workspace / "a" / "b" / "f").touch()
    (workspace / "loop").symlink_to("loop")
    (workspace / "up").symlink_to("../..")
    (workspace / "root").symlink_to("/")
    paths = [
        "a/b/f",
        "a/b/../../a",
        "x/y",
        "loop",
        "up/x",
        "root/..",
        "/",
        "..",
        "a/b/f/g",
    ]
    with same_number_of_descriptors():
        for path in paths:
            with make_root(workspace, restrict=restrict) as root:
                try:
                    with root.place(path) as place:
                        root.open_file(place, path).close()
                except (OSError, ToolError):
                    pass
                try:
                    with root.place(path) as place, root.open_folder(place, path):
                        pass
                except (OSError, ToolError):
                    pass


def test_few_descriptors_are_needed(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    deep = "/".join(["d"] * 200)
    (workspace / deep).mkdir(parents=True)
    (workspace / deep / "f").write_text("x")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    first_free = os.dup(0)
    os.close(first_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_free + 8, limits[1]))
    try:
        with make_root(workspace) as root, root.place(f"{deep}/../d/f") as place:
            root.open_file(place, "f").close()
            assert place.path == f"{deep}/f"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_folder_that_is_moved_out_is_refused(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    (workspace / "d").mkdir(parents=True)
    with make_root(workspace) as root, root.place("d/x") as place:
        (workspace / "d").rename(tmp_path / "moved")
        with pytest.raises(ToolError, match="outside the workspace"):
            root.judge(place.folder, "d/x")


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
async def test_swap_between_look_and_use(
    kind: str,
    call: Any,
    tool_context: ToolContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "secret").write_text("secret")
    victim = tool_context.workspace / "d"
    if kind == "folder":
        victim.mkdir()
    else:
        victim.write_text("inside")
    look = os.stat

    def swap_afterwards(path: Any, **options: Any) -> os.stat_result:
        status = look(path, **options)
        if path == "d":
            victim.rename(tmp_path / "gone")
            if kind == "pipe":
                os.mkfifo(victim)  # without O_NONBLOCK, the read would hang
            else:
                victim.symlink_to(tmp_path / ("" if kind == "folder" else "secret"))
        return status

    monkeypatch.setattr(os, "stat", swap_afterwards)
    path = "d/secret" if kind == "folder" else "d"
    with pytest.raises(ToolError, match=r"same moment|not a folder|device, pipe"):
        await call("read_file", path=path)
