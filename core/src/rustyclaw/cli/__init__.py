"""The command line; ``--version`` is answered before anything heavy is imported."""

from __future__ import annotations

import sys

from rustyclaw import __version__


def main() -> None:
    """Run ``rustyclaw`` with the arguments of the process, and leave it."""
    say_version(sys.argv[1:] in (["--version"], ["-V"]))
    if sys.argv[1:] == ["gateway"]:
        from rustyclaw.cli.terminal import finish, serve

        sys.exit(finish(serve))
    from rustyclaw.cli.app import run

    sys.exit(run(sys.argv[1:]))


def say_version(wanted: bool) -> None:
    """Print the version and leave, if that is wanted."""
    if wanted:
        print(f"rustyclaw {__version__}")
        sys.exit()
