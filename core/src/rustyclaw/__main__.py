"""Lets ``python -m rustyclaw`` be the command ``rustyclaw``."""

from rustyclaw.cli import main

main()
