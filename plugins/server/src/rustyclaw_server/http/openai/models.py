"""``GET /v1/models``: the agents under their own names, and all models of providers."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Literal

import anyio
from pydantic import BaseModel
from rustyclaw import RustyclawError

from rustyclaw_server.http.answers import answer_model
from rustyclaw_server.http.guard import require_secret
from rustyclaw_server.http.openai.place import OWN_NAMES, unknown_model

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from rustyclaw_server.server import Server

logger = logging.getLogger(__name__)

_PROVIDER_SECONDS = 10.0
_REUSE_SECONDS = 60.0


class ModelRow(BaseModel):
    """What may stand in ``model``."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    """All that may stand in ``model``."""

    object: Literal["list"] = "list"
    data: list[ModelRow]


class Catalog:
    """The models of all providers, asked for at most once a minute."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._rows: dict[str, list[ModelRow]] = {}
        self._made_at = -_REUSE_SECONDS
        self._lock = anyio.Lock()

    async def rows(self) -> list[ModelRow]:
        """Return all; a provider that is broken or slow has none for now."""
        gateway = self._server.gateway
        async with self._lock:
            if time.monotonic() - self._made_at >= _REUSE_SECONDS:
                self._rows = {}
                async with anyio.create_task_group() as group:
                    for name in gateway.loader.enabled("providers"):
                        group.start_soon(self._ask, name)
                self._made_at = time.monotonic()
        agents = [f"openclaw:{agent_id}" for agent_id in gateway.config.agent_ids]
        rows = [self._row(name, "rustyclaw") for name in (*OWN_NAMES, *agents)]
        return rows + [row for name in sorted(self._rows) for row in self._rows[name]]

    async def _ask(self, provider: str) -> None:
        try:
            with anyio.fail_after(_PROVIDER_SECONDS):
                model = await self._server.gateway.models.resolve(provider)
                infos: Iterable[str] = [i.id for i in await model.provider.models()]
        except (RustyclawError, TimeoutError) as exc:
            logger.warning("the models of %r are not listed: %s", provider, exc)
        except Exception:  # a provider is a plugin
            logger.exception("the models of %r are not listed", provider)
        else:
            names = (f"{provider}/{model_id}" for model_id in infos)
            self._rows[provider] = [self._row(name, provider) for name in names]

    def _row(self, name: str, owner: str) -> ModelRow:
        created = int(self._server.gateway.started_at)
        return ModelRow(id=name, created=created, owned_by=owner)


async def models(request: Request) -> Response:
    """List what may stand in ``model``."""
    require_secret(request)
    catalog: Catalog = request.app.state.catalog
    return answer_model(ModelList(data=await catalog.rows()))


async def model(request: Request) -> Response:
    """Return one of them."""
    require_secret(request)
    catalog: Catalog = request.app.state.catalog
    wanted = request.path_params["model"]
    for row in await catalog.rows():
        if row.id == wanted:
            return answer_model(row)
    raise unknown_model(wanted)
