"""Where each value of the configuration came from, and what is wrong with it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from rustyclaw.config.secrets import Redactor, looks_secret
from rustyclaw.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)
#: The way to a value: ``("agents", "list", 0, "id")``.
Keys = tuple[str | int, ...]
_WORDING = dict.fromkeys(("model_type", "dict_type"), "must be a mapping")
_WORDING |= dict.fromkeys(("tuple_type", "list_type"), "must be a list")


def home_dir(env: Mapping[str, str] | None = None) -> Path:
    """Return the folder of all state: ``RUSTYCLAW_HOME``, or ``~/.rustyclaw``."""
    environ = os.environ if env is None else env
    return Path(environ.get("RUSTYCLAW_HOME") or "~/.rustyclaw").expanduser()


@dataclass(frozen=True, kw_only=True, repr=False)
class Source:
    """What a config was made from.

    :param marks: File and line, or environment variable, of each value.
    """

    home: Path = field(default_factory=home_dir)
    path: Path = field(default_factory=lambda: home_dir() / "config.yaml")
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)
    marks: dict[Keys, str] = field(default_factory=dict)
    redactor: Redactor = field(default_factory=Redactor)
    warnings: list[str] = field(default_factory=list)

    def mark(self, keys: Keys) -> str:
        """Return where a value stands, or what it belongs to."""
        marks = (self.marks.get(keys[:n]) for n in range(len(keys), 0, -1))
        return next(filter(None, marks), self.path.name)

    def at(self, keys: Keys, problem: str) -> str:
        """Return one line: where a value stands, its path, what is the matter."""
        line = ": ".join(filter(None, (self.mark(keys), _dotted(keys), problem)))
        return self.redactor.scrub(line)

    def warn(self, keys: Keys, problem: str) -> None:
        """Note what is odd about a value but does not stop the start."""
        self.warnings.append(self.at(keys, problem))

    def validate(self, model: type[M], raw: Any, keys: Keys = ()) -> M:
        """Return a section, which is changed, as its model.

        Without ``keys`` it is the core's own: there an unknown key is ignored with a
        warning, and a null means the default.

        :raises ConfigError: With one line for each problem.
        """
        problems: list[str] = []
        for inner, mapping, where in _models_in(model, raw, keys):
            known = inner.model_fields
            for key in list(mapping):
                name = key.removesuffix("_env")
                if key in known:
                    if mapping[key] is None and not keys:
                        del mapping[key]
                elif name != key and name in known:
                    problems += self._fill(mapping, name, where)
                elif inner.model_config.get("extra") != "allow":
                    del mapping[key]
                    found = problems if keys else self.warnings
                    found.append(self._unknown((*where, key), sorted(known)))
        try:
            valid = model.model_validate(raw)
        except ValidationError as exc:
            for error in exc.errors(include_url=False, include_context=False):
                path = (*keys, *error["loc"])
                problems.append(self.at(path, _wording(path[-1], error)))
        if problems:
            raise ConfigError("\n".join(dict.fromkeys(problems)))
        self.redactor.learn(valid, self.env)
        return valid

    def _unknown(self, keys: Keys, known: list[str]) -> str:
        near = difflib.get_close_matches(str(keys[-1]), known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        return f"{self.mark(keys)}: unknown key {_dotted(keys)!r}; {hint}"

    def _fill(self, mapping: dict[str, Any], name: str, where: Keys) -> Iterator[str]:
        """Read ``<name>_env``; a value that is given directly comes first."""
        variable = str(mapping.pop(f"{name}_env"))
        if mapping.get(name) in (None, ""):
            mapping[name] = value = self.env.get(variable, "")
            self.redactor.add(value)
            if not value:
                problem = f"{variable!r} is not set; export it, or set {name!r}"
                yield self.at((*where, f"{name}_env"), f"the variable {problem}")


def _models_in(
    annotation: Any, value: Any, keys: Keys
) -> Iterator[tuple[type[BaseModel], dict[str, Any], Keys]]:
    """Yield each model of a type together with the mapping that is to become it."""
    items, arguments = [(keys, value)], get_args(annotation)
    if _is_model(annotation):
        if not isinstance(value, dict):
            return
        yield annotation, value, keys
        for name, info in annotation.model_fields.items():
            yield from _models_in(info.annotation, value.get(name), (*keys, name))
    elif sum(map(_is_model, arguments)) > 1:
        return  # which one of them it is to become, only pydantic can tell
    elif isinstance(value, dict) and get_origin(annotation) is dict:
        items = [((*keys, key), item) for key, item in value.items()]
    elif isinstance(value, list):
        items = [((*keys, index), item) for index, item in enumerate(value)]
    for argument in arguments:
        for path, item in items:
            yield from _models_in(argument, item, path)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _dotted(keys: Keys) -> str:
    return ".".join(map(str, keys))


def _wording(key: object, error: ErrorDetails) -> str:
    """Return what is wrong without the value: it may be a secret."""
    kind = error["type"]
    if kind == "missing":
        other = f", or name a variable in '{key}_env'" if looks_secret(key) else ""
        return f"is required; set it{other}"
    if kind == "string_type" and type(error["input"]) in (int, float):
        return "must be a text; write it in quotes"
    text = error["msg"].removeprefix("Value error, ").replace("Input should", "must")
    return _WORDING.get(kind, text[:1].lower() + text[1:])
