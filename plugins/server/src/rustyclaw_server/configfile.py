"""The config file as clients see it: without secrets.

A client edits what it was shown and sends it back, so each secret stands there as
`REDACTED`; `rustyclaw_server.configchange` puts it back.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml
from pydantic import BaseModel
from rustyclaw import Config, ConfigError, PluginError, load_config

if TYPE_CHECKING:
    from pathlib import Path

    from rustyclaw import Gateway

REDACTED = "__OPENCLAW_REDACTED__"
#: What the core puts in the place of a secret.
_SCRUBBED = "***"
_BYTES, _DEPTH, _VALUES = 1_048_576, 64, 20_000
#: A text of so many characters may be a secret.
_TELLING = 6
_VARIABLE = re.compile(r"\$\{[A-Za-z_]\w*\}", re.ASCII)
Kind = Literal["providers", "channels", "tools", "hooks", "compactors"]
_KINDS: tuple[Kind, ...] = get_args(Kind)

Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """The file of one moment.

    :param parsed: What it says, as JSON values, with its secrets.
    :param shown: The same without.
    :param raw: Its text without secrets; ``None`` if nobody can tell where they are.
    :param config: All settings, with the defaults, without secrets.
    """

    path: Path
    exists: bool
    text: str
    parsed: dict[str, Any]
    shown: dict[str, Any]
    raw: str | None
    config: dict[str, Any]
    issues: list[dict[str, str]]
    warnings: list[dict[str, str]]

    @property
    def hash(self) -> str:
        """SHA-256 of the text, in hexadecimal; of a file that is not there: of none."""
        return sha256(self.text.encode()).hexdigest()


def read(gateway: Gateway) -> ConfigFile:
    """Read the file; blocks. What is wrong with it is among the issues."""
    path = gateway.config.path
    text, issues, exists = "", list[dict[str, str]](), os.path.lexists(path)
    if exists:
        try:
            with open(path, "rb") as file:
                text = file.read(_BYTES + 1).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as exc:
            reason = getattr(exc, "strerror", None) or "it is no UTF-8 text"
            issues.append({"path": "", "message": f"cannot read the file: {reason}"})
    parsed, places, is_readable = dict[str, Any](), dict[Keys, Any](), False
    config: Config | None = None
    if not issues:
        with suppress(ConfigError):  # it is among the issues
            parsed, places = parse(text)
            is_readable = True
        config, issues = check(gateway, text)
    shown = _hidden(parsed, _secret_ways(parsed, gateway, config))
    whole = config.redacted() if config else {}
    whole = _hidden(whole, _secret_ways(whole, gateway, config))
    raw = _masked(text, shown, places, gateway) if is_readable else None
    return ConfigFile(
        path=path,
        exists=exists,
        text=text,
        parsed=parsed,
        shown=shown,
        raw=raw,
        config=_marked(whole),
        issues=issues,
        warnings=[issue(line) for line in (config.warnings if config else ())],
    )


def check(gateway: Gateway, text: str) -> tuple[Config | None, list[dict[str, str]]]:
    """Return the configuration that a text holds, and what is wrong with it; blocks.

    The sections of plugins are held against their models as well.
    """
    # The file must be right by itself, not only under the overrides of today.
    env = {k: v for k, v in os.environ.items() if not k.startswith("RUSTYCLAW_")}
    if len(text.encode("utf-8", "replace")) > _BYTES:
        return None, [{"path": "", "message": f"is larger than {_BYTES} bytes"}]
    try:
        path, home = gateway.config.path, gateway.home
        config = load_config(path, home=home, env=env, text=text)
    except ConfigError as exc:
        return None, [issue(line) for line in str(exc).splitlines()]
    issues = []
    for kind in _KINDS:
        for name, section in sections_of(config, kind).items():
            is_on = str(section.get("enabled", True)).lower() != "false"
            model = _model(gateway, kind, name) if is_on else None
            try:
                if model:
                    config.section(kind, name, model)
            except ConfigError as exc:
                issues += [issue(line) for line in str(exc).splitlines()]
    return config, issues


def sections_of(config: Config, kind: Kind) -> Mapping[str, Any]:
    """Return the sections of the plugins of a kind."""
    if kind == "tools":  # beside the policy's own keys
        return config.tools.model_extra or {}
    sections: Mapping[str, Any] = getattr(config, kind)
    return sections


def models_of(gateway: Gateway) -> dict[str, dict[str, type[BaseModel]]]:
    """Return the models of sections by kind and name; blocks, as plugins are imported.

    :returns: Those of all plugins that are installed and allowed.
    """
    loader = gateway.loader
    found: dict[str, dict[str, type[BaseModel]]] = {}
    for kind in _KINDS:
        rows = loader.statuses()
        names = {s.name for s in rows if (s.kind, s.state) == (kind, "available")}
        for name in sorted({*loader.enabled(kind), *names}):
            if model := _model(gateway, kind, name):
                found.setdefault(kind, {})[name] = model
    return found


def _model(gateway: Gateway, kind: Kind, name: str) -> type[BaseModel] | None:
    """Return the model of a plugin's section, if the plugin is there and has one."""
    with suppress(PluginError):
        model = getattr(gateway.loader.load(kind, name), "Config", None)
        if isinstance(model, type) and issubclass(model, BaseModel):
            return model
    return None


