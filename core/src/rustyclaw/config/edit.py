"""Changes single values of the config file and leaves its comments alone."""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rustyclaw.config.load import parse_config, read_file
from rustyclaw.config.source import Source
from rustyclaw.errors import ConfigError

_ABSENT = object()
#: What `Config.redacted` shows for a secret, or for one within a URL.
_REDACTED = re.compile(r"(^|[=: ])\*\*\*($|[@&])")


def set_value(path: Path, dotted: str, value: object) -> None:
    """Set one value of a config file, which is created if need be.

    :param dotted: Such as ``agents.list.0.id``; the index after the last appends.
    :param value: A JSON value; ``${NAME}`` in it is stored as it is.
    :raises ConfigError: The file would be invalid or cannot be written; it is as
        it was.
    """
    if any(_REDACTED.search(text) for text in _texts(value)):
        raise ConfigError(f"{dotted!r}: the value is redacted; give the real one")
    _edit(path, dotted, json.loads(json.dumps(value)))


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
            document = yaml.load(before)
            after = io.StringIO(before if document is None else "")  # only comments
            after.seek(0, io.SEEK_END)
            document = {} if document is None else document
            _place(document, dotted.split("."), value)
            yaml.dump(document, after)
            parse_config(after.getvalue(), Source(path=path, env=env))
            mode = path.stat().st_mode & 0o777 if before else 0o600
            if before:
                _replace(path.with_name(f"{path.name}.bak"), before, mode)
            _replace(path, after.getvalue(), mode)
    except (OSError, ValueError, YAMLError) as exc:
        reason = getattr(exc, "strerror", None) or getattr(exc, "problem", None) or exc
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


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        value = list(value.values())
    for item in value if isinstance(value, list | tuple) else ():
        yield from _texts(item)
