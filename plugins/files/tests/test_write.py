"""``write_file`` and ``edit_file``: all or nothing, and nothing outside."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rustyclaw import ToolContext, ToolError
from rustyclaw_files import writing


@pytest.fixture
def workspace(tool_context: ToolContext) -> Path:
    return tool_context.workspace


def tree_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


async def test_new_file(call: Any, workspace: Path) -> None:
    result = await call("write_file", path="a.txt", content="zwölf\n")
    assert result.text == "created 'a.txt': 7 bytes written"
    assert (workspace / "a.txt").read_text() == "zwölf\n"
    assert (workspace / "a.txt").stat().st_mode & 0o7777 == 0o644
    assert os.listdir(workspace) == ["a.txt"]


@pytest.mark.parametrize("mode", [0o600, 0o755, 0o664])
async def test_existing_file_keeps_its_mode(
    mode: int, call: Any, workspace: Path
) -> None:
    path = workspace / "a.sh"
    path.write_text("old")
    path.chmod(mode)
    result = await call("write_file", path="a.sh", content="new")
    assert result.text.startswith("replaced")
    await call("edit_file", path="a.sh", old_text="new", new_text="newer")
    assert path.read_text() == "newer"
    assert path.stat().st_mode & 0o7777 == mode


async def test_set_user_id_is_dropped(call: Any, workspace: Path) -> None:
    path = workspace / "a.sh"
    path.write_text("old")
    path.chmod(0o4755)
    await call("write_file", path="a.sh", content="new")
    assert path.stat().st_mode & 0o7777 == 0o755


async def test_read_only_file_stays(call: Any, workspace: Path) -> None:
    path = workspace / "a.txt"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(ToolError, match="read-only"):
        await call("write_file", path="a.txt", content="new")
    with pytest.raises(ToolError, match="read-only"):
        await call("edit_file", path="a.txt", old_text="old", new_text="new")
    assert path.read_text() == "old"


async def test_folders_are_created_on_demand(call: Any, workspace: Path) -> None:
    with pytest.raises(ToolError, match="set create_dirs"):
        await call("write_file", path="a/b/c.txt", content="x")
    assert os.listdir(workspace) == []
    await call("write_file", path="a/b/c.txt", content="x", create_dirs=True)
    assert (workspace / "a/b/c.txt").read_text() == "x"


@pytest.mark.parametrize("path", ["new/", "new/.", "new/../a.txt", "a/b/../../../x"])
async def test_no_folder_is_left_behind(path: str, call: Any, workspace: Path) -> None:
    with pytest.raises(ToolError):
        await call("write_file", path=path, content="x", create_dirs=True)
    assert os.listdir(workspace) == []


@pytest.mark.parametrize("path", [".", "sub", "sub/", "sub/.."])
async def test_folder_is_not_replaced(path: str, call: Any, workspace: Path) -> None:
    (workspace / "sub").mkdir()
    with pytest.raises(ToolError, match="is a folder"):
        await call("write_file", path=path, content="x")
    with pytest.raises(ToolError, match="is a folder"):
        await call("edit_file", path=path, old_text="x", new_text="y")


async def test_size_limit(
    call_in: Callable[..., Any], tool_context: ToolContext, workspace: Path
) -> None:
    call = call_in(tool_context, max_write_bytes=4)
    await call("write_file", path="a.txt", content="abcd")
    with pytest.raises(ToolError, match="over 4 bytes"):
        await call("write_file", path="b.txt", content="ab\u00e9d")
    with pytest.raises(ToolError, match="over 4 bytes"):
        await call("edit_file", path="a.txt", old_text="a", new_text="aa")
    (workspace / "c.txt").write_text("abcde")
    with pytest.raises(ToolError, match="over 4 bytes"):
        await call("edit_file", path="c.txt", old_text="abcde", new_text="")
    assert sorted(os.listdir(workspace)) == ["a.txt", "c.txt"]
    assert (workspace / "a.txt").read_text() == "abcd"


async def test_edit_of_a_huge_file(call: Any, workspace: Path) -> None:
    (workspace / "a.img").write_text("x")
    os.truncate(workspace / "a.img", 10 * 1024**3)
    with pytest.raises(ToolError, match="over 10485760 bytes"):
        await call("edit_file", path="a.img", old_text="x", new_text="y")


# --- Links --------------------------------------------------------------------


async def test_link_inside_leads_to_its_file(call: Any, workspace: Path) -> None:
    (workspace / "real").mkdir()
    (workspace / "link").symlink_to("real/new.txt")
    await call("write_file", path="link", content="through")
    assert (workspace / "link").is_symlink()
    assert (workspace / "real/new.txt").read_text() == "through"
    await call("edit_file", path="link", old_text="through", new_text="done")
    assert (workspace / "real/new.txt").read_text() == "done"


async def test_absolute_link_inside(call: Any, workspace: Path) -> None:
    (workspace / "real").mkdir()
    (workspace / "link").symlink_to(workspace / "real")
    await call("write_file", path="link/a.txt", content="x")
    assert (workspace / "real/a.txt").read_text() == "x"


async def test_hard_link_is_broken_up(
    call: Any, workspace: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.txt").write_text("elsewhere")
    (workspace / "a.txt").hardlink_to(tmp_path / "other.txt")
    await call("write_file", path="a.txt", content="inside")
    assert (workspace / "a.txt").read_text() == "inside"
    assert (tmp_path / "other.txt").read_text() == "elsewhere"


# --- Protected names ----------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        ".git", ".git/config", ".GIT/config", ".Git/hooks/post-commit", ".git./config",
        ".git /config", "GIT~1/config", ".g\u200cit/config", "\uff0egit/config",
        ".git::$INDEX_ALLOCATION/config", "sub/.git/config", "sub/../.git/config",
        "alias/config", "alias/../.git/config",
    ],
)  # fmt: skip
@pytest.mark.parametrize("create_dirs", [True, False])
async def test_protected(
    path: str, create_dirs: bool, call: Any, workspace: Path
) -> None:
    (workspace / ".git").mkdir()
    (workspace / ".git" / "config").write_text("[core]")
    (workspace / "sub").mkdir()
    (workspace / "alias").symlink_to(".git")
    before = tree_of(workspace)
    with pytest.raises(ToolError):
        await call("write_file", path=path, content="x", create_dirs=create_dirs)
    with pytest.raises(ToolError):
        await call("edit_file", path=path, old_text="[core]", new_text="x")
    assert tree_of(workspace) == before
    assert (workspace / ".git" / "config").read_text() == "[core]"


async def test_protected_may_be_read(call: Any, workspace: Path) -> None:
    (workspace / ".git").mkdir()
    (workspace / ".git" / "HEAD").write_text("ref")
    assert (await call("read_file", path=".git/HEAD")).text == "     1\tref"


@pytest.mark.parametrize("path", [".gitignore", ".github/a.yml", "git", "a.git", "x~1"])
async def test_similar_names_are_not_protected(
    path: str, call: Any, workspace: Path
) -> None:
    await call("write_file", path=path, content="x", create_dirs=True)
    assert (workspace / path).read_text() == "x"


async def test_protected_is_a_setting(
    call_in: Callable[..., Any], tool_context: ToolContext
) -> None:
    call = call_in(tool_context, protected=[".env"])
    await call("write_file", path=".git/config", content="x", create_dirs=True)
    with pytest.raises(ToolError, match=r"tools\.files\.protected"):
        await call("write_file", path=".ENV", content="x")


# --- Edits --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "old_text", "new_text", "after"),
    [
        (b"a b c", "b", "B", b"a B c"),
        (b"a b c", " b c", "", b"a"),
        (b"one\ntwo\n", "one\ntwo", "1\n2", b"1\n2\n"),
        (b"one\r\ntwo\r\n", "one\ntwo", "1\n2\n3", b"1\r\n2\r\n3\r\n"),
        (b"one\r\ntwo\r\n", "one\r\ntwo", "1\r\n2", b"1\r\n2\r\n"),
        (b"one\r\ntwo\r\n", "two", "2\n3", b"one\r\n2\r\n3\r\n"),
        (b"one\r\ntwo\nthree", "two\nthree", "2\n3", b"one\r\n2\n3"),
        (b"\xef\xbb\xbfone\n", "one", "1", b"\xef\xbb\xbf1\n"),
        ("Grüße".encode("latin-1"), "Gr", "gr", "grüße".encode("latin-1")),
        (b"\xff old \xfe", "old", "neu ü", b"\xff neu \xc3\xbc \xfe"),
    ],
)
async def test_edit(
    before: bytes,
    old_text: str,
    new_text: str,
    after: bytes,
    call: Any,
    workspace: Path,
) -> None:
    (workspace / "a.txt").write_bytes(before)
    result = await call("edit_file", path="a.txt", old_text=old_text, new_text=new_text)
    assert (workspace / "a.txt").read_bytes() == after
    assert result.text == f"edited 'a.txt': {len(after)} bytes now"


@pytest.mark.parametrize(
    ("content", "old_text", "new_text", "reason"),
    [
        (b"a b a", "a", "c", "ambiguous: it occurs 2 times"),
        (b"aaa", "aa", "c", "ambiguous: it occurs 2 times"),
        (b"abc", "x", "c", "not found.*copy it exactly"),
        (b"if x:\n    y\n", "if x:\n\ty", "c", "not found.*white space only"),
        (b"if x:\n    y\n", "if x:\n    z", "c", "not found.*its first line is there"),
        (b"abc", "", "c", "old_text is empty"),
        (b"abc", "b", "b", "the same"),
        (b"a\0c", "a", "b", "is binary"),
    ],
)
async def test_edit_is_refused(
    content: bytes,
    old_text: str,
    new_text: str,
    reason: str,
    call: Any,
    workspace: Path,
) -> None:
    (workspace / "a.txt").write_bytes(content)
    with pytest.raises(ToolError, match=reason):
        await call("edit_file", path="a.txt", old_text=old_text, new_text=new_text)
    assert (workspace / "a.txt").read_bytes() == content
    assert os.listdir(workspace) == ["a.txt"]


async def test_edit_of_a_missing_file(call: Any) -> None:
    with pytest.raises(ToolError, match=r"'a\.txt': not found"):
        await call("edit_file", path="a.txt", old_text="a", new_text="b")


async def test_edit_does_not_undo_another(
    call: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workspace / "a.txt"
    path.write_text("one two")
    sync = os.fsync

    def change_first(descriptor: int) -> None:
        path.write_text("one two three")
        sync(descriptor)

    monkeypatch.setattr(writing.os, "fsync", change_first)
    with pytest.raises(ToolError, match="changed while it was edited"):
        await call("edit_file", path="a.txt", old_text="one", new_text="1")
    assert path.read_text() == "one two three"
    assert os.listdir(workspace) == ["a.txt"]


# --- What the disk refuses ----------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "no space left.*nothing was changed"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EMFILE, "too many files"),
        (errno.EIO, "input/output error; try again"),
    ],
)
async def test_failing_disk(
    code: int, reason: str, call: Any, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / "a.txt").write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(writing.os, "fsync", fail)
    with pytest.raises(ToolError, match=f"'a.txt': .*{reason}"):
        await call("write_file", path="a.txt", content="new")
    assert (workspace / "a.txt").read_text() == "old"
    assert os.listdir(workspace) == ["a.txt"]
