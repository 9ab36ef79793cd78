"""The handshake: from the challenge to what a client is granted (sheet sections 2-5).

The order of the checks is OpenClaw's, so that its clients read the errors they know.
Scopes come from what this gateway has granted to a device. The one exception is its
owner on this very machine, whose devices are paired without a question.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic import ValidationError

from rustyclaw_server.auth import scopes, signature
from rustyclaw_server.wire import frames
from rustyclaw_server.wire.frames import CLIENT_IDS, ConnectParams

if TYPE_CHECKING:
    from rustyclaw_server.auth.address import Peer
    from rustyclaw_server.auth.devices import Token
    from rustyclaw_server.server import Server
    from rustyclaw_server.wire.socket import Socket

#: Highest first: the first one that a client offers is spoken.
PROTOCOLS = (4, 3)
_SKEW_MS = 600_000
_CONTROL_UIS = ("openclaw-control-ui", "moltbot-control-ui", "rustyclaw-control-ui")
_ORIGIN_REFUSED = (
    "origin not allowed (open the Control UI from the gateway host or allow it in "
    "gateway.controlUi.allowedOrigins)"
)
#: What else a scope list may name; anything else is not granted.
_SCOPES = frozenset(
    {scopes.ADMIN, scopes.READ, scopes.WRITE, scopes.APPROVALS, scopes.PAIRING}
    | {"operator.talk.secrets"}
)


class Refused(Exception):
    """The handshake has failed.

    :param code: Of the error; empty: the client is sent no answer.
    :param hint: Machine-readable, for clients of the late protocol 3 and of 4.
    """

    def __init__(
        self,
        message: str,
        code: str = "INVALID_REQUEST",
        *,
        hint: str = "",
        close_code: int = 1008,
        reason: str | None = None,
        request_id: str = "",
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.close_code = message, code, close_code
        self.reason = message if reason is None else reason
        self.request_id = request_id
        self.details = {**({"code": hint} if hint else {}), **details}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What the handshake came to."""

    request_id: str
    params: ConnectParams
    protocol: int
    scopes: tuple[str, ...]
    shared: bool
    device_token: str = ""
    issued_at: int = 0


