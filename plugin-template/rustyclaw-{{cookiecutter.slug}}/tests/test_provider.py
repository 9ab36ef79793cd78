"""Behaviour of the provider."""

from __future__ import annotations

from rustyclaw import Finished, Message, ModelRequest, TextDelta

from {{ cookiecutter.__package }}.provider import (
    {{ cookiecutter.__class }}Config,
    {{ cookiecutter.__class }}Provider,
)


async def test_repeats_what_it_is_told() -> None:
    config = {{ cookiecutter.__class }}Config(prefix="Echo: ")
    provider = {{ cookiecutter.__class }}Provider(config)
    request = ModelRequest(model="echo", system="", messages=(Message.user("hi Ada"),))

    events = [event async for event in provider.stream(request)]

    text = "".join(e.text for e in events if isinstance(e, TextDelta))
    assert text == "Echo: hi Ada"
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.output_tokens == 3
