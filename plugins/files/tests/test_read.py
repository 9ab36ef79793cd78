"""``read_file``: numbered lines, pictures, and its limits."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rustyclaw import Image, ToolContext, ToolError

PICTURES = {
    "image/png": b"\x89PNG\r\n\x1a\n" + b"\0" * 16,
    "image/jpeg": b"\xff\xd8\xff\xe0" + b"\0" * 16,
    "image/gif": b"GIF89a" + b"\0" * 16,
    "image/webp": b"RIFF\x10\0\0\0WEBPVP8 ",
}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"one\ntwo\n", "     1\tone\n     2\ttwo"),
        (b"one\ntwo", "     1\tone\n     2\ttwo"),
        (b"one\r\ntwo\r\n", "     1\tone\n     2\ttwo"),
        (b"\xef\xbb\xbfone\n", "     1\tone"),
        (b"\n", "     1\t"),
        (b"\n\n", "     1\t\n     2\t"),
        (b"a\tb\n", "     1\ta\tb"),
        ("zwölf 十二".encode(), "     1\tzwölf 十二"),
        (b"a\x0bb\x0cc\xe2\x80\xa8d\n", "     1\ta\x0bb\x0cc\u2028d"),
    ],
)
async def test_lines(
    content: bytes, expected: str, call: Any, tool_context: ToolContext
) -> None:
    (tool_context.workspace / "a.txt").write_bytes(content)
    result = await call("read_file", path="a.txt")
    assert result.text == expected
    assert not result.is_error
    assert not result.details


async def test_empty_file(call: Any, tool_context: ToolContext) -> None:
    (tool_context.workspace / "a.txt").touch()
    assert (await call("read_file", path="a.txt")).text == "['a.txt' is empty]"


async def test_offset_and_limit(call: Any, tool_context: ToolContext) -> None:
    (tool_context.workspace / "a.txt").write_text("a\nb\nc\nd\n")
    result = await call("read_file", path="a.txt", offset=1, limit=2)
    assert result.text == (
        "     2\tb\n     3\tc\n[there is more; continue with offset=3]"
    )
    assert result.details == {"next_offset": 3}
    rest = await call("read_file", path="a.txt", offset=3)
    assert rest.text == "     4\td"


async def test_pages_give_the_whole_file(
    call_in: Callable[..., Any], tool_context: ToolContext
) -> None:
    lines = [f"line {number} " + "x" * (number % 90) for number in range(700)]
    (tool_context.workspace / "a.txt").write_text("\n".join(lines))
    call = call_in(tool_context, max_read_bytes=1000, max_read_lines=30)
    seen: list[str] = []
    offset = 0
    while offset is not None:
        result = await call("read_file", path="a.txt", offset=offset)
        page = [line for line in result.text.split("\n") if "\t" in line]
        assert len(page) <= 30
        assert sum(len(line) - 7 for line in page) <= 1000
        seen += (line.split("\t", 1)[1] for line in page)
        offset = result.details.get("next_offset")
    assert seen == lines


async def test_long_line_is_cut(
    call_in: Callable[..., Any], tool_context: ToolContext
) -> None:
    (tool_context.workspace / "a.txt").write_text("x" * 300 + "\nnext\n")
    call = call_in(tool_context, max_read_bytes=100)
    result = await call("read_file", path="a.txt")
    assert result.text.split("\n") == [
        "     1\t" + "x" * 100,
        "[line 1 is longer and was cut]",
        "[there is more; continue with offset=1]",
    ]
    assert (await call("read_file", path="a.txt", offset=1)).text == "     2\tnext"


@pytest.mark.parametrize(
    ("content", "offset", "lines"),
    [(b"", 1, 0), (b"a", 1, 1), (b"a\n", 1, 1), (b"a\nb", 2, 2), (b"a\nb\n", 9, 2)],
)
async def test_offset_past_the_end(
    content: bytes, offset: int, lines: int, call: Any, tool_context: ToolContext
) -> None:
    (tool_context.workspace / "a.txt").write_bytes(content)
    with pytest.raises(ToolError, match=f"past the end: 'a.txt' has {lines} lines"):
        await call("read_file", path="a.txt", offset=offset)


async def test_far_offset_in_a_huge_file(call: Any, tool_context: ToolContext) -> None:
    path = tool_context.workspace / "a.log"
    path.write_text("text\n" * 4000)
    os.truncate(path, 10 * 1024**3)
    with pytest.raises(ToolError, match="no more is searched; there, 4000 lines end"):
        await call("read_file", path="a.log", offset=1_000_000)
    holes = await call("read_file", path="a.log", offset=4000)
    assert holes.text.startswith("  4001\t\ufffd\n[line 4001 is longer and was cut]")


async def test_sparse_file(call: Any, tool_context: ToolContext) -> None:
    path = tool_context.workspace / "disk.img"
    path.touch()
    os.truncate(path, 10 * 1024**3)
    result = await call("read_file", path="disk.img", offset=10**9)
    assert not result.is_error
    assert "10737418240 bytes are NUL" in result.text


@pytest.mark.parametrize("media_type", PICTURES)
async def test_pictures(media_type: str, call: Any, tool_context: ToolContext) -> None:
    data = PICTURES[media_type]
    (tool_context.workspace / "picture.txt").write_bytes(data)  # not by its name
    result = await call("read_file", path="picture.txt")
    assert result.media == (Image(data=data, media_type=media_type),)
    assert media_type in result.text


async def test_picture_over_the_cap(call: Any, tool_context: ToolContext) -> None:
    path = tool_context.workspace / "a.png"
    path.write_bytes(PICTURES["image/png"])
    os.truncate(path, 5 * 1024**2)
    assert len((await call("read_file", path="a.png")).media[0].data) == 5 * 1024**2
    os.truncate(path, 5 * 1024**2 + 1)
    with pytest.raises(ToolError, match="make it smaller"):
        await call("read_file", path="a.png")


@pytest.mark.parametrize(
    "content",
    [
        b"\x7fELF\x02\x01\x01" + b"\0" * 9,
        b"text with a \0 in it",
        b"%PDF-1.7\n1 0 obj\n",
        b"\x1f\x8b\x08stuff",
        "UTF-16".encode("utf-16"),
    ],
)
async def test_binary(content: bytes, call: Any, tool_context: ToolContext) -> None:
    (tool_context.workspace / "a.bin").write_bytes(content)
    with pytest.raises(ToolError, match=r"'a\.bin' is binary") as refused:
        await call("read_file", path="a.bin")
    assert ("UTF-16;" in str(refused.value)) is content.startswith(b"\xff\xfe")


async def test_other_encodings_are_marked(call: Any, tool_context: ToolContext) -> None:
    (tool_context.workspace / "a.txt").write_bytes("Grüße\n".encode("latin-1"))
    result = await call("read_file", path="a.txt")
    assert result.text.startswith("     1\tGr\ufffd\ufffde\n[some bytes are not valid")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing.txt", "not found"),
        ("sub/missing.txt", "not found"),
        ("missing/a.txt", "not found"),
        ("a.txt/b.txt", "not a folder"),
        ("a.txt/", "not a folder"),
        ("a.txt/.", "not a folder"),
        ("sub", "is a folder"),
        (".", "is a folder"),
        ("sub/..", "is a folder"),
        ("n" * 256, "too long"),
        ("n/" * 2049, "too long"),
        ("sub/../" * 300, "more than 512 names"),
        ("", "empty"),
        ("a\nb", "control characters"),
        ("a\0b", "control characters"),
        ("a\x7fb", "control characters"),
        ("a\x85b", "control characters"),
        ("~", "nothing is expanded"),
        ("~/a.txt", "nothing is expanded"),
        ("~root/a.txt", "nothing is expanded"),
        ("$HOME/a.txt", "nothing is expanded"),
        ("${HOME}/a.txt", "nothing is expanded"),
        ("file:///etc/passwd", "nothing is expanded"),
        ("..", "outside the workspace"),
        ("sub/../..", "outside the workspace"),
        ("/", "outside the workspace"),
        ("/etc/passwd", "outside the workspace"),
        ("//etc/passwd", "outside the workspace"),
        ("/proc/self/environ", "outside the workspace"),
        ("%2e%2e/secret", "not found"),
        ("..\\secret", "not found"),
        ("\uff0e\uff0e/secret", "not found"),
    ],
)
async def test_refusals(
    path: str, reason: str, call: Any, tool_context: ToolContext
) -> None:
    (tool_context.workspace / "a.txt").write_text("inside")
    (tool_context.workspace / "sub").mkdir()
    with pytest.raises(ToolError, match=reason):
        await call("read_file", path=path)


@pytest.mark.parametrize(
    "name",
    [
        "a b", "a..b", "...", "..a", "a.", "-rf", "~tilde", "a~", "$x", "a$b", "#x",
        "a'b", 'a"b', "a;b", "a|b", "*", "?", "[a]", "{a}", "%2e%2e", "a\\b", "a:b",
        "C:", "CON", "ümläut", "u\u0308", "日本語",
        "👩\u200d🚀", "\u202etxt.exe", "n" * 255, "é" * 127, ".hidden",
    ],
)  # fmt: skip
async def test_odd_names_are_names(
    name: str, call: Any, tool_context: ToolContext
) -> None:
    wrote = await call("write_file", path=name, content="here")
    assert wrote.details["path"] == name
    assert os.listdir(tool_context.workspace) == [name]
    absolute = f"{tool_context.workspace}//./{name}"
    for path in (name, f"./{name}", f".//{name}", absolute):
        assert (await call("read_file", path=path)).text == "     1\there"
    assert f"[file] {name} (4 bytes)" in (await call("file_list")).text


async def test_hard_link_is_a_setting(
    call: Any, call_in: Callable[..., Any], tool_context: ToolContext, tmp_path: Path
) -> None:
    (tmp_path / "other.txt").write_text("elsewhere")
    (tool_context.workspace / "a.txt").hardlink_to(tmp_path / "other.txt")
    with pytest.raises(ToolError, match="hard link"):
        await call("read_file", path="a.txt")
    for config in ({"allow_hard_links": True}, {"restrict_to_workspace": False}):
        result = await call_in(tool_context, **config)("read_file", path="a.txt")
        assert result.text == "     1\telsewhere"


async def test_workspace_is_created(call: Any, tool_context: ToolContext) -> None:
    tool_context.workspace.rmdir()
    with pytest.raises(ToolError, match="not found"):
        await call("read_file", path="a.txt")
    assert tool_context.workspace.stat().st_mode & 0o777 == 0o700


async def test_workspace_that_cannot_be(call: Any, tool_context: ToolContext) -> None:
    tool_context.workspace.rmdir()
    tool_context.workspace.write_text("a file")
    with pytest.raises(ToolError, match="file exists"):
        await call("read_file", path="a.txt")
