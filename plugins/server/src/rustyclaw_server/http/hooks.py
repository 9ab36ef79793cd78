"""``/hooks/*``: other programs wake the assistant (sheet section 14).

They show a token of their own, which is good for nothing else. What they bring is text
from outside, and marked as such. A hook is answered when its run has been started; what
a crash interrupts then is lost, so senders that must not lose anything ask again with
the same ``Idempotency-Key``.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from rustyclaw import (
    ConfigError,
    Message,
    RunOptions,
    RustyclawError,
    SessionError,
    Target,
)

from rustyclaw_server.auth.limiter import Failures, Rate
from rustyclaw_server.auth.secret import same
from rustyclaw_server.http.answers import Refused, answer_json, plain_error, refused_by
from rustyclaw_server.http.body import read_model
from rustyclaw_server.http.guard import bearer, caller_of
from rustyclaw_server.http.untrusted import NOTICE, Marks
from rustyclaw_server.wire.liverun import LiveRun

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rustyclaw_server.config import HookMapping
    from rustyclaw_server.server import Server

logger = logging.getLogger(__name__)

MAX_BYTES = 262_144
_FAILURES, _WINDOW_SECONDS, _LOCK_SECONDS = 20, 60.0, 60.0
_FIELD = re.compile(r"\{([\w.-]+)\}")
_IN_QUERY = (
    "the token of a hook goes into `Authorization: Bearer <token>` or "
    "`X-OpenClaw-Token`; query parameters are not allowed"
)


class HookParams(BaseModel):
    """Base of what hooks are sent; more of it is nobody's business."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="ignore", hide_input_in_errors=True
    )


