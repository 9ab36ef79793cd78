"""Every exception that rustyclaw raises, as one tree.

::

    RustyclawError                text is lowercase, names in quotes, then the remedy
    ├── ConfigError               a config value is wrong; says key, file and line
    ├── PluginError               something is wrong with one `plugin`
    │   ├── PluginNotFound        not installed; says what to `pip install`
    │   ├── PluginLoadError       import, construction or its config failed
    │   ├── PluginConflict        two plugins offer the same name
    │   └── HookImplError         a hook implementation does not fit its spec
    ├── ToolError                 a tool failed; the model reads the message
    ├── ProviderError             a model call failed; `kind` says how
    ├── ChannelError              a platform refused, for good if `permanent`
    ├── SessionError              a session is unknown, locked or unreadable
    ├── StorageError              the disk refused; nothing was accepted
    ├── MethodError               a gateway method was called wrongly
    └── Busy                      a bounded queue is full, or the gateway drains

    Veto                          a guard forbids an action (control flow)
    Ask                           a guard wants an operator's word (control flow)
"""

from __future__ import annotations

from typing import Literal


class RustyclawError(Exception):
    """Base of all errors; its text is fit to show to a person."""


class ConfigError(RustyclawError):
    """A configuration value cannot be used."""


class PluginError(RustyclawError):
    """Something is wrong with one plugin, named by its entry point."""

    def __init__(self, message: str, *, plugin: str) -> None:
        super().__init__(message)
        self.plugin = plugin


class PluginNotFound(PluginError):
    """The plugin is not installed; ``kind`` is ``provider``, ``channel`` ..."""

    def __init__(self, kind: str, plugin: str) -> None:
        dist = f"rustyclaw-{plugin.replace('_', '-')}"
        super().__init__(
            f"{kind} {plugin!r} is not installed; try `pip install {dist}`",
            plugin=plugin,
        )


class PluginLoadError(PluginError):
    """The plugin could not be imported, constructed or configured."""


class PluginConflict(PluginError):
    """Two plugins offer the same name."""


class HookImplError(PluginError):
    """A hook implementation does not fit its specification."""


class ToolError(RustyclawError):
    """A tool failed in a way that the model should read and react to."""


ProviderErrorKind = Literal[
    "rate_limit", "overloaded", "auth", "auth_permanent", "billing",
    "context_overflow", "timeout", "format", "model_not_found", "retry_limit",
    "unknown",
]  # fmt: skip


class ProviderError(RustyclawError):
    """A model call failed.

    :param kind: The class of the failure; decides on retry and failover.
    :param provider: Entry-point name of the provider.
    :param status: HTTP status, when there was one.
    :param retry_after: Seconds the vendor asked us to wait.
    :param observed_tokens: Size of the prompt, if an overflow answer named it.
    :param attempts: What was tried in vain, a short text each; then the message is
        fit for people as it is.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: ProviderErrorKind = "unknown",
        provider: str = "",
        status: int | None = None,
        retry_after: float | None = None,
        observed_tokens: int | None = None,
        attempts: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.kind: ProviderErrorKind = kind
        self.provider = provider
        self.status = status
        self.retry_after = retry_after
        self.observed_tokens = observed_tokens
        self.attempts = attempts

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.kind in ("rate_limit", "overloaded", "timeout")


class ChannelError(RustyclawError):
    """A platform refused a message, or cannot be reached."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class SessionError(RustyclawError):
    """A session is unknown, locked by another process, or unreadable."""


class StorageError(RustyclawError):
    """The disk refused a write; what was offered has not been accepted."""


class MethodError(RustyclawError):
    """A gateway method is unknown, was called wrongly, or has failed.

    :param code: As on the wire, such as ``UNAVAILABLE``.
    :param details: JSON value for programs.
    :param payload: JSON value of an answer that says more than the error.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "INVALID_REQUEST",
        details: object = None,
        payload: object = None,
    ) -> None:
        super().__init__(message)
        self.code, self.details, self.payload = code, details, payload


class Busy(RustyclawError):
    """A bounded queue is full, or the gateway is draining; try again later."""


class Veto(Exception):
    """Raised by a guard: the action must not happen, for this ``reason``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Ask(Exception):
    """Raised by a guard: an operator must say yes before the action happens.

    :param value: Filled by the dispatcher: the action as all guards left it.
    :param key: What an answer "always" is remembered by, if no other guard asks;
        default: the exact call. Begin it with the guard's name.
    """

    def __init__(self, reason: str, value: object = None, *, key: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.value = value
        self.key = key
