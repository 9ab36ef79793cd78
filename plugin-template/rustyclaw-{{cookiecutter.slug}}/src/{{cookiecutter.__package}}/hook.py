"""The hooks: where this plugin watches, changes or stops what happens."""

from __future__ import annotations

from pydantic import Field
from rustyclaw import Outbound, PluginConfig, Veto, hookimpl


class {{ cookiecutter.__class }}Config(PluginConfig):
    """The section ``hooks.{{ cookiecutter.name }}`` of config.yaml."""

    forbidden: tuple[str, ...] = Field(
        (), description="words that no message may contain"
    )


class {{ cookiecutter.__class }}Hook:
    """{{ cookiecutter.description }}."""

    Config = {{ cookiecutter.__class }}Config

    def __init__(self, config: {{ cookiecutter.__class }}Config | None = None) -> None:
        self.config = config or {{ cookiecutter.__class }}Config()

    @hookimpl
    async def message_sending(self, message: Outbound) -> None:
        """Hold back a message with a forbidden word."""
        for word in self.config.forbidden:
            if word.lower() in message.text.lower():
                raise Veto(f"the message contains {word!r}")
