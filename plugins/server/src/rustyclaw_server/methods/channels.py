"""Channels: how each is, start and stop."""

from __future__ import annotations

import time
from typing import Any

import anyio
import anyio.to_thread
from pydantic import Field
from rustyclaw import ConfigError, MethodError, edit_config

from rustyclaw_server import channelfacts, configfile
from rustyclaw_server.auth.scopes import ADMIN, READ
from rustyclaw_server.methods.base import Context, Loose, method
from rustyclaw_server.methods.config import announce
from rustyclaw_server.wire.frames import Wire

_SEND_SECONDS = 30.0
_LOGIN_MS = 30_000
_STOP_SECONDS = 15.0
Name = Field(min_length=1, max_length=64)
Word = Field(None, max_length=256)


# --- How they are ---------------------------------------------------------------------


class StatusParams(Wire):
    """Parameters of ``channels.status``."""

    probe: bool | None = None
    timeout_ms: int | None = Field(None, ge=0)


@method("channels.status", scope=READ, params=StatusParams, result=Loose)
async def channels_status(params: StatusParams, context: Context) -> dict[str, Any]:
    """Return how each channel of the config is; all empty without channels."""
    server = context.server
    sections = context.gateway.config.channels
    names = sorted({*sections, *context.gateway.channels})
    accounts = {name: channelfacts.accounts(server, name) for name in names}
    labels = {name: channelfacts.labels(server, name) for name in names}
    return {
        "ts": int(time.time() * 1000),
        "channelOrder": names,
        "channelLabels": {n: row["label"] for n, row in labels.items()},
        "channelDetailLabels": {n: row["detailLabel"] for n, row in labels.items()},
        "channelSystemImages": {n: row["systemImage"] for n, row in labels.items()},
        "channelMeta": [{"id": name, **labels[name]} for name in names],
        "channels": {name: channelfacts.summary(accounts[name][0]) for name in names},
        "channelAccounts": accounts,
        "channelDefaultAccountId": {n: accounts[n][0]["accountId"] for n in names},
    }


# --- Start and stop -------------------------------------------------------------------


class AccountParams(Wire):
    """Parameters of ``channels.login`` and ``channels.logout``."""

    channel: str = Name
    account_id: str | None = Word


@method("channels.login", scope=ADMIN, params=AccountParams, result=Loose)
async def channels_login(params: AccountParams, context: Context) -> dict[str, Any]:
    """Start a channel now, and from now on."""
    name = _known(context, params.channel)
    await _enable(context, name, True)
    delivery = context.gateway.deliveries.get(name)
    if delivery is not None:
        delivery.start()
    return {
        "channel": name,
        "accountId": params.account_id or "default",
        "started": delivery is not None,
        "restartRequired": delivery is None,
    }


@method("channels.logout", scope=ADMIN, params=AccountParams, result=Loose)
async def channels_logout(params: AccountParams, context: Context) -> dict[str, Any]:
    """Stop a channel now, and from now on; what is to be sent waits."""
    name = _known(context, params.channel)
    await _enable(context, name, False)
    delivery = context.gateway.deliveries.get(name)
    if delivery is not None:
        with anyio.move_on_after(_STOP_SECONDS) as patience:
            await delivery.stop()
        if patience.cancelled_caught:  # a message is still on its way
            context.gateway.spawn(delivery.stop)
    return {
        "channel": name,
        "accountId": params.account_id or "default",
        "cleared": delivery is not None,
        "loggedOut": True,
    }


def _known(context: Context, name: str) -> str:
    gateway = context.gateway
    if name not in {*gateway.config.channels, *gateway.channels}:
        known = ", ".join(sorted(gateway.channels)) or "none"
        raise MethodError(f"invalid channel {name!r}; configured are: {known}")
    return name


async def _enable(context: Context, name: str, enabled: bool) -> None:
    """Write whether a channel is started, if the file does not say so already."""
    gateway = context.gateway

    def work() -> tuple[configfile.ConfigFile, configfile.ConfigFile]:
        before = configfile.read(gateway)
        section = (before.parsed.get("channels") or {}).get(name) or {}
        if section.get("enabled", True) is not enabled:
            put = [(("channels", name, "enabled"), enabled)]
            edit_config(gateway.config.path, put=put)
        return before, configfile.read(gateway)

    async with context.server.config_lock:
        try:
            before, after = await anyio.to_thread.run_sync(work)
        except ConfigError as exc:
            raise MethodError(str(exc)) from None
    if before.hash != after.hash:
        announce(context.server, before, after)


class WebLoginParams(Wire):
    """Parameters of ``web.login.start`` and ``web.login.wait``."""

    channel: str | None = Word
    account_id: str | None = Word
    force: bool | None = None
    verbose: bool | None = None
    timeout_ms: int | None = Field(None, ge=0, le=600_000)
    current_qr_data_url: str | None = Field(None, max_length=100_000)


@method(
    "web.login.start", scope=ADMIN, params=WebLoginParams, result=Loose, listed=False
)
async def web_login_start(params: WebLoginParams, context: Context) -> dict[str, Any]:
    """Return the picture to scan, of a channel whose status has ``qrDataUrl``."""
    name = _qr_channel(params, context)
    delivery = context.gateway.deliveries[name]
    if params.force:
        with anyio.move_on_after(_STOP_SECONDS):
            await delivery.stop()
    delivery.start()
    with anyio.move_on_after((params.timeout_ms or _LOGIN_MS) / 1000):
        while True:
            facts = channelfacts.facts(context.server, name)
            if url := facts.get("qrDataUrl"):
                return {"message": "Scan this QR code.", "qrDataUrl": url}
            if facts.get("linked") is True:
                return {"message": f"{name} is linked already."}
            await anyio.sleep(0.1)
    return {"message": f"{name} has shown no QR code in time; try again."}


@method(
    "web.login.wait", scope=ADMIN, params=WebLoginParams, result=Loose, listed=False
)
async def web_login_wait(params: WebLoginParams, context: Context) -> dict[str, Any]:
    """Wait until a channel was linked by its picture."""
    name = _qr_channel(params, context)
    with anyio.move_on_after((params.timeout_ms or 4 * _LOGIN_MS) / 1000):
        while True:
            if channelfacts.facts(context.server, name).get("linked") is True:
                return {"connected": True, "message": f"{name} is linked."}
            await anyio.sleep(0.1)
    return {"connected": False, "message": "Still waiting for the scan."}


def _qr_channel(params: WebLoginParams, context: Context) -> str:
    for name in context.gateway.deliveries:
        facts = channelfacts.facts(context.server, name)
        if params.channel in (None, name) and {"qrDataUrl", "linked"} & facts.keys():
            return name
    raise MethodError("web login provider is not available")
