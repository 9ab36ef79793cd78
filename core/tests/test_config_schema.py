"""The JSON Schema: what an editor is told about the config file."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field
from rustyclaw.config import Secret
from rustyclaw.config.schema import config_schema
from rustyclaw.interfaces import PluginConfig


class Account(PluginConfig):
    token: Secret = Field(description="its token")


class Sample(PluginConfig):
    token: Secret = Field(description="the token")
    spare: Secret | None = Field(None, description="another")
    limit: int = Field(description="a number")
    account: Account | None = Field(None, description="inside")


def resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = schema
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def test_the_core_alone() -> None:
    schema = config_schema()
    assert set(schema["properties"]) == {
        "agents", "bindings", "session", "providers", "channels", "tools", "hooks",
        "compactors", "plugins", "logging", "gateway",
    }  # fmt: skip
    assert schema["additionalProperties"] is False
    session = resolve(schema, schema["properties"]["session"])
    assert session["properties"]["dm_scope"]["default"] == "per_channel_peer"
    assert "what the others said" in session["properties"]["dm_scope"]["description"]
    assert schema["properties"]["channels"]["additionalProperties"] == {
        "additionalProperties": True,
        "type": "object",
    }


def test_every_property_is_described() -> None:
    schema = config_schema()
    for part in (schema, *schema["$defs"].values()):
        for name, field in part.get("properties", {}).items():
            assert field.get("description"), name


def test_the_sections_of_plugins() -> None:
    schema = config_schema(
        {"channels": {"sample": Sample}, "tools": {"sample": Sample, "other": Account}}
    )
    json.dumps(schema)
    channel = schema["properties"]["channels"]["properties"]["sample"]
    tools = resolve(schema, schema["properties"]["tools"])
    assert {"profile", "sample", "other"} <= set(tools["properties"])
    for section in (channel, tools["properties"]["sample"]):
        assert section["properties"]["token"]["writeOnly"]
        assert section["properties"]["token_env"] == {
            "type": "string",
            "description": "environment variable that holds `token`",
        }
        assert section["properties"]["token_file"]["description"] == (
            "file that holds `token`"
        )
        assert "spare_env" in section["properties"]
        assert "limit_env" not in section["properties"]
        assert section["required"] == ["limit"]
        assert section["additionalProperties"] is False
        account = resolve(schema, section["properties"]["account"]["anyOf"][0])
        assert "token_env" in account["properties"]
        assert account["required"] == []
    assert "sample" not in json.dumps(config_schema())
