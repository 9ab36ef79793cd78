"""Runs Autobahn's groups 1 to 7 and 10 against `echo.py`; `nox -s autobahn` calls it.

Needs ``wstest`` of ``autobahntestsuite``, which runs on CPython 2.7 alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

ECHO = Path(__file__).with_name("echo.py")
GROUPS = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
#: The verdicts of the suite that are no failure.
FINE = ("OK", "NON-STRICT", "INFORMATIONAL")


def run(wstest: str, name: str, folder: Path) -> dict[str, str]:
    """Return the verdict of each case.

    :param name: The implementation, as `echo.py` takes it.
    """
    child = subprocess.Popen([sys.executable, ECHO, name], stdout=subprocess.PIPE)
    with child:
        try:
            assert child.stdout is not None
            url = f"ws://127.0.0.1:{int(child.stdout.readline())}"
            spec = {
                "outdir": str(folder),
                "servers": [{"agent": name, "url": url}],
                "cases": GROUPS,
                "exclude-cases": [],
            }
            path = folder / "spec.json"
            path.write_text(json.dumps(spec))
            subprocess.run(
                [wstest, "-m", "fuzzingclient", "-s", path],
                check=True,
                stdout=subprocess.DEVNULL,
                timeout=600,
            )
        finally:
            child.kill()
    cases = json.loads((folder / "index.json").read_text())[name]
    return {
        number: max((case["behavior"], case["behaviorClose"]), key=_rank)
        for number, case in cases.items()
    }


def _rank(verdict: str) -> int:
    return FINE.index(verdict) if verdict in FINE else len(FINE)


def main() -> None:
    """Run; exit with 1 if a case has failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wstest", help="the suite's program")
    parser.add_argument("names", nargs="*", default=["ours"], help="see echo.py")
    options = parser.parse_args()
    failed = False
    for name in options.names:
        with TemporaryDirectory() as folder:
            verdicts = run(options.wstest, name, Path(folder))
        print(f"{name}: {len(verdicts)} cases, {dict(Counter(verdicts.values()))}")
        for number, verdict in verdicts.items():
            if verdict not in FINE:
                failed = failed or name == "ours"
                print(f"  {number} {verdict}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
