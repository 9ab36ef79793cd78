"""The hook plugin that starts the server with the gateway."""

from __future__ import annotations

import logging
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from rustyclaw import RustyclawError, hookimpl

from rustyclaw_server.config import ServerConfig
from rustyclaw_server.deferred import defer

if TYPE_CHECKING:
    from rustyclaw import Gateway, HookContext, Outbound, Prompt, Sent

    from rustyclaw_server.server import Server

logger = logging.getLogger(__name__)


def _import() -> ModuleType:
    """Import the server; the libraries behind it take a while."""
    defer("uvicorn", Config="config")
    return import_module("rustyclaw_server.server")


class ServerPlugin:
    """Serves a gateway that serves its channels; an embedded one has no port."""

    Config = ServerConfig

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._server: Server | None = None

    @hookimpl
    async def gateway_start(self, gateway: Gateway) -> None:
        """Listen; a gateway that cannot be served safely stops."""
        if not (self._config.enabled and gateway.serving):
            return
        # On a slow machine this takes longer than a hook may; half a server is none.
        with anyio.CancelScope(shield=True):
            module = await anyio.to_thread.run_sync(_import)
            server: Server = module.Server(gateway, self._config)
            try:
                await server.start()
            except RustyclawError as exc:
                logger.error("the server does not start: %s", exc)
                gateway.request_stop("failed")
                return
            self._server = server

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
    async def session_end(self, context: HookContext, reason: str) -> None:
        """Tell readers that a session was reset or deleted, by whomever."""
        if self._server is not None and reason != "shutdown":
            self._server.announce_session(context.session_key, reason)

    @hookimpl
    async def gateway_stop(self, reason: str) -> None:
        """Tell the clients and close."""
        if self._server is not None:
            await self._server.stop(reason)
