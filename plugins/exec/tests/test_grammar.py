"""What the parser makes of a text, and what it refuses to guess about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from rustyclaw_exec.grammar import parse
from rustyclaw_exec.scanner import Unparsable
from rustyclaw_exec.syntax import Compound, Function, Pipeline, Simple


def commands(node: Any) -> Iterator[str]:
    """Yield every simple command of a tree, however deep, as its literal words."""
    if isinstance(node, Simple) and node.words:
        yield " ".join("…" if w.literal is None else w.literal for w in node.words)
    if isinstance(node, tuple):
        for item in node:
            yield from commands(item)
    elif is_dataclass(node):
        for field in fields(node):
            yield from commands(getattr(node, field.name))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a b  c", ["a b c"]),
        ("a;b&c\nd", ["a", "b", "c", "d"]),
        ("a && b || ! c", ["a", "b", "c"]),
        ("a | b |& c", ["a", "b", "c"]),
        ("r''m \"-r\"f \\/", ["rm -rf /"]),
        ("r\\\nm x", ["rm x"]),
        ("a\\\n  b", ["a b"]),
        ("a # b; c\nd", ["a", "d"]),
        ("a#b", ["a#b"]),
        ("X=1 Y=2 a b", ["a b"]),
        ("a=(b $(c)); d", ["c", "d"]),
        ("a $(b `c`)", ["a …", "b …", "c"]),
        ('a "${x:-`b`}"', ["a …", "b"]),
        ("a ${x:-$(b)}", ["a …", "b"]),
        ("a $((1 + $(b)))", ["a …", "b"]),
        ("a <(b) >(c)", ["a … …", "b", "c"]),
        ("a >f 2>&1 <g", ["a"]),
        (">$(b) a", ["a", "b"]),
        ("a <<E\n$(b)\nE\nc", ["a", "b", "c"]),
        ("a <<'E'\n$(b)\nE\nc", ["a", "c"]),
        ("a <<-E\n\tx\n\tE\nc", ["a", "c"]),
        ("a <<A <<B\n1\nA\n2\nB\nc", ["a", "c"]),
        ("a <<E; b\nx\nE\nc", ["a", "b", "c"]),
        ("a <<E | b\nx\nE", ["a", "b"]),
        ("a $(b <<E\nx\nE\n) c", ["a … c", "b"]),
        ("(a; b)", ["a", "b"]),
        ("{ a; b; }", ["a", "b"]),
        ("if a; then b; elif c; then d; else e; fi", ["a", "b", "c", "d", "e"]),
        ("while a; do b; done", ["a", "b"]),
        ("for x in 1 $(a); do b; done", ["b", "a"]),
        ("for x; do a; done", ["a"]),
        ("for ((i=0;i<3;i++)); do a; done", ["a"]),
        ("case $(a) in x|y) b;; (z) c;; esac", ["b", "c", "a"]),
        ("f() { a; }; f", ["a", "f"]),
        ("function f { a; }", ["a"]),
        ("time { a; }", ["a"]),
        ("[[ -f a ]] && b", ["[[ -f a ]]", "b"]),
        ("echo if then", ["echo if then"]),
        ("$'a\\x62' c", ["…"] * 0 + ["… c"]),
    ],
)
def test_every_command_is_found(text: str, found: list[str]) -> None:
    assert list(commands(parse(text))) == found


@pytest.mark.parametrize(
    "text",
    [
        "a '",
        'a "',
        "a `",
        "a $(b",
        "a ${b",
        "a \\",
        "a |",
        "a &&",
        "; a",
        "a ;; b",
        "( a",
        "a )",
        "{ a",
        "a; }",
        "if a; fi",
        "while a; done",
        "for 1 in a; do b; done",
        "case a in b) c",
        "f() a",
        "a <<E\nb",
        "a <",
        "a <<$x\nb\n$x",
        # Shells differ, or one of them runs what another one quotes:
        "a $'b\\'c'",
        "a $[1+1]",
        "((a[$(b)]))",
        "a &>f b",
        "a >&-b",
        "a 10>f",
        "a \"${x:-'b'}\"",
        'a "`b \\"c\\"`"',
        "a $\\\n(b)",
        "a <\\\n<E",
        "i\\\nf a; then b; fi",
        "a <<E\nb\\\nE\nE",
        "cat <<A $(b\n)\nA",
        "a ${x:-<(b)}",
        "a ${x@P}",
        "a @(b|c)",
        "a $'\\ue000'",
    ],
)
def test_what_is_not_certain_is_refused(text: str) -> None:
    with pytest.raises(Unparsable):
        parse(text)


def test_shapes() -> None:
    pipeline, group, function = parse("a | b\n{ c; } > f\ng() (d)").nodes
    assert isinstance(pipeline, Pipeline)
    assert isinstance(group, Compound)
    assert [r.operator for r in group.redirects] == [">"]
    assert isinstance(function, Function)
    assert function.name == "g"


def test_quoting_is_kept_apart() -> None:
    (command,) = parse("a *.txt '*.txt' \\*").nodes
    assert isinstance(command, Simple)
    assert [word.dynamic for word in command.words] == [False, True, False, False]
    assert [word.bare for word in command.words] == ["a", "*.txt", None, None]