class Handshake:
    """One handshake; `run` it once."""

    def __init__(self, server: Server, socket: Socket, peer: Peer) -> None:
        self._server, self._socket, self._peer = server, socket, peer
        self._nonce = str(uuid4())
        self._account = peer.account(socket.headers)

    async def run(self) -> Grant:
        """Challenge the client and judge its answer.

        :raises Refused: It may not connect.
        """
        challenge = {"nonce": self._nonce, "ts": int(time.time() * 1000)}
        await self._socket.send(frames.event_head("connect.challenge", challenge) + "}")
        request_id, raw = await self._first_request()
        try:
            return await self._judge(request_id, raw)
        except Refused as refused:
            refused.request_id = request_id
            raise

    async def _first_request(self) -> tuple[str, Any]:
        """Return id and parameters of the ``connect`` that must come first."""
        try:
            raw = frames.parse(await self._socket.receive())
        except (frames.BadFrame, ValueError):
            code = 1003 if self._socket.is_binary else 1000
            raise Refused("", "", close_code=code) from None
        known = isinstance(raw, dict) and raw.get("type") == "req"
        if not known or not isinstance(raw.get("id"), str) or not raw["id"]:
            raise Refused("invalid request frame", "")
        request_id = str(raw["id"])[:256]
        if raw.get("method") != "connect":
            text = "invalid handshake: first request must be connect"
            raise Refused(text, request_id=request_id)
        if unknown := raw.keys() - {"type", "id", "method", "params"}:
            name = min(unknown)[:80]
            text = f"invalid request frame: at root: unexpected property '{name}'"
            raise Refused(text, request_id=request_id)
        return request_id, raw.get("params")

    async def _judge(self, request_id: str, raw: Any) -> Grant:
        params, protocol = _read(raw)
        if params.role not in ("operator", "node"):
            raise Refused("invalid role")
        self._check_page(params)
        problem = self._check_secret(params)
        device = await self._check_device(params, problem)
        wanted = tuple(scope for scope in params.scopes if scope in _SCOPES)
        if params.device is None:
            keeps = (
                self._peer.is_local
                and (params.client.id, params.client.mode)
                == ("gateway-client", "backend")
                and params.role == "operator"
            )
            return Grant(
                request_id=request_id,
                params=params,
                protocol=protocol,
                scopes=wanted if keeps else (),
                shared=True,
            )
        await self._check_pairing(params, params.device, wanted, device is None)
        if device is not None:
            await self._server.devices.use(params.device.id, device)
        text, token = await self._server.devices.issue(
            params.device.id, params.role, wanted
        )
        return Grant(
            request_id=request_id,
            params=params,
            protocol=protocol,
            scopes=wanted,
            shared=device is None,
            device_token=text,
            issued_at=token.created_at,
        )

    # --- The checks, in their order ---------------------------------------------------

    def _check_page(self, params: ConnectParams) -> None:
        """A page must say where it is from; that was checked at the upgrade."""
        is_page = params.client.id in _CONTROL_UIS or params.client.mode == "webchat"
        if is_page and "origin" not in self._socket.headers:
            raise Refused(_ORIGIN_REFUSED, hint="ORIGIN_NOT_ALLOWED")

    def _check_secret(self, params: ConnectParams) -> str:
        """Return what is wrong with the shared secret; empty if nothing is."""
        server, shown = self._server, params.auth or frames.Credentials()
        if wait := server.failures.locked_for(self._account):
            text = "unauthorized: too many failed authentication attempts (retry later)"
            raise Refused(text, hint="AUTH_RATE_LIMITED", retryAfterMs=int(wait * 1000))
        if server.secret.mode == "trusted-proxy":
            user = server.secret.proxy_user(self._peer, self._socket.headers)
            return "" if user else "missing"
        return server.secret.problem(shown.token or "", shown.password or "")

    def _count_failure(self) -> None:
        if self._account:
            self._server.failures.count(self._account)

    async def _check_device(self, params: ConnectParams, problem: str) -> Token | None:
        """Check the device's proof; return its token if that is what it showed.

        :param problem: What is wrong with the shared secret.
        """
        proof = params.device
        if proof is None:
            if params.client.id in _CONTROL_UIS:
                text = "control ui requires HTTPS or localhost (secure context)"
                raise Refused(text, hint="CONTROL_UI_DEVICE_IDENTITY_REQUIRED")
            if problem == "missing" or (params.role == "node" and not problem):
                text = "device identity required"
                raise Refused(text, "NOT_PAIRED", hint="DEVICE_IDENTITY_REQUIRED")
            if problem:
                self._refuse_secret(params, problem)
            return None
        self._check_proof(params, proof)
        if not problem:
            return None
        shown = params.auth or frames.Credentials()
        for text in filter(None, (shown.device_token, shown.token)):
            token = self._server.devices.check(proof.id, params.role, text)
            if token and scopes.covers(token.scopes, params.scopes):
                return token
        self._refuse_secret(params, problem)
        raise AssertionError  # it has raised

    def _refuse_secret(self, params: ConnectParams, problem: str) -> None:
        shown = params.auth or frames.Credentials()
        if problem == "mismatch" or shown.device_token:
            self._count_failure()
        if params.device is not None and (shown.token or shown.device_token):
            text = "unauthorized: device token mismatch (rotate/reissue device token)"
            raise Refused(text, hint="AUTH_DEVICE_TOKEN_MISMATCH")
        mode = self._server.secret.mode
        what = "password" if mode == "password" else "token"
        text = f"unauthorized: gateway {what} {problem} ({_hint(params, what)})"
        raise Refused(text, hint=f"AUTH_{what.upper()}_{problem.upper()}")

    def _check_proof(self, params: ConnectParams, proof: frames.DeviceProof) -> None:
        shown = params.auth or frames.Credentials()
        try:
            key = signature.raw_key(proof.public_key)
        except ValueError:
            raise Refused("device public key invalid") from None
        if not secrets.compare_digest(
            proof.id.encode(errors="replace"), signature.device_id(key).encode()
        ):
            raise Refused("device identity mismatch")
        if abs(proof.signed_at - time.time() * 1000) > _SKEW_MS:
            raise Refused("device signature expired")
        if not proof.nonce and not self._peer.is_local:
            raise Refused("device nonce required")
        if proof.nonce and proof.nonce != self._nonce:
            raise Refused("device nonce mismatch")
        claim = signature.Claim(
            device_id=proof.id,
            client_id=params.client.id,
            client_mode=params.client.mode,
            role=params.role,
            scopes=tuple(params.scopes),
            signed_at=proof.signed_at,
            token=shown.token or shown.device_token or shown.bootstrap_token or "",
            nonce=proof.nonce or "",
            platform=params.client.platform,
            family=params.client.device_family or "",
        )
        if not signature.is_genuine(key, proof.signature, claim):
            self._count_failure()
            raise Refused("device signature invalid")

    async def _check_pairing(
        self,
        params: ConnectParams,
        proof: frames.DeviceProof,
        wanted: tuple[str, ...],
        trusted: bool,
    ) -> None:
        """See that the device was granted what it asks for, or have it paired.

        :param trusted: It showed the shared secret, not only a token of its own.
        """
        devices = self._server.devices
        if devices.is_granted(proof.id, params.role, wanted):
            return
        about = {
            "displayName": params.client.display_name,
            "platform": params.client.platform,
            "clientId": params.client.id,
            "clientMode": params.client.mode,
            "remoteIp": self._peer.ip,
        }
        facts = {name: value for name, value in about.items() if value}
        request, is_new = devices.request(
            proof.id, proof.public_key, params.role, wanted, facts
        )
        if self._peer.is_local and trusted and not self._is_foreign_page():
            await devices.grant(request)
            self._server.announce_pairing(request, "approved")
            return
        if is_new:
            self._server.announce_pairing_request(request)
        raise Refused(
            "pairing required",
            "NOT_PAIRED",
            hint="PAIRING_REQUIRED",
            requestId=request.request_id,
        )

    def _is_foreign_page(self) -> bool:
        """Return whether a page of another origin asks, even an allowed one."""
        origin, headers = self._socket.headers.get("origin"), self._socket.headers
        return origin is not None and origin.partition("://")[2] != headers.get("host")


