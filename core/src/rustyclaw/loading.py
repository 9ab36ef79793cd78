"""Imports plugins one by one, only enabled ones, and survives broken ones.

A failure is a value: `Loader.failures` keeps it for ``plugins list`` and
``doctor``. stevedore does the import; its own list of entry points comes from a
disk cache that goes stale, so it is handed ours instead.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, cast

from rustyclaw.discovery import GROUPS, Catalog, Plugin
from rustyclaw.errors import (
    ConfigError,
    PluginConflict,
    PluginError,
    PluginLoadError,
    PluginNotFound,
)

if TYPE_CHECKING:
    from rustyclaw.config import Config
    from rustyclaw.config.model import Kind

logger = logging.getLogger(__name__)

#: It needs no key and no network, so it serves who has configured nothing.
FALLBACK_PROVIDER = "offline"
#: An import that takes longer is mentioned by doctor.
SLOW_IMPORT_SECONDS = 1.0

State = Literal["enabled", "available", "denied", "new", "failed", "conflict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginStatus:
    """One row of ``plugins list``.

    :param state: ``available`` is installed but not configured; ``new`` is
        installed since the allow list was written, and not imported.
    """

    kind: str
    name: str
    dist: str
    version: str
    summary: str
    state: State
    reason: str = ""

    @classmethod
    def of(cls, plugin: Plugin, state: State, reason: str) -> PluginStatus:
        """Return the row of an installed plugin."""
        named = ("kind", "name", "dist", "version", "summary")
        facts = {name: getattr(plugin, name) for name in named}
        return cls(**facts, state=state, reason=reason)


class Loader:
    """Loads plugins as the config allows.

    :param extra: Plugins without an entry point, as ``{"tools.x": object}``; they
        are enabled and hide an installed plugin of that name.
    """

    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._extra = {tuple(key.split(".", 1)): o for key, o in (extra or {}).items()}
        self._loaded: dict[tuple[str, ...], object] = dict(self._extra)
        self.failures: dict[tuple[str, str], PluginError] = {}
        self.slow_imports: dict[tuple[str, str], float] = {}

    # --- What is enabled --------------------------------------------------------

    def enabled(self, kind: str) -> list[str]:
        """Return the names to load, configured ones first in the file's order.

        Providers and channels need a config section to be enabled; the exception
        is a config without any provider, where every allowed one may serve.
        """
        section = self._section(kind)
        configured = [n for n in section if section[n].get("enabled", True)]
        chosen = configured
        if not (kind == "channels" or (kind == "providers" and configured)):
            chosen = [
                name
                for name in self._catalog.names(kind)
                if (name in configured or name not in section)
                and not self._refusal(self._catalog.plugins[kind, name])
            ]
            if kind == "providers":
                chosen.sort(key=lambda name: name != FALLBACK_PROVIDER)
        extra = [name for k, name in self._extra if k == kind]
        return list(dict.fromkeys([*extra, *chosen]))

    def statuses(self) -> Iterator[PluginStatus]:
        """Yield what is known of every installed plugin, without importing any."""
        enabled = {kind: set(self.enabled(kind)) for kind in GROUPS}
        for (kind, name), plugin in self._catalog.plugins.items():
            state: State = "enabled" if name in enabled[kind] else "available"
            reason = "" if state == "enabled" else f"not configured: {kind}.{name}"
            if refusal := self._refusal(plugin):
                state, reason = refusal
            elif failure := self.failures.get((kind, name)):
                state, reason = "failed", str(failure)
            elif seconds := self.slow_imports.get((kind, name)):
                reason = f"its import took {seconds:.1f} s"
            yield PluginStatus.of(plugin, state, reason)
        for (kind, name), plugins in self._catalog.conflicts.items():
            reason = str(self._conflict(kind, name))
            yield from (PluginStatus.of(p, "conflict", reason) for p in plugins)

    def _section(self, kind: str) -> Mapping[str, Any]:
        if kind == "tools":  # beside the policy's own keys
            return self._config.tools.model_extra or {}
        return cast("Mapping[str, Any]", getattr(self._config, kind, {}))

    def _refusal(self, plugin: Plugin) -> tuple[State, str] | None:
        policy, names = self._config.plugins, {plugin.name, plugin.dist}
        if names & set(policy.deny):
            return "denied", "named in plugins.deny"
        if plugin.dist == "rustyclaw" or policy.allow is None:
            return None
        if names & set(policy.allow):
            return None
        return "new", f"not allowed; run `rustyclaw plugins allow {plugin.name}`"

    def _conflict(self, kind: str, name: str) -> PluginConflict:
        dists = " and ".join(p.dist for p in self._catalog.conflicts[kind, name])
        return PluginConflict(
            f"{kind[:-1]} {name!r} is offered by {dists}; uninstall one of them",
            plugin=name,
        )

    # --- Loading --------------------------------------------------------------------

    def load(self, kind: str, name: str) -> object:
        """Import what the entry point names.

        :raises PluginError: It is missing, refused or broken; see ``failures``.
        """
        key = (kind, name)
        if key in self.failures:
            raise self.failures[key]
        if key not in self._loaded:
            with self._noting(kind, name, "could not be imported"):
                self._loaded[key] = self._import(kind, name)
        return self._loaded[key]

    def create(
        self,
        kind: str,
        name: str,
        base: type | tuple[type, ...],
        settings: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return an instance of a plugin, constructed with its validated config.

        :param base: What its class must derive from. An object that is no class
            is returned as it is if it is an instance; ``object`` takes anything.
        :param settings: What these say instead of the config.
        :raises PluginError: As `load`, or its config or constructor failed.
        """
        target = self.load(kind, name)
        with self._noting(kind, name, "could not be constructed"):
            if inspect.isclass(target) and issubclass(target, base):
                model = getattr(target, "Config", None)
                if model is None:
                    return target()
                section = self._config.section(
                    cast("Kind", kind), name, model, settings or {}
                )
                return cast("Any", target)(section)
            if not inspect.isclass(target) and isinstance(target, base):
                return target
            bases = base if isinstance(base, tuple) else (base,)
            wanted = " or ".join(b.__name__ for b in bases)
            raise self._error(kind, name, f"is {target!r}, which is no {wanted}")

    def require(self, names: Iterable[str]) -> None:
        """Check that plugins which must not be missing are enabled and work.

        :raises PluginError: For the first one that is not or does not.
        """
        known = (*self._extra, *self._catalog.plugins, *self._catalog.conflicts)
        for name in names:
            kinds = [kind for kind, own in known if own == name] or ["plugins"]
            try:
                for kind in kinds:
                    self.load(kind, name)
                    if kind in ("providers", "compactors"):  # else made when needed
                        self.create(kind, name, object)
                if not any(name in self.enabled(kind) for kind in kinds):
                    raise self._error(kinds[0], name, "is not enabled in the config")
            except PluginError as exc:
                remedy = f"mend it or take {name!r} out of plugins.required"
                raise PluginLoadError(f"required {exc}; {remedy}", plugin=name) from exc

    @contextmanager
    def tolerating(
        self, kind: str, name: str, *, config: bool = True
    ) -> Iterator[None]:
        """Log and keep what goes wrong with a plugin, and go on without it.

        :param config: Also if what is wrong is its section of the config.
        :raises PluginError: Its section is wrong, and that is not tolerated.
        """
        try:
            with self._noting(kind, name, "could not be used"):
                yield
        except PluginError as exc:
            if isinstance(exc.__cause__, ConfigError) and not config:
                raise
            logger.error("%s", exc)

    def fail(self, kind: str, name: str, error: PluginError) -> None:
        """Record a failure that showed after loading."""
        self.failures[kind, name] = error

    @contextmanager
    def _noting(self, kind: str, name: str, doing: str) -> Iterator[None]:
        """Turn whatever a plugin raises into a `PluginError`, and keep it."""
        try:
            yield
        except PluginError as exc:
            self.failures[kind, name] = exc
            raise
        except (Exception, SystemExit) as exc:  # a plugin may even call sys.exit()
            logger.debug("%s %r %s", kind, name, doing, exc_info=True)
            problem = f"{doing}: {type(exc).__name__}: {exc}"
            if isinstance(exc, ConfigError):
                problem = str(exc)
            failure = self.failures[kind, name] = self._error(kind, name, problem)
            raise failure from exc

    def _error(self, kind: str, name: str, problem: str) -> PluginLoadError:
        """Return an error of one line, without secrets."""
        plugin = self._catalog.plugins.get((kind, name))
        origin = f" ({plugin.dist} {plugin.version})" if plugin else ""
        problem = "; ".join(self._config.redactor.scrub(problem).splitlines())
        return PluginLoadError(f"{kind[:-1]} {name!r}{origin} {problem}", plugin=name)

    def _import(self, kind: str, name: str) -> object:
        if (kind, name) in self._catalog.conflicts:
            raise self._conflict(kind, name)
        plugin = self._catalog.plugins.get((kind, name))
        if plugin is None:
            raise PluginNotFound(kind[:-1], name)
        if refusal := self._refusal(plugin):
            raise self._error(kind, name, f"is {refusal[0]}: {refusal[1]}")
        started = perf_counter()
        try:
            return _import_one(plugin)
        finally:
            if (seconds := perf_counter() - started) > SLOW_IMPORT_SECONDS:
                self.slow_imports[kind, name] = seconds


def _import_one(plugin: Plugin) -> object:
    from stevedore.named import NamedExtensionManager

    class One(NamedExtensionManager[Any]):
        def list_entry_points(self) -> Any:
            return [plugin.entry_point]

    def reraise(manager: object, entry_point: object, error: BaseException) -> None:
        raise error

    group = plugin.entry_point.group
    manager = One(group, [plugin.name], on_load_failure_callback=reraise)
    return manager[plugin.name].plugin
