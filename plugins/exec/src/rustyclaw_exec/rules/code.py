"""Judges inline code: ``python -c``, ``perl -e``, ``node -e`` and their like.

Python is parsed. Of other languages the words are read: code whose every word is
known to be harmless runs, all other code asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rustyclaw_exec.call import Call
from rustyclaw_exec.rules.catalog import (
    DYNAMIC_CODE,
    DYNAMIC_SCRIPT,
    EXFILTRATION,
    REMOTE_CODE,
    SECRET_READ,
)
from rustyclaw_exec.rules.files import deleted
from rustyclaw_exec.rules.python_code import PythonCode
from rustyclaw_exec.rules.secrets import is_secret
from rustyclaw_exec.rules.words import DANGEROUS_TEXT, HARMLESS
from rustyclaw_exec.values import MARK, Flow
from rustyclaw_exec.verdict import Finding

_MAX_STRINGS = 40
_STRING = re.compile(
    r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|`((?:[^`\\]|\\.)*)`"
    r"|(?:\b(?:qx|qq|q)|%x)\s*[({\[<|/]([^)}\]>|/]{0,999})[)}\]>|/]",
    re.DOTALL,
)
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_REGEX = re.compile(
    r"\b(s|tr|y)([/|#!,;:%~])((?:(?!\2)[^\\]|\\.)*)\2((?:(?!\2)[^\\]|\\.)*)\2(\w*)",
    re.DOTALL,
)
_MATCH = re.compile(
    r"(?:(?<=[(,!&|~{;=])|^|\b(?:if|unless|split|and|or|grep))\s*m?/((?:[^/\\\n]|\\.)*)/\w*"
)
_INTERPOLATED = re.compile(r"[@$#]\{(?!\w+\})|\{\$")
_SENDS = re.compile(
    r"(?i)\b(?:https?|socket|fetch|lwp|net|urlopen|requests|smtp|ftp)\b"
)
_STARTS = re.compile(
    r"\b(?:exec\w*|eval|system|subprocess|Popen|dup2|pty|spawn\w*|popen|fork|compile)\b"
    r"|/bin/(?:ba|da|z)?sh|child_process|\bFunction\("
)
_REMOVES = re.compile(r"\b(?:rmtree|rmSync|rm_rf|rm_r|remove_tree|rmdirSync)\b")
#: A name is put together from pieces, or called through a variable.
_ASSEMBLED = re.compile(
    r"\[\s*\"\"\s*[+.]|\.\.\s*\"\"\s*\]|\$\w+\s*\(|\$\$|&\$|->\$|<[^<=>]*\|"
    r"|\b(?:process|os|io|require|string)\s*\["
)
_DECLARED = re.compile(
    r"\b(?:let|const|var|my|local|for)\s+[$@%]?(\w+)|[$@%](\w+)|(\w+)\s*=>"
)


def judge_code(call: Call, language: str, flow: Flow) -> Iterator[Finding]:
    """Judge code that an interpreter will run.

    :param language: A key of the tables here; anything else always asks.
    """
    if "remote" in flow.tags and MARK.search(flow.text):
        yield call.found(REMOTE_CODE)
    if MARK.search(flow.text):
        yield call.found(DYNAMIC_SCRIPT)
    python = PythonCode(flow.text) if language == "python" else None
    if python is not None and python.parsed:
        texts, harmless = list(python.strings()), python.is_harmless()
    else:
        found = _STRING.finditer(flow.text)
        texts = [next(g for g in match.groups() if g is not None) for match in found]
        harmless = _is_harmless(language, flow.text, texts)
    texts = texts[:_MAX_STRINGS]
    secret = any(is_secret(call, text) for text in texts if len(text) < 4096)
    if secret:
        sends = not harmless and _SENDS.search(flow.text)
        yield call.found(EXFILTRATION if sends else SECRET_READ)
    if harmless:
        return
    if _SENDS.search(flow.text) and _STARTS.search(flow.text):
        yield call.found(REMOTE_CODE)
    for text in texts:
        yield from _texts_as_commands(call, text.strip("| \n"))
        if _REMOVES.search(flow.text) and len(text) < 4096:
            yield from deleted(call, text, recursive=True)
    yield call.found(DYNAMIC_CODE)


def _texts_as_commands(call: Call, text: str) -> Iterator[Finding]:
    """Yield what is forbidden in a text, if the code should run it."""
    for finding in call.shell(text):
        if finding.rule.decision == "deny":
            yield finding


def _is_harmless(language: str, code: str, texts: list[str]) -> bool:
    known = HARMLESS.get(language)
    if known is None or "(?{" in code or "(??{" in code:
        return False
    if any(text in DANGEROUS_TEXT or text.startswith("node:") for text in texts):
        return False
    if "`" in code or re.search(r"\bqx\b|%x\b", code):
        return False
    if language in ("perl", "ruby", "php") and any(map(_INTERPOLATED.search, texts)):
        return False
    if language == "perl":
        for found in _REGEX.finditer(code):
            if found[1] == "s" and "e" in found[5]:
                return False
        code = _MATCH.sub(" ", _REGEX.sub(" ", code))
    code = _STRING.sub('""', code)
    if _ASSEMBLED.search(code):
        return False
    declared = {name for groups in _DECLARED.findall(code) for name in groups}
    return all(word in known or word in declared for word in _WORD.findall(code))
