"""``memory_search``: ranking, scripts, and queries that are no syntax."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from rustyclaw import ToolContext, ToolError
from rustyclaw_memory.searching import PREVIEW_CHARS, fold, holds, preview, terms_of
from rustyclaw_memory.store import MemoryStore

NOTES = {
    "dentist": "Dr. Okafor, phone 555-0142, likes early appointments",
    "car": "Blue Škoda, plate B-XY 123; the garage is Müller & Söhne",
    "birthday": "Mother: 3 May. Father: the third of June.",
    "tokyo": "東京都渋谷区の喫茶店で会いました",
    "cafe": "Cafe\u0301 Zürich closes at 6; wifi is KAFFEE_2024",
    "regex": r"match ^[a-z]+$ with 100% of rows_1 and \d",
    "june": "nothing special",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("notes") / "memory.db"
    store = MemoryStore(path, max_entries=10)
    for key, value in NOTES.items():
        store.put("default", key, value)
    return path


@pytest.fixture
def notes(call: Any, written: Path, tool_context: ToolContext) -> Any:
    shutil.copy(written, tool_context.agent_dir)
    return call


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("okafor", ["dentist"]),
        ("OKAFOR phone", ["dentist"]),
        ("skoda", ["car"]),
        ("ŠKODA", ["car"]),
        ("muller", ["car"]),
        ("café", ["cafe"]),
        ("\uff23\uff21\uff26\uff25", ["cafe"]),
        ("zurich", ["cafe"]),
        ("june", ["june", "birthday"]),  # a key counts more than a value
        ("kaff", ["cafe"]),
        ("oint", ["dentist"]),
        ("東京", ["tokyo"]),
        ("渋谷区", ["tokyo"]),
        ("喫茶店 会い", ["tokyo"]),
        ("dentist", ["dentist"]),
        ("dent", ["dentist"]),
        ("100%", ["regex"]),
        ("rows_1", ["regex"]),
        ("rowsx1", []),
        ("^[a-z]+$", ["regex"]),
        ("what is the phone of Okafor", ["dentist"]),
        ("xyzzy", []),
    ],
)
async def test_found(query: str, keys: list[str], notes: Any) -> None:
    result = await notes("search", query=query)
    found = result.details["keys"]
    assert found[: len(keys)] == keys
    if len(query.split()) < 4:
        assert found == keys
    assert not result.is_error


@pytest.mark.parametrize(
    "query",
    [
        '"', '""', '" OR "', "a OR", "NOT", "AND AND", "NEAR(a b)", "key:a", "a*", "^a",
        "a + b", "{key value}: a", "-key:a", "(", ")", "'", "'; DROP TABLE entries; --",
        "***", "*** foo", "...", "\\", "a\0b", "\0", "%", "_", "?", "??", ":x", "$1",
        "\u202e", "👩\u200d🚀", "\u0301", "a" * 1000, " ".join(["w"] * 400), '"' * 500,
    ],
)  # fmt: skip
async def test_no_query_is_a_syntax_error(query: str, notes: Any) -> None:
    if not terms_of(query):
        with pytest.raises(ToolError, match="query is empty"):
            await notes("search", query=query)
    else:
        assert not (await notes("search", query=query)).is_error
    assert (await notes("get", key="car")).text == NOTES["car"]


@pytest.mark.parametrize("query", ["", "  ", "\n\t"])
async def test_empty_query(query: str, notes: Any) -> None:
    with pytest.raises(ToolError, match="use a few words"):
        await notes("search", query=query)


async def test_words_after_the_32nd_do_not_count(notes: Any) -> None:
    query = "wordless " * 32
    assert (await notes("search", query=query + "okafor")).details["keys"] == []
    assert (await notes("search", query=query[9:] + "okafor")).details["keys"]


async def test_long_query(notes: Any) -> None:
    with pytest.raises(ToolError, match="over 1000 characters"):
        await notes("search", query="a" * 1001)


async def test_more_words_rank_higher(call: Any) -> None:
    await call("set", key="one", value="alpha")
    await call("set", key="part", value="xalphax xbetax")
    await call("set", key="both", value="beta and then alpha")
    result = await call("search", query="alpha beta")
    assert result.details["keys"] == ["both", "part", "one"]


async def test_limit(call_in: Callable[..., Any], tool_context: ToolContext) -> None:
    call = call_in(tool_context, search_limit=3)
    for number in range(5):
        await call("set", key=f"k{number}", value="same words")
    assert (await call("search", query="words", limit=2)).text.split("\n") == [
        "k0: same words",
        "k1: same words",
        "[there are more than 2; use more exact words]",
    ]
    assert len((await call("search", query="words")).details["keys"]) == 3
    assert len((await call("search", query="ord", limit=9)).details["keys"]) == 3


async def test_changes_are_found_at_once(call: Any) -> None:
    await call("set", key="k", value="old")
    await call("set", key="k", value="new")
    assert (await call("search", query="old")).details["keys"] == []
    assert (await call("search", query="new")).details["keys"] == ["k"]
    await call("set", key="k", value=None)
    assert (await call("search", query="new")).details["keys"] == []


async def test_preview_is_one_short_line(call: Any) -> None:
    await call("set", key="k", value="x\n" * 5000 + "needle\n" + "y\n" * 5000)
    text = (await call("search", query="needle")).text
    assert text.startswith("k: …x x")
    assert "needle y" in text
    assert text.endswith("y…")
    assert len(text) < PREVIEW_CHARS + 10
    assert "\n" not in text


# --- Properties ---------------------------------------------------------------


@given(st.text(max_size=40), st.text(max_size=40))
def test_folding_goes_letter_by_letter(left: str, right: str) -> None:
    assert fold(left + right) == fold(left) + fold(right)


@given(st.text(max_size=400), st.text(min_size=1, max_size=5), st.text(max_size=400))
def test_preview_shows_the_term(before: str, term: str, after: str) -> None:
    line = preview(before + term + after, [term])
    assert len(line) <= PREVIEW_CHARS + 2
    if term.isalnum() and fold(term):
        assert holds(line, [fold(term)])


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=20), max_size=4),
    st.text(max_size=30),
)
def test_any_text_is_stored_and_searched(notes: dict[str, str], query: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = MemoryStore(Path(folder) / "memory.db", max_entries=10)
        for key, value in notes.items():
            store.put("n", key, value)
        assert {key: store.get("n", key) for key in notes} == notes
        assert [key for key, _ in store.keys("n", "")] == sorted(notes)
        terms = terms_of(query)
        found = dict(store.search("n", terms, 10)) if terms else {}
        assert found.items() <= notes.items()
        folded = [fold(term) for term in terms]
        for key, value in notes.items():
            if terms and holds(f"{key}\n{value}", folded):
                assert key in found
