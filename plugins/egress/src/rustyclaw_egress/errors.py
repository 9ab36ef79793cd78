"""Why a fetch did not take place, or did not work.

::

    EgressError           `reason` says why, in one word; the text is fit to show
    ├── Refused           the policy forbids it; nothing was sent to that place
    └── FetchFailed       it was allowed, and went wrong

The texts name a host at most, never a whole URL: it may hold a secret.
"""

from __future__ import annotations

from typing import Literal

from rustyclaw import RustyclawError

RefusalReason = Literal[
    "syntax",  # not a URL that every parser reads alike
    "scheme",
    "userinfo",  # credentials in the URL
    "host",  # a spelling of a host that is not taken
    "port",
    "name",  # a name that only means something in a private network
    "address",  # at least one address is not public
    "dns",  # no address: unknown, too late, or nonsense
    "redirects",  # too many, or one that would hand on a body
]
FailureReason = Literal[
    "timeout",
    "connect",
    "tls",
    "protocol",  # the answer is not proper HTTP
    "headers",  # too many bytes of headers
    "encoding",  # compressed in an unknown or broken way
    "size",  # more bytes than allowed
]


class EgressError(RustyclawError):
    """A fetch that did not come to a good end."""

    reason: str


class Refused(EgressError):
    """The policy forbids a fetch."""

    def __init__(self, reason: RefusalReason, message: str) -> None:
        super().__init__(message)
        self.reason: RefusalReason = reason


class FetchFailed(EgressError):
    """A fetch was allowed and went wrong."""

    def __init__(self, reason: FailureReason, message: str) -> None:
        super().__init__(message)
        self.reason: FailureReason = reason
