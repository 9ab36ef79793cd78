"""Changes single values of the config file and leaves its comments alone."""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Mapping
from difflib import SequenceMatcher
from itertools import takewhile
from pathlib import Path
from typing import Any

from rustyclaw.config.load import parse_config, read_file
from rustyclaw.config.source import Source
from rustyclaw.errors import ConfigError

_ABSENT = object()
#: What `Config.redacted` shows for a secret, or for one within a URL.
_REDACTED = re.compile(r"(^|[=: ])\*\*\*($|[@&])")
#: How far the first section and the first list are indented.
_INNER = re.compile(r"^[\w.-]+:[ ]*(?:#.*)?\n(?:\s*(?:#.*)?\n)*( +)[\w\"']", re.M)
_DASH = re.compile(r"^( *)[\w.-]+:[ ]*(?:#.*)?\n(?:\s*(?:#.*)?\n)*\1( *)- ", re.M)
#: A text that is safe without quotes wherever it stands.
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")


def set_value(path: Path, dotted: str, value: object) -> None:
    """Set one value of a config file, which is created if need be.

    :param dotted: Such as ``agents.list.0.id``; the index after the last appends.
    :param value: A JSON value; ``${NAME}`` in it is stored as it is.
    :raises ConfigError: The file would be invalid or cannot be written; it is as
        it was.
    """
    _edit(path, dotted, _written(value))


def unset(path: Path, dotted: str) -> None:
    """Remove one value of a config file; raises as `set_value`."""
    _edit(path, dotted, _ABSENT)


def _edit(path: Path, dotted: str, value: object) -> None:
    from filelock import FileLock
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    path = Path(os.path.realpath(path))  # replace what a link leads to, not the link
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    # What the file says must be valid by itself, not only under today's overrides.
    env = {k: v for k, v in os.environ.items() if not k.startswith("RUSTYCLAW_")}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=10, mode=0o600):
            before = read_file(path) if path.exists() else ""
            inner, dash = _INNER.search(before), _DASH.search(before)
            offset = len(dash[2]) if dash else 0
            yaml.indent(len(inner[1]) if inner else 2, offset + 2, offset)
            document = yaml.load(before)
            buffer = io.StringIO()
            if document is None:  # ruamel forgets a file of comments alone
                document = {}
                buffer.write(before)
            _place(document, dotted.split("."), value)
            yaml.dump(document, buffer)
            after = _with_comments(before, buffer.getvalue())
            parse_config(after, Source(path=path, env=env))
            if yaml.load(after) != document:  # ruamel stumbles over a few odd values
                raise ConfigError(f"{dotted!r} cannot be set; use an editor")
            mode = path.stat().st_mode & 0o777 if before else 0o600
            if before:
                _replace(path.with_name(f"{path.name}.bak"), before, mode)
            _replace(path, after, mode)
    except (OSError, ValueError, YAMLError) as exc:
        # The text of ruamel's own errors quotes values of the file.
        reason = getattr(exc, "strerror", None) or type(exc).__name__
        raise ConfigError(f"cannot change {str(path)!r}: {reason}") from None


def _place(node: Any, keys: list[str], value: object) -> None:
    """Set or remove what a path leads to; the sections on its way are made."""
    key: Any = keys[0]
    if isinstance(node, list) and key.isdecimal() and int(key) <= len(node):
        key, there = int(key), int(key) < len(node)
    elif isinstance(node, dict) and key:
        key = next((k for k in node if str(k) == key), key)  # `123:` is a number here
        there = key in node
    else:
        raise ConfigError(f"there is no place for {'.'.join(keys)!r}")
    if value is _ABSENT and not there:
        raise ConfigError(f"{'.'.join(keys)!r} is not set in this file")
    if len(keys) > 1:
        inner = node[key] if there else None
        if inner is None:
            inner = [] if keys[1] == "0" else {}
        _place(inner, keys[1:], value)
        value = inner
    if value is _ABSENT:
        del node[key]
    elif isinstance(node, list) and not there:
        node.append(value)
    else:
        node[key] = None  # or ruamel keeps the old style, which may not hold the new
        node[key] = value


def _with_comments(before: str, after: str) -> str:
    """Put back the comments that followed a value which ruamel has dropped."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    result = []
    for _, i, j, m, n in SequenceMatcher(None, old, new, False).get_opcodes():
        kept = {line.strip() for line in new[m:n]}
        tail = takewhile(lambda line: line.lstrip()[:1] in ("#", ""), old[i:j][::-1])
        result += new[m:n]
        result += [line for line in [*tail][::-1] if line.strip() not in kept]
    return "".join(result)


def _replace(path: Path, text: str, mode: int) -> None:
    """Write a file so that a crash leaves the old one or the new one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def _written(value: object) -> Any:
    """Return a value as ruamel shall write it: with quotes around odd texts."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, Mapping):
        return {_written(key): _written(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    if isinstance(value, str) and _REDACTED.search(value):
        raise ConfigError("the value is redacted; give the real one")
    if isinstance(value, str) and not _WORD.fullmatch(value):
        return DoubleQuotedScalarString(value)
    return value