class WakeParams(HookParams):
    """An event for the main conversation."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_BYTES, pattern=r"\S")]
    mode: Literal["now", "next-heartbeat"] = "now"


class WakeAnswer(BaseModel):
    """It is in the conversation, or on its way."""

    ok: Literal[True]
    mode: str


class AgentHookParams(HookParams):
    """A task for an agent, in a session of its own."""

    message: Annotated[str, Field(min_length=1, max_length=MAX_BYTES, pattern=r"\S")]
    name: Annotated[str, Field(max_length=100)] = "Hook"
    agent_id: (
        Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]*$", max_length=64)]
        | None
    ) = None
    session_key: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    wake_mode: Literal["now", "next-heartbeat"] = "now"
    deliver: bool = True
    channel: Annotated[str, Field(min_length=1, max_length=64)] = "last"
    to: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    thinking: Annotated[str, Field(max_length=32)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None


class AgentHookAnswer(BaseModel):
    """The run has been started."""

    ok: Literal[True]
    runId: str  # the wire's own name


class AnyBody(HookParams):
    """What a mapping takes fields from."""

    model_config = ConfigDict(extra="allow")


class Hooks:
    """All hooks of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        config = server.config.hooks
        self._config = config
        self._mappings = {mapping.name: mapping for mapping in config.mappings}
        self._failures = Failures(_FAILURES, _WINDOW_SECONDS, _LOCK_SECONDS)
        self._rate = Rate(config.per_minute)

    async def __call__(self, request: Request) -> Response:
        """Serve a hook; errors are plain text, as other gateways have it."""
        try:
            self._check(request)
            return await self._serve(request)
        except (Refused, RustyclawError) as exc:
            return plain_error(_refused(exc))

    def _check(self, request: Request) -> None:
        """Check who calls, before anything is read.

        :raises Refused: 400, 401, 405 or 429.
        """
        if request.method != "POST":
            raise Refused(405, "Method Not Allowed", {"allow": "POST"})
        if "token" in request.query_params:
            raise Refused(400, _IN_QUERY)
        bucket = caller_of(request).bucket
        if wait := self._failures.locked_for(bucket):
            raise Refused(429, "Too Many Requests", {"retry-after": f"{wait:.0f}"})
        shown = bearer(request) or request.headers.get("x-openclaw-token", "").strip()
        token = self._config.token
        if token is None or not shown or not same(shown, token.get_secret_value()):
            self._failures.count(bucket)
            raise Refused(401, "Unauthorized")
        if wait := self._rate.wait_for(bucket):
            raise Refused(429, "Too Many Requests", {"retry-after": f"{wait:.0f}"})

    async def _serve(self, request: Request) -> Response:
        name = request.path_params["name"]
        limits = self._server.config.limits
        if self._server.gateway.draining:
            raise Refused(503, "the gateway is stopping", {"retry-after": "10"})
        if name == "wake":
            wake = await read_model(request, WakeParams, limits, MAX_BYTES)
            return await self._once(request, 200, lambda: self._wake(wake))
        if name == "agent":
            task = await read_model(request, AgentHookParams, limits, MAX_BYTES)
            return await self._once(request, 202, lambda: self._agent(task))
        if mapping := self._mappings.get(name):
            body = await read_model(request, AnyBody, limits, MAX_BYTES)
            facts = body.model_extra or {}
            return await self._once(request, 202, lambda: self._mapped(mapping, facts))
        raise Refused(404, "Not Found")

    async def _once(
        self,
        request: Request,
        status: int,
        work: Callable[[], Awaitable[dict[str, Any]]],
    ) -> Response:
        """Do it, unless the same was done under the same key not long ago."""
        key = request.headers.get("idempotency-key", "").strip()[:256]
        name = f"hook:{request.url.path}:{key}"
        dedupe = self._server.dedupe
        if key and (known := dedupe.get(name)):
            return answer_json(known, status)
        if key:
            dedupe.keep(name, {"ok": True})  # for one that comes meanwhile
        try:
            answer = await work()
        except BaseException:
            if key:
                dedupe.keep(name, None)
            raise
        if key:
            dedupe.keep(name, answer)
        return answer_json(answer, status)

    # --- What they do -----------------------------------------------------------------

    async def _wake(self, params: WakeParams) -> dict[str, Any]:
        """Put an event into the main conversation; ``now``: have it answered."""
        gateway = self._server.gateway
        text = f"[An event from a webhook]\n{Marks().around(params.text)}"
        if params.mode == "now":
            await self._start(gateway.key("main"), text, RunOptions(system=NOTICE))
        else:
            await gateway.inject("main", Message.user(f"{text}\n{NOTICE}"))
        return {"ok": True, "mode": params.mode}

    async def _agent(self, params: AgentHookParams) -> dict[str, Any]:
        gateway = self._server.gateway
        agent_id = gateway.config.default_agent_id
        if params.agent_id:
            agent_id = gateway.config.agent(params.agent_id).id
        if params.session_key and not self._config.allow_session_key:
            raise Refused(400, "sessionKey is not allowed; see hooks.allow_session_key")
        channel = params.channel
        if channel != "last" and channel not in gateway.deliveries:
            raise Refused(400, f"no channel {channel!r} is open here")
        if params.model and not self._is_model(params.model):
            raise Refused(400, f"there is no model {params.model!r}")
        name = re.sub(r"[^\w .-]", "", params.name) or "Hook"
        options = RunOptions(
            system=NOTICE,
            model=params.model,
            thinking=params.thinking,
            timeout_seconds=params.timeout_seconds,
        )
        text = f"[Task of the webhook {name}]\n{Marks().around(params.message)}"
        key = self._session(params.session_key, agent_id)
        target = None
        if params.deliver:
            target = await self._target_of(key, params.channel, params.to)
        run = await self._start(key, text, options, target)
        return {"ok": True, "runId": run.run_id}

    async def _mapped(
        self, mapping: HookMapping, facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Fill a mapping's template: it is the owner's, the fields are not."""
        gateway, marks = self._server.gateway, Marks()
        agent_id = gateway.config.default_agent_id
        if mapping.agent_id:
            agent_id = gateway.config.agent(mapping.agent_id).id
        text = _FIELD.sub(
            lambda match: marks.around(_value(facts, match[1])), mapping.message
        )
        key = self._session(mapping.session_key, agent_id)
        target = await self._target_of(key, "last", None)
        run = await self._start(key, text, RunOptions(system=NOTICE), target)
        return {"ok": True, "runId": run.run_id}

    def _is_model(self, model: str) -> bool:
        providers = self._server.gateway.loader.enabled("providers")
        return model.partition("/")[0] in providers

    def _session(self, key: str | None, agent_id: str) -> str:
        if key is None:
            return f"agent:{agent_id}:hook:{uuid4()}"
        full = key if key.lower().startswith("agent:") else f"agent:{agent_id}:{key}"
        full = self._server.gateway.key(full)
        self._server.gateway.config.agent(full.split(":")[1])
        return full

    async def _start(
        self, key: str, text: str, options: RunOptions, target: Target | None = None
    ) -> LiveRun:
        run = LiveRun(run_id=str(uuid4()), key=key)
        return await self._server.runs.start(run, Message.user(text), options, target)

    async def _target_of(self, key: str, channel: str, to: str | None) -> Target | None:
        """Return the chat that was named, or that the owner last used."""
        if to and channel != "last":
            return Target(channel=channel, chat_id=to)
        agent_id = key.split(":")[1]
        main = await self._server.gateway.state.sessions.get(f"agent:{agent_id}:main")
        target = main.last_target if main else None
        if target is None or channel not in ("last", target.channel):
            logger.info("the answer of a hook in %s has no chat to go to", key)
            return None
        return target


def fields_of(template: str) -> list[str]:
    """Return the first parts of the fields that a template takes from a body."""
    return [name.partition(".")[0] for name in _FIELD.findall(template)]


def _value(facts: Mapping[str, Any], dotted: str) -> str:
    """Return a field of a body as text; empty if there is none."""
    value: Any = facts
    for part in dotted.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return ""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _refused(exc: Exception) -> Refused:
    if isinstance(exc, SessionError) and "is not a session key" not in str(exc):
        return Refused(503, str(exc), {"retry-after": "10"})  # it is in use
    if isinstance(exc, ConfigError | SessionError):
        return Refused(400, str(exc))
    return refused_by(exc)


async def hook(request: Request) -> Response:
    """Wake the assistant; which of the hooks is the last part of the path."""
    hooks: Hooks = request.state.hooks
    return await hooks(request)
