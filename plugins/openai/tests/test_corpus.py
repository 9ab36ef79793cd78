"""Every row of the corpus that is about this vendor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rustyclaw_http.testing.corpus import answer_of, grade, patience, rows
from rustyclaw_http.testing.hearing import hear, request
from rustyclaw_http.testing.server import FakeVendor

from .conftest import Make

ROWS = rows(Path(__file__).parent / "data" / "sse_streams.jsonl", "openai")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['id']}-{row['case']}")
async def test_row(row: dict[str, Any], make: Make, vendor: FakeVendor) -> None:
    vendor.script(answer_of(row))
    async with make(**patience(row)) as provider:
        grade(row, await hear(provider, request()))


def test_none_is_missing() -> None:
    assert len(ROWS) == 15
