"""The Provider interface: a language model, as one async stream.

A whole provider::

    class EchoProvider(Provider):
        default_model = "echo"

        async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
            yield TextDelta(text=request.messages[-1].text)
            yield Finished(usage=Usage(input_tokens=1, output_tokens=1))

Its entry-point name is the prefix of its models: ``echo/echo``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from rustyclaw.interfaces import Connected
from rustyclaw.messages import ModelInfo, ModelRequest, StreamEvent

if TYPE_CHECKING:
    from rustyclaw.agent.models import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptPolicy:
    """What a vendor demands of a conversation; the core repairs it accordingly.

    :param tool_call_ids: ``keep``, ``strict`` (letters and digits, at most 40) or
        ``strict9`` (exactly nine).
    :param synthesize_results: Give a call without a result an error result;
        otherwise the call is dropped.
    :param merge_roles: Join neighbouring messages of the same role.
    :param start_with_user: Put a short user message before an assistant's.
    :param keep_thinking: Replay thinking blocks.
    :param trim_last_assistant: Strip white space at the end of a final
        assistant text.
    """

    tool_call_ids: Literal["keep", "strict", "strict9"] = "keep"
    synthesize_results: bool = True
    merge_roles: bool = True
    start_with_user: bool = True
    keep_thinking: bool = True
    trim_last_assistant: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderHost:
    """What a gateway lends to a provider that may be made of others.

    :param folder: Where it may keep what a restart must not lose; it need not exist.
    :param open_model: Takes ``provider/model``; a name for an instance of that provider
        with settings of its own, or nothing; and those settings, which come before the
        config's. The instance stays open until the gateway ends. It raises
        `PluginError` and `ProviderError`.
    :param announce: Tells those who watch the gateway: name and payload of a `Notice`.
    """

    folder: Path
    open_model: Callable[[str, str, Mapping[str, Any]], Awaitable[Model]]
    announce: Callable[[str, Mapping[str, Any]], None]


class Provider(Connected, ABC):
    """A vendor of models.

    :cvar default_model: Used when the config names only the provider.
    :ivar transcript_policy: How conversations must look.
    :ivar host: The gateway sets it before the provider is entered.
    :cvar key_variables: Environment variables that may hold its key if the config
        names none; `onboard` proposes the first.
    """

    default_model: ClassVar[str]
    key_variables: ClassVar[tuple[str, ...]] = ()
    transcript_policy: TranscriptPolicy = TranscriptPolicy()
    host: ProviderHost

    @abstractmethod
    def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
        """Call the model; an async generator. REQUIRED.

        The last event is `Finished`; a stream that ends without it counts as cut
        off. Closing the generator must close the connection.

        :raises ProviderError: Classified by its ``kind``.
        """

    async def models(self) -> Sequence[ModelInfo]:
        """Return the models on offer; by default the default model alone."""
        return (ModelInfo(id=self.default_model),)

    async def about(self, model: str) -> ModelInfo | None:
        """Return what is known of a model just now; by default as `models` has it."""
        return None

    async def probe(self) -> str:
        """As any plugin's; by default it is opened, and asked for its models."""
        async with self:
            count = len(await self.models())
        return f"names {count} model{'s' * (count != 1)}"
