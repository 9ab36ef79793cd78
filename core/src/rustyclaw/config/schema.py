"""The JSON Schema of the configuration, with the sections of plugins."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from rustyclaw.config.model import Config


def json_schema(
    sections: Mapping[str, Mapping[str, type[BaseModel]]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the JSON Schema of a config file; secrets are marked ``writeOnly``.

    :param sections: The models of plugins, by kind (``channels``) and name.
    """
    schema = Config.model_json_schema()
    for kind, models in sections.items():
        parent = schema["properties"][kind]
        if kind == "tools":
            parent = schema["$defs"]["ToolsConfig"]
        for name, model in sorted(models.items()):
            prefix = f"{kind}.{name}."
            section = model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
            parts = section.pop("$defs", {})
            for part in (section, *parts.values()):
                _name_variables(part)
            schema["$defs"] |= {prefix + key: part for key, part in parts.items()}
            parent.setdefault("properties", {})[name] = section
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _name_variables(schema: dict[str, Any]) -> None:
    """Let ``<field>_env`` stand in for each secret field."""
    properties = schema.get("properties", {})
    for name, field in list(properties.items()):
        if any(part.get("writeOnly") for part in (field, *field.get("anyOf", ()))):
            about = f"environment variable that holds `{name}`"
            properties[f"{name}_env"] = {"type": "string", "description": about}
            schema["required"] = [n for n in schema.get("required", ()) if n != name]
