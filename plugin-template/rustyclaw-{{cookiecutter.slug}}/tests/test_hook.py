"""Behaviour of the hooks."""

from __future__ import annotations

import pytest
from rustyclaw import Outbound, Veto

from {{ cookiecutter.__package }}.hook import (
    {{ cookiecutter.__class }}Config,
    {{ cookiecutter.__class }}Hook,
)

CONFIG = {{ cookiecutter.__class }}Config(forbidden=("swordfish",))
PLUGIN = {{ cookiecutter.__class }}Hook(CONFIG)


async def test_holds_back_a_forbidden_word() -> None:
    with pytest.raises(Veto, match="swordfish"):
        await PLUGIN.message_sending(Outbound(text="The password is SWORDFISH."))


async def test_lets_other_messages_pass() -> None:
    await PLUGIN.message_sending(Outbound(text="hello"))
