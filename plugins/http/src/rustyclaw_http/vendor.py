"""A provider whose vendor lists its models, and answers a call with one stream."""

from __future__ import annotations

import logging
import re
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar
from urllib.parse import urlsplit

import anyio
from rustyclaw import ModelInfo, ModelRequest, ProviderError, StreamEvent

from rustyclaw_http.exchange import Stream
from rustyclaw_http.provider import HttpProvider

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Item_contra = TypeVar("Item_contra", contravariant=True)

_DISCOVERY_SECONDS = 5.0
_VERSION = re.compile(r"/v\d+\w*(/|$)")


class Reader(Protocol, Generic[Item_contra]):
    """Turns what a vendor streams into stream events.

    :ivar patience: Seconds in which more may come; ``None``: any time.
    """

    patience: float | None

    def take(self, item: Item_contra, /) -> Iterator[StreamEvent]:
        """Take the next item of the stream."""
        ...

    def finish(self) -> Iterator[StreamEvent]:
        """Yield what ends an answer; nothing if it was cut off."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Item]):
    """One call of a model.

    :param opened: Sends it, when it is entered.
    """

    opened: AbstractAsyncContextManager[Stream[Item]]
    reader: Reader[Item]


class VendorProvider(HttpProvider):
    """A provider that says what a call is; see `call`.

    :cvar version: What follows an address that names no version.
    :ivar found: The models that the vendor listed.
    """

    version: ClassVar[str] = "v1"

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.found: tuple[ModelInfo, ...] = ()

    @abstractmethod
    async def call(self, request: ModelRequest) -> Call[Any]:
        """Return a call of a model, which is not sent yet.

        :raises ProviderError: It cannot be made.
        """

    async def stream(self, request: ModelRequest) -> AsyncIterator[StreamEvent]:
        """Call a model.

        :raises ProviderError: The vendor refuses, or the answer is not whole.
        """
        call = await self.call(request)
        reader = call.reader
        async with call.opened as items:
            async for item in items:
                for event in reader.take(item):
                    yield event
                if reader.patience is not None:
                    items.wind_down(reader.patience)
        last = list(reader.finish())
        if not last:
            raise self.error("broke off in the middle of its answer", kind="timeout")
        for event in last:
            yield event

    @property
    def api_url(self) -> str:
        """The address up to the version, which may be left out: ``https://x/v1``."""
        url = self.base_url
        named = _VERSION.search(urlsplit(url).path)
        return url if named else f"{url}/{self.version}"

    async def discover(
        self,
        url: str,
        headers: Mapping[str, str],
        infos: Callable[[Any], Iterable[ModelInfo]],
    ) -> None:
        """Ask the vendor for its models; without an answer we know what we know.

        :param infos: Reads the answer.
        """
        try:
            with anyio.fail_after(_DISCOVERY_SECONDS):
                answer = await self.client.get_json(url, headers)
            self.found = tuple(infos(answer))
        except (ProviderError, TimeoutError) as exc:
            logger.info("provider %r does not list its models: %s", self.name, exc)
