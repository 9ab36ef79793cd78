"""The files of its workspace that make up an agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio.to_thread
from pydantic import Field
from rustyclaw import ConfigError, MethodError

from rustyclaw_server import workspacefiles
from rustyclaw_server.auth.scopes import ADMIN
from rustyclaw_server.methods.base import Context, Loose, method
from rustyclaw_server.wire.frames import Wire, clean

Id = Field(min_length=1, max_length=64)


class FilesParams(Wire):
    """Parameters of ``agents.files.list``."""

    agent_id: str = Id


class FilesResult(Wire):
    """The files that make up an agent."""

    agent_id: str
    workspace: str
    files: list[dict[str, Any]]


@method("agents.files.list", scope=ADMIN, params=FilesParams, result=FilesResult)
async def agents_files_list(params: FilesParams, context: Context) -> dict[str, Any]:
    """Return which of its files an agent has."""
    agent_id, folder = _workspace(params.agent_id, context)
    files = await anyio.to_thread.run_sync(workspacefiles.rows, folder)
    return {"agentId": agent_id, "workspace": str(folder), "files": files}


class FileParams(FilesParams):
    """Parameters of ``agents.files.get``."""

    name: str = Field(min_length=1, max_length=256)


class FileResult(Loose):
    """A file with its content."""

    agent_id: str
    workspace: str
    file: dict[str, Any]


@method("agents.files.get", scope=ADMIN, params=FileParams, result=FileResult)
async def agents_files_get(params: FileParams, context: Context) -> dict[str, Any]:
    """Return one file of an agent."""
    agent_id, folder = _workspace(params.agent_id, context)
    file = await anyio.to_thread.run_sync(workspacefiles.read, folder, params.name)
    return {"agentId": agent_id, "workspace": str(folder), "file": file}


class FileSetParams(FileParams):
    """Parameters of ``agents.files.set``."""

    content: str = Field(max_length=workspacefiles.MAX_BYTES)


@method("agents.files.set", scope=ADMIN, params=FileSetParams, result=FileResult)
async def agents_files_set(params: FileSetParams, context: Context) -> dict[str, Any]:
    """Write one file of an agent; its next run reads it."""
    agent_id, folder = _workspace(params.agent_id, context)
    file = await anyio.to_thread.run_sync(
        workspacefiles.write, folder, params.name, clean(params.content)
    )
    answer = {"ok": True, "agentId": agent_id, "workspace": str(folder)}
    return {**answer, "file": file}


def _workspace(agent_id: str, context: Context) -> tuple[str, Path]:
    try:
        agent = context.gateway.config.agent(agent_id)
    except ConfigError:
        raise MethodError("unknown agent id") from None
    return agent.id, context.gateway.workspace(agent.id)
