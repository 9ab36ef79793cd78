"""The base of providers that speak HTTP."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar
from urllib.parse import urlsplit

import anyio
from rustyclaw import ModelInfo, Provider, ProviderError

from rustyclaw_http.client import VendorClient
from rustyclaw_http.config import ProviderConfig, is_private

#: Below what the core allows, so that the error can name the address.
PROBE_SECONDS = 9.0


class HttpProvider(Provider):
    """A provider with an address, a key, and connections that are kept.

    Derive, set the class variables, and write ``stream``::

        class AcmeProvider(HttpProvider):
            name = "acme"
            default_model = "acme-1"
            default_base_url = "https://api.acme.example"
            key_variables = ("ACME_API_KEY",)
            known_models = (ModelInfo(id="acme-1", context_window=128_000),)

            async def stream(self, request):
                url, headers = f"{self.base_url}/v1/talk", self.auth_headers()
                async with self.client.post_stream(url, {...}, headers) as events:
                    async for event in events:
                        yield TextDelta(text=json.loads(event.data)["text"])
                yield Finished()

    :cvar name: Entry-point name.
    :cvar default_base_url: The vendor's address; ``None``: the config must name one.
    :cvar needs_key: Whether requests without a key are pointless.
    :cvar known_models: What is known about the vendor's models.
    """

    Config = ProviderConfig
    config: ProviderConfig

    name: ClassVar[str]
    default_base_url: ClassVar[str | None] = None
    needs_key: ClassVar[bool] = True
    known_models: ClassVar[tuple[ModelInfo, ...]] = ()

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._client: VendorClient | None = None

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    @property
    def client(self) -> VendorClient:
        """The connections; made when they are first needed."""
        if self._client is None:
            self._client = VendorClient(self.name, self.config)
        if key := self.key():
            self._client.secrets.add(key)
        return self._client

    @property
    def base_url(self) -> str:
        """Where the vendor is, without a slash at the end.

        :raises ProviderError: Nobody has said.
        """
        url = self.config.base_url or self.default_base_url
        if url is None:
            raise self.error(
                f"has no address; set `providers.{self.name}.base_url`", kind="format"
            )
        return url

    @property
    def is_at_home(self) -> bool:
        """Whether requests go to the vendor's own host."""
        given, own = self.config.base_url, self.default_base_url
        return given is None or (own is not None and _host(given) == _host(own))

    def key(self) -> str | None:
        """Return the key from the config, or from the environment.

        The environment's is for the vendor's own address: who sets another one must
        say which key that address gets. Nor does it travel unencrypted.
        """
        if self.config.api_key is not None:
            return self.config.api_key.get_secret_value() or None
        if self.config.base_url is not None:
            own = self.default_base_url or ""
            moved = own.startswith("https:") and not self.is_at_home
            if moved or not is_private(self.config.base_url):
                return None
        names = self.key_variables
        return next((value for n in names if (value := os.environ.get(n))), None)

    def required_key(self) -> str | None:
        """Return the key; ``None`` only if the vendor does not need one.

        :raises ProviderError: It is missing.
        """
        key = self.key()
        if key is None and self.needs_key:
            where = f"`providers.{self.name}.api_key_env`"
            if self.config.base_url is None:
                where += "".join(f" or {name}" for name in self.key_variables)
            raise self.error(f"has no key; set {where}", kind="auth")
        return key

    def auth_headers(self) -> Mapping[str, str]:
        """Return what proves who asks; by default a bearer token.

        :raises ProviderError: The key is missing.
        """
        key = self.required_key()
        return {} if key is None else {"authorization": f"Bearer {key}"}

    # --- Does it work? ------------------------------------------------------------

    def problem(self) -> str:
        """Return that an address or a key is missing, or an empty text."""
        try:
            _ = self.base_url
            self.auth_headers()
        except ProviderError as exc:
            return str(exc)
        return ""

    @property
    def probe_url(self) -> str:
        """What `probe` gets: JSON that the vendor shows only to who has a key."""
        return f"{self.base_url}/v1/models"

    def judged(self, answer: Any) -> str:
        """Return what an answer to `probe` means, in a few words.

        By default it is a list of models, as ``data`` or ``models``.

        :raises ProviderError: It means that no model can be used.
        """
        content = answer if isinstance(answer, Mapping) else {"data": answer}
        found = content.get("data", content.get("models"))
        if not isinstance(found, list):
            raise self.error(
                f"answers at {self.base_url}, but not with a list of models; check "
                f"`providers.{self.name}.base_url`",
                kind="format",
            )
        if not found:
            raise self.error(
                f"has no model for you at {self.base_url}; load one there, or give the "
                "key access to one",
                kind="model_not_found",
            )
        return f"lists {len(found)} model{'s' * (len(found) != 1)}"

    async def probe(self) -> str:
        """Ask the vendor for what takes a valid key.

        :raises ProviderError: It refuses, or cannot be reached; the address is named.
        """
        async with self:
            try:
                headers = self.auth_headers()
                with anyio.fail_after(PROBE_SECONDS):
                    answer = await self.client.get_json(self.probe_url, headers)
            except TimeoutError:
                text = f"did not answer within {PROBE_SECONDS:g} s at {self.base_url}"
                raise self.error(text, kind="timeout") from None
            except ProviderError as exc:
                if exc.status is not None or exc.kind == "auth":
                    raise
                remedy = f"at {self.base_url}; check the network and the address"
                raise ProviderError(
                    f"{exc} {remedy}", kind=exc.kind, provider=self.name
                ) from exc
            return self.judged(answer)

    async def models(self) -> Sequence[ModelInfo]:
        """Return the known models and those of the config, which win."""
        return self.merged(())

    def merged(self, found: Sequence[ModelInfo]) -> tuple[ModelInfo, ...]:
        """Return known, found and configured models; the later win, id by id."""
        models = {info.id: info for info in (*self.known_models, *found)}
        for model in self.config.models:
            given = {name: getattr(model, name) for name in model.model_fields_set}
            known = models.get(model.id)
            models[model.id] = replace(known, **given) if known else model.info()
        models.setdefault(self.default_model, ModelInfo(id=self.default_model))
        return tuple(models.values())

    def info(self, model: str) -> ModelInfo:
        """Return what is known about a model without asking the vendor."""
        known = (info for info in self.merged(()) if info.id == model)
        return next(known, ModelInfo(id=model))

    def error(self, text: str, **fields: Any) -> ProviderError:
        """Return an error of this provider; fields as `ProviderError` has them."""
        return ProviderError(
            f"provider {self.name!r} {text}", provider=self.name, **fields
        )


def _host(url: str) -> str | None:
    return urlsplit(url).hostname
