"""Tools, described in the part of JSON Schema that Gemini takes."""

from __future__ import annotations

import json
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import example, given, settings, strategies as st
from pydantic import BaseModel, Field
from rustyclaw import ToolSchema
from rustyclaw_google.parameters import cleaned, declaration

#: All that a ``Schema`` of ours may hold.
TAKEN = {"type", "description", "nullable", "enum", "items", "properties", "required"}


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"type": "string", "pattern": "x", "minLength": 3}, {"type": "string"}),
        ({"type": "integer", "minimum": 1, "title": "N"}, {"type": "integer"}),
        ({"type": "string", "format": "date-time", "default": "x"}, {"type": "string"}),
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"type": ["integer", "string"]}, {"type": "string"}),
        ({"const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"enum": ["a", "b", None]}, {"type": "string", "enum": ["a", "b"]}),
        ({"const": 3}, {"type": "integer", "description": "One of: 3."}),
        (
            {"enum": [1, 2], "type": "integer", "description": "How many."},
            {"type": "integer", "description": "How many. One of: 1, 2."},
        ),
        ({"enum": [""]}, {"type": "string", "description": 'One of: "".'}),
        (
            {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "d"},
            {"type": "string", "nullable": True, "description": "d"},
        ),
        (
            {"oneOf": [{"const": "a"}, {"const": "b"}, {"enum": ["c"]}]},
            {"type": "string", "enum": ["a", "b", "c"]},
        ),
        (
            {"anyOf": [{"type": "string"}, {"type": "integer"}], "default": 1},
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        ),
        (
            {"anyOf": [{"anyOf": [{"type": "string"}, {"type": "null"}]}]},
            {"type": "string", "nullable": True},
        ),
        ({"type": "array"}, {"type": "array", "items": {"type": "string"}}),
        (
            {"type": "array", "items": {"type": "integer"}, "minItems": 1},
            {"type": "array", "items": {"type": "integer"}},
        ),
        (
            {
                "type": "object",
                "additionalProperties": False,
                "properties": {"pattern": {"type": "string"}, "any": {}, "no": False},
                "required": ["pattern", "gone"],
            },
            {
                "type": "object",
                "properties": {
                    "pattern": {"type": "string"},
                    "any": {"type": "string"},
                    "no": {"type": "string"},
                },
                "required": ["pattern"],
            },
        ),
        (
            {
                "allOf": [
                    {"properties": {"a": {"type": "string"}}, "required": ["a"]},
                    {"properties": {"b": {"type": "string"}}},
                ]
            },
            {
                "type": "object",
                "properties": {"b": {"type": "string"}, "a": {"type": "string"}},
                "required": ["a"],
            },
        ),
    ],
)  # fmt: skip
def test_cleaned(schema: dict[str, Any], found: dict[str, Any]) -> None:
    assert cleaned(schema) == found


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1


class Leaf(BaseModel):
    name: Annotated[str, Field(pattern="^x$", max_length=9)]
    children: list[Leaf] = []


class Params(BaseModel):
    leaf: Leaf
    colour: Colour | None = None
    size: Size = Size.SMALL
    mode: Literal["a", "b"] = "a"
    labels: dict[str, str] = {}
    either: int | str = 1
    pair: tuple[int, str] = (1, "a")
    anything: Any = None


def test_what_pydantic_says() -> None:
    tool = ToolSchema(name="t", description="d", parameters=Params.model_json_schema())
    found = declaration(tool)["parameters"]
    fields = found["properties"]
    assert found["required"] == ["leaf"]
    assert fields["leaf"]["properties"]["name"] == {"type": "string"}
    assert fields["colour"] == {
        "type": "string",
        "enum": ["red", "blue"],
        "nullable": True,
    }
    assert fields["mode"]["enum"] == ["a", "b"]
    assert fields["labels"] == {"type": "object"}
    assert [b["type"] for b in fields["either"]["anyOf"]] == ["integer", "string"]
    assert fields["pair"]["type"] == "array"
    assert "$ref" not in json.dumps(found)


def test_a_tool_without_parameters() -> None:
    tool = ToolSchema(name="now", description="d", parameters={"type": "object"})
    assert declaration(tool) == {"name": "now", "description": "d"}


KEYS = st.sampled_from(
    ["type", "properties", "items", "anyOf", "oneOf", "allOf", "enum", "const", "$ref",
     "required", "nullable", "description", "additionalProperties", "a"]
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["string", "object", "null", "array", "a", ""]),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(KEYS, x, max_size=4),
    max_leaves=10,
)


def foreign(schema: Any) -> set[str]:
    """Return the keywords of a schema that Gemini does not take."""
    if "anyOf" in schema:
        inner = schema["anyOf"]
        own = set(schema) - {"anyOf", "description", "nullable"}
    else:
        inner = [*schema.get("properties", {}).values()]
        inner += [schema["items"]] if "items" in schema else []
        own = set(schema) - TAKEN
    return own.union(*map(foreign, inner))


@settings(max_examples=300)
@example({"required": [[]], "allOf": [{}]})
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_schema(schema: dict[str, Any]) -> None:
    assert foreign(cleaned(schema)) == set()
