"""Which agent, model and session a request means: its ``model``, headers and user."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import uuid4

from rustyclaw import ConfigError, SessionError

from rustyclaw_server.http.answers import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rustyclaw_server.server import Server

AGENT_HEADER = "x-openclaw-agent-id"
SESSION_HEADER = "x-openclaw-session-key"
#: Names of the default agent as a model.
OWN_NAMES = ("rustyclaw", "openclaw")
_AGENT = re.compile(r"(?:(?:rustyclaw|openclaw)[:/]|agent:)(.+)", re.IGNORECASE)
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_KEY = re.compile(r"[\x21-\x7e]{1,512}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a request is answered.

    :param model: ``provider/model``; ``None``: the session's own.
    :param is_fresh: Nobody else has the session: it is made for this request.
    """

    session: str
    model: str | None
    is_fresh: bool


def place_of(
    server: Server, model: str, headers: Mapping[str, str], user: str | None, kind: str
) -> Place:
    """Return where a request is answered.

    :param user: Names a session that its next requests will find again.
    :param kind: Begins the name of a session that is made, such as ``openai``.
    :raises Refused: 404 for an unknown model or agent, 400 for a wrong header.
    """
    agent_id, chosen = _agent_and_model(server, model)
    if named := headers.get(AGENT_HEADER, "").strip():
        if agent_id and _known(server, named, AGENT_HEADER) != agent_id:
            problem = f"model and {AGENT_HEADER} name different agents"
            raise Refused(400, problem, param=AGENT_HEADER)
        agent_id = _known(server, named, AGENT_HEADER)
    key = headers.get(SESSION_HEADER, "").strip()
    if key:
        session = _session(server, key, agent_id)
        return Place(session=session, model=chosen, is_fresh=False)
    agent_id = agent_id or server.gateway.config.default_agent_id
    if user:
        session = server.gateway.key(f"agent:{agent_id}:{kind}-user:{_part(user)}")
        return Place(session=session, model=chosen, is_fresh=False)
    session = f"agent:{agent_id}:{kind}:{uuid4()}"
    return Place(session=session, model=chosen, is_fresh=True)


def _agent_and_model(server: Server, model: str) -> tuple[str, str | None]:
    """Return the agent that a model's name names, or the model of a provider."""
    name = model.strip()
    if name.lower() in OWN_NAMES:
        return "", None
    if match := _AGENT.fullmatch(name):
        return _known(server, match[1], "model"), None
    if name.partition("/")[0] in server.gateway.loader.enabled("providers"):
        return "", name
    raise unknown_model(model)


def unknown_model(model: str) -> Refused:
    """Return what is said of a model that nobody offers."""
    text = f"The model {model[:200]!r} does not exist; GET /v1/models lists those here"
    return Refused(404, text, param="model", code="model_not_found")


def _known(server: Server, agent_id: str, param: str) -> str:
    name = agent_id.strip().lower()
    try:
        if not _ID.fullmatch(name):  # the config would make another one of it
            raise ConfigError(name)
        return server.gateway.config.agent(name).id
    except ConfigError:
        status = 404 if param == "model" else 400
        code = "model_not_found" if param == "model" else None
        problem = f"there is no agent {agent_id[:64]!r}"
        raise Refused(status, problem, param=param, code=code) from None


def _session(server: Server, key: str, agent_id: str) -> str:
    """Return the full key that a header means.

    :param agent_id: Whose it must be; empty: any agent's.
    """
    if not _KEY.fullmatch(key):
        raise Refused(400, "a session key has 1 to 512 printable characters, no space")
    if not key.lower().startswith("agent:"):
        key = f"agent:{agent_id or server.gateway.config.default_agent_id}:{key}"
    try:
        full = server.gateway.key(key)
    except SessionError as exc:
        raise Refused(400, str(exc), param=SESSION_HEADER) from None
    owner = _known(server, full.split(":")[1], SESSION_HEADER)
    if agent_id and owner != agent_id:
        problem = f"session {full!r} is not of agent {agent_id!r}"
        raise Refused(400, problem, param=SESSION_HEADER)
    return full


def _part(user: str) -> str:
    """Return a user's name as a part of a key, unlike for unlike names."""
    plain = re.sub(r"[^a-z0-9@._+-]", "-", user.lower())[:64]
    digest = sha256(user.encode(errors="surrogatepass")).hexdigest()[:12]
    return plain if plain == user else f"{plain}~{digest}"
