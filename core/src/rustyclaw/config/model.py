"""The settings of the core, as frozen models; the schema and docs come from here."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from rustyclaw.config.secrets import Redactor
from rustyclaw.config.source import M, Source
from rustyclaw.errors import ConfigError
from rustyclaw.messages import ChatType

Kind = Literal["providers", "channels", "tools", "hooks", "compactors"]
Names = tuple[str, ...]
DmScope = Literal["main", "per_peer", "per_channel_peer", "per_account_channel_peer"]
Profile = Literal["minimal", "coding", "messaging", "full"]
#: Sections by plugin name; one without a value (``telegram:``) is an empty one.
Raw = Annotated[dict[str, Any], BeforeValidator(lambda v: {} if v is None else v)]
Sections = dict[str, Raw]
_NOTHING: Mapping[str, Any] = {}
#: ASCII by name: `\w` is all of Unicode, and its automaton takes a megabyte.
LogFilter = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_.]+=(debug|info|warning|error)$")
]


def agent_id(text: str) -> str:
    """Return an agent's id in normal form: lower case, ``-`` for odd characters."""
    text = re.sub(r"[^a-z0-9_-]", "-", text.strip().lower()).lstrip("-_")
    return text[:64] or "main"


AgentId = Annotated[str, AfterValidator(agent_id)]


def setting(default: Any, description: str, **limits: Any) -> Any:
    """Return a field of a section; a class as default is called to make it."""
    if isinstance(default, type):
        return Field(default_factory=default, description=description)
    return Field(default, description=description, **limits)


class _Section(BaseModel):
    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        coerce_numbers_to_str=True,  # ids on chat platforms often look like numbers
        hide_input_in_errors=True,
    )


class ToolPolicy(_Section):
    """Which tools may be used: a name, a glob, or ``group:NAME`` in each list."""

    profile: Profile | None = setting(None, "a ready-made choice of tools")
    allow: Names = setting((), "only these tools; empty: all of the profile")
    deny: Names = setting((), "never these tools; wins over allow")


class ToolsConfig(ToolPolicy, extra="allow"):
    """The policy for all agents; every other key is the section of a tool plugin."""

    __pydantic_extra__: Sections
    profile: Profile = setting("full", "a ready-made choice of tools")
    shared_deny: Names = setting(
        ("group:exec", "group:write"), "never these tools in groups and channels"
    )


class AgentDefaults(_Section):
    """What holds for every agent that does not say otherwise."""

    model: str | None = setting(None, "`provider/model`, or `provider` for its default")
    workspace: str | None = setting(None, "folder of the default agent")
    max_tokens: int = setting(4096, "longest answer, in tokens", gt=0)
    temperature: float | None = setting(None, "of the model", ge=0, le=2)
    max_tool_iterations: int = setting(25, "model calls in one run", gt=0)
    timeout_seconds: float = setting(600, "deadline of one run", gt=0)
    thinking: str = setting("off", "`off`, or a level such as `low`")
    context_tokens: int | None = setting(None, "upper bound of the window", gt=0)
    max_concurrent: int = setting(32, "runs at the same time", gt=0)
    bootstrap_max_chars: int = setting(20_000, "of a workspace file", gt=0)
    bootstrap_total_chars: int = setting(60_000, "of all workspace files", gt=0)
    user_timezone: str | None = setting(None, "such as `Europe/Berlin`")
    compactor: str = setting("summary", "plugin that shortens conversations")
    tool_result_max_chars: int | None = setting(None, "longer ones are cut", gt=0)


class Identity(_Section):
    """How an agent presents itself."""

    name: str | None = setting(None, "what it calls itself")
    emoji: str | None = setting(None, "its sign, for reactions")
    theme: str | None = setting(None, "its manner, in a sentence")
    avatar: str | None = setting(None, "its picture: path or URL")


class AgentConfig(_Section):
    """One agent; what is absent comes from ``agents.defaults``."""

    id: AgentId = Field(description="lower-case letters, digits, `_` and `-`")
    default: bool = setting(False, "answers what no binding sends elsewhere")
    name: str | None = setting(None, "display name")
    workspace: str | None = setting(None, "its folder")
    model: str | None = setting(None, "`provider/model`, or `provider` for its default")
    identity: Identity = setting(Identity, "its persona")
    system_prompt: str | None = setting(None, "takes the place of the persona")
    max_tokens: int | None = setting(None, "longest answer, in tokens", gt=0)
    temperature: float | None = setting(None, "of the model", ge=0, le=2)
    thinking: str | None = setting(None, "`off`, or a level such as `low`")
    tools: ToolPolicy | None = setting(None, "narrows the policy for all agents")


def _unique(agents: tuple[AgentConfig, ...]) -> tuple[AgentConfig, ...]:
    ids = [agent.id for agent in agents]
    if twice := [id for id in ids if ids.count(id) > 1]:
        raise ValueError(f"duplicate agent id {twice[0]!r}; rename one of them")
    return agents


Agents = Annotated[tuple[AgentConfig, ...], AfterValidator(_unique)]


class AgentsConfig(_Section):
    """The agents and what they have in common."""

    defaults: AgentDefaults = setting(AgentDefaults, "what holds for every agent")
    list: Agents = setting((), "the agents; none: there is one, `main`")


class Peer(_Section):
    """A person or a room on a chat platform."""

    kind: ChatType = Field(description="what the id stands for")
    id: str = Field(description="the platform's id")


class Match(_Section):
    """What a message must be like: all that is given must fit."""

    channel: str = Field(description="name of the channel")
    account_id: str | None = setting(None, "absent: `default`; `*`: any")
    peer: Peer | None = setting(None, "one person or room")
    guild_id: str | None = setting(None, "a Discord server")
    team_id: str | None = setting(None, "a Slack or Teams workspace")


