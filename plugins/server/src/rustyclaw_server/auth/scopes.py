"""What a caller may do: scopes, roles, and which of them a method needs.

Scopes of OpenClaw (protocol sheet section 9): ``operator.admin`` implies all others,
``operator.write`` implies ``operator.read``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rustyclaw import MethodError

if TYPE_CHECKING:
    from rustyclaw import Caller, Method

ADMIN = "operator.admin"
READ = "operator.read"
WRITE = "operator.write"
APPROVALS = "operator.approvals"
PAIRING = "operator.pairing"
#: Not a scope: methods for nodes alone.
NODE = "node"
#: Not a scope: methods for operators and nodes alike.
ANYONE = "anyone"


def covers(granted: Iterable[str], wanted: Iterable[str]) -> bool:
    """Return whether granted scopes include all the wanted ones."""
    have = frozenset(granted)
    return all(has(have, scope) for scope in wanted)


def has(granted: frozenset[str], scope: str) -> bool:
    """Return whether granted scopes include one."""
    if ADMIN in granted or scope in granted:
        return True
    return scope == READ and WRITE in granted


def authorize(caller: Caller, method: Method | None) -> None:
    """Check that a caller may call a method; what is unknown needs admin.

    :raises MethodError: In the words that OpenClaw uses.
    """
    scope = method.scope if method else ADMIN
    if scope == ANYONE:
        return
    if (scope == NODE) != (caller.role == "node"):
        raise MethodError(f"unauthorized role: {caller.role}")
    if scope != NODE and not has(caller.scopes, scope):
        raise MethodError(f"missing scope: {scope}")
