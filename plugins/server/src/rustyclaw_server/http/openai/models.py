"""``GET /v1/models``: the agents under their own names, and all models of providers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel

from rustyclaw_server.http.answers import answer_model
from rustyclaw_server.http.guard import require_secret, server_of
from rustyclaw_server.http.openai.place import OWN_NAMES, unknown_model

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rustyclaw_server.server import Server


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


async def _rows(server: Server) -> list[ModelRow]:
    """Return all; a provider that is broken has none for now."""
    gateway, created = server.gateway, int(server.gateway.started_at)
    agents = [f"openclaw:{agent_id}" for agent_id in gateway.config.agent_ids]
    return [
        *(
            ModelRow(id=name, created=created, owned_by="rustyclaw")
            for name in (*OWN_NAMES, *agents)
        ),
        *(
            ModelRow(
                id=f"{row['provider']}/{row['id']}",
                created=created,
                owned_by=row["provider"],
            )
            for row in await server.catalog.rows()
        ),
    ]


async def models(request: Request) -> Response:
    """List what may stand in ``model``."""
    require_secret(request)
    return answer_model(ModelList(data=await _rows(server_of(request))))


async def model(request: Request) -> Response:
    """Return one of them."""
    require_secret(request)
    wanted = request.path_params["model"]
    for row in await _rows(server_of(request)):
        if row.id == wanted:
            return answer_model(row)
    raise unknown_model(wanted)