class Binding(_Section):
    """Sends matching messages to an agent; the most specific binding wins."""

    agent: AgentId = Field(description="id of the agent")
    match: Match = Field(description="which messages")


class SessionConfig(_Section):
    """Conversations: who shares one, and how they are kept."""

    dm_scope: DmScope = setting(
        "per_channel_peer",
        "who shares a private conversation; `main` is one for all senders, so that "
        "each may learn what the others said",
    )
    identity_links: dict[str, Names] = setting({}, "one person: `ann: [telegram:1]`")
    fsync: Literal["always", "turn", "never"] = setting("turn", "when to force to disk")
    queue_mode: Literal["collect", "steer"] = setting(
        "collect", "messages during a run: wait for the next, or change this one"
    )
    queue_limit: int = setting(20, "waiting messages of a session", gt=0)
    max_context_tokens: int | None = setting(None, "upper bound of the window", gt=0)
    auto_compact: bool = setting(True, "shorten when the window is full")
    compact_keep_recent: int = setting(10, "messages that are kept verbatim", gt=0)
    max_cached: int = setting(64, "open transcripts in memory", gt=0)
    lock_timeout_seconds: float = setting(10, "wait for another process", gt=0)


class PluginsConfig(_Section):
    """Which plugins are loaded, by name or distribution, and how they behave."""

    allow: Names | None = setting(None, "absent: all that are installed")
    deny: Names = setting((), "never imported")
    required: Names = setting((), "no start without these")
    order: Names = setting((), "hook plugins that come first, in this order")
    budget_seconds: float = setting(5.0, "deadline of one hook call; 0: none", ge=0)
    on_error: dict[str, Literal["open", "closed"]] = setting(
        {}, "by plugin; `open`: a guard that fails does not stop the action"
    )


class LoggingConfig(_Section):
    """The log; secrets never reach it."""

    format: Literal["plain", "json"] = setting("plain", "for people or for machines")
    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "the least to log; the variable RUSTYCLAW_LOG_LEVEL comes first"
    )
    output: str = setting("stderr", "`stderr`, `stdout`, or the path of a file")
    filters: tuple[LogFilter, ...] = setting((), "`module=level`, for single modules")


Account = Annotated[str, Field(pattern=r"^[a-z0-9_-]+:\S+$")]


class GatewayConfig(_Section):
    """The process; the server is a plugin, ``hooks.server``."""

    drain_seconds: float = setting(60, "how long a stop waits for runs", ge=0)
    approvers: tuple[Account, ...] = setting(
        (), "who may answer questions in chats: `telegram:123`, the platform's own id"
    )
    approval_seconds: float = setting(
        120, "how long a question waits; then the answer is no", gt=0, le=3600
    )


class Config(_Section):
    """The whole configuration; `load_config` makes one."""

    agents: AgentsConfig = setting(AgentsConfig, "who answers")
    bindings: tuple[Binding, ...] = setting((), "which agent answers what")
    session: SessionConfig = setting(SessionConfig, "conversations")
    providers: Sections = setting({}, "vendors of models, by name")
    channels: Sections = setting({}, "chat platforms, by name")
    tools: ToolsConfig = setting(ToolsConfig, "the tool policy, and tools by name")
    hooks: Sections = setting({}, "hook plugins, by name")
    compactors: Sections = setting({}, "compactors, by name")
    plugins: PluginsConfig = setting(PluginsConfig, "which plugins are loaded")
    logging: LoggingConfig = setting(LoggingConfig, "the log")
    gateway: GatewayConfig = setting(GatewayConfig, "the process")
    _source: Source = pydantic.PrivateAttr(default_factory=Source)

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return [("path", str(self.path))]  # raw sections hold secrets

    @property
    def path(self) -> Path:
        """The config file; it need not exist."""
        return self._source.path

    @property
    def home(self) -> Path:
        """The folder of all state."""
        return self._source.home

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd but does not stop the start, one line each."""
        return tuple(self._source.warnings)

    @property
    def redactor(self) -> Redactor:
        """Knows the secrets of this configuration."""
        return self._source.redactor

    @property
    def agent_ids(self) -> tuple[str, ...]:
        """The ids of all agents, in order."""
        return tuple(agent.id for agent in self.agents.list) or ("main",)

    @property
    def default_agent_id(self) -> str:
        """The first agent that is marked as default, else the first of all."""
        marked = (agent.id for agent in self.agents.list if agent.default)
        return next(marked, self.agent_ids[0])

    @cached_property
    def _by_id(self) -> dict[str, AgentConfig]:
        agents = self.agents.list or (AgentConfig(id="main"),)
        return {agent.id: agent for agent in agents}

    def agent(self, id: str) -> AgentConfig:
        """Return the settings of an agent.

        :raises ConfigError: There is no such agent.
        """
        known = self._by_id
        found = known.get(id) or known.get(agent_id(id))
        if found is None:
            names = ", ".join(known)
            raise ConfigError(f"there is no agent {id!r}; known are {names}")
        return found

    def section(
        self, kind: Kind, name: str, model: type[M], over: Mapping[str, Any] = _NOTHING
    ) -> M:
        """Return a plugin's section as its own model; absent means all defaults.

        :param over: Values that come before those of the section.
        :raises ConfigError: With one line for each problem.
        """
        sections = self.tools.model_extra if kind == "tools" else getattr(self, kind)
        raw = {**copy.deepcopy((sections or {}).get(name, {})), **over}
        return self._source.validate(model, raw, (kind, name))

    def redacted(self) -> dict[str, Any]:
        """Return the effective configuration as plain values without secrets."""
        return dict(self.redactor.scrub_value(self.model_dump(mode="json")))