def _read(raw: Any) -> tuple[ConnectParams, int]:
    """Return the parameters of ``connect`` and the protocol to speak."""
    high = raw.get("maxProtocol") if isinstance(raw, dict) else None
    tolerant = isinstance(high, int) and high >= 4
    try:
        params = frames.validate(ConnectParams, raw, strict=not tolerant)
    except ValidationError as exc:
        raise Refused(f"invalid connect params: {frames.problems(exc)}") from None
    if params.client.id not in CLIENT_IDS:
        text = "invalid connect params: at /client/id: must be equal to constant"
        raise Refused(text)
    offered = range(params.min_protocol, params.max_protocol + 1)
    spoken = next((protocol for protocol in PROTOCOLS if protocol in offered), None)
    if spoken is None:
        expected = 4 if params.min_protocol > 4 else 3
        raise Refused("protocol mismatch", close_code=1002, expectedProtocol=expected)
    return params, spoken


def _hint(params: ConnectParams, what: str) -> str:
    if params.client.mode == "cli":
        return f"set gateway.remote.{what} to match gateway.auth.{what}"
    if params.client.id in _CONTROL_UIS or params.client.mode == "webchat":
        if what == "password":
            return "enter the password in Control UI settings"
        return "open the dashboard URL and paste the token in Control UI settings"
    return f"provide gateway auth {what}"
