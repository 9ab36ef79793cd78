"""The provider: a model that repeats what it is told."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from pydantic import Field
from rustyclaw import (
    Finished,
    ModelRequest,
    PluginConfig,
    Provider,
    StreamEvent,
    TextDelta,
    Usage,
)


class {{ cookiecutter.__class }}Config(PluginConfig):
    """The section ``providers.{{ cookiecutter.name }}`` of config.yaml."""

    prefix: str = Field("You said: ", description="what an answer starts with")


class {{ cookiecutter.__class }}Provider(Provider):
    """{{ cookiecutter.description }}."""

    default_model = "echo"
    Config = {{ cookiecutter.__class }}Config
    config: {{ cookiecutter.__class }}Config

    async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
        """Answer word by word; a token is a word here."""
        text = request.messages[-1].text
        words = re.findall(r"\s*\S+\s*", f"{self.config.prefix}{text}")
        for word in words:
            yield TextDelta(text=word)
        usage = Usage(input_tokens=len(text.split()), output_tokens=len(words))
        yield Finished(usage=usage)
