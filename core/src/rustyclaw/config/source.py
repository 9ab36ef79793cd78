"""Where each value of the configuration came from, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import eq, getitem
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from rustyclaw.config.secrets import Redactor, looks_secret
from rustyclaw.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)
#: Upper bound of bytes in a file.
_BYTES = 1_048_576
#: The way to a value: ``("agents", "list", 0, "id")``.
Keys = tuple[str | int, ...]
_WORDING = dict.fromkeys(("model_type", "dict_type"), "must be a mapping")
_WORDING |= dict.fromkeys(("tuple_type", "list_type"), "must be a list")


def home_dir(env: Mapping[str, str] | None = None) -> Path:
    """Return the folder of all state: ``RUSTYCLAW_HOME``, or ``~/.rustyclaw``."""
    environ = os.environ if env is None else env
    return Path(environ.get("RUSTYCLAW_HOME") or "~/.rustyclaw").expanduser()


def read_file(file: Path) -> str:
    """Return the text of a regular file of bounded size."""
    try:
        if file.exists() and not file.is_file():  # a FIFO would block for ever
            raise ConfigError(f"{str(file)!r} is not a regular file")
        with file.open("rb") as stream:
            data = stream.read(_BYTES + 1)
        if len(data) > _BYTES:
            raise ConfigError(f"{str(file)!r} is larger than {_BYTES} bytes")
        return data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read {str(file)!r}: {reason}") from None


@dataclass(frozen=True, kw_only=True, repr=False)
class Source:
    """What a config was made from.

    :param files: Where its content stands, name and YAML node; the first one wins.
    :param overrides: Environment variables by the path of what they set.
    """

    home: Path = field(default_factory=home_dir)
    path: Path = field(default_factory=lambda: home_dir() / "config.yaml")
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)
    files: list[tuple[Keys, str, Any]] = field(default_factory=list)
    overrides: dict[Keys, str] = field(default_factory=dict)
    redactor: Redactor = field(default_factory=Redactor)
    warnings: list[str] = field(default_factory=list)

    def at(self, keys: Keys, problem: str) -> str:
        """Return one line: where a value stands, its path, what is the matter."""
        best, place = 0, self.path.name
        for base, name, node in self.files:
            for n in range(len(base), len(keys) if keys[: len(base)] == base else 0):
                if not (step := _step(node, keys[n])):
                    break
                mark, node = step[0]
                if n >= best:
                    best, place = n + 1, f"{name}:{mark.start_mark.line + 1}"
        for path, name in self.overrides.items():
            same = [*map(eq, path, keys), False].index(False)
            if same > best or same == len(path):
                best, place = same, name
        dotted = ".".join(map(str, keys))
        return self.redactor.scrub(f"{place}: {dotted}: {problem}")

    def validate(self, model: type[M], raw: Any, keys: Keys = ()) -> M:
        """Return a section, which is changed, as its model.

        Without ``keys`` it is the core's own: there an unknown key is ignored with a
        warning, and a null means the default.

        :raises ConfigError: With one line for each problem.
        """
        problems: list[str] = []
        mended = True
        while mended:  # each round takes a key away
            try:
                valid = model.model_validate(raw)
                break
            except ValidationError as exc:
                errors = exc.errors(include_url=False, include_context=False)
            mended = sum(self._mend(model, raw, keys, e, problems) for e in errors) > 0
        else:
            problems += [self.at((*keys, *e["loc"]), _wording(e)) for e in errors]
        if problems:
            raise ConfigError("\n".join(dict.fromkeys(problems)))
        self.redactor.learn(valid, self.env)
        return valid

    def _fetched(self, means: str, value: str) -> str:
        """Return what a variable, or a file, holds; spaces around that do not count.

        :raises ConfigError: Nothing.
        """
        if means == "env":
            if not (text := self.env.get(value, "")):
                raise ConfigError(f"the variable {value!r} is not set; export it")
            return text
        if not (text := read_file(self.home / Path(value).expanduser()).strip()):
            raise ConfigError(f"the file {value!r} is empty; write the value there")
        self.redactor.add(text)
        return text

    def _mend(
        self, model: Any, raw: Any, keys: Keys, error: ErrorDetails, found: list[str]
    ) -> bool:
        """Take away the key that pydantic refuses if that is ours to judge."""
        loc, unknown = error["loc"], error["type"] == "extra_forbidden"
        if not loc or not (unknown or (error["input"] is None and not keys)):
            return False
        try:
            parent = reduce(getitem, loc[:-1], raw)
            value = dict.pop(parent, loc[-1])
        except (LookupError, TypeError):  # in a choice of models, or in a list
            return False
        path, key = (*keys, *loc), str(loc[-1])
        known = _names(model, loc) if unknown else []
        name, _, means = key.rpartition("_")
        if means in ("env", "file") and name in known:
            if parent.get(name) in (None, ""):  # what is given directly comes first
                try:
                    parent[name] = self._fetched(means, str(value))
                except (ConfigError, RuntimeError, ValueError) as exc:
                    parent[name] = ""
                    found.append(self.at(path, f"{exc}, or set {name!r}"))
        elif unknown:
            from difflib import get_close_matches  # seldom needed

            near = [f"did you mean {n!r}?" for n in get_close_matches(key, known)]
            hint = [*near, f"known: {', '.join(known)}"][0]
            problem = self.at(path, f"unknown key; {hint}")
            (found if keys else self.warnings).append(problem)
        return True


def _step(node: Any, key: str | int) -> list[tuple[Any, Any]]:
    """Return the YAML node that says where a value starts, and the value."""
    if node.id == "mapping":
        return [(name, item) for name, item in node.value if name.value == key]
    items = enumerate(node.value if node.id == "sequence" else ())
    return [(item, item) for index, item in items if index == key]


def _names(model: type[BaseModel], loc: Keys) -> list[str]:
    """Return the keys that a model, or one within it, knows beside a path's last."""
    models = [model]
    for key in loc[:-1]:  # an index, or a name in a mapping, leads to the same model
        found = [m.model_fields[str(key)] for m in models if key in m.model_fields]
        models = [m for info in found for m in _models(info.annotation)] or models
    return sorted({name for model in models for name in model.model_fields})


def _models(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for argument in get_args(kind) for model in _models(argument)]


def _wording(error: ErrorDetails) -> str:
    """Return what is wrong without the value: it may be a secret."""
    if error["type"] == "missing":
        key = error["loc"][-1]
        other = f", or name a variable in '{key}_env'" if looks_secret(key) else ""
        return f"is required; set it{other}"
    text = error["msg"].removeprefix("Value error, ").replace("Input should", "must")
    return _WORDING.get(error["type"], text[:1].lower() + text[1:])
