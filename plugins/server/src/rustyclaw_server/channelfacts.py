"""What is known of channels, in the words of clients.

A channel may tell more by `rustyclaw.Channel.status`, in keys that clients know:
``label``, ``detailLabel``, ``systemImage``, ``mode``, ``linked``, ``qrDataUrl``, and
``accounts``, a list of such facts with an ``accountId`` each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rustyclaw_server.server import Server

_LABELS = ("label", "detailLabel", "systemImage")


def title(name: str) -> str:
    """Return what people call a channel that says nothing else."""
    return name.replace("_", " ").replace("-", " ").title()


def labels(server: Server, name: str) -> dict[str, str]:
    """Return what people call a channel, and its picture on Apple's systems."""
    told = facts(server, name)
    label = str(told.get("label") or title(name))
    return {
        "label": label,
        "detailLabel": str(told.get("detailLabel") or label),
        "systemImage": str(told.get("systemImage") or "message"),
    }


def facts(server: Server, name: str) -> dict[str, Any]:
    """Return what a channel tells of itself, without secrets."""
    delivery = server.gateway.deliveries.get(name)
    if delivery is None:
        return {}
    try:
        told = server.gateway.redact(dict(delivery.channel.status()))
    except Exception as exc:  # it is code of a plugin
        return {"lastError": str(server.gateway.redact(f"status failed: {exc}"))}
    return told if isinstance(told, dict) else {}


def accounts(server: Server, name: str) -> list[dict[str, Any]]:
    """Return the accounts of a channel; usually there is one, ``default``."""
    status = server.gateway.channels.get(name)
    section = server.gateway.config.channels.get(name, {})
    enabled = str(section.get("enabled", True)).lower() != "false"
    told = facts(server, name)
    state = status.state if status else "stopped"
    row: dict[str, Any] = {
        "accountId": "default",
        "enabled": enabled,
        "configured": True,
        "tokenSource": "config" if section else "none",
        "running": state in ("starting", "connected"),
        "connected": state == "connected",
        "state": state,
        "lastStartAt": _ms(status.since if status else None),
        "lastStopAt": None,
        "lastError": (status.error if status else "") or _why(enabled, state),
        "lastProbeAt": None,
        "lastInboundAt": _ms(status.last_message if status else None),
        "lastOutboundAt": _ms(status.last_sent if status else None),
        "mode": None,
        "allowUnmentionedGroups": section.get("require_mention") in (False, "false"),
        "dmPolicy": section.get("dm_policy", "pairing"),
    }
    several = told.pop("accounts", None)
    row |= {key: value for key, value in told.items() if key not in _LABELS}
    if not isinstance(several, list):
        return [row]
    return [{**row, **one} for one in several if isinstance(one, dict)] or [row]


def _why(enabled: bool, state: str) -> str | None:
    if not enabled:
        return "disabled"
    return "not started" if state == "stopped" else None


def summary(account: dict[str, Any]) -> dict[str, Any]:
    """Return what of an account stands for its channel."""
    left_out = ("accountId", "enabled", "lastInboundAt", "lastOutboundAt")
    return {key: value for key, value in account.items() if key not in left_out}


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def healthy(server: Server, name: str) -> dict[str, Any]:
    """Return a channel as ``health`` shows it, with its accounts by id."""
    rows = accounts(server, name)
    by_id = {row["accountId"]: _with_id(row) for row in rows}
    return {**_with_id(rows[0]), "accounts": by_id}


def _with_id(account: dict[str, Any]) -> dict[str, Any]:
    return {**summary(account), "accountId": account["accountId"]}
