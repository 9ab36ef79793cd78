"""Decides about a command: allow it, ask an operator, or refuse it."""

from __future__ import annotations

from typing import Literal

from rustyclaw_exec.allowlist import Allowlist
from rustyclaw_exec.paths import Places
from rustyclaw_exec.rules.catalog import NUL, SPOOFED, SWITCHED_OFF, TOO_COMPLEX
from rustyclaw_exec.spoofing import is_spoofed
from rustyclaw_exec.values import MARK
from rustyclaw_exec.verdict import Finding, Verdict, verdict_of
from rustyclaw_exec.walker import Walker

Mode = Literal["ask", "allowlist", "deny"]

#: Longer commands are not judged but asked about, in characters.
MAX_CHARACTERS = 32_768


class Policy:
    """The judgement of commands under one configuration.

    :param mode: ``ask`` runs what no rule objects to; ``allowlist`` runs only what
        is listed as well; ``deny`` runs nothing.
    :param allow: Entries of the list, see `Allowlist`.
    :param trusted_dirs: Folders whose programs the names on the list mean.
    """

    def __init__(
        self,
        mode: Mode = "ask",
        allow: tuple[str, ...] = (),
        trusted_dirs: tuple[str, ...] = (),
    ) -> None:
        self.mode = mode
        self._allowlist = Allowlist(allow, trusted_dirs)

    def judge(self, command: str, places: Places, cwd: str) -> Verdict:
        """Return the verdict on a command that would start in ``cwd``."""
        if self.mode == "deny":
            return verdict_of([Finding(SWITCHED_OFF, command)])
        if "\0" in command:
            return verdict_of([Finding(NUL, command)])
        if len(command) > MAX_CHARACTERS:
            return verdict_of([Finding(TOO_COMPLEX, command)])
        if MARK.search(command):
            return verdict_of([Finding(SPOOFED, command)])
        findings = [Finding(SPOOFED, command)] if is_spoofed(command) else []
        findings += Walker(places, cwd).walk(command)
        if self.mode == "allowlist":
            findings += self._allowlist.judge(command, places, cwd)
        return verdict_of(findings)
