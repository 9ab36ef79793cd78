"""Imports plugins one by one, only enabled ones, and survives broken ones.

A failure is a value: `Loader.failures` keeps it for ``plugins list`` and
``doctor``. stevedore does the import; its own list of entry points comes from a
disk cache that goes stale, so it is handed ours instead.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping
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
        self._loaded: dict[tuple[str, str], object] = {}
        self.failures: dict[tuple[str, str], PluginError] = {}
        self.slow_imports: dict[tuple[str, str], float] = {}

    # --- What is enabled --------------------------------------------------------

    def enabled(self, kind: str) -> list[str]:
        """Return the names to load, configured ones first in the file's order.

        Providers and channels need a config section to be enabled; the exception
        is a config without any provider, where every allowed one may serve.
        """
        extra = [name for k, name in self._extra if k == kind]
        section = self._section(kind)
        configured = [n for n in section if section[n].get("enabled", True)]
        installed = [
            name
            for name in self._catalog.names(kind)
            if self._refusal(self._catalog.plugins[kind, name]) is None
        ]
        if kind == "channels" or (kind == "providers" and configured):
            chosen = configured
        else:
            off = set(section) - set(configured)
            chosen = [n for n in installed if n not in off]
        return list(dict.fromkeys([*extra, *chosen]))

    def statuses(self) -> Iterator[PluginStatus]:
        """Yield what is known of every installed plugin, without importing any."""
        enabled = {kind: set(self.enabled(kind)) for kind in GROUPS}
        for (kind, name), plugin in self._catalog.plugins.items():
            state: State = "enabled" if name in enabled[kind] else "available"
            reason = "" if state == "enabled" else f"not configured: {kind}.{name}"
            refusal = self._refusal(plugin)
            failure = self.failures.get((kind, name))
            if refusal:
                state, reason = refusal
            elif failure:
                state, reason = "failed", str(failure)
            elif seconds := self.slow_imports.get((kind, name)):
                reason = f"its import took {seconds:.1f} s"
            yield _status(plugin, state, reason)
        for (kind, name), plugins in self._catalog.conflicts.items():
            for plugin in plugins:
                reason = str(self._conflict(kind, name))
                yield _status(plugin, "conflict", reason)

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
        if key in self._extra:
            return self._extra[key]
        if key in self.failures:
            raise self.failures[key]
        if key not in self._loaded:
            try:
                self._loaded[key] = self._import(kind, name)
            except PluginError as exc:
                self.failures[key] = exc
                raise
        return self._loaded[key]

    def create(self, kind: str, name: str, base: type | tuple[type, ...]) -> Any:
        """Return an instance of a plugin, constructed with its validated config.

        :param base: What its class must derive from. An object that is no class
            is returned as it is if it is an instance; ``object`` takes anything.
        :raises PluginError: As `load`, or its config or constructor failed.
        """
        target = self.load(kind, name)
        try:
            if inspect.isclass(target) and issubclass(target, base):
                model = getattr(target, "Config", None)
                if model is None:
                    return target()
                section = self._config.section(cast("Kind", kind), name, model)
                return cast("Any", target)(section)
            if not inspect.isclass(target) and isinstance(target, base):
                return target
            bases = base if isinstance(base, tuple) else (base,)
            wanted = " or ".join(b.__name__ for b in bases)
            problem = f"is {target!r}, which is no {wanted}"
        except ConfigError as exc:
            problem = str(exc)
        except Exception as exc:
            logger.debug("constructing %s %r failed", kind, name, exc_info=True)
            problem = f"could not be constructed: {type(exc).__name__}: {exc}"
        failure = PluginLoadError(
            f"{kind[:-1]} {name!r}{self._origin(kind, name)} {problem}", plugin=name
        )
        self.failures[kind, name] = failure
        raise failure

    def require(self, names: Iterable[str]) -> None:
        """Check that plugins which must not be missing can be loaded.

        :raises PluginError: For the first one that cannot.
        """
        for name in names:
            known = (*self._extra, *self._catalog.plugins, *self._catalog.conflicts)
            kinds = [kind for kind, own in known if own == name]
            for kind in kinds or ["plugins"]:
                try:
                    self.load(kind, name)
                except PluginError as exc:
                    raise PluginLoadError(
                        f"required {exc}; mend it or take {name!r} out of "
                        "plugins.required",
                        plugin=name,
                    ) from exc

    def fail(self, kind: str, name: str, error: PluginError) -> None:
        """Record a failure that showed after loading."""
        self.failures[kind, name] = error

    def _import(self, kind: str, name: str) -> object:
        if (kind, name) in self._catalog.conflicts:
            raise self._conflict(kind, name)
        plugin = self._catalog.plugins.get((kind, name))
        if plugin is None:
            raise PluginNotFound(kind[:-1], name)
        if refusal := self._refusal(plugin):
            raise PluginLoadError(
                f"{kind[:-1]} {name!r} is {refusal[0]}: {refusal[1]}", plugin=name
            )
        started = perf_counter()
        try:
            return _import_one(plugin)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # a plugin may even call sys.exit()
            logger.debug("importing %s %r failed", kind, name, exc_info=True)
            raise PluginLoadError(
                f"{kind[:-1]} {name!r}{self._origin(kind, name)} could not be "
                f"imported: {type(exc).__name__}: {exc}",
                plugin=name,
            ) from exc
        finally:
            if (seconds := perf_counter() - started) > SLOW_IMPORT_SECONDS:
                self.slow_imports[kind, name] = seconds

    def _origin(self, kind: str, name: str) -> str:
        plugin = self._catalog.plugins.get((kind, name))
        return f" ({plugin.dist} {plugin.version})" if plugin else ""


def _status(plugin: Plugin, state: State, reason: str) -> PluginStatus:
    return PluginStatus(
        kind=plugin.kind,
        name=plugin.name,
        dist=plugin.dist,
        version=plugin.version,
        summary=plugin.summary,
        state=state,
        reason=reason,
    )


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
