"""``file_list``: sorted, filtered, bounded, and honest about links."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from rustyclaw import ToolContext, ToolError
from rustyclaw_files import listing
from rustyclaw_files.listing import reached


@pytest.fixture
def workspace(tool_context: ToolContext) -> Path:
    return tool_context.workspace


@pytest.fixture
def tree(workspace: Path) -> Path:
    for name in ("b.py", "a.txt", "src/main.py", "src/deep/er/x.py", ".hidden"):
        path = workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * len(name))
    (workspace / "empty").mkdir()
    return workspace


ALL = [
    "[file] .hidden (7 bytes)",
    "[file] a.txt (5 bytes)",
    "[file] b.py (4 bytes)",
    "[dir] empty",
    "[dir] src",
]


@pytest.mark.parametrize("path", [".", "./", "src/..", "empty/../."])
async def test_folder(path: str, call: Any, tree: Path) -> None:
    result = await call("file_list", path=path)
    assert result.text.split("\n") == ALL
    assert result.details == {"entries": 5, "total": 5}


async def test_recursive(call: Any, tree: Path) -> None:
    result = await call("file_list", recursive=True)
    assert result.text.split("\n") == [
        *ALL,
        "[dir] src/deep",
        "[dir] src/deep/er",
        "[file] src/deep/er/x.py (16 bytes)",
        "[file] src/main.py (11 bytes)",
    ]


@pytest.mark.parametrize(
    ("pattern", "recursive", "names"),
    [
        ("*.py", False, ["b.py"]),
        ("*.py", True, ["b.py", "src/deep/er/x.py", "src/main.py"]),
        ("src/*.py", False, ["src/main.py"]),
        ("./src/*.py", False, ["src/main.py"]),
        ("src/**/*.py", False, ["src/deep/er/x.py", "src/main.py"]),
        ("**/*.py", False, ["b.py", "src/deep/er/x.py", "src/main.py"]),
        ("src/**/x.*", True, ["src/deep/er/x.py"]),
        ("[ab].*", False, ["a.txt", "b.py"]),
        ("s??", False, ["src"]),
        ("*.rs", True, []),
        ("../*", True, []),
        ("/etc/*", True, []),
        ("[", False, []),
    ],
)
async def test_pattern(
    pattern: str, recursive: bool, names: list[str], call: Any, tree: Path
) -> None:
    result = await call("file_list", pattern=pattern, recursive=recursive)
    lines = result.text.split("\n")
    if not names:
        assert lines == ["[no match]"]
    else:
        assert [line.split(" ")[1] for line in lines] == names


async def test_subfolder_and_nothing(call: Any, tree: Path) -> None:
    sub = await call("file_list", path="src")
    assert sub.text == "[dir] deep\n[file] main.py (11 bytes)"
    assert (await call("file_list", path="empty")).text == "[nothing is there]"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a.txt", "is not a folder"),
        ("missing", "not found"),
        ("..", "outside the workspace"),
        ("/etc", "outside the workspace"),
    ],
)
async def test_refusals(path: str, reason: str, call: Any, tree: Path) -> None:
    with pytest.raises(ToolError, match=reason):
        await call("file_list", path=path)


async def test_long_pattern(call: Any) -> None:
    with pytest.raises(ToolError, match="shorten it"):
        await call("file_list", pattern="*" * 1001)


async def test_truncation_is_stated(
    call_in: Callable[..., Any], tool_context: ToolContext, tree: Path
) -> None:
    call = call_in(tool_context, list_limit=3)
    for arguments in ({}, {"limit": 100}):
        result = await call("file_list", **arguments)
        assert result.text.split("\n") == [
            *ALL[:3],
            "[truncated: 3 of 5 entries; use a pattern or a subfolder]",
        ]
    one = await call("file_list", limit=1)
    assert one.text.startswith(f"{ALL[0]}\n[truncated: 1 of 5")


async def test_links(call: Any, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    for name, target in {
        "in-file": "a.txt",
        "in-folder": "src",
        "absolute": str(tree / "a.txt"),
        "up": "..",
        "out": str(tmp_path / "secret.txt"),
        "broken": "nothing",
        "loop": "loop",
    }.items():
        (tree / "empty" / name).symlink_to(
            f"../{target}" if target in ("a.txt", "src", "..") else target
        )
    result = await call("file_list", path="empty", recursive=True)
    skipped = "(skipped: broken, or leads outside the workspace)"
    assert result.text.split("\n") == [
        "[file] absolute (5 bytes)",
        f"[link] broken {skipped}",
        "[file] in-file (5 bytes)",
        "[dir] in-folder",
        f"[link] loop {skipped}",
        f"[link] out {skipped}",
        f"[link] up {skipped}",
    ]


async def test_special_files(call: Any, workspace: Path) -> None:
    os.mkfifo(workspace / "pipe")
    result = await call("file_list")
    assert result.text == "[other] pipe (device, pipe or socket)"


async def test_names_cannot_forge_lines(call: Any, workspace: Path) -> None:
    (workspace / "a\n[file] b (1 bytes)").touch()
    (workspace / "c\u2028d\x1b[2K").touch()
    os.mknod(bytes(workspace) + b"/e\xe9")
    result = await call("file_list")
    assert result.text.split("\n") == [
        r"[file] a\n[file] b (1 bytes) (0 bytes)",
        r"[file] c\u2028d\x1b[2K (0 bytes)",
        r"[file] e\xe9 (0 bytes)",
    ]
    result.text.encode()


async def test_protected_folders_are_named_only(call: Any, tree: Path) -> None:
    (tree / ".git" / "objects").mkdir(parents=True)
    result = await call("file_list", recursive=True, pattern="o*")
    assert result.text == "[no match]\n[folders not searched: 1]"
    inside = await call("file_list", path=".git")
    assert inside.text == "[dir] objects"


async def test_bounded_walk(
    call: Any, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MAX_SEEN", 4)
    result = await call("file_list")
    assert result.details["total"] == 4
    assert "[stopped after 4 entries; list a subfolder]" in result.text

    monkeypatch.setattr(listing, "MAX_SEEN", 20_000)
    monkeypatch.setattr(listing, "MAX_DEPTH", 1)
    result = await call("file_list", recursive=True)
    assert "[dir] src/deep\n" in result.text
    assert "x.py" not in result.text
    assert "[folders not searched: 1]" in result.text


async def test_folder_that_vanishes(
    call: Any, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = listing.open_below

    def swap_first(folder: int, names: Sequence[str]) -> Any:
        if names == ("src",):
            (tree / "src").rename(tree / "moved")
            (tree / "src").symlink_to("/")
        return listed(folder, names)

    monkeypatch.setattr(listing, "open_below", swap_first)
    result = await call("file_list", recursive=True)
    assert result.text.split("\n") == [*ALL, "[folders not searched: 1]"]


async def test_socket_in_listing(call: Any, workspace: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        previous = os.getcwd()
        os.chdir(workspace)  # the address of a socket must be short
        try:
            listener.bind("s")
        finally:
            os.chdir(previous)
    assert (await call("file_list")).text.startswith("[other] s ")


# --- Globs --------------------------------------------------------------------


def naive_match(globs: Sequence[str], names: Sequence[str]) -> bool:
    """Match by trying everything."""
    if not globs:
        return not names
    if globs[0] == "**":
        return naive_match(globs[1:], names) or (
            bool(names) and naive_match(globs, names[1:])
        )
    return (
        bool(names)
        and globs[0] in ("*", names[0])
        and naive_match(globs[1:], names[1:])
    )


@given(
    st.lists(st.sampled_from(["a", "b", "*", "**"]), min_size=1, max_size=6),
    st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=6),
)
def test_globs(globs: list[str], names: list[str]) -> None:
    positions = reached(globs, names)
    assert (len(globs) in positions) == naive_match(globs, names)
    for more in (["a"], ["b", "a"]):
        if naive_match(globs, names + more):
            assert positions - {len(globs)}, "a match below would be missed"
