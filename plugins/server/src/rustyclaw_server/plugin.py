"""The hook plugin that starts the server with the gateway."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from rustyclaw import RustyclawError, hookimpl

from rustyclaw_server.config import ServerConfig

if TYPE_CHECKING:
    from rustyclaw import Gateway, HookContext, Outbound, Prompt, Sent

    from rustyclaw_server.server import Server

logger = logging.getLogger(__name__)

_SERVER = "rustyclaw_server.server"
#: Of the time that a hook has, what is waited for the server.
_PATIENCE = 0.8


class ServerPlugin:
    """Serves a gateway that serves its channels; an embedded one has no port.

    :ivar decided: Whether it listens, or cannot.
    """

    Config = ServerConfig

    decided: anyio.Event

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._server: Server | None = None

    @hookimpl
    async def gateway_start(self, gateway: Gateway) -> None:
        """Listen; a gateway that cannot be served safely stops.

        A hook has little time, and a small machine needs long to import a server:
        there it goes on starting while the rest of the gateway does.
        """
        if not (self._config.enabled and gateway.serving):
            return
        self.decided = anyio.Event()
        gateway.spawn(self._start, gateway)
        with anyio.move_on_after(_PATIENCE * gateway.config.plugins.budget_seconds):
            await self.decided.wait()

    async def _start(self, gateway: Gateway) -> None:
        try:
            # Not on the event loop, which others need.
            module = await anyio.to_thread.run_sync(import_module, _SERVER)
            server: Server = module.Server(gateway, self._config)
            await server.start()
            self._server = server
        except RustyclawError as exc:
            logger.error("the server does not start: %s", exc)
            gateway.request_stop("failed")
        finally:
            self.decided.set()

    @hookimpl
    async def before_agent_start(
        self, context: HookContext, prompt: Prompt
    ) -> Prompt | None:
        """Tell a session what has waited for its next message."""
        if self._server is None:
            return None
        return self._server.system_events.put_into(context.session_key, prompt)

    @hookimpl
    async def message_sent(
        self, message: Outbound, sent: Sent | None, error: str | None
    ) -> None:
        """Tell a client that waits what became of its message."""
        if self._server is not None:
            self._server.sends.resolve(message.id, sent, error)

    @hookimpl
    async def gateway_stop(self, reason: str) -> None:
        """Tell the clients and close."""
        if self._server is not None:
            await self._server.stop(reason)
