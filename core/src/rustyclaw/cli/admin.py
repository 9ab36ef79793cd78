"""The commands that look at what is kept, and change it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import anyio
import yaml
from typer import Argument, Context, Option, confirm

import rustyclaw as rc
from rustyclaw.cli.app import Json
from rustyclaw.cli.remote import NotServed, ask_gateway, is_served
from rustyclaw.cli.terminal import clean, serve, show, start
from rustyclaw.config import edit, home_dir, schema
from rustyclaw.discovery import discover
from rustyclaw.loading import Loader
from rustyclaw.sessions.entries import encode
from rustyclaw.sessions.store import SessionInfo
from rustyclaw.state import State

T = TypeVar("T")
Yes = Annotated[bool, Option("--yes", help="Do not ask.")]
Plugins = Annotated[bool, Option("--plugins", help="Load plugins, for theirs.")]


def gateway(ctx: Context) -> None:
    """Serve all channels until SIGINT or SIGTERM; what was begun is finished."""
    if ctx.invoked_subcommand is None:
        serve()


def status(as_json: Json = False) -> None:
    """Show how things stand; no plugin is imported."""
    config = rc.load_config()
    enabled = Loader(config, discover()).enabled
    facts: dict[str, Any] = {
        "version": rc.__version__,
        "home": str(config.home),
        "config": str(config.path),
        "warnings": config.warnings,
        "model": config.agents.defaults.model,
        "providers": enabled("providers"),
        "channels": enabled("channels"),
        "gateway": "running" if anyio.run(is_served, config.home) else "not running",
        "sessions": len(in_state(lambda s: s.sessions.list())),
        "pending_pairings": len(in_state(lambda s: s.access.pending())),
        "undelivered_replies": len(in_state(lambda s: s.journal.troubles())),
    }
    rows = [{"what": name, "is": fact} for name, fact in facts.items()]
    show(facts if as_json else rows, as_json, "what is")


# --- Plugins and config ---------------------------------------------------------


def plugins_list(as_json: Json = False) -> None:
    """List what is installed, and why it is not enabled; nothing is imported."""
    rows = [asdict(s) for s in Loader(rc.load_config(), discover()).statuses()]
    show(rows, as_json, "state kind name dist version summary reason")


def plugins_allow(name: str) -> None:
    """Allow a plugin, or all of a distribution."""
    _move(name, "deny", "allow")


def plugins_deny(name: str) -> None:
    """Deny a plugin, or all of a distribution."""
    _move(name, "allow", "deny")


def _move(name: str, away: str, to: str) -> None:
    config = rc.load_config()
    listed = getattr(config.plugins, away) or ()
    if name in listed:
        edit.unset_config(config.path, f"plugins.{away}.{listed.index(name)}")
    listed = getattr(config.plugins, to)
    if listed is not None and name not in listed:  # without a list all are allowed
        edit.set_config(config.path, f"plugins.{to}.{len(listed)}", name)


def config_get(key: Annotated[str, Argument()] = "", as_json: Json = False) -> None:
    """Show one setting or all of them, with the defaults, without secrets."""
    value: Any = rc.load_config().redacted()
    try:
        for part in filter(None, key.split(".")):
            value = value[int(part) if isinstance(value, list) else part]
    except (LookupError, TypeError, ValueError):
        raise rc.ConfigError(f"nothing is set at {key!r}") from None
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    show(value, True) if as_json else print(clean(text).removesuffix("...\n"), end="")


config_show = config_get


def config_set(key: str, value: str) -> None:
    """Set one value, written as YAML; comments in the file stay."""
    parsed: Any = yaml.safe_load(value)
    if not isinstance(parsed, list | dict):
        parsed = value
        with suppress(ValueError):  # other words stay text, as they do in the file
            parsed = json.loads(value)
    edit.set_config(settings_file(), key, parsed)


def config_unset(key: str) -> None:
    """Remove one value from the file."""
    edit.unset_config(settings_file(), key)


def config_validate() -> None:
    """Check the file; print all that is wrong with it."""
    config = rc.load_config()
    print(clean("\n".join([*config.warnings, f"{config.path} is valid"])))


def config_schema(plugins: Plugins = False) -> None:
    """Print the JSON Schema of the file."""
    loader, models = Loader(rc.load_config(), discover()), dict[str, dict[str, Any]]()
    for row in loader.statuses() if plugins else ():
        with suppress(rc.PluginError):
            if model := getattr(loader.load(row.kind, row.name), "Config", None):
                models.setdefault(row.kind, {})[row.name] = model
    show(schema.config_schema(models), as_json=True)


def config_path() -> None:
    """Print where the file is."""
    print(settings_file())


def settings_file() -> Path:
    named = os.environ.get("RUSTYCLAW_CONFIG")  # it may be a file that is invalid
    return Path(named).expanduser() if named else home_dir() / "config.yaml"


# --- Sessions, pairing, agents ----------------------------------------------------


def sessions_list(as_json: Json = False) -> None:
    """List conversations, the last used first."""
    rows = [asdict(info) for info in in_state(lambda s: s.sessions.list())]
    show(rows, as_json, "key label model updated_at context_tokens")


def sessions_show(key: str, as_json: Json = False) -> None:
    """Print a conversation; as JSON one entry a line."""

    info = _known(key)
    for entry in in_state(lambda s: s.sessions.transcript(info)).entries:
        if as_json:
            print(json.dumps(json.loads(encode(entry))))
        elif message := entry.message:
            for block in message.content:
                text = getattr(block, "text", f"[{block}]")
                print(clean(f"{message.role}: {text}"))
        else:
            print(clean(f"[{entry.kind}] {entry.summary or entry.event}"))


def sessions_reset(key: str) -> None:
    """Begin a conversation anew; the old transcript is kept aside."""
    _end(_known(key).key, "reset")


def sessions_delete(key: str, yes: Yes = False) -> None:
    """Forget a conversation; its transcript is kept aside."""
    if not yes and not sys.stdin.isatty():
        raise rc.ConfigError("nobody is there to ask; add `--yes`")
    if yes or confirm(f"delete {key}?", abort=True):
        _end(_known(key).key, "delete")


def _known(key: str) -> SessionInfo:
    if info := in_state(lambda s: s.sessions.get(key)):
        return info
    raise rc.SessionError(f"there is no session {key!r}; see `sessions list`")


def _end(key: str, reason: str) -> None:
    async def end() -> None:
        async with rc.Gateway(start(), channels=False) as gateway:  # so that hooks fire
            await gateway.reset(key, reason)

    try:
        ask_gateway(f"sessions.{reason}", key=key)
    except NotServed:
        anyio.run(end)


def pairing_list(as_json: Json = False) -> None:
    """List the senders who wait to be let in."""
    rows = [asdict(request) for request in in_state(lambda s: s.access.pending())]
    show(rows, as_json, "channel code sender name created")


def pairing_approve(channel: str, code: str) -> None:
    """Let a sender in."""
    sender = _resolved("approve", channel, code)
    print(clean(f"{sender} may talk to you on {channel}"))


def pairing_reject(channel: str, code: str) -> None:
    """Turn a sender away, who may ask again."""
    sender = _resolved("reject", channel, code)
    print(clean(f"{sender} was turned away on {channel}"))


def _resolved(how: Literal["approve", "reject"], channel: str, code: str) -> str:
    """Decide about a sender; a gateway that runs can tell them so."""
    try:
        return str(ask_gateway(f"pairing.{how}", channel=channel, code=code)["sender"])
    except NotServed:
        request = in_state(lambda s: getattr(s.access, how)(channel, code))
        return str(request.sender)


def agents_list(as_json: Json = False) -> None:
    """List the agents."""
    from rustyclaw.agent.place import workspace_of

    config = rc.load_config()
    rows = [config.agent(id).model_dump() for id in config.agent_ids]
    for row in rows:
        row["workspace"] = str(workspace_of(config, config.home, row["id"]))
    show(rows, as_json, "id name model workspace")


def agents_add(id: str, name: str = "", workspace: str = "", model: str = "") -> None:
    """Add an agent to the config, and make its workspace."""
    config = rc.load_config()
    facts = {"id": id, "name": name, "workspace": workspace, "model": model}
    # The first agent in the list would take the place of the one that is implied.
    implied = () if config.agents.list else ({"id": config.default_agent_id},)
    for place, agent in enumerate((*implied, facts), len(config.agents.list)):
        known = {key: value for key, value in agent.items() if value}
        edit.set_config(config.path, f"agents.list.{place}", known)
    seed(id)


def approvals_list(as_json: Json = False) -> None:
    """List the questions of the running gateway that wait for an answer."""
    rows = ask_gateway("approvals.list")["approvals"]
    none = {"reason": "", "sessionKey": ""}
    times = [{**row, "expires": row["expiresAtMs"] / 1000} for row in rows]
    flat = [{**none, **row["request"], **row} for row in times]
    show(rows if as_json else flat, as_json, "id command reason sessionKey expires")


def approvals_allow(
    id: str, always: Annotated[bool, Option("--always", help="From now on.")] = False
) -> None:
    """Allow what a question is about, if the gateway takes answers from here."""
    _decide(id, "allow-always" if always else "allow-once")


def approvals_deny(id: str) -> None:
    """Deny what a question is about, if the gateway takes answers from here."""
    _decide(id, "deny")


def _decide(id: str, decision: str) -> None:
    ask_gateway("exec.approval.resolve", id=id, decision=decision)
    print(clean(f"{id}: {decision}"))


def approvals_allowed(as_json: Json = False) -> None:
    """List what is allowed for always, the newest first."""
    rows = [
        {"id": _short(key), "since": since, "key": key}
        for key, since in in_state(lambda s: s.allowances())
    ]
    show(rows, as_json, "id since key")


def approvals_forget(id: str) -> None:
    """Ask again about what is allowed for always; its id, or its whole key."""
    keys = [key for key, _ in in_state(lambda s: s.allowances())]
    found = [key for key in keys if id in (key, _short(key))]
    if not found:
        raise rc.RustyclawError(f"nothing {id!r} is allowed; see `approvals allowed`")
    in_state(lambda s: s.forget(found[0]))


def _short(key: str) -> str:
    return sha256(key.encode(errors="surrogatepass")).hexdigest()[:16]


# --- What other commands use --------------------------------------------------------


def seed(agent_id: str = "") -> None:
    """Make the workspace of an agent; the default one's if none is named."""
    from rustyclaw.agent.place import workspace_of
    from rustyclaw.agent.prompt import seed_workspace

    config = rc.load_config()
    folder = workspace_of(config, config.home, agent_id or config.default_agent_id)
    print(f"workspace {folder}: {', '.join(seed_workspace(folder)) or 'is there'}")


def in_state(work: Callable[[State], Awaitable[T]]) -> T:
    """Open the state of the home, work with it, and close it."""

    async def open_and_work() -> T:
        config = rc.load_config()
        async with State(config.home, config) as state:
            return await work(state)

    return anyio.run(open_and_work)
