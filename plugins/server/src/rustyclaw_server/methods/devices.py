"""Devices: who is paired, with which rights, and their tokens.

Nobody gives a right that they do not have, and whose token is taken away is shown out
at once.
"""

from __future__ import annotations

from typing import Any, Literal

import anyio
from pydantic import Field
from rustyclaw import MethodError

from rustyclaw_server.auth.devices import Device, Token
from rustyclaw_server.auth.scopes import ADMIN, PAIRING, covers
from rustyclaw_server.methods.base import Context, Nothing, method
from rustyclaw_server.server import pairing_row
from rustyclaw_server.wire.frames import Wire

Id = Field(min_length=1, max_length=256)
Role = Literal["operator", "node"]


def device_row(device: Device) -> dict[str, Any]:
    """Return a device as clients know it, without secrets."""
    row: dict[str, Any] = {"deviceId": device.id, "publicKey": device.public_key}
    row |= device.about
    row |= {
        "role": device.roles[0] if device.roles else "operator",
        "roles": list(device.roles),
        "scopes": list(device.scopes),
        "createdAtMs": device.created_at,
        "approvedAtMs": device.approved_at,
        "tokens": [_token_row(token) for token in device.tokens.values()],
    }
    return row


def _token_row(token: Token) -> dict[str, Any]:
    row: dict[str, Any] = {"role": token.role, "scopes": list(token.scopes)}
    row["createdAtMs"] = token.created_at
    times = {
        "rotatedAtMs": token.rotated_at,
        "revokedAtMs": token.revoked_at,
        "lastUsedAtMs": token.last_used_at,
    }
    return row | {name: value for name, value in times.items() if value is not None}


# --- Pairing --------------------------------------------------------------------------


class PairListResult(Wire):
    """Requests that wait, and paired devices."""

    pending: list[dict[str, Any]]
    paired: list[dict[str, Any]]


@method("device.pair.list", scope=PAIRING, params=Nothing, result=PairListResult)
async def device_pair_list(params: Nothing, context: Context) -> dict[str, Any]:
    """List the devices that are paired, and those that ask to be."""
    devices = context.server.devices
    return {
        "pending": [pairing_row(request) for request in devices.pending()],
        "paired": [device_row(device) for device in devices.paired()],
    }


class RequestParams(Wire):
    """Parameters of approving and rejecting."""

    request_id: str = Id


class ApproveResult(Wire):
    """The device that is paired now."""

    request_id: str
    device: dict[str, Any]


@method(
    "device.pair.approve", scope=PAIRING, params=RequestParams, result=ApproveResult
)
async def device_pair_approve(
    params: RequestParams, context: Context
) -> dict[str, Any]:
    """Pair a device; nobody gives scopes that they do not have."""
    server, name = context.server, params.request_id
    known = {request.request_id: request for request in server.devices.pending()}
    device = await server.devices.approve(name, context.caller.scopes)
    request = known[name]
    await server.devices.issue(device.id, request.role, request.scopes)
    server.announce_pairing(request, "approved")
    device = server.devices.get(device.id) or device
    return {"requestId": name, "device": device_row(device)}


class RejectResult(Wire):
    """The device that was refused."""

    request_id: str
    device_id: str


@method("device.pair.reject", scope=PAIRING, params=RequestParams, result=RejectResult)
async def device_pair_reject(params: RequestParams, context: Context) -> dict[str, Any]:
    """Refuse a device that asks to be paired."""
    request = context.server.devices.reject(params.request_id)
    context.server.announce_pairing(request, "rejected")
    return {"requestId": request.request_id, "deviceId": request.device_id}


class RemoveParams(Wire):
    """Parameters of ``device.pair.remove``."""

    device_id: str = Id


class RemoveResult(Wire):
    """Whether the device was paired."""

    device_id: str
    removed: bool


@method("device.pair.remove", scope=PAIRING, params=RemoveParams, result=RemoveResult)
async def device_pair_remove(params: RemoveParams, context: Context) -> dict[str, Any]:
    """Forget a device; its connections end and its tokens are worth nothing."""
    device = context.server.devices.get(params.device_id)
    if device is not None:
        _check_rank(device, context)
    removed = await context.server.devices.remove(params.device_id)
    if removed:
        _show_out(params.device_id, None, "device removed", context)
    return {"deviceId": params.device_id, "removed": removed}


# --- Tokens ---------------------------------------------------------------------------


class RotateParams(Wire):
    """Parameters of ``device.token.rotate``."""

    device_id: str = Id
    role: Role
    scopes: list[str] | None = Field(None, max_length=64)


class RotateResult(Wire):
    """The new token; the old one has failed already."""

    device_id: str
    role: str
    token: str
    scopes: list[str]
    rotated_at_ms: int


@method("device.token.rotate", scope=PAIRING, params=RotateParams, result=RotateResult)
async def device_token_rotate(params: RotateParams, context: Context) -> dict[str, Any]:
    """Give a device a new token, with scopes that it and the caller have."""
    text, token = await context.server.devices.rotate(
        params.device_id, params.role, params.scopes, context.caller.scopes
    )
    _show_out(params.device_id, params.role, "device token rotated", context, own=False)
    return {
        "deviceId": params.device_id,
        "role": params.role,
        "token": text,
        "scopes": list(token.scopes),
        "rotatedAtMs": token.rotated_at,
    }


class RevokeParams(Wire):
    """Parameters of ``device.token.revoke``."""

    device_id: str = Id
    role: Role


class RevokeResult(Wire):
    """When the token became worthless."""

    device_id: str
    role: str
    revoked_at_ms: int


@method("device.token.revoke", scope=PAIRING, params=RevokeParams, result=RevokeResult)
async def device_token_revoke(params: RevokeParams, context: Context) -> dict[str, Any]:
    """Make a device's token worthless, and end its connections."""
    devices, device_id = context.server.devices, params.device_id
    if (device := devices.get(device_id)) is not None:
        _check_rank(device, context)
    token = await devices.revoke(device_id, params.role)
    _show_out(device_id, params.role, "device token revoked", context)
    row = {"deviceId": device_id, "role": params.role}
    return {**row, "revokedAtMs": token.revoked_at}


def _check_rank(device: Device, context: Context) -> None:
    """Check that a caller may take away what a device has.

    :raises MethodError: The device has scopes that the caller does not have.
    """
    if not covers(context.caller.scopes, device.scopes):
        raise MethodError("missing scope: the device has more than you have")


def _show_out(
    device_id: str, role: str | None, reason: str, context: Context, own: bool = True
) -> None:
    """End the connections of a device, the caller's own after its answer.

    :param role: Only those of this role.
    :param own: The caller's as well.
    """
    for connection in context.server.hub:
        if connection.device_id != device_id or role not in (None, connection.role):
            continue
        if connection is not context.connection:
            connection.close(1008, reason)
        elif own:
            connection.ending = (1008, reason)


class AuthRotateResult(Wire):
    """The new shared token."""

    token: str


@method("auth.rotate", scope=ADMIN, params=Nothing, result=AuthRotateResult)
async def auth_rotate(params: Nothing, context: Context) -> dict[str, Any]:
    """Make a new shared token; whoever came in with the old one must connect anew."""
    server = context.server
    if not server.secret.is_generated:
        remedy = "change hooks.server.auth in the config and restart"
        raise MethodError(f"the shared secret stands in the config; {remedy}")
    token = await anyio.to_thread.run_sync(server.secret.renew)
    server.gateway.config.redactor.add(token)
    server.end_shared_sessions(context.connection)
    return {"token": token}
