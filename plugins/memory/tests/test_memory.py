"""What is remembered, under which names, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rustyclaw import ToolContext, ToolError
from rustyclaw_memory import store, tools


async def test_set_get_replace_delete(call: Any) -> None:
    assert (await call("set", key="a", value="one")).text == (
        "stored 'a' in 'default': 3 bytes"
    )
    assert (await call("get", key="a")).text == "one"
    assert (await call("set", key="a", value="zwei")).text.startswith("replaced")
    assert (await call("get", key="a")).text == "zwei"
    assert (await call("set", key="a", value=None)).text == "deleted 'a' from 'default'"
    gone = await call("get", key="a")
    assert "not found" in gone.text
    assert not gone.is_error
    assert gone.details == {"found": False}
    assert "not found" in (await call("set", key="a", value=None)).text


async def test_empty_value_is_a_value(call: Any) -> None:
    await call("set", key="a", value="")
    result = await call("get", key="a")
    assert result.text == ""
    assert result.details == {"found": True}
    assert (await call("list")).text == "a (0 bytes)"


async def test_value_is_required(call: Any) -> None:
    with pytest.raises(ToolError, match="value"):
        await call("set", key="a")


async def test_namespaces_are_apart(call: Any) -> None:
    await call("set", key="a", value="one")
    await call("set", key="a", value="two", namespace="work")
    assert (await call("get", key="a")).text == "one"
    assert (await call("get", key="a", namespace="work")).text == "two"
    assert (await call("search", query="one", namespace="work")).details["keys"] == []
    assert "default, work" in (await call("list", namespace="nothing")).text


@pytest.mark.parametrize(
    ("given", "meant"),
    [("../x", "___x"), ("a b", "a_b"), ("ü-1", "ü-1"), ("u\u0308", "ü")],
)
async def test_namespace_spelling(given: str, meant: str, call: Any) -> None:
    await call("set", key="k", value="v", namespace=given)
    assert (await call("get", key="k", namespace=meant)).text == "v"


async def test_agents_are_apart(
    call: Any, call_in: Callable[..., Any], tool_context: ToolContext
) -> None:
    other = replace(tool_context, agent_dir=tool_context.home / "agents" / "other")
    await call("set", key="a", value="mine")
    assert "not found" in (await call_in(other)("get", key="a")).text


async def test_keys_are_compared_normalised(call: Any) -> None:
    await call("set", key="caf\u00e9", value="v")
    assert (await call("get", key="cafe\u0301")).text == "v"
    assert "not found" in (await call("get", key="CAFÉ")).text


async def test_list(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "namespaces with entries: none" in (await call("list")).text
    for key in ("b", "a/2", "a/1", "é"):
        await call("set", key=key, value="ü" + key)
    assert (await call("list")).text == (
        "a/1 (5 bytes)\na/2 (5 bytes)\nb (3 bytes)\né (4 bytes)"
    )
    assert (await call("list", prefix="a/")).text == "a/1 (5 bytes)\na/2 (5 bytes)"
    assert (await call("list", prefix="e\u0301")).text == "é (4 bytes)"
    assert "below '%'" in (await call("list", prefix="%")).text
    monkeypatch.setattr(tools, "LIST_LIMIT", 1)
    assert (
        await call("list")
    ).text == "a/1 (5 bytes)\n[truncated: 1 of 4; use a prefix]"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"key": ""}, "1 to 256 characters"),
        ({"key": "  "}, "1 to 256 characters"),
        ({"key": "k" * 257}, "1 to 256 characters"),
        ({"key": "a\nb"}, "no control characters"),
        ({"key": "a\0b"}, "no control characters"),
        ({"key": "a\u2028b"}, "no control characters"),
        ({"key": "a", "namespace": ""}, "1 to 64 characters"),
        ({"key": "a", "namespace": "n" * 65}, "1 to 64 characters"),
        ({"key": "a", "value": "v" * 65_537}, "has 65537 bytes, at most 65536 fit"),
        ({"key": "a", "value": "é" * 32_769}, "has 65538 bytes"),
    ],
)
async def test_limits(arguments: dict[str, str], reason: str, call: Any) -> None:
    with pytest.raises(ToolError, match=reason):
        await call("set", **{"value": "v", **arguments})


async def test_largest_of_everything(call: Any) -> None:
    entry = {"key": "k" * 256, "namespace": "n" * 64}
    await call("set", value="v" * 65_536, **entry)
    assert (await call("get", **entry)).text == "v" * 65_536


async def test_entries_are_limited(
    call_in: Callable[..., Any], tool_context: ToolContext
) -> None:
    call = call_in(tool_context, max_entries=2)
    await call("set", key="a", value="1")
    await call("set", key="b", value="1", namespace="other")
    with pytest.raises(ToolError, match="the memory is full"):
        await call("set", key="c", value="1")
    await call("set", key="a", value="2")
    await call("set", key="b", value=None, namespace="other")
    await call("set", key="c", value="1")


async def test_namespaces_are_limited(
    call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.MAX_NAMESPACES == 64
    monkeypatch.setattr(store, "MAX_NAMESPACES", 2)
    for namespace in ("n1", "n2"):
        await call("set", key="a", value="1", namespace=namespace)
    with pytest.raises(ToolError, match="2 namespaces already"):
        await call("set", key="a", value="1", namespace="n3")
    await call("set", key="b", value="1", namespace="n2")
