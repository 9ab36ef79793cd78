"""Asks the gateway that serves this home, if there is one.

A server plugin writes ``gateway.json`` into the home, for its owner alone: an address
on loopback and a secret of this start. What answers there is ``POST /rpc``.
"""

from __future__ import annotations

import json
from typing import Any

from rustyclaw.config import home_dir
from rustyclaw.errors import MethodError, RustyclawError

_SECONDS = 60.0


class NotServed(RustyclawError):
    """No gateway that can be asked serves this home."""


def running_gateway() -> dict[str, Any]:
    """Return the facts of the gateway that serves this home.

    :raises NotServed: There is none, or it has no server plugin.
    """
    try:
        return dict(json.loads((home_dir() / "gateway.json").read_text("utf-8")))
    except (OSError, ValueError):
        raise NotServed("no gateway serves this home; `rustyclaw gateway`") from None


def ask_gateway(method: str, **params: Any) -> Any:
    """Have the gateway call a method, as its operator.

    :raises NotServed: Nobody answers there.
    :raises MethodError: The gateway refused it.
    """
    import http.client
    from urllib.parse import urlsplit

    facts = running_gateway()
    url = urlsplit(str(facts["url"]))
    if url.scheme == "https":
        import ssl

        context = ssl.create_default_context(cafile=facts["certificate"])
        context.check_hostname = False  # it is for another name than this address
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            url.netloc, timeout=_SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(url.netloc, timeout=_SECONDS)
    headers = {"Authorization": f"Bearer {facts['secret']}"}
    headers["Content-Type"] = "application/json"
    body = json.dumps({"method": method, "params": params})
    try:
        connection.request("POST", "/rpc", body, headers)
        answer = json.loads(connection.getresponse().read())
    except ConnectionRefusedError:  # it was killed, and left its file behind
        raise NotServed("the gateway of this home is gone") from None
    except (OSError, ValueError, http.client.HTTPException) as exc:
        raise RustyclawError(f"the gateway did not answer: {exc}") from None
    finally:
        connection.close()
    if not answer.get("ok"):
        error = answer.get("error", {})
        raise MethodError(error.get("message", "refused"), code=error.get("code", ""))
    return answer.get("payload")
