"""What is said in the absence of a plugin: names that clients call all the same.

A plugin that adds one of these methods takes its place: they are looked up only after
the methods of the gateway (`Server.method`). What can be answered truthfully is: there
are no jobs, nothing speaks. The rest is ``UNAVAILABLE`` and says what to install.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import Field
from rustyclaw import MethodError

from rustyclaw_server.auth.scopes import ADMIN, READ, WRITE
from rustyclaw_server.methods.base import Anything, Context, Loose, method
from rustyclaw_server.wire.frames import Wire

Answer = Callable[[Anything, Context], Awaitable[Any]]


def _missing(name: str, scope: str, summary: str, remedy: str) -> Answer:
    """Return a method that says what it would take."""

    @method(name, scope=scope, params=Anything)
    async def missing(params: Anything, context: Context) -> Any:
        raise MethodError(f"{name} is not available here; {remedy}", code="UNAVAILABLE")

    missing.__doc__ = f"{summary} {remedy[0].upper()}{remedy[1:]}."
    return missing


# --- cron.* ---------------------------------------------------------------------------

_CRON = "install rustyclaw-cron"


class JobsResult(Wire):
    """The jobs, of which there are none."""

    jobs: list[dict[str, Any]]


@method("cron.list", scope=READ, params=Anything, result=JobsResult)
async def cron_list(params: Anything, context: Context) -> dict[str, Any]:
    """List scheduled jobs; without rustyclaw-cron there are none."""
    return {"jobs": []}


class CronStatusResult(Wire):
    """How the scheduler is."""

    enabled: bool
    store_path: str
    jobs: int
    next_wake_at_ms: int | None


@method("cron.status", scope=READ, params=Anything, result=CronStatusResult)
async def cron_status(params: Anything, context: Context) -> dict[str, Any]:
    """Return how the scheduler is; without rustyclaw-cron it is off."""
    return {"enabled": False, "storePath": "", "jobs": 0, "nextWakeAtMs": None}


cron_add = _missing("cron.add", ADMIN, "Schedule a job.", _CRON)
cron_update = _missing("cron.update", ADMIN, "Change a job.", _CRON)
cron_remove = _missing("cron.remove", ADMIN, "Remove a job.", _CRON)
cron_run = _missing("cron.run", ADMIN, "Run a job now.", _CRON)
cron_runs = _missing("cron.runs", READ, "List the runs of a job.", _CRON)

# --- tts.* and talk.* -----------------------------------------------------------------

_VOICE = "install rustyclaw-voice"


@method("tts.status", scope=READ, params=Anything, result=Loose)
async def tts_status(params: Anything, context: Context) -> dict[str, Any]:
    """Return how speech is set up; without rustyclaw-voice it is off."""
    return {
        "enabled": False,
        "auto": "off",
        "provider": None,
        "fallbackProvider": None,
        "fallbackProviders": [],
        "prefsPath": "",
        "hasOpenAIKey": False,
        "hasElevenLabsKey": False,
        "edgeEnabled": False,
    }


class SpeakersResult(Wire):
    """Who can speak, of whom there is nobody."""

    providers: list[dict[str, Any]]
    active: str | None


@method("tts.providers", scope=READ, params=Anything, result=SpeakersResult)
async def tts_providers(params: Anything, context: Context) -> dict[str, Any]:
    """List what can speak; without rustyclaw-voice nothing can."""
    return {"providers": [], "active": None}


class EnabledResult(Wire):
    """Whether speech is on."""

    enabled: bool


@method("tts.disable", scope=WRITE, params=Anything, result=EnabledResult)
async def tts_disable(params: Anything, context: Context) -> dict[str, Any]:
    """Turn speech off, which it is."""
    return {"enabled": False}


tts_enable = _missing("tts.enable", WRITE, "Turn speech on.", _VOICE)
tts_set = _missing("tts.setProvider", WRITE, "Choose who speaks.", _VOICE)
tts_convert = _missing("tts.convert", WRITE, "Speak a text.", _VOICE)


@method("talk.config", scope=READ, params=Anything, result=Loose)
async def talk_config(params: Anything, context: Context) -> dict[str, Any]:
    """Return how talking is set up; nothing is."""
    return {"config": {}}


class TalkParams(Wire):
    """Parameters of ``talk.mode``."""

    enabled: bool
    phase: str | None = Field(None, max_length=64)


class TalkResult(Wire):
    """The mode as all clients are told of it."""

    enabled: bool
    phase: str | None
    ts: int


@method("talk.mode", scope=WRITE, params=TalkParams, result=TalkResult)
async def talk_mode(params: TalkParams, context: Context) -> dict[str, Any]:
    """Tell all clients whether somebody talks with the assistant."""
    return _tell(params.enabled, params.phase, context)


@method("talk.start", scope=WRITE, params=Anything, result=TalkResult)
async def talk_start(params: Anything, context: Context) -> dict[str, Any]:
    """Tell all clients that somebody talks with the assistant."""
    return _tell(True, None, context)


@method("talk.stop", scope=WRITE, params=Anything, result=TalkResult)
async def talk_stop(params: Anything, context: Context) -> dict[str, Any]:
    """Tell all clients that nobody talks with the assistant any more."""
    return _tell(False, None, context)


def _tell(enabled: bool, phase: str | None, context: Context) -> dict[str, Any]:
    connection, server = context.connection, context.server
    is_page = connection is not None and connection.client.mode == "webchat"
    if is_page and not _hears(context):
        problem = "talk mode needs a phone that is connected as a node"
        raise MethodError(problem, code="UNAVAILABLE")
    payload = {"enabled": enabled, "phase": phase, "ts": int(time.time() * 1000)}
    server.hub.broadcast("talk.mode", payload)
    return payload


def _hears(context: Context) -> bool:
    """Return whether a phone is connected, which alone can listen and speak."""
    nodes = context.server.nodes.connections().values()
    phones = ("ios", "ipados", "android")
    return any(n.client.platform.lower().startswith(phones) for n in nodes)


# --- browser and wizard ---------------------------------------------------------------

_WIZARD = "run `rustyclaw onboard` in a terminal"

browser_request = _missing(
    "browser.request", WRITE, "Use a browser.", "install rustyclaw-browser"
)
wizard_start = _missing("wizard.start", ADMIN, "Begin to set up.", _WIZARD)
wizard_next = _missing("wizard.next", ADMIN, "Go on setting up.", _WIZARD)
wizard_cancel = _missing("wizard.cancel", ADMIN, "Give setting up up.", _WIZARD)
wizard_status = _missing("wizard.status", ADMIN, "Return how it goes.", _WIZARD)
