"""Reads the config file, its includes and the environment into a `Config`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rustyclaw.config.model import Config
from rustyclaw.config.source import Keys, Source, home_dir, read_file
from rustyclaw.errors import ConfigError

#: Upper bounds of nesting, values (aliases expanded), and files.
_DEPTH, _VALUES, _FILES = 64, 20_000, 100
_TAGS = [f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str")]
#: An escape in JSON, where two may make one character, which YAML does not know.
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|.)", re.ASCII)
_VARIABLE = re.compile(r"\$(\$?)\{([A-Za-z_][A-Za-z0-9_]*)\}")


def load_config(
    path: Path | None = None,
    *,
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
    text: str | None = None,
) -> Config:
    """Read the configuration; without a file everything has its default.

    :param path: Default: ``RUSTYCLAW_CONFIG``, or ``config.yaml`` in the home.
    :param home: Default: ``RUSTYCLAW_HOME``, or ``~/.rustyclaw``.
    :param env: Default: the environment of the process.
    :param text: What the file is to say, to see whether that is valid.
    :raises ConfigError: With one line for each problem.
    """
    env = os.environ if env is None else env
    home = home or home_dir(env)
    given = path or env.get("RUSTYCLAW_CONFIG")
    file = Path(given).expanduser() if given else home / "config.yaml"
    if text is None:
        text = read_file(file) if given or os.path.lexists(file) else ""
    return parse_config(text, Source(path=file, home=home, env=env))


def config_from(
    content: Mapping[str, Any], *, home: Path, env: Mapping[str, str]
) -> Config:
    """Return the configuration that a mapping holds, with variables as in a file."""
    source = Source(path=home / "config.yaml", home=home, env=env)
    return _config(_Reader(source, (source.path,)).expand(content, ()), source)


def parse_config(text: str, source: Source) -> Config:
    """Return the configuration that stands in the text of ``source.path``."""
    return _config(_Reader(source, (source.path,)).read(text, ()), source)


def _config(raw: Any, source: Source) -> Config:
    if not isinstance(raw, dict):
        raise ConfigError(f"{source.path.name}: must hold sections, such as `agents:`")
    for name in sorted(source.env):  # such as RUSTYCLAW_CHANNELS__TELEGRAM__TOKEN
        prefix, _, rest = name.partition("_")
        keys = tuple(rest.lower().split("__"))
        if prefix == "RUSTYCLAW" and len(keys) > 1 and all(keys):
            value: Any = source.env[name]
            source.overrides[keys] = name
            with suppress(ValueError):  # no list: it stays text
                value = json.loads(value) if value.startswith("[") else value
            for key in reversed(keys):
                value = {key: value}
            _merge(raw, value)
    source.redactor.learn(raw, source.env)
    source.redactor.learn(source.env, {})  # plugins read keys there by themselves
    config = source.validate(Config, raw)
    for index, binding in enumerate(config.bindings):
        if binding.agent not in config.agent_ids:
            problem = f"there is no agent {binding.agent!r}; the default one answers"
            source.warnings.append(source.at(("bindings", index, "agent"), problem))
    config._source = source
    return config


def _merge(base: Any, top: Any) -> Any:
    """Lay ``top`` over ``base``, which is changed; mappings merge key by key."""
    if not (isinstance(base, dict) and isinstance(top, dict)):
        return top
    for key, value in top.items():
        base[key] = _merge(base.get(key), value)
    return base


@dataclass
class _Reader:
    """Reads a file as if it were JSON: there are no tags, plain words stay text.

    :param files: The file, preceded by those that include it.
    """

    source: Source
    files: tuple[Path, ...]
    spent: int = 0

    def read(self, text: str, keys: Keys) -> Any:
        """Return the value of a YAML text, which is to stand at ``keys``."""
        if not text:
            return {}
        import yaml

        if text.lstrip().startswith("{"):
            text = _ESCAPE.sub(
                lambda m: json.loads(f'"{m[0]}"') if m[0][2:] else m[0], text
            )
        loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
        try:
            depth = 0
            for event in yaml.parse(text, Loader=loader):  # composing recurses in C
                depth += isinstance(event, yaml.CollectionStartEvent)
                depth -= isinstance(event, yaml.CollectionEndEvent)
                if depth > _DEPTH:
                    raise self._error(event, f"nested deeper than {_DEPTH} levels")
            node: Any = yaml.compose(text, Loader=loader)
        except (yaml.YAMLError, UnicodeError) as exc:
            reason = getattr(exc, "problem", None) or getattr(exc, "reason", "no YAML")
            # Behind these words stands a piece of the file: it may be a secret.
            reason = re.sub(r"(alias|handle)\b.*", r"\1; put it in quotes", str(reason))
            raise self._error(exc, reason) from None
        value = {} if node is None else self._plain(node, 0)
        if value:
            self.source.files.append((keys, self._name, node))
        return self.expand({} if value is None else value, keys)

    @property
    def _name(self) -> str:
        return os.path.relpath(self.files[-1], self.source.path.parent)

    def _error(self, what: Any, problem: str) -> ConfigError:
        mark = getattr(what, "start_mark", getattr(what, "problem_mark", None))
        place = f"{self._name}:{mark.line + 1}" if mark else self._name
        return ConfigError(f"{place}: {problem}")

    def _plain(self, node: Any, depth: int) -> Any:
        self.spent += 1
        if self.spent > _VALUES or depth > _DEPTH:
            raise self._error(node, "too many values, or an alias within itself")
        if node.tag not in _TAGS:
            raise self._error(node, "tags are not supported; put it in quotes")
        if node.id == "sequence":
            return [self._plain(item, depth + 1) for item in node.value]
        if node.id == "mapping":
            mapping: dict[str, Any] = {}
            for key, item in node.value:
                if key.id != "scalar" or key.value in mapping:
                    raise self._error(key, "a key must be a word, and there only once")
                mapping[key.value] = self._plain(item, depth + 1)
            return mapping
        if not node.style:
            with suppress(ValueError):  # no JSON: it stays text
                return json.loads(node.value.lower().replace("~", "null") or "null")
        return node.value

    def expand(self, value: Any, keys: Keys) -> Any:
        """Return a copy of a value with its variables and includes resolved."""
        if isinstance(value, str):
            return _VARIABLE.sub(lambda match: self._variable(match, keys), value)
        if isinstance(value, list | tuple):
            return [self.expand(item, (*keys, n)) for n, item in enumerate(value)]
        if not isinstance(value, Mapping):
            return value
        result = {str(k): self.expand(v, (*keys, str(k))) for k, v in value.items()}
        for key in ("<<", "$include"):
            given = result.pop(key, [])
            # The last wins; what is read first is also first in `source.files`.
            for entry in reversed(given if isinstance(given, list) else [given]):
                base = entry if key == "<<" else self._include(entry, (*keys, key))
                if not isinstance(base, dict):
                    problem = "must lead to a mapping"
                    raise ConfigError(self.source.at((*keys, key), problem))
                result = _merge(base, result)
        return result

    def _variable(self, match: re.Match[str], keys: Keys) -> str:
        if match[1]:  # $${NAME} stands for ${NAME}
            return match[0][1:]
        if match[2] not in self.source.env:
            problem = f"the variable {match[2]!r} is not set; it is read as empty"
            self.source.warnings.append(self.source.at(keys, problem))
        return self.source.env.get(match[2], "")

    def _include(self, entry: Any, keys: Keys) -> Any:
        try:
            file = self.files[-1].parent / Path(entry).expanduser()
            if os.path.realpath(file) in map(os.path.realpath, self.files):
                raise ConfigError("the file includes itself")
            if len(self.source.files) > _FILES:
                raise ConfigError("one include too many")
            text = read_file(file)
        except (ConfigError, TypeError, ValueError) as exc:  # not text, or with a zero
            raise ConfigError(self.source.at(keys, f"{entry!r}: {exc}")) from None
        return _Reader(self.source, (*self.files, file)).read(text, keys[:-1])
