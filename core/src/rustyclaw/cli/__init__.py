"""The command line. ``--version`` is answered before anything heavy is imported."""

from __future__ import annotations

import sys

from rustyclaw import __version__


def main() -> None:
    """Run ``rustyclaw`` with the arguments of the process, and leave it."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(f"rustyclaw {__version__}")
        return
    from rustyclaw.cli.app import run

    sys.exit(run(sys.argv[1:]))
