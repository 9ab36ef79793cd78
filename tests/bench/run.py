"""Measures rustyclaw against floors of the same run; `nox -s bench` calls it.

``docs/performance.md`` says what the rows mean.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import anyio
from table import Row, markdown

#: The groups of measurements, each a module, in the order of the table.
GROUPS = (
    "startup",
    "turns",
    "dispatch",
    "append",
    "growth",
    "footprint",
    "request",
    "server",
    "provider",
)


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    return {
        "python": platform.python_version(),
        "cpu": f"{os.cpu_count()} x {_cpu_model()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "state on": _file_system(tempfile.gettempdir()),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "versions": ", ".join(
            f"{name} {version(name)}"
            for name in ("rustyclaw", "anyio", "pydantic", "pluggy", "typer")
        ),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _file_system(folder: str) -> str:
    """Return the type of the file system that a folder is on."""
    mounts = [
        line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()
    ]
    inside = [m for m in mounts if Path(folder).resolve().is_relative_to(m[0])]
    return max(inside, key=lambda mount: len(mount[0]))[1]


def measure(group: str, quick: bool) -> list[Row]:
    """Run one group of measurements, on an event loop of its own."""
    rows: list[Row] = anyio.run(import_module(group).measure, quick)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--only", choices=GROUPS, help="measure one group")
    parser.add_argument("--quick", action="store_true", help="few runs: does it work?")
    options = parser.parse_args()
    facts = machine()
    groups = GROUPS if options.only is None else (options.only,)
    rows = [row for group in groups for row in measure(group, options.quick)]
    if options.json:
        print(json.dumps({"machine": facts, "rows": [r.as_json() for r in rows]}))
        return
    print(markdown(rows))
    print("", *(f"{name}: {fact}" for name, fact in facts.items()), sep="\n")


if __name__ == "__main__":
    main()
