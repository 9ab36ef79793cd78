"""What rustyclaw expects of every {{ cookiecutter.kind }}, checked by its own kit."""

from __future__ import annotations
{% if cookiecutter.kind == "channel" %}
from pathlib import Path
{% endif %}
import pytest
from rustyclaw.testing import {{ cookiecutter.kind.title() }}Contract

from {{ cookiecutter.__package }}.{{ cookiecutter.kind }} import (
    {{ cookiecutter.__class }}{{ cookiecutter.kind.title() }},
{%- if cookiecutter.kind == "channel" %}
    {{ cookiecutter.__class }}Config,
{%- endif %}
)


class Test{{ cookiecutter.__class }}({{ cookiecutter.kind.title() }}Contract):
{%- if cookiecutter.kind == "tool" %}
    arguments = {"person": "Ada"}

    @pytest.fixture
    def tool(self) -> {{ cookiecutter.__class }}Tool:
        return {{ cookiecutter.__class }}Tool()
{%- elif cookiecutter.kind == "channel" %}
    @pytest.fixture
    def channel(self, tmp_path: Path) -> {{ cookiecutter.__class }}Channel:
        config = {{ cookiecutter.__class }}Config(folder=tmp_path, poll_seconds=0.01)
        return {{ cookiecutter.__class }}Channel(config)

    async def deliver(self, channel: {{ cookiecutter.__class }}Channel) -> None:
        folder = channel.config.folder / "in"
        folder.mkdir(exist_ok=True)
        (folder / "ada.1.txt").write_text("hi")

    def acknowledged(self, channel: {{ cookiecutter.__class }}Channel) -> bool:
        return not any((channel.config.folder / "in").iterdir())
{%- elif cookiecutter.kind == "provider" %}
    @pytest.fixture
    def provider(self) -> {{ cookiecutter.__class }}Provider:
        return {{ cookiecutter.__class }}Provider()
{%- else %}
    @pytest.fixture
    def plugin(self) -> {{ cookiecutter.__class }}Hook:
        return {{ cookiecutter.__class }}Hook()
{%- endif %}
