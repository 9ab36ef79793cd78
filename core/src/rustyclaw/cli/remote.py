"""Asks the gateway that serves this home, if there is one.

A server plugin writes ``gateway.json`` into the home, for its owner alone: an address
on loopback and a secret of this start. What answers there is ``POST /rpc``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyio import run

from rustyclaw.config import home_dir
from rustyclaw.errors import MethodError, RustyclawError, SessionError
from rustyclaw.sessions.locks import SessionLock

_SECONDS = 60.0


class NotServed(RustyclawError):
    """No gateway that can be asked serves this home."""


def running_gateway() -> dict[str, Any]:
    """Return the facts of the gateway that serves this home.

    :raises NotServed: There is none, or it has no server plugin.
    """
    try:
        return dict(json.loads((home_dir() / "gateway.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        raise NotServed("no gateway serves this home; `rustyclaw gateway`") from None


async def is_served(home: Path) -> bool:
    """Return whether a gateway runs for a home."""
    try:
        async with SessionLock(home / "gateway", timeout_seconds=0.1):
            return False
    except SessionError:
        return True


def ask_gateway(method: str, **params: Any) -> Any:
    """Have the gateway call a method, as its operator.

    :raises NotServed: Nobody answers there.
    :raises MethodError: The gateway refused it.
    """
    from http.client import HTTPException

    try:
        answer = dict(_post(running_gateway(), {"method": method, "params": params}))
        if answer.get("ok"):
            return answer.get("payload")
        error = dict(answer["error"])
        refused = MethodError(str(error["message"]), code=str(error.get("code", "")))
    except (OSError, LookupError, ValueError, TypeError, HTTPException) as exc:
        if isinstance(exc, ConnectionRefusedError) or not run(is_served, home_dir()):
            problem = "the gateway of this home is gone"  # killed: its file is left
            raise NotServed(problem) from None
        raise RustyclawError(f"the gateway did not answer: {exc!r}") from None
    raise refused


def _post(facts: Mapping[str, Any], frame: Mapping[str, Any]) -> Any:
    from http.client import HTTPConnection, HTTPSConnection
    from urllib.parse import urlsplit

    url = urlsplit(str(facts["url"]))
    if url.scheme == "https":
        import ssl

        context = ssl.create_default_context(cafile=facts["certificate"])
        context.check_hostname = False  # it is for another name than this address
        context.verify_flags = ssl.VERIFY_X509_PARTIAL_CHAIN  # itself is what we trust
        connection: HTTPConnection = HTTPSConnection(
            url.netloc, timeout=_SECONDS, context=context
        )
    else:
        connection = HTTPConnection(url.netloc, timeout=_SECONDS)
    headers = {"Authorization": f"Bearer {facts['secret']}"}
    headers["Content-Type"] = "application/json"
    try:
        connection.request("POST", "/rpc", json.dumps(frame), headers)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
