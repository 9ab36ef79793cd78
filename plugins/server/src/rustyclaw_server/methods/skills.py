"""Skills: what is there, what each needs, what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio.to_thread
from pydantic import Field
from rustyclaw import MethodError

from rustyclaw_server.auth.scopes import ADMIN, NODE, READ
from rustyclaw_server.methods.base import Anything, Context, Loose, method
from rustyclaw_server.skills import Skill, find
from rustyclaw_server.wire.frames import Wire


class SkillsParams(Wire):
    """Parameters of ``skills.status`` and ``skills.list``: whose skills."""

    agent_id: str | None = Field(None, max_length=256)


class StatusResult(Wire):
    """All skills, and whether each can be used here."""

    workspace_dir: str
    managed_skills_dir: str
    skills: list[dict[str, Any]]


@method("skills.status", scope=READ, params=SkillsParams, result=StatusResult)
async def skills_status(params: SkillsParams, context: Context) -> dict[str, Any]:
    """Return all skills, what they need and what of that is missing."""
    workspace = _workspace(context, params.agent_id)
    rows = await anyio.to_thread.run_sync(
        lambda: [_status(skill) for skill in find(workspace)]
    )
    return {
        "workspaceDir": str(workspace),
        "managedSkillsDir": str(workspace / "skills"),
        "skills": rows,
    }


def _status(skill: Skill) -> dict[str, Any]:
    needs, lacks = skill.needs, skill.lacks()
    bundled = skill.source != "workspace"
    is_eligible = not any(lacks.values())
    row: dict[str, Any] = {
        "name": skill.name,
        "description": skill.description,
        "source": "openclaw-bundled" if bundled else "openclaw-workspace",
        "bundled": bundled,
        "filePath": str(skill.path),
        "baseDir": str(skill.path.parent),
        "skillKey": skill.name,
    }
    for key in ("emoji", "homepage"):
        if isinstance(value := skill.about.get(key), str):
            row[key] = value
    return row | {
        "always": skill.about.get("always") is True,
        "disabled": False,
        "blockedByAllowlist": False,
        "blockedByAgentFilter": False,
        "eligible": is_eligible,
        "modelVisible": is_eligible,
        "userInvocable": True,
        "commandVisible": False,
        "requirements": needs,
        "missing": lacks,
        "configChecks": [],
        "install": [],
    }


def _workspace(context: Context, agent_id: str | None) -> Path:
    gateway = context.gateway
    agent = gateway.config.agent(agent_id or gateway.config.default_agent_id)
    return gateway.workspace(agent.id)


class BinsResult(Wire):
    """Names of programs."""

    bins: list[str]


@method("skills.bins", scope=NODE, params=Anything, result=BinsResult)
async def skills_bins(params: Anything, context: Context) -> dict[str, Any]:
    """Return the programs that skills use, for a node that may allow them."""
    gateway, bins = context.gateway, set[str]()
    for agent_id in gateway.config.agent_ids:
        workspace = gateway.workspace(agent_id)
        for skill in await anyio.to_thread.run_sync(find, workspace):
            bins.update(skill.needs["bins"], skill.needs["anyBins"])
    return {"bins": sorted(bins)}


class ListResult(Wire):
    """Names and descriptions."""

    skills: list[dict[str, Any]]


@method("skills.list", scope=READ, params=SkillsParams, result=ListResult)
async def skills_list(params: SkillsParams, context: Context) -> dict[str, Any]:
    """Return name, description and source of each skill."""
    found = await anyio.to_thread.run_sync(find, _workspace(context, params.agent_id))
    return {
        "skills": [
            {"name": s.name, "description": s.description, "source": s.source}
            for s in found
        ]
    }


class GetParams(SkillsParams):
    """Parameters of ``skills.get``."""

    name: str = Field(min_length=1, max_length=64)


@method("skills.get", scope=READ, params=GetParams, result=Loose)
async def skills_get(params: GetParams, context: Context) -> dict[str, Any]:
    """Return a skill with its whole text."""
    found = await anyio.to_thread.run_sync(find, _workspace(context, params.agent_id))
    for skill in found:
        if skill.name == params.name:
            row = await anyio.to_thread.run_sync(_status, skill)
            return {**row, "content": skill.body}
    raise MethodError(f"there is no skill {params.name!r}; see `skills.list`")


class InstallParams(Wire):
    """Parameters of ``skills.install``."""

    name: str = Field(min_length=1, max_length=256)
    install_id: str = Field(min_length=1, max_length=256)
    timeout_ms: int | None = Field(None, ge=1000)


@method("skills.install", scope=ADMIN, params=InstallParams, result=Loose)
async def skills_install(params: InstallParams, context: Context) -> dict[str, Any]:
    """Refuse: what a skill needs is installed by hand."""
    raise MethodError(
        "rustyclaw installs no programs for skills; install what `skills.status` calls "
        "missing by the means of your system",
        code="UNAVAILABLE",
    )


class UpdateParams(Wire):
    """Parameters of ``skills.update``."""

    skill_key: str = Field(min_length=1, max_length=256)
    enabled: bool | None = None
    api_key: str | None = Field(None, max_length=4096)
    env: dict[str, str] | None = None


@method("skills.update", scope=ADMIN, params=UpdateParams, result=Loose)
async def skills_update(params: UpdateParams, context: Context) -> dict[str, Any]:
    """Refuse: a skill has no settings of its own."""
    raise MethodError(
        "skills have no settings here; remove the skill's folder from the workspace, "
        "or uninstall its distribution",
        code="UNAVAILABLE",
    )
