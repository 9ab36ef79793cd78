"""Random trees, links and paths: against ``realpath`` and the kernel's own answer."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from pathlib import Path

from hypothesis import given, settings, strategies as st
from rustyclaw import ToolError
from rustyclaw_files.root import Root
from rustyclaw_files.writing import check_replaceable, replace_file


def make_root(workspace: Path) -> Root:
    nowhere = workspace.parent / "nowhere"
    return Root(workspace, home=nowhere, agent_dir=nowhere)


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


RESOLVE_BENEATH = 0x08
_SYS_OPENAT2 = 437


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def kernel_reads(workspace: str, path: str) -> bytes | None:
    """Return what Linux reads at a path beneath a folder, or ``None``."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    folder = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY)
    try:
        how = _OpenHow(os.O_RDONLY | os.O_CLOEXEC, 0, RESOLVE_BENEATH)
        fd = libc.syscall(
            _SYS_OPENAT2,
            folder,
            os.fsencode(path),
            ctypes.byref(how),
            ctypes.sizeof(how),
        )
    finally:
        os.close(folder)
    if fd < 0:
        return None
    try:
        return os.read(fd, 1000)
    except IsADirectoryError:
        return None
    finally:
        os.close(fd)


def root_reads(workspace: str, path: str) -> bytes | None:
    with make_root(Path(workspace)) as root:
        try:
            with root.place(path) as place, root.open_file(place, path) as stream:
                return stream.read()
        except (OSError, ToolError):
            return None


NAMES = st.sampled_from(["a", "b", "c", "d"])
PARTS = st.sampled_from(["a", "b", "c", "d", "..", ".", ""])
TARGETS = st.one_of(
    st.lists(PARTS, min_size=1, max_size=4).map("/".join).filter(bool),
    st.lists(PARTS, max_size=3).map(lambda parts: "/".join(["{base}", *parts])),
    st.lists(PARTS, max_size=3).map(lambda parts: "/".join(["{base}/ws", *parts])),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["mkdir", "file", "link", "link"]),
        st.lists(NAMES, min_size=1, max_size=3).map("/".join),
        st.booleans(),
        TARGETS,
    ),
    max_size=14,
)
FILES = ["a/b/c", "a/c", "c"]
PATHS = st.one_of(st.lists(PARTS, min_size=1, max_size=6).map("/".join), TARGETS)


def build(base: str, steps: list[tuple[str, str, bool, str]]) -> None:
    """Build a random tree; each file contains its own real path."""
    trunk = [("file", name, inside, "") for name in FILES for inside in (True, False)]
    for kind, name, inside, target in [*trunk, *steps]:
        path = f"{base}/{'ws' if inside else 'out'}/{name}"
        try:
            if kind == "mkdir":
                os.makedirs(path)
            elif kind == "file":
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "x") as stream:
                    stream.write(os.path.realpath(path))
            else:
                os.symlink(target.format(base=base), path)
        except OSError:
            pass  # the place is taken, or the way to it is none


def outside_of_workspace(base: str) -> dict[Path, str | bytes | None]:
    workspace = Path(base, "ws")
    return {
        path: content
        for path, content in snapshot(Path(base)).items()
        if workspace not in path.parents
    }


@settings(max_examples=150, deadline=None)
@given(STEPS, st.lists(PATHS, min_size=1, max_size=5))
def test_agrees_with_realpath_and_the_kernel(
    steps: list[tuple[str, str, bool, str]], paths: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = os.path.realpath(folder)
        build(base, steps)
        for template in paths:
            path = template.format(base=base)
            got = root_reads(f"{base}/ws", path)
            real = os.path.realpath(os.path.join(f"{base}/ws", path))
            if got is not None:
                assert got.decode() == real
                assert real.startswith(f"{base}/ws/")
            beneath = kernel_reads(f"{base}/ws", path)
            if beneath is not None:
                assert got == beneath, "the kernel finds the way to be inside"


@settings(max_examples=60, deadline=None)
@given(STEPS, PATHS)
def test_writes_stay_inside(
    steps: list[tuple[str, str, bool, str]], template: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = os.path.realpath(folder)
        build(base, steps)
        before = outside_of_workspace(base)
        path = template.format(base=base)
        written = False
        with make_root(Path(base, "ws")) as root:
            try:
                with root.place(path, writing=True, create_dirs=True) as place:
                    check_replaceable(place, path)
                    replace_file(place, b"new", path)
                    written = True
            except (OSError, ToolError):
                pass
        assert outside_of_workspace(base) == before
        if written:
            assert root_reads(f"{base}/ws", path) == b"new"


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=30))
def test_any_text_as_a_path(path: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/ws")
        assert root_reads(f"{folder}/ws", path) is None
