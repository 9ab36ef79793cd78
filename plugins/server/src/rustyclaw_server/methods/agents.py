"""The agents: who they are, what files they have, and work that is handed to them."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio.to_thread
from pydantic import Field
from rustyclaw import (
    Config,
    ConfigError,
    Gateway,
    Message,
    MethodError,
    RunOptions,
    RustyclawError,
    edit_config,
)

from rustyclaw_server import configfile
from rustyclaw_server.auth.scopes import ADMIN, READ, WRITE
from rustyclaw_server.methods.base import Anything, Context, Loose, method
from rustyclaw_server.methods.config import announce
from rustyclaw_server.wire.frames import Wire, clean
from rustyclaw_server.wire.liverun import LiveRun

#: A task may hand on a part of itself so often.
_MAX_DEPTH = 3
_SUBAGENT = ":subagent:"
Id = Field(min_length=1, max_length=64)
Word = Field(None, max_length=256)


# --- Who they are ---------------------------------------------------------------------


class ListResult(Wire):
    """The agents of the config file; some may need a restart before they answer."""

    default_id: str
    main_key: str
    scope: str
    agents: list[dict[str, Any]]


@method("agents.list", scope=READ, params=Anything, result=ListResult)
async def agents_list(params: Anything, context: Context) -> dict[str, Any]:
    """Return the agents."""
    gateway = context.gateway
    running = gateway.config
    file = await anyio.to_thread.run_sync(_on_disk, gateway)
    rows = []
    for agent_id in file.agent_ids:
        agent = file.agent(agent_id)
        row: dict[str, Any] = {"id": agent_id}
        if agent.name:
            row["name"] = agent.name
        identity = agent.identity.model_dump(exclude_none=True)
        if identity:
            row["identity"] = identity
        if agent_id in running.agent_ids:
            row["workspace"] = str(gateway.workspace(agent_id))
        else:
            row["pendingRestart"] = True
        if model := agent.model or file.agents.defaults.model:
            row["model"] = {"primary": model}
        rows.append(row)
    return {
        "defaultId": running.default_agent_id,
        "mainKey": "main",
        "scope": "per-sender",
        "agents": rows,
    }


def _on_disk(gateway: Gateway) -> Config:
    """Return the config as the file has it now; the running one if it is broken."""
    try:
        text = gateway.config.path.read_text("utf-8")
    except (OSError, ValueError):
        return gateway.config
    return configfile.check(gateway, text)[0] or gateway.config


class IdentityParams(Wire):
    """Parameters of ``agent.identity.get``; one of them, or none for the default."""

    agent_id: str | None = Word
    session_key: str | None = Field(None, max_length=512)


class IdentityResult(Loose):
    """How an agent presents itself."""

    agent_id: str
    name: str
    avatar: str


@method("agent.identity.get", scope=READ, params=IdentityParams, result=IdentityResult)
async def agent_identity_get(
    params: IdentityParams, context: Context
) -> dict[str, Any]:
    """Return name and picture of an agent, or of the one that has a session."""
    gateway = context.gateway
    agent_id = params.agent_id or ""
    if params.session_key:
        owner = gateway.key(params.session_key).split(":")[1]
        if agent_id and gateway.config.agent(agent_id).id != owner:
            raise MethodError(f"session {params.session_key!r} is of agent {owner!r}")
        agent_id = owner
    agent = gateway.config.agent(agent_id or gateway.config.default_agent_id)
    identity = agent.identity
    picture = identity.avatar or ""
    is_shown = picture.startswith(("https://", "http://", "data:image/"))
    facts = {
        "agentId": agent.id,
        "name": identity.name or agent.name or "Assistant",
        "avatar": picture if is_shown else identity.emoji or "A",
        "avatarStatus": "remote" if is_shown else "none",
    }
    if not is_shown:
        facts["avatarReason"] = "missing"
    return facts | ({"emoji": identity.emoji} if identity.emoji else {})


# --- Changing them --------------------------------------------------------------------


class CreateParams(Wire):
    """Parameters of ``agents.create``; the id is made of the name."""

    name: str = Field(min_length=1, max_length=128)
    workspace: str | None = Field(None, min_length=1, max_length=4096)
    model: str | None = Word
    emoji: str | None = Word
    avatar: str | None = Field(None, max_length=65_536)


class ChangeResult(Loose):
    """What was done; it holds once the gateway has restarted."""

    ok: bool
    agent_id: str
    restart_required: bool


@method("agents.create", scope=ADMIN, params=CreateParams, result=ChangeResult)
async def agents_create(params: CreateParams, context: Context) -> dict[str, Any]:
    """Add an agent to the config file, and make its workspace."""
    agent_id = _id_of(params.name)
    entry: dict[str, Any] = {"id": agent_id, "name": params.name.strip()}
    look = {"emoji": params.emoji, "avatar": params.avatar}
    facts = {"workspace": params.workspace, "model": params.model}
    entry |= {name: value for name, value in facts.items() if value}
    if identity := {name: value for name, value in look.items() if value}:
        entry["identity"] = identity

    def add(config: Config, agents: list[dict[str, Any]]) -> Edit:
        if agent_id in config.agent_ids:
            raise MethodError(f'agent "{agent_id}" already exists')
        # The first in the list would take the place of the one that is implied.
        implied = [] if agents else [{"id": config.default_agent_id}]
        put: list[tuple[tuple[str, ...], Any]] = [
            (("agents", "list", str(place)), one)
            for place, one in enumerate([*implied, entry], len(agents))
        ]
        return Edit(put=put)

    await _edit(context, add)
    own = f"agents/{agent_id}/workspace"
    folder = await anyio.to_thread.run_sync(
        _make, context.gateway.home, params.workspace or own
    )
    answer = {"ok": True, "agentId": agent_id, "name": params.name.strip()}
    return answer | {"workspace": str(folder), "restartRequired": True}


class UpdateParams(Wire):
    """Parameters of ``agents.update``; what is absent stays."""

    agent_id: str = Id
    name: str | None = Field(None, min_length=1, max_length=128)
    workspace: str | None = Field(None, min_length=1, max_length=4096)
    model: str | None = Word
    emoji: str | None = Word
    avatar: str | None = Field(None, max_length=65_536)


@method("agents.update", scope=ADMIN, params=UpdateParams, result=ChangeResult)
async def agents_update(params: UpdateParams, context: Context) -> dict[str, Any]:
    """Change an agent in the config file."""
    agent_id = _id_of(params.agent_id)

    def change(config: Config, agents: list[dict[str, Any]]) -> Edit:
        place = _place(config, agents, agent_id)
        way = ("agents", "list", str(place))
        put: list[tuple[tuple[str, ...], Any]] = []
        if place == len(agents):  # the one that is implied
            put.append((way, {"id": agent_id}))
        for name in ("name", "workspace", "model"):
            if value := getattr(params, name):
                put.append(((*way, name), value))
        for name in ("emoji", "avatar"):
            if value := getattr(params, name):
                put.append(((*way, "identity", name), value))
        return Edit(put=put)

    await _edit(context, change)
    return {"ok": True, "agentId": agent_id, "restartRequired": True}


class DeleteParams(Wire):
    """Parameters of ``agents.delete``."""

    agent_id: str = Id
    delete_files: bool | None = None


@method("agents.delete", scope=ADMIN, params=DeleteParams, result=ChangeResult)
async def agents_delete(params: DeleteParams, context: Context) -> dict[str, Any]:
    """Take an agent out of the config file; its own workspace is put aside."""
    gateway, agent_id, removed = context.gateway, _id_of(params.agent_id), 0

    def remove(config: Config, agents: list[dict[str, Any]]) -> Edit:
        nonlocal removed
        place = _place(config, agents, agent_id)
        if agent_id == config.default_agent_id:
            raise MethodError(f'"{agent_id}" cannot be deleted: it is the default one')
        bound = [n for n, b in enumerate(config.bindings) if b.agent == agent_id]
        removed = len(bound)
        drop = [("bindings", str(n)) for n in reversed(bound)]
        return Edit(drop=[*drop, ("agents", "list", str(place))])

    await _edit(context, remove)
    if params.delete_files is not False:
        folder = gateway.home / "agents" / agent_id / "workspace"
        await anyio.to_thread.run_sync(_put_aside, folder)
    answer = {"ok": True, "agentId": agent_id, "removedBindings": removed}
    return answer | {"restartRequired": True}


class Edit:
    """What is to be changed in the file; see `rustyclaw.edit_config`."""

    def __init__(
        self,
        drop: list[tuple[str, ...]] | None = None,
        put: list[tuple[tuple[str, ...], Any]] | None = None,
    ) -> None:
        self.drop, self.put = drop or [], put or []


async def _edit(context: Context, make: Any) -> None:
    """Change the config file; ``make`` is told what it says now."""
    gateway = context.gateway

    def work() -> tuple[configfile.ConfigFile, configfile.ConfigFile]:
        before = configfile.read(gateway)
        config, issues = configfile.check(gateway, before.text)
        if config is None or issues:
            raise MethodError("invalid config", details={"issues": issues})
        agents = before.parsed.get("agents", {}).get("list", [])
        edit: Edit = make(config, agents)
        edit_config(gateway.config.path, drop=edit.drop, put=edit.put)
        return before, configfile.read(gateway)

    async with context.server.config_lock:
        try:
            before, after = await anyio.to_thread.run_sync(work)
        except ConfigError as exc:
            raise MethodError(str(exc)) from None
    announce(context.server, before, after)


def _place(config: Config, agents: list[dict[str, Any]], agent_id: str) -> int:
    if agent_id not in config.agent_ids:
        raise MethodError(f'agent "{agent_id}" not found')
    ids = [str(agent.get("id", "")).lower() for agent in agents]
    return ids.index(agent_id) if agent_id in ids else len(agents)


def _id_of(name: str) -> str:
    """Return the id that the core makes of a name."""
    agent_id = re.sub(r"[^a-z0-9_-]", "-", name.strip().lower()).lstrip("-_")[:64]
    if not agent_id:
        raise MethodError(f"no id can be made of {name!r}; use letters or digits")
    return agent_id


def _make(home: Path, workspace: str) -> Path:
    folder = home / Path(workspace).expanduser()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _put_aside(folder: Path) -> None:
    if folder.is_dir():
        folder.rename(folder.with_name(f"workspace.deleted-{int(time.time() * 1000)}"))


# --- Work for them --------------------------------------------------------------------


class SpawnParams(Wire):
    """Parameters of ``agents.spawn``.

    :param session_key: The session that hands the task on; it counts the depth.
    """

    task: str = Field(min_length=1, max_length=1_000_000)
    agent_id: str | None = Word
    session_key: str | None = Field(None, max_length=512)
    label: str | None = Field(None, max_length=64)
    model: str | None = Word
    thinking: str | None = Word
    timeout_seconds: float | None = Field(None, gt=0, le=86_400)
    idempotency_key: str | None = Field(None, min_length=1, max_length=256)


class SpawnResult(Wire):
    """Where the task is worked on; the run tells the rest."""

    ok: bool
    session_key: str
    run_id: str
    depth: int


@method("agents.spawn", scope=WRITE, params=SpawnParams, result=SpawnResult)
async def agents_spawn(params: SpawnParams, context: Context) -> dict[str, Any]:
    """Have an agent do a task in a session of its own."""
    server, gateway = context.server, context.gateway
    run_id = params.idempotency_key or str(uuid4())
    if known := server.dedupe.get(f"agents.spawn:{run_id}"):
        return dict(known)
    if gateway.draining:
        text = "the gateway is stopping; try again later"
        raise MethodError(text, code="UNAVAILABLE")
    parent = gateway.key(params.session_key) if params.session_key else ""
    depth = parent.count(_SUBAGENT) + 1
    if depth > _MAX_DEPTH:
        raise MethodError(
            f"session {parent!r} is {depth - 1} deep already; at most {_MAX_DEPTH} "
            "tasks may stand below one another"
        )
    own = parent.split(":")[1] if parent else gateway.config.default_agent_id
    agent = gateway.config.agent(params.agent_id or own).id
    nested = parent.partition(_SUBAGENT)[2]
    above = f"{_SUBAGENT}{nested}" if nested else ""
    key = gateway.key(f"agent:{agent}{above}{_SUBAGENT}{uuid4()}")
    answer = {"ok": True, "sessionKey": key, "runId": run_id, "depth": depth}
    server.dedupe.keep(f"agents.spawn:{run_id}", answer)
    try:
        await gateway.state.sessions.get_or_create(key)
        if params.label:
            await gateway.state.sessions.patch(key, label=params.label)
    except RustyclawError:
        server.dedupe.keep(f"agents.spawn:{run_id}", None)
        raise
    options = RunOptions(
        model=params.model,
        thinking=params.thinking,
        timeout_seconds=params.timeout_seconds,
    )
    run = LiveRun(run_id=run_id, key=key)
    await server.runs.start(run, Message.user(clean(params.task)), options)
    return answer
