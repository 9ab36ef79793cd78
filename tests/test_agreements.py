"""Texts that core and plugin have in common, though neither imports the other."""

from __future__ import annotations

from rustyclaw.agent import context
from rustyclaw_offline import conversation


def test_offline_knows_what_the_core_puts_into_a_conversation() -> None:
    """Else the offline assistant would take a summary for a request."""
    assert conversation.NOT_THE_USER == (context.SUMMARY_MARK, context.START)
