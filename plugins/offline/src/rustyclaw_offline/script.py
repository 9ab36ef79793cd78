"""Plays a YAML file of turns: what a demo or a test wants a model to do.

::

    - - say: Hello! What shall I do?        # answers the first request
    - - think: I should look first.         # answers the second one
      - call: {file_list: {path: .}}        # ends a model call; tools run
      - say: There they are.                # the next model call goes on here
    - when: (?:bye|good night)              # answers each request that has this
      steps:
        - say: Good bye.

A turn is played in rounds: a round ends after its calls, and the next one begins
behind them. `script_file` reads such a file and reports mistakes with their lines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rustyclaw import ProviderError

from rustyclaw_offline.conversation import Turn
from rustyclaw_offline.steps import Step


@dataclass(frozen=True, slots=True)
class ScriptTurn:
    """What is done for one request: rounds of steps, and when, if not by position."""

    rounds: tuple[tuple[Step, ...], ...]
    when: re.Pattern[str] | None = None


class Script:
    """The turns of a file.

    :param name: File name, for messages.
    """

    def __init__(self, name: str, turns: Sequence[ScriptTurn]) -> None:
        self._name = name
        self._by_word = [turn for turn in turns if turn.when is not None]
        self._in_order = [turn for turn in turns if turn.when is None]

    def steps_of(self, turn: Turn) -> tuple[Step, ...]:
        """Return the next round of a turn; nothing if all have been played.

        :raises ProviderError: The script has no turn for this request.
        """
        for scripted in self._by_word:
            if scripted.when is not None and scripted.when.search(turn.text):
                break
        else:
            if not 1 <= turn.position <= len(self._in_order):
                raise ProviderError(
                    f"script {self._name!r} has no turn for request {turn.position}; "
                    "add one, or one with `when`",
                    kind="format",
                    provider="offline",
                )
            scripted = self._in_order[turn.position - 1]
        rounds = scripted.rounds
        return rounds[turn.rounds] if turn.rounds < len(rounds) else ()
