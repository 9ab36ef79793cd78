"""The bench runs to its end, and yields the rows that the docs explain."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="it reads Linux's /proc"
)
def test_the_bench_measures_what_the_docs_list() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "bench" / "run.py", "--quick", "--json"],
        stdout=subprocess.PIPE,
        timeout=120,
    )
    assert done.returncode == 0
    rows = json.loads(done.stdout)["rows"]
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| ([^|]+?) +\|(?:[^|\n]+\|){6}$", page, re.MULTILINE)

    assert [row["name"] for row in rows] == [n for n in listed if n != "measurement"]
    for row in rows:
        assert min(row["median"], row["floor"], row["ratio"]) > 0, row
        assert row["verdict"] in ("ok", "over", "-")
