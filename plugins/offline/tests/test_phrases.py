"""What people say, and which calls come of it."""

from __future__ import annotations

from typing import Any

import pytest

LIST, READ, WRITE, EDIT = "file_list", "read_file", "write_file", "edit_file"
SET, GET, SEARCH, KEYS = "memory_set", "memory_get", "memory_search", "memory_list"

Calls = list[tuple[str, dict[str, Any]]]

PHRASES: list[tuple[str, Calls]] = [
    # files: listing
    ("list files", [(LIST, {"path": "."})]),
    ("list the files in the workspace", [(LIST, {"path": "."})]),
    ("Can you list all files in the docs folder, please?", [(LIST, {"path": "docs"})]),
    ("Show me the files and folders in src/lib", [(LIST, {"path": "src/lib"})]),
    ("what files are there?", [(LIST, {"path": "."})]),
    ("Which files are in docs?", [(LIST, {"path": "docs"})]),
    ("what is in the workspace?", [(LIST, {"path": "."})]),
    ("what's in the docs folder", [(LIST, {"path": "docs"})]),
    ("What\N{RIGHT SINGLE QUOTATION MARK}s in docs/?", [(LIST, {"path": "docs/"})]),
    ("ls", [(LIST, {"path": "."})]),
    ("ls -la src", [(LIST, {"path": "src"})]),
    ('list the folder "my docs"', [(LIST, {"path": "my docs"})]),
    ("show the contents of docs", [(LIST, {"path": "docs"})]),
    ("list *.py files", [(LIST, {"path": ".", "pattern": "*.py"})]),
    (
        "list the files matching *.md in docs recursively",
        [(LIST, {"path": "docs", "pattern": "*.md", "recursive": True})],
    ),
    ("list files recursively in src", [(LIST, {"path": "src", "recursive": True})]),
    (
        "list everything including subfolders",
        [(LIST, {"path": ".", "recursive": True})],
    ),
    ("find *.txt", [(LIST, {"path": ".", "pattern": "*.txt", "recursive": True})]),
    (
        "find all files named notes.md in docs",
        [(LIST, {"path": "docs", "pattern": "notes.md", "recursive": True})],
    ),
    ("find all files in docs", [(LIST, {"path": "docs", "recursive": True})]),
    # files: reading
    ("read hello.txt", [(READ, {"path": "hello.txt"})]),
    ("Please read the file notes.", [(READ, {"path": "notes"})]),
    ("read README", [(READ, {"path": "README"})]),
    ('open "my notes.txt"', [(READ, {"path": "my notes.txt"})]),
    ("cat docs/a.md", [(READ, {"path": "docs/a.md"})]),
    ("show me the contents of notes.txt", [(READ, {"path": "notes.txt"})]),
    ("what does hello.txt say?", [(READ, {"path": "hello.txt"})]),
    ("what's in hello.txt?", [(READ, {"path": "hello.txt"})]),
    ("read lines 3-7 of a.txt", [(READ, {"path": "a.txt", "offset": 2, "limit": 5})]),
    (
        "read a.txt from line 2 to 5",
        [(READ, {"path": "a.txt", "offset": 1, "limit": 4})],
    ),
    ("show line 4 of a.txt", [(READ, {"path": "a.txt", "offset": 3, "limit": 1})]),
    # files: writing
    (
        "write hello.txt with the text hi",
        [(WRITE, {"path": "hello.txt", "content": "hi"})],
    ),
    (
        'write hello.txt with "a; b and then c\nd"',
        [(WRITE, {"path": "hello.txt", "content": "a; b and then c\nd"})],
    ),
    (
        "create a file called x.md containing the quick brown fox",
        [(WRITE, {"path": "x.md", "content": "the quick brown fox"})],
    ),
    ("create an empty file empty.txt", [(WRITE, {"path": "empty.txt", "content": ""})]),
    (
        'write the text "hi there" to the file hello.txt',
        [(WRITE, {"path": "hello.txt", "content": "hi there"})],
    ),
    (
        'save "x" as notes/y.txt',
        [(WRITE, {"path": "notes/y.txt", "content": "x", "create_dirs": True})],
    ),
    ("write hello.txt: hi!", [(WRITE, {"path": "hello.txt", "content": "hi!"})]),
    (
        "write run.py with the following content:\n```python\nprint(1)\n\nls\n```",
        [(WRITE, {"path": "run.py", "content": "print(1)\n\nls"})],
    ),
    (
        "write a.txt with the text one, two and three",
        [(WRITE, {"path": "a.txt", "content": "one, two and three"})],
    ),
    # files: editing
    (
        'replace "a b" with "c" in x.txt',
        [(EDIT, {"path": "x.txt", "old_text": "a b", "new_text": "c"})],
    ),
    (
        "change foo to bar in the file x.txt",
        [(EDIT, {"path": "x.txt", "old_text": "foo", "new_text": "bar"})],
    ),
    (
        'in x.txt replace "a" by "b"',
        [(EDIT, {"path": "x.txt", "old_text": "a", "new_text": "b"})],
    ),
    (
        'edit x.txt and replace "a" with "b"',
        [(EDIT, {"path": "x.txt", "old_text": "a", "new_text": "b"})],
    ),
    # commands
    ("run `ls -la; pwd`", [("exec", {"command": "ls -la; pwd"})]),
    ('execute the command "echo hi"', [("exec", {"command": "echo hi"})]),
    ("run ls -la; pwd", [("exec", {"command": "ls -la; pwd"})]),
    (
        'run echo "hi there" and more',
        [("exec", {"command": 'echo "hi there" and more'})],
    ),
    ("$ ls ..", [("exec", {"command": "ls .."})]),
    ("Could you run pytest -q for me?", [("exec", {"command": "pytest -q"})]),
    ("run this command:\n```sh\nls\npwd\n```", [("exec", {"command": "ls\npwd"})]),
    # memory
    (
        "remember that my favourite colour is blue.",
        [(SET, {"key": "favourite colour", "value": "blue"})],
    ),
    ("remember wifi = abc123", [(SET, {"key": "wifi", "value": "abc123"})]),
    ('remember that "the key" is "a is b"', [(SET, {"key": "key", "value": "a is b"})]),
    ("remember to buy milk", [(SET, {"key": "buy milk", "value": "buy milk"})]),
    (
        "don't forget that I like to read and write",
        [
            (
                SET,
                {
                    "key": "i like to read and write",
                    "value": "I like to read and write",
                },
            )
        ],
    ),
    ("what is my favourite colour?", [(GET, {"key": "favourite colour"})]),
    ("who is Bob", [(GET, {"key": "bob"})]),
    ("recall wifi", [(GET, {"key": "wifi"})]),
    ("what do you remember?", [(KEYS, {})]),
    ("list your memory", [(KEYS, {})]),
    ("what do you remember about milk?", [(SEARCH, {"query": "milk"})]),
    ("search memory for blue sky", [(SEARCH, {"query": "blue sky"})]),
    ("do you remember my name?", [(SEARCH, {"query": "name"})]),
    # several steps
    (
        "list the files in the workspace, then write hello.txt with the text hi",
        [(LIST, {"path": "."}), (WRITE, {"path": "hello.txt", "content": "hi"})],
    ),
    ("list files and read a.txt", [(LIST, {"path": "."}), (READ, {"path": "a.txt"})]),
    (
        "Hi! List the files. Read a.txt. Thanks!",
        [(LIST, {"path": "."}), (READ, {"path": "a.txt"})],
    ),
    (
        "please do the following:\n1. list files\n2) read a.txt\n- run `ls`",
        [(LIST, {"path": "."}), (READ, {"path": "a.txt"}), ("exec", {"command": "ls"})],
    ),
    (
        'write a.txt with "x", then read it back',
        [(WRITE, {"path": "a.txt", "content": "x"}), (READ, {"path": "a.txt"})],
    ),
    (
        "run pytest -q and then read out.txt",
        [("exec", {"command": "pytest -q"}), (READ, {"path": "out.txt"})],
    ),
    (
        "Remember that my dog is Rex. What is my dog?",
        [(SET, {"key": "dog", "value": "Rex"}), (GET, {"key": "dog"})],
    ),
    (
        "write a.py with:\n```\nlist files\n```\nafter that, read a.py; list docs",
        [
            (WRITE, {"path": "a.py", "content": "list files"}),
            (READ, {"path": "a.py"}),
            (LIST, {"path": "docs"}),
        ],
    ),
    # nothing to call
    ("hello", []),
    ("thanks!", []),
    ("help", []),
    ("what can you do?", []),
    ("who are you?", []),
    ("what time is it?", []),
    ("what is 2 + 2?", []),
    ("tell me a joke", []),
    ("write a poem about the sea", []),
    ("run the tests", []),
    ("delete everything", []),
    ("make tea with milk", []),
    ("read my mind", []),
    ("run `ls` in the folder docs", []),
    ("read it", []),
    ("find my keys", []),
]


