"""Attachments and tool schemas, as requests hold them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel
from rustyclaw import Audio, File, Image
from rustyclaw_http.media import (
    MAX_IMAGE_BYTES,
    data_url,
    image_type,
    note_of,
    problem_of,
    text_of,
)
from rustyclaw_http.schemas import fitting, inline_refs, without_keys

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a..", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"<svg>", None),
        (b"", None),
    ],
)
def test_image_type(data: bytes, kind: str | None) -> None:
    assert image_type(data) == kind
    problem = problem_of(Image(data=data, media_type="image/png"))
    assert (problem is None) == (kind is not None)


def test_a_large_image_is_left_out() -> None:
    image = Image(data=PNG + bytes(MAX_IMAGE_BYTES), media_type="image/png")
    assert "3.8 MiB is too large" in (problem_of(image) or "")


def test_data_url() -> None:
    assert data_url(b"abc", "image/png") == "data:image/png;base64,YWJj"


@pytest.mark.parametrize(
    ("attachment", "text"),
    [
        (
            File(data=b"a: 1", media_type="text/yaml", name="a.yaml"),
            "[file 'a.yaml']\na: 1",
        ),
        (
            File(data=b"{}", media_type="application/json; x=y", name="a"),
            "[file 'a']\n{}",
        ),
        (File(data=b"\xff\xfe", media_type="text/plain", name="a"), None),
        (File(data=b"%PDF", media_type="application/pdf", name="a"), None),
        (Audio(data=b"", media_type="audio/ogg"), None),
        (
            Audio(data=b"", media_type="audio/ogg", transcript="hi"),
            "[recording, transcribed]\nhi",
        ),
    ],
)
def test_text_of(attachment: Audio | File, text: str | None) -> None:
    assert text_of(attachment) == text
    assert note_of(attachment).startswith("[")


def test_a_long_text_is_cut() -> None:
    file = File(data=b"x" * 10**6, media_type="text/plain", name="a")
    text = text_of(file) or ""
    assert len(text) < 210_000
    assert text.endswith("[the rest was cut off]")


class Leaf(BaseModel):
    pattern: str


class Node(BaseModel):
    leaf: Leaf
    others: list[Leaf]
    child: Node | None = None


def test_inline_refs() -> None:
    found = inline_refs(Node.model_json_schema())

    assert "$defs" not in found
    leaf = found["properties"]["leaf"]
    assert leaf["properties"]["pattern"] == {"title": "Pattern", "type": "string"}
    assert found["properties"]["others"]["items"] == leaf
    assert "$ref" not in json.dumps(found)


def test_a_plain_schema_stays() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert inline_refs(schema) == schema


def test_keywords_go_and_properties_stay() -> None:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"pattern": {"type": "string", "pattern": "x"}},
        "required": ["pattern"],
        "anyOf": [{"format": "date", "enum": ["format"]}],
    }
    assert without_keys(schema, {"pattern", "format", "additionalProperties"}) == {
        "type": "object",
        "properties": {"pattern": {"type": "string"}},
        "required": ["pattern"],
        "anyOf": [{"enum": ["format"]}],
    }


def test_a_bomb_of_references() -> None:
    pairs = {f"a{i}": {"anyOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(60)}
    found = inline_refs({"$defs": pairs, "anyOf": [{"$ref": "#/$defs/a0"}]})
    assert len(json.dumps(found)) < 1_000_000


KEYWORDS = st.sampled_from(["$ref", "$defs", "properties", "anyOf", "a"])
TARGETS = st.sampled_from(["#/$defs/a", "#/$defs/$ref", "text"])


@given(
    st.dictionaries(
        KEYWORDS,
        st.recursive(
            st.none() | TARGETS,
            lambda x: st.lists(x, max_size=3) | st.dictionaries(KEYWORDS, x),
            max_leaves=8,
        ),
    )
)
def test_any_schema(schema: dict[str, object]) -> None:
    found = inline_refs(schema)
    assert "$defs" not in found
    assert without_keys(found, ()) == found


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({}, {"type": "object", "properties": {}}),
        (
            {"$schema": "x", "type": "object", "properties": {"a": {"$id": "y"}}},
            {"type": "object", "properties": {"a": {}}},
        ),
        (
            {
                "anyOf": [
                    {"properties": {"a": {}, "b": {}}, "required": ["a", "b"]},
                    {"properties": {"b": {}, "c": {}}, "required": ["b", "c"]},
                ]
            },
            {
                "type": "object",
                "properties": {"a": {}, "b": {}, "c": {}},
                "required": ["b"],
            },
        ),
        (
            {"allOf": [{"required": ["a"]}], "properties": {"a": {}, "b": {}}},
            {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]},
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/A"}},
                "$defs": {"A": {"type": "string"}},
            },
            {"type": "object", "properties": {"a": {"type": "string"}}},
        ),
    ],
)
def test_schemas_that_fit(schema: dict[str, Any], found: dict[str, Any]) -> None:
    assert fitting(schema) == found
