"""Rewrites what the pages say about the code; run it with `nox -s reference`.

Line counts in ``architecture.md`` and the tables of ``config.md`` are taken from
the source. A test fails when they are out of date.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "core" / "src" / "rustyclaw"
#: A row of the reading order: number, file, lines.
COUNTED = re.compile(r"^(\| \d+ \| `)([\w/]+\.py)(` \| )(\d+)( \|)", re.MULTILINE)

_BEGIN, _END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
_TYPES = {
    "boolean": "boolean",
    "integer": "whole number",
    "number": "number",
    "object": "mapping",
    "string": "text",
}

Schema = Mapping[str, Any]


def architecture(page: str) -> str:
    """Return ``architecture.md`` with the line counts of today."""
    return COUNTED.sub(lambda m: f"{m[1]}{m[2]}{m[3]}{lines_of(m[2])}{m[5]}", page)


def lines_of(module: str) -> int:
    """Return how many lines a module of the core has."""
    return (SOURCE / module).read_text(encoding="utf-8").count("\n")


def config(page: str) -> str:
    """Return ``config.md`` with the tables of today."""
    from rustyclaw import Config

    before, _, rest = page.partition(_BEGIN)
    after = rest.partition(_END)[2]
    schema = Config.model_json_schema()
    tables = "\n".join(_tables(schema, schema["$defs"], ""))
    return f"{before}{_BEGIN}\n{tables}\n{_END}{after}"


def _tables(schema: Schema, definitions: Schema, path: str) -> Iterator[str]:
    """Yield the lines of a section's table, then those of its sections."""
    rows, inner = [], []
    for key, field in schema.get("properties", {}).items():
        section = _section(field, definitions)
        if section is not None:
            name = f"{path}.{key}".lstrip(".") + ("[]" if "items" in field else "")
            inner.append((name, section))
            continue
        default = f"`{json.dumps(field['default'])}`" if "default" in field else ""
        if field.get("default", ...) is None:
            default = ""
        kind = _type(field).replace("|", "\\|")
        rows.append(f"| `{key}` | {kind} | {default} | {field['description']} |")
    if path:
        yield f"## `{path}`\n\n{_sentence(schema)}\n"
    if rows:
        yield "| key | type | default | meaning |\n|---|---|---|---|"
        yield "\n".join(rows) + "\n"
    for name, section in inner:
        yield from _tables(section, definitions, name)


def _section(field: Schema, definitions: Schema) -> Schema | None:
    """Return the model behind a field, if it has a table of its own."""
    options = (field, field.get("items", {}), *field.get("anyOf", ()))
    for option in options:
        if "$ref" in option:
            found: Schema = definitions[option["$ref"].rpartition("/")[2]]
            return found
    return None


def _sentence(schema: Schema) -> str:
    paragraph = schema.get("description", "").split("\n\n")[0].replace("``", "`")
    return " ".join(paragraph.split())


def _type(field: Schema) -> str:
    if options := field.get("anyOf"):
        return " or ".join(_type(o) for o in options if o.get("type") != "null")
    if values := field.get("enum"):
        return ", ".join(f"`{value}`" for value in values)
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if isinstance(inner := field.get("additionalProperties"), dict):
        return f"mapping to {_type(inner)}"
    return _TYPES.get(field.get("type", ""), "any value")


def main() -> None:
    """Rewrite the pages."""
    for rewrite in (architecture, config):
        page = DOCS / f"{rewrite.__name__}.md"
        page.write_text(rewrite(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