@pytest.mark.parametrize(("text", "calls"), PHRASES, ids=[p[0] for p in PHRASES])
async def test_phrase(chat, text: str, calls: Calls) -> None:
    await chat.say(text)
    assert chat.calls == calls


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello", "not a language model"),
        ("who are you?", "not a language model"),
        ("are you a real human?", "not a language model"),
        ("thank you very much", "welcome"),
        ("what is 2 + 2 * 3?", "`2 + 2 * 3` is 8"),
        ("15% of 80", "is 12"),
        ("calculate (1 + 2) ^ 10 / 3", "is 19683"),
        ("what is 10 divided by 4?", "is 2.5"),
        ("what is 1/0", "division by zero"),
        ("9^9^9", "too large"),
        ('append "x" to a.txt', "no tool that adds"),
        ("tell me a joke", "I did not understand"),
        ("tell me a joke", "pip install rustyclaw-anthropic"),
        ("tell me a joke", "not a language model"),
    ],
)
async def test_answer_without_a_tool(chat, text: str, words: str) -> None:
    assert words in await chat.say(text)


async def test_nothing_of_an_unknown_request_is_echoed(chat) -> None:
    answer = await chat.say("@everyone <script>alert(1)</script> [x](http://evil.test)")
    assert not {"everyone", "script", "evil"} & set(answer.replace("<", " ").split())
    assert "evil" not in answer
