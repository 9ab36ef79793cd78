"""The small parts: chunks, identifiers, sections of a file, and texts that are cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from rustyclaw import Message, ToolCall, ToolResult
from rustyclaw_compaction import kept
from rustyclaw_compaction.agents_file import read_sections, sections
from rustyclaw_compaction.audit import identifiers, mended, problems, shortened
from rustyclaw_compaction.chunks import chunk_limit, chunks, halves, total
from rustyclaw_compaction.prompts import HEADINGS
from rustyclaw_compaction.wording import Unit, units


def of_sizes(sizes: list[int]) -> list[Unit]:
    return [Unit(messages=(Message.user(""),), text="x" * 4 * size) for size in sizes]


# --- Chunks -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("average", "limit"),
    [
        (10, 40_000 - 4_096),
        (8_000, 40_000 - 4_096),  # 9.6 % of the window, still ordinary
        (10_000, 16_000 - 4_096),  # 12 %: 0.4 - 2 * 0.12
        (30_000, 15_000 - 4_096),  # the least
    ],
)
def test_the_limit_of_a_chunk_depends_on_the_size_of_messages(
    average: int, limit: int
) -> None:
    assert chunk_limit(of_sizes([average] * 5), 100_000) == pytest.approx(limit, abs=1)


def test_a_small_window_leaves_half_of_the_share() -> None:
    assert chunk_limit(of_sizes([10]), 16_000) == 3_200


@given(sizes=st.lists(st.integers(1, 500), max_size=40), limit=st.integers(1, 600))
def test_chunks_are_whole_in_order_and_within_the_limit(
    sizes: list[int], limit: int
) -> None:
    all_units = of_sizes(sizes)
    runs = chunks(all_units, limit)
    assert [unit for run in runs for unit in run] == all_units
    assert all(total(run) <= limit or len(run) == 1 for run in runs)


@given(sizes=st.lists(st.integers(1, 500), min_size=2, max_size=40))
def test_halves_are_whole_and_about_equal(sizes: list[int]) -> None:
    all_units = of_sizes(sizes)
    older, newer = halves(all_units)
    assert older + newer == all_units
    assert older
    assert newer
    assert abs(total(older) - total(newer)) <= 2 * max(sizes)


@given(shape=st.lists(st.integers(0, 3), max_size=10))
def test_a_unit_never_parts_calls_from_results(shape: list[int]) -> None:
    messages = [Message.user("q")]
    for number, count in enumerate(shape):
        ids = [f"{number}-{n}" for n in range(count)]
        asked = tuple(ToolCall(id=i, name="look") for i in ids)
        messages.append(Message(role="assistant", content=asked))
        if ids:
            given = tuple(ToolResult(call_id=i, name="look") for i in ids)
            messages.append(Message(role="tool", content=given))
    found = units(messages)
    assert [m for unit in found for m in unit.messages] == messages
    for unit in found:
        called = [c.id for m in unit.messages for c in m.tool_calls]
        answered = [
            b.call_id
            for m in unit.messages
            for b in m.content
            if isinstance(b, ToolResult)
        ]
        assert called == answered


# --- The audit ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("commit deadbeef12, really", ["deadbeef12"]),
        ("see (https://a.example/b?c=1).", ["https://a.example/b?c=1"]),
        ("in '/etc/hosts'!", ["/etc/hosts"]),
        (r"in C:\Temp\x.txt", [r"C:\Temp\x.txt"]),
        ("at db-1.lan:5432", ["db-1.lan:5432"]),
        (
            "id 123e4567-e89b-12d3-a456-426614174000",
            ["123e4567-e89b-12d3-a456-426614174000"],
        ),
        ("order 123456 of 12345", ["123456"]),
        ("nothing at all, effaced and/or not 12:30", []),
    ],
)
def test_identifiers(text: str, expected: list[str]) -> None:
    assert identifiers([Message.user(text)]) == expected


def test_only_the_last_messages_count_and_only_twelve() -> None:
    messages = [Message.user(f"{n}00000") for n in range(10, 30)]
    assert identifiers(messages) == [f"{n}00000" for n in range(29, 19, -1)]
    many = Message.user(" ".join(f"{n}00000" for n in range(10, 40)))
    assert len(identifiers([many])) == 12


def test_headings_in_another_order_are_a_fault() -> None:
    text = "\n".join(reversed(HEADINGS))
    assert problems(text, [], "") == [
        "the headings are not in the order that was asked for"
    ]
    assert problems("\n".join(HEADINGS), [], "do it now") == []


@settings(max_examples=40)
@given(text=st.text(), wanted=st.lists(st.from_regex(r"\d{6}", fullmatch=True)))
def test_what_is_mended_lacks_nothing_and_loses_nothing(
    text: str, wanted: list[str]
) -> None:
    whole = mended(text, wanted)
    assert not any("missing" in fault for fault in problems(whole, wanted, ""))
    assert text.strip().splitlines()[:1] == [] or text.strip().splitlines()[0] in whole
    assert mended(whole, wanted) == whole


@given(text=st.text(), most=st.integers(1, 200))
def test_shortened_is_a_beginning(text: str, most: int) -> None:
    cut = shortened(text, most)
    assert cut == text or (
        len(cut) <= most + 20 and text.startswith(cut.removesuffix("[... cut ...]"))
    )


# --- What is carried ----------------------------------------------------------------


@given(facts=st.lists(st.text(max_size=40)), body=st.text())
def test_pinned_facts_come_back_as_they_were(facts: list[str], body: str) -> None:
    first = kept.limited(facts, 10_000)
    block = kept.block(kept.PINNED, (f"- {fact}" for fact in first))
    found = kept.take_apart(f"{kept.without_blocks(body)}\n\n{block}")
    lost = [fact for fact in first if fact.strip() and fact not in found.pinned]
    assert not [fact for fact in lost if not fact.startswith(("- ", "[..."))]


def test_files_are_cut_to_what_fits() -> None:
    lines = kept.listed(f"folder/file-{n:03}" for n in range(200))
    assert len("\n".join(lines)) < 940
    assert lines[-1] == f"[... and {200 - len(lines) + 1} more]"


# --- AGENTS.md ----------------------------------------------------------------------


def test_a_section_ends_at_a_heading_of_its_level_or_above() -> None:
    found = sections("## A\na\n### B\nb\n#### C\nc\n## D\nd\n# E\ne\n## A\nagain")
    assert found == {
        "a": "## A\na\n### B\nb\n#### C\nc",
        "b": "### B\nb\n#### C\nc",
        "d": "## D\nd",
    }


def test_headings_inside_of_code_are_code() -> None:
    text = "## A\n~~~\n## B\n```\n~~~\n## C\nc"
    assert list(sections(text)) == ["a", "c"]


def test_sections_are_bounded_and_may_have_their_old_names(tmp_path: Path) -> None:
    assert read_sections(tmp_path, ("Safety",), 100) == ""
    (tmp_path / "AGENTS.md").write_text(
        "## Every Session\nread\n## Safety\n" + "x" * 90
    )
    text = read_sections(tmp_path, ("Session Startup", "Red Lines"), 60)
    assert text.startswith("## Every Session\nread\n\n## Safety\nxxx")
    assert text.endswith("\n[... cut ...]")
    assert len(text) == 60 + len("\n[... cut ...]")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_not_read(tmp_path: Path, kind: str) -> None:
    import os

    path = tmp_path / "AGENTS.md"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    assert read_sections(tmp_path, ("Red Lines",), 100) == ""
