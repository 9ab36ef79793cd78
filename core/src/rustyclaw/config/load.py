"""Reads the config file, its includes and the environment into a `Config`."""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rustyclaw.config.model import Config
from rustyclaw.config.source import Keys, Source, home_dir
from rustyclaw.errors import ConfigError

#: Upper bounds of bytes in a file, of nesting, and of what a config has in all.
_BYTES, _DEPTH, _VALUES, _FILES, _CHAIN = 1_048_576, 64, 20_000, 100, 10
_VARIABLE = re.compile(r"\$(\$?)\{([A-Za-z_][A-Za-z0-9_]*)\}")
#: A character that JSON writes as two halves, which YAML does not know.
_HALVES = re.compile(
    r"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2})",
    re.ASCII,
)
_TAGS = re.compile(
    "tag:yaml.org,2002:(map|seq|str|null|bool|int|float|timestamp|merge|value)"
)


def load_config(
    path: Path | None = None,
    *,
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Config:
    """Read the configuration; without a file everything has its default.

    :param path: Default: ``RUSTYCLAW_CONFIG``, or ``config.yaml`` in the home.
    :param home: Default: ``RUSTYCLAW_HOME``, or ``~/.rustyclaw``.
    :param env: Default: the environment of the process.
    :raises ConfigError: With one line for each problem.
    """
    environ = os.environ if env is None else env
    home = home or home_dir(environ)
    given = path or environ.get("RUSTYCLAW_CONFIG")
    file = Path(given).expanduser() if given else home / "config.yaml"
    text = read_file(file) if given or os.path.lexists(file) else ""
    return parse_config(text, Source(path=file, home=home, env=environ))


def parse_config(text: str, source: Source) -> Config:
    """Return the configuration that stands in the text of ``source.path``."""
    raw = _Reader(source, (source.path,)).read(text, ()) or {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{source.path.name}: must hold sections, such as `agents:`")
    for name in sorted(source.env):
        prefix, _, rest = name.partition("_")
        keys = tuple(rest.lower().split("__"))
        if prefix == "RUSTYCLAW" and len(keys) > 1 and all(keys):
            _override(raw, source, name, keys)
    source.redactor.learn(raw, source.env)
    config = source.validate(Config, raw)
    for index, binding in enumerate(config.bindings):
        if binding.agent not in config.agent_ids:
            problem = f"there is no agent {binding.agent!r}; the default one answers"
            source.warn(("bindings", index, "agent"), problem)
    if sum(agent.default for agent in config.agents.list) > 1:
        problem = f"several are the default; {config.default_agent_id!r} is used"
        source.warn(("agents", "list"), problem)
    config._source = source
    return config


def _override(raw: dict[str, Any], source: Source, name: str, keys: Keys) -> None:
    """Lay ``RUSTYCLAW_CHANNELS__TELEGRAM__TOKEN=...`` over what the file says."""
    value: Any = source.env[name]
    if value.startswith("["):
        reader = _Reader(source, (source.path.parent / name,), substitute=False)
        with suppress(ConfigError):  # no list: it stays text
            value = reader.read(value, keys)
    source.marks[keys] = name
    for end in range(len(keys) - 1, -1, -1):
        value = {keys[end]: value}
        source.marks.setdefault(keys[:end], name)
    _merge(raw, value)


def read_file(file: Path, where: str = "") -> str:
    """Return the text of a regular file of bounded size."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # a FIFO would block for ever
            raise ConfigError(f"{where}{str(file)!r} is not a regular file")
        with file.open("rb") as stream:
            data = stream.read(_BYTES + 1)
        if len(data) > _BYTES:
            raise ConfigError(f"{where}{str(file)!r} is larger than {_BYTES} bytes")
        return data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{where}cannot read {str(file)!r}: {reason}") from None


def _merge(base: Any, top: Any) -> Any:
    """Lay ``top`` over ``base``, which is changed; mappings merge key by key."""
    if not (isinstance(base, dict) and isinstance(top, dict)):
        return top
    for key, value in top.items():
        base[key] = _merge(base.get(key), value)
    return base


@dataclass(frozen=True)
class _Reader:
    """Turns YAML into plain values and notes where each one stands.

    Words are read as in JSON: ``off``, ``+49123`` and ``12:30`` stay text, which a
    field of a model may still take as a boolean or a number.

    :param files: The file that is read, preceded by those that include it.
    """

    source: Source
    files: tuple[Path, ...]
    substitute: bool = True
    spent: Counter[str] = field(default_factory=Counter)

    def read(self, text: str, keys: Keys) -> Any:
        """Return the value of a YAML text, which is to stand at ``keys``."""
        import yaml

        if text.lstrip().startswith("{"):
            text = _HALVES.sub(lambda m: m[1] + json.loads(f'"{m[2]}"'), text)
            text = text.replace("\x7f", "\\u007f")  # JSON needs no escape for it
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            depth = 0
            # Composing recurses in C: find out how deep before it does.
            for event in yaml.parse(text, Loader=loader):
                depth += isinstance(event, yaml.CollectionStartEvent)
                depth -= isinstance(event, yaml.CollectionEndEvent)
                if depth > _DEPTH:
                    raise self._error(event, f"nested deeper than {_DEPTH} levels")
            node = yaml.compose(text, Loader=loader)
        except (yaml.YAMLError, UnicodeError) as exc:
            place = self._place(getattr(exc, "problem_mark", None))
            reason = getattr(exc, "problem", None) or getattr(exc, "reason", "no YAML")
            reason = re.sub(r"(alias|handle)\b.*", r"\1; put it in quotes", str(reason))
            raise ConfigError(f"{place}: {reason}") from None
        return None if node is None else self._value(node, keys, 0)

    def _place(self, mark: Any) -> str:
        name = os.path.relpath(self.files[-1], self.source.path.parent)
        return f"{name}:{mark.line + 1}" if mark else name

    def _error(self, node: Any, problem: str) -> ConfigError:
        return ConfigError(f"{self._place(node.start_mark)}: {problem}")

    def _value(self, node: Any, keys: Keys, depth: int) -> Any:
        self.spent["values"] += 1
        if self.spent["values"] > _VALUES or depth > _DEPTH:
            raise self._error(node, "too many values, or an alias within itself")
        if not (tag := _TAGS.fullmatch(node.tag)):
            raise self._error(node, "tags are not supported; put it in quotes")
        if node.id == "mapping":
            return self._mapping(node, keys, depth)
        if node.id == "sequence":
            items = []
            for index, item in enumerate(node.value):
                self.source.marks[*keys, index] = self._place(item.start_mark)
                items.append(self._value(item, (*keys, index), depth + 1))
            return items
        if not node.style and tag[1] == "null":
            return None
        if not node.style:
            with suppress(ValueError):  # no JSON: it stays text
                return json.loads(node.value.lower())
        return self._expand(node.value, keys) if self.substitute else node.value

    def _expand(self, text: str, keys: Keys) -> str:
        def value(match: re.Match[str]) -> str:
            if match[1]:  # $${NAME} stands for ${NAME}
                return match[0][1:]
            if match[2] not in self.source.env:
                problem = f"the variable {match[2]!r} is not set; it is read as empty"
                self.source.warn(keys, problem)
            return self.source.env.get(match[2], "")

        return _VARIABLE.sub(value, text)

    def _mapping(self, node: Any, keys: Keys, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        seen = set()
        bases = ("$include", "<<")  # are read first: the mapping's own keys win
        for key_node, item in sorted(node.value, key=lambda p: p[0].value not in bases):
            key = key_node.value
            if key_node.id != "scalar":
                raise self._error(key_node, "a key must be a word")
            if key in seen:
                raise self._error(key_node, f"the key {key!r} is there twice")
            seen.add(key)
            if key not in bases:
                self.source.marks[*keys, key] = self._place(key_node.start_mark)
                value = self._value(item, (*keys, key), depth + 1)
                mapping[key] = _merge(mapping.get(key), value)
                continue
            base = self._value(item, keys, depth + 1)
            for entry in base if isinstance(base, list) else [base]:
                layer = self._include(entry, keys, item) if key == "$include" else entry
                if not isinstance(layer, dict):
                    raise self._error(item, f"{key!r} must lead to a mapping")
                _merge(mapping, layer)
        return mapping

    def _include(self, entry: Any, keys: Keys, node: Any) -> Any:
        if not isinstance(entry, str) or "\0" in entry:
            raise self._error(node, "'$include' needs a path, or a list of paths")
        file = self.files[-1].parent / Path(entry).expanduser()
        if os.path.realpath(file) in map(os.path.realpath, self.files):
            raise self._error(node, f"{entry!r} includes itself")
        self.spent["files"] += 1
        if len(self.files) > _CHAIN or self.spent["files"] > _FILES:
            raise self._error(node, f"{entry!r} is one include too many")
        text = read_file(file, f"{self._place(node.start_mark)}: ")
        return replace(self, files=(*self.files, file)).read(text, keys)
