"""The tool: what a model may ask this plugin to do."""

from __future__ import annotations

from pydantic import BaseModel, Field
from rustyclaw import PluginConfig, Tool, ToolContext, ToolResult


class {{ cookiecutter.__class }}Config(PluginConfig):
    """The section ``tools.{{ cookiecutter.name }}`` of config.yaml."""

    greeting: str = Field("Hello", description="what a greeting starts with")


class {{ cookiecutter.__class }}Tool(Tool):
    """{{ cookiecutter.description }}."""

    name = "{{ cookiecutter.name }}"
    effects = frozenset({"read"})
    Config = {{ cookiecutter.__class }}Config
    config: {{ cookiecutter.__class }}Config

    class Params(BaseModel):
        """What the model has to say."""

        person: str = Field(description="whom to greet")

    async def run(self, params: Params, context: ToolContext) -> ToolResult:
        """Greet a person."""
        return ToolResult(text=f"{self.config.greeting}, {params.person}!")