def issue(line: str) -> dict[str, str]:
    """Return ``config.yaml:3: agents.list: must be a list`` as clients know it."""
    place, _, rest = line.partition(": ")
    way, colon, problem = rest.partition(": ")
    if colon and " " not in way:
        return {"path": way, "message": problem}
    return {"path": "", "message": rest or place}


# --- Reading ----------------------------------------------------------------------


def parse(text: str) -> tuple[dict[str, Any], dict[Keys, Any]]:
    """Return what a YAML or JSON text says, and the nodes of its scalars by their way.

    A JSON text has no nodes: it is written anew as a whole.

    :raises ConfigError: It is neither, or has no sections.
    """
    if is_json(text):
        value: Any = json.loads(text)
        return value, {}
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=loader):  # composing recurses in C
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEPTH:
                raise ConfigError(f"nested deeper than {_DEPTH} levels")
        node = yaml.compose(text, Loader=loader)
    except (yaml.YAMLError, UnicodeError) as exc:
        # What else a parser has to say quotes the file, secrets included.
        mark = getattr(exc, "problem_mark", None)
        where = f"; see line {mark.line + 1}" if mark else ""
        raise ConfigError(f"it is no YAML{where}") from None
    places: dict[Keys, Any] = {}
    value = {} if node is None else _value(node, (), places)
    if not isinstance(value, dict):
        raise ConfigError("it must hold sections, such as `agents:`")
    return value, places


def is_json(text: str) -> bool:
    """Return whether a text is a JSON object."""
    if text.lstrip().startswith("{"):
        with suppress(ValueError, RecursionError):
            return isinstance(json.loads(text), dict)
    return False


def _value(node: Any, keys: Keys, places: dict[Keys, Any]) -> Any:
    if len(places) > _VALUES or len(keys) > _DEPTH:
        raise ConfigError("too many values, or an alias within itself")
    if node.id == "sequence":
        return [_value(n, (*keys, i), places) for i, n in enumerate(node.value)]
    if node.id == "mapping":
        return {
            str(key.value): _value(item, (*keys, str(key.value)), places)
            for key, item in node.value
        }
    places[keys] = node
    if not node.style:  # as the core reads it
        with suppress(ValueError):
            return json.loads(node.value.lower().replace("~", "null") or "null")
    return node.value


# --- Hiding -----------------------------------------------------------------------


def _secret_ways(parsed: Any, gateway: Gateway, config: Config | None) -> set[Keys]:
    scrubbed = gateway.redact(parsed)
    ways = {*_differing(parsed, scrubbed, ()), *_typed(parsed, gateway)}
    if config is not None:  # it has learned what the models say is a secret
        ways |= set(_differing(parsed, config.redactor.scrub_value(parsed), ()))
    return ways


