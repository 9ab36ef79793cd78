"""What holds for any text at all."""

from __future__ import annotations

import time

import pytest
from hypothesis import assume, given, settings, strategies as st
from rustyclaw_exec.grammar import parse
from rustyclaw_exec.paths import Places
from rustyclaw_exec.policy import Policy
from rustyclaw_exec.scanner import Unparsable

HERE = Places(home="/home/u", workspace="/home/u/.rc/w", state="/home/u/.rc")
POLICY = Policy()
STRICT = Policy("allowlist", ("ls", "cat", "git", "python3"), ("/bin",))

PROGRAMS = "ls cat rm git sh perl awk sed find xargs env sudo curl tar ssh python3 eval"
OPERATORS = (
    "; && || | & ( ) }; < > >> <<EOF <<< <( >( 2>&1 ' \" ` $( ${ } $' $(( )) [[ ]]"
)
WORDS = "$x \\ # * ? [ ] ~ / .. -rf -- -c -e = x= @ : ! {a,b} a b 1 /etc/shadow f()"
PHRASES = ["if ", "then ", "fi", "do ", "done", "for x in ", "while ", "case x in "]
GAPS = [" ", " ", " ", "\t", "\n", "\nEOF\n", "{ ", "esac", "function ", "sh -c "]
PIECES = st.sampled_from(
    [*PROGRAMS.split(), *OPERATORS.split(), *WORDS.split(), *PHRASES, *GAPS]
)
SCRIPTS = st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=60)


def decision(policy: Policy, command: str) -> str:
    return policy.judge(command, HERE, HERE.workspace).decision


@settings(max_examples=600, deadline=None)
@given(SCRIPTS)
def test_no_text_breaks_the_judge(text: str) -> None:
    assert decision(POLICY, text) in ("allow", "ask", "deny")
    assert decision(STRICT, text) in ("allow", "ask", "deny")


@settings(max_examples=600, deadline=None)
@given(SCRIPTS)
def test_nothing_hides_a_deletion_that_follows(text: str) -> None:
    assume("#" not in text)  # a comment does hide it, from the shell as well
    assume(not text.endswith("\\"))  # and so does an escaped semicolon
    assert decision(POLICY, f"{text}; rm -rf /") != "allow"
    assert decision(POLICY, f"{text}\nrm -rf /") != "allow"


@settings(max_examples=300, deadline=None)
@given(SCRIPTS)
def test_nothing_hides_a_deletion_that_is_quoted(text: str) -> None:
    assume("'" not in text)
    assume("#" not in text)
    assume(not text.endswith("\\"))
    assert decision(POLICY, f"sh -c '{text}; rm -rf /'") != "allow"


@settings(max_examples=300, deadline=None)
@given(SCRIPTS)
def test_the_stricter_mode_is_stricter(text: str) -> None:
    if decision(POLICY, text) != "allow":
        assert decision(STRICT, text) != "allow"


@settings(max_examples=300, deadline=None)
@given(SCRIPTS)
def test_a_text_is_read_or_refused(text: str) -> None:
    try:
        tree = parse(text)
    except Unparsable:
        return
    assume("<<" not in text)  # a here-document is compared by identity
    assume(not text.endswith("\\"))
    assert parse(text + "\n") == tree


@pytest.mark.parametrize(
    "text",
    [
        "$(" * 16_000,
        "echo " + "$(" * 20 + "ls" + ")" * 20,
        "((" * 16_000,
        "{ " * 16_000,
        '"' * 32_000,
        "cat /" + "*" * 32_000,
        "cat " + "/*" * 16_000,
        "echo " + "{a,b}" * 6_000,
        "echo " + "{" * 32_000,
        "x env " * 5_000,
        "env " * 8_000 + "ls",
        "f() { g; g; }; g() { ls; ls; }; " + "f;" * 10_000,
        "for i in a b; do " * 20 + "ls; " + "done; " * 20,
        "python3 -c '" + "(" * 32_000 + "'",
        "perl -e '" + "q(" * 16_000 + "'",
        "sed '" + "s/a/" * 8_000 + "'",
        "psql -c '" + "\n " * 16_000 + "'",
        "chmod " + "+" * 32_000 + " x",
        "cat <<E\n" + "x\n" * 16_000 + "E",
        "curl " + "a:" * 16_000,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_texts_take_no_time(text: str) -> None:
    started = time.process_time()
    decision(STRICT, text[:32_768])
    assert time.process_time() - started < 5
