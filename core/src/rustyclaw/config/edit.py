"""Changes single values of the config file and leaves its comments alone."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from rustyclaw.config.load import parse_config
from rustyclaw.config.secrets import PLACEHOLDER
from rustyclaw.config.source import Source, read_file
from rustyclaw.errors import ConfigError

_ABSENT = object()


def set_config(path: Path, dotted: str, value: Any) -> None:
    """Set one value of a config file, which is created if need be.

    :param dotted: Such as ``agents.list.0.id``; the index after the last appends.
    :param value: A JSON value; ``${NAME}`` in it is stored as it is.
    :raises ConfigError: The file would be invalid or cannot be written; it is as
        it was.
    """
    edit_config(path, put=[(dotted.split("."), value)])


def unset_config(path: Path, dotted: str) -> None:
    """Remove one value of a config file; raises as `set_config`."""
    edit_config(path, drop=[dotted.split(".")])


def edit_config(
    path: Path,
    *,
    drop: Iterable[Sequence[str]] = (),
    put: Iterable[tuple[Sequence[str], Any]] = (),
) -> None:
    """Make several changes to a config file, or none; raises as `set_config`.

    :param drop: The ways to values to remove, in this order.
    :param put: The ways to values to set then.
    """
    from filelock import FileLock
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    path = Path(os.path.realpath(path))  # replace what a link leads to, not the link
    yaml, buffer = YAML(), io.StringIO()
    yaml.preserve_quotes, yaml.width = True, 4096
    # What the file says must be valid by itself, not only under today's overrides.
    env = {k: v for k, v in os.environ.items() if not k.startswith("RUSTYCLAW_")}
    try:
        changes: list[tuple[Sequence[str], Any]] = [(keys, _ABSENT) for keys in drop]
        for keys, value in put:
            changes.append((keys, _written(json.loads(json.dumps(value)))))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=10, mode=0o600):
            before = read_file(path) if path.exists() else ""
            document = yaml.load(before)
            if document is None:  # ruamel forgets a file of comments alone
                document = {}
                buffer.write(before)
            for keys, value in changes:
                _place(document, [*keys], value)
            yaml.dump(document, buffer)
            after = _with_comments(before, buffer.getvalue())
            config = parse_config(after, Source(path=path, env=env))
            ours = [f"{'.'.join(k)}." for k, v in changes if v is not _ABSENT]
            for warning in config.warnings:
                named = warning.partition(": unknown key")[0].rpartition(" ")[2]
                if any(way.startswith(f"{named}.") for way in ours):  # no older one
                    raise ConfigError(warning)
            if yaml.load(after) != document:  # ruamel stumbles over a few odd values
                ways = " ".join(".".join(keys) for keys, _ in changes)
                raise ConfigError(f"{ways!r} cannot be set; use an editor")
            _replace(path, after)
    except (OSError, TypeError, ValueError, YAMLError) as exc:
        # The text of ruamel's own errors quotes values of the file.
        reason = getattr(exc, "strerror", None) or type(exc).__name__
        raise ConfigError(f"cannot change {str(path)!r}: {reason}") from None


def replace_config(path: Path, text: str) -> None:
    """Write a whole config file.

    :raises ConfigError: The text is invalid or cannot be written; it is as it was.
    """
    from filelock import FileLock

    path = Path(os.path.realpath(path))
    env = {k: v for k, v in os.environ.items() if not k.startswith("RUSTYCLAW_")}
    parse_config(text, Source(path=path, home=path.parent, env=env))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=10, mode=0o600):
            _replace(path, text)
    except OSError as exc:
        problem = f"cannot change {str(path)!r}: {exc.strerror}"
        raise ConfigError(problem) from None


def _place(node: Any, keys: list[str], value: Any) -> None:
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
        inner = ([] if keys[1] == "0" else {}) if inner is None else inner
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
    bare = [line.strip() for line in old], [line.strip() for line in new]
    result = []
    for _, i, j, m, n in SequenceMatcher(None, *bare, False).get_opcodes():
        tail = takewhile(lambda k: bare[0][k][:1] in ("#", ""), reversed(range(i, j)))
        result += new[m:n]
        result += [old[k] for k in [*tail][::-1] if bare[0][k] not in bare[1][m:n]]
    return "".join(result)


def _replace(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one."""
    new = path.with_name(f".{path.name}.new")
    try:
        with open(new, "wb", opener=partial(os.open, mode=0o600)) as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copy2(path, path.with_name(f"{path.name}.bak"))
            shutil.copymode(path, new)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _written(value: Any) -> Any:
    """Return a value as ruamel shall write it: with quotes around odd texts."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, dict):
        return {_written(key): _written(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_written(item) for item in value]
    if isinstance(value, str) and PLACEHOLDER in value:
        raise ConfigError("the value is redacted; give the real one")
    odd = isinstance(value, str) and not re.fullmatch(r"[A-Za-z][\w./-]*", value, re.A)
    return DoubleQuotedScalarString(value) if odd else value