def _typed(parsed: Any, gateway: Gateway) -> Iterator[Keys]:
    """Yield what plugins call a secret; of unknown ones, all longer texts."""
    for kind in _KINDS:
        sections = parsed.get(kind)
        for name, section in sections.items() if isinstance(sections, dict) else ():
            if not isinstance(section, dict):  # of the policy of tools
                continue
            model = _model(gateway, kind, name)
            names = set(_secret_names(model.model_json_schema())) if model else None
            for keys, value in _leaves(section, (kind, name)):
                if names is None:
                    is_secret = isinstance(value, str) and len(value) >= _TELLING
                else:
                    is_secret = not names.isdisjoint(keys[2:])
                if is_secret and not _is_open(value):
                    yield keys


def _secret_names(schema: Any) -> Iterator[str]:
    """Yield the names of the properties that a model marks as secret."""
    if isinstance(schema, list):
        for item in schema:
            yield from _secret_names(item)
    elif isinstance(schema, dict):
        for name, field in schema.get("properties", {}).items():
            kinds = (field, *field.get("anyOf", ()), field.get("items", {}))
            if any(kind.get("writeOnly") for kind in kinds):
                yield name
        for item in schema.values():
            yield from _secret_names(item)


def _leaves(value: Any, keys: Keys) -> Iterator[tuple[Keys, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*keys, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*keys, index))
    else:
        yield keys, value


def _differing(plain: Any, scrubbed: Any, keys: Keys) -> Iterator[Keys]:
    if isinstance(plain, dict):
        for key, item in plain.items():
            inner = scrubbed[key] if isinstance(scrubbed, Mapping) else _SCRUBBED
            yield from _differing(item, inner, (*keys, key))
    elif isinstance(plain, list):
        for index, item in enumerate(plain):
            inner = scrubbed[index] if isinstance(scrubbed, list) else _SCRUBBED
            yield from _differing(item, inner, (*keys, index))
    elif plain != scrubbed and not _is_open(plain):
        yield keys


def _is_open(value: Any) -> bool:
    """Return whether a value tells nothing: none, a switch, a variable's name."""
    if value in (None, "") or isinstance(value, bool):
        return True
    return isinstance(value, str) and bool(_VARIABLE.fullmatch(value))


def _hidden(value: Any, secret: set[Keys], keys: Keys = ()) -> Any:
    if isinstance(value, dict):
        return {k: _hidden(item, secret, (*keys, k)) for k, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item, secret, (*keys, i)) for i, item in enumerate(value)]
    return REDACTED if keys in secret else value


def _marked(value: Any) -> Any:
    """Return a value of the core with the word that clients know for a secret."""
    if isinstance(value, Mapping):
        return {key: _marked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(item) for item in value]
    return REDACTED if isinstance(value, str) and _SCRUBBED in value else value


def _masked(text: str, shown: Any, places: dict[Keys, Any], gateway: Gateway) -> str:
    """Return a text with its secrets hidden, also those that stand in comments."""
    if is_json(text):
        return json.dumps(shown, indent=2, ensure_ascii=False) + "\n"
    return str(gateway.redact(without_values(text, shown, places)))


def without_values(text: str, shown: Any, places: dict[Keys, Any]) -> str:
    """Return a text with the word for a secret in the place of each."""
    hidden = {keys for keys in places if at(shown, keys) == REDACTED}
    spans = {span(places[keys]): f'"{REDACTED}"' for keys in hidden}
    return replaced(text, spans)


def at(value: Any, keys: Keys) -> Any:
    """Return what a way leads to."""
    for key in keys:
        value = value[key]
    return value


def span(node: Any) -> tuple[int, int]:
    """Return where a scalar begins and ends in its text."""
    return node.start_mark.index, node.end_mark.index


def replaced(text: str, spans: Mapping[tuple[int, int], str]) -> str:
    """Return a text with pieces of it replaced."""
    for (start, end), new in sorted(spans.items(), reverse=True):
        tail = "\n" if text[start:end].endswith("\n") else ""  # a block of lines
        text = text[:start] + new + tail + text[end:]
    return text
