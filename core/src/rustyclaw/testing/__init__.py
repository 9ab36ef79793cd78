"""The kit for plugin authors: contracts to prove a plugin, fakes to talk to it.

Subclass the contract of your kind, give it its one fixture, and run pytest with
``-p rustyclaw.testing.plugin`` and ``anyio_mode = "auto"``::

    class TestWeather(ToolContract):
        arguments = {"city": "Oslo"}

        @pytest.fixture
        def tool(self) -> Tool:
            return Weather()

    async def test_conversation(bot: Bot) -> None:
        assert await bot.say("hi") == "hi"

The kit grows with the minor versions of the core and only with them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "bot": "Bot make_gateway",
    "broken": "BROKEN Expectation imported install_broken",
    "contracts.base": "Contract",
    "contracts.channel": "ChannelContract",
    "contracts.compactor": "CompactorContract",
    "contracts.hook": "HookContract",
    "contracts.provider": "ProviderContract",
    "contracts.tool": "ToolContract ToolsetContract",
    "fakes": "Drafted FakeChannel FakeProvider Posted call fault hang",
    "samples": "sample_arguments",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'rustyclaw.testing' has no attribute {name!r}")
    value = getattr(import_module(f"rustyclaw.testing.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
