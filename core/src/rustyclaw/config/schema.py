"""The JSON Schema of the configuration, with the sections of plugins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from rustyclaw.config.model import Config

_MEANS = {"env": "environment variable", "file": "file"}


def config_schema(
    sections: Mapping[str, Mapping[str, type[BaseModel]]] | None = None,
) -> dict[str, Any]:
    """Return the JSON Schema of a config file; secrets are marked ``writeOnly``.

    :param sections: The models of plugins, by kind (``channels``) and name.
    """
    schema = Config.model_json_schema()
    for kind, models in (sections or {}).items():
        tools = schema["$defs"]["ToolsConfig"]
        parent = tools if kind == "tools" else schema["properties"][kind]
        for name, model in sorted(models.items()):
            prefix = f"{kind}.{name}."
            section = model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
            parts = section.pop("$defs", {})
            for part in (section, *parts.values()):
                for key, field in list(part.get("properties", {}).items()):
                    kinds = (field, *field.get("anyOf", ()))
                    if any(kind.get("writeOnly") for kind in kinds):
                        for means, what in _MEANS.items():
                            about = f"{what} that holds `{key}`"
                            companion = {"type": "string", "description": about}
                            part["properties"][f"{key}_{means}"] = companion
                        needed = part.get("required", ())
                        part["required"] = [n for n in needed if n != key]
            schema["$defs"] |= {prefix + key: part for key, part in parts.items()}
            parent.setdefault("properties", {})[name] = section
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
