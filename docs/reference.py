"""Rewrites what the pages say about the code; run it with `nox -s reference`.

Line counts in ``architecture.md`` and the tables of ``config.md`` and ``cli.md``
are taken from the source, as is the server's index of its methods. A test fails when
they are out of date.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "core" / "src" / "rustyclaw"
#: Which methods the server has: known to it without importing them.
INDEX = DOCS.parent / "plugins/server/src/rustyclaw_server/methods/index.py"
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


def _with_tables(page: str, tables: Iterator[str]) -> str:
    before, _, rest = page.partition(_BEGIN)
    after = rest.partition(_END)[2]
    return "\n".join((f"{before}{_BEGIN}", *tables, f"{_END}{after}"))


def cli(page: str) -> str:
    """Return ``cli.md`` with the commands of today."""
    return _with_tables(page, _commands())


def _commands() -> Iterator[str]:
    """Yield a table of the commands that the core brings, one row each."""
    import typer
    from rustyclaw.cli.app import app

    yield "| command | what it does |\n|---|---|"
    root: Any = typer.main.get_command(app)
    context = root.context_class(root, info_name="rustyclaw")
    for name in root.commands:
        _, command, _ = root.resolve_command(context, [name])
        inner = getattr(command, "commands", {})
        for word, one in inner.items() or [("", command)]:
            usage = " ".join(filter(None, (name, word, *map(_usage, one.params))))
            yield f"| `rustyclaw {usage}` | {one.get_short_help_str(200)} |"
    yield ""


def _usage(parameter: Any) -> str:
    """Return a parameter as it stands in a usage line."""
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
        return name if parameter.required else f"[{name}]"
    if parameter.name == "help":
        return ""
    option = max(parameter.opts, key=len)
    value = "" if parameter.is_flag else f" {parameter.metavar or 'TEXT'}"
    return f"[{option}{value}]"


def config(page: str) -> str:
    """Return ``config.md`` with the tables of today."""
    from rustyclaw import Config

    schema = Config.model_json_schema()
    return _with_tables(page, _tables(schema, schema["$defs"], ""))


def _tables(schema: Schema, definitions: Schema, path: str) -> Iterator[str]:
    """Yield the lines of a section's table, then those of its sections."""
    rows, inner = [], []
    for key, field in schema.get("properties", {}).items():
        section = _section(field, definitions)
        if section is not None:
            name = f"{path}.{key}".lstrip(".") + ("[]" if "items" in field else "")
            inner.append((name, section))
            continue
        default = "required" if key in schema.get("required", ()) else ""
        if field.get("default") is not None:
            default = f"`{json.dumps(field['default'])}`"
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


def methods(page: str) -> str:
    """Return ``reference/methods.md`` with the methods of today."""
    return _with_tables(page, _methods())


def _methods() -> Iterator[str]:
    """Yield a table for each group of methods that the server brings."""
    from importlib import import_module

    from rustyclaw_server.methods.base import FALLBACK_GROUPS, GROUPS, functions_of

    for group in (*GROUPS, *FALLBACK_GROUPS):
        module = import_module(f"rustyclaw_server.methods.{group}")
        yield f"## {group.title()}\n\n{_sentence({'description': module.__doc__})}\n"
        yield "| method | scope | parameters | answer | what it does |"
        yield "|---|---|---|---|---|"
        for function in functions_of(group):
            spec = function.__method__
            summary = function.__doc__.partition("\n")[0].replace("``", "`")
            scope = spec.scope.removeprefix("operator.")
            name = f"`{spec.name}`" + ("" if spec.listed else " (not listed)")
            shapes = f"{_fields(spec.params)} | {_fields(spec.result)}"
            yield f"| {name} | {scope} | {shapes} | {summary} |"
        yield ""


def method_index(module: str) -> str:
    """Return the server's index of its methods as it is today."""
    from rustyclaw_server.methods.base import FALLBACK_GROUPS, GROUPS, functions_of

    rows, unlisted = [], []
    for group in (*GROUPS, *FALLBACK_GROUPS):
        for spec in (function.__method__ for function in functions_of(group)):
            rows.append(f'    "{spec.name}": ("{group}", "{spec.scope}"),')
            unlisted += [] if spec.listed else [f'    "{spec.name}",']
    head = module.partition("INDEX = {\n")[0]
    between = ("}", "#: What `hello-ok` does not name.", "UNLISTED = {")
    return "\n".join((f"{head}INDEX = {{", *rows, *between, *unlisted, "}\n"))


def _fields(model: Any) -> str:
    """Return the keys of parameters or of an answer; ``?``: it may be left out."""
    if model is None:
        return "any value"
    keys = [
        f"`{field.alias or name}{'' if field.is_required() else '?'}`"
        for name, field in model.model_fields.items()
    ]
    if model.model_config.get("extra") == "allow":
        keys.append("...")
    return " ".join(keys) or "none"


#: How a page is rewritten, by its name.
PAGES = {
    "architecture": architecture,
    "cli": cli,
    "config": config,
    "reference/methods": methods,
}


def main() -> None:
    """Rewrite the pages."""
    for name, rewrite in PAGES.items():
        page = DOCS / f"{name}.md"
        page.write_text(rewrite(page.read_text(encoding="utf-8")), encoding="utf-8")
    module = method_index(INDEX.read_text(encoding="utf-8"))
    INDEX.write_text(module, encoding="utf-8")


if __name__ == "__main__":
    main()
