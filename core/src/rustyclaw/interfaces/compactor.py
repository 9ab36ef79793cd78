"""The Compactor interface: how older messages become a summary.

Chosen by name in the config (``agents.defaults.compactor``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from rustyclaw.interfaces import Configured
from rustyclaw.messages import CompactionRequest, Message

#: Asks the run's own model: system prompt and messages in, its text out.
Summarize = Callable[[str, tuple[Message, ...]], Awaitable[str]]


class Compactor(Configured, ABC):
    """A way to shorten a conversation."""

    @abstractmethod
    async def compact(self, request: CompactionRequest, summarize: Summarize) -> str:
        """Return the summary that takes the place of ``request.messages``.

        :raises ProviderError: The model could not be asked.
        """
