"""What a plugin offers: tools, providers, channels, and the settings of each.

A plugin class declares ``Config``, a pydantic model. The core validates the
plugin's section of the config file against it and hands the instance to the
constructor.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict


class PluginConfig(BaseModel):
    """Base of a plugin's settings: frozen, and unknown keys are errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        coerce_numbers_to_str=True,  # ids on chat platforms often look like numbers
    )


class Configured:
    """What has settings: a tool, a toolset, a compactor."""

    Config: ClassVar[type[BaseModel]] = PluginConfig

    def __init__(self, config: Any = None) -> None:
        self.config: Any = self.Config() if config is None else config


class Connected(Configured):
    """What is opened and closed as well: a provider, a channel."""

    async def __aenter__(self) -> Self:
        """Open connections, log in; an error here says that it cannot be used."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Log out, close connections; it has five seconds."""

    def problem(self) -> str:
        """Return what its settings lack, as far as nobody has to be asked; or ``""``.

        `doctor` shows it: a key that is named nowhere, an address that is missing.
        """
        return ""

    async def probe(self) -> str:
        """Try the settings out, and return in a few words what answered.

        Called by `onboard` and `doctor --deep`, on an object of its own that is not
        entered: open what it takes, and close it. It has ten seconds, changes
        nothing, and does not disturb a gateway that uses the same account. Ask for
        something that takes a valid key. By default it is opened and closed.

        :raises RustyclawError: It does not work; the text ends with the remedy.
        """
        async with self:
            return "can be opened"
