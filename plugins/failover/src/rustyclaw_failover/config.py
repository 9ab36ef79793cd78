"""The settings, and the profiles that they make: one for each key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from rustyclaw import PluginConfig, Secret

NAME = "failover"
#: The chain that ``models`` is.
DEFAULT_CHAIN = "default"

Spec = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(/\S+)?$")]
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")]
ChainName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Chain = Annotated[tuple[Spec, ...], Field(min_length=1)]


class KeyConfig(PluginConfig):
    """One key of a provider."""

    model_config = ConfigDict(hide_input_in_errors=True)

    api_key: Secret = Field(description="or `api_key_env`")
    label: Label | None = Field(None, description="its name; default: `key1`, `key2`")

    @model_validator(mode="after")
    def _check_key(self) -> KeyConfig:
        """Refuse a key that cannot stand in a header."""
        text = self.api_key.get_secret_value()
        if not (text and text.isascii() and text.isprintable()):
            raise ValueError("`api_key` must be printable ASCII, and not empty")
        return self


class CooldownConfig(PluginConfig):
    """How long a key rests that has failed."""

    initial_seconds: float = Field(60, gt=0, description="after its first failure")
    factor: float = Field(5, ge=1, description="longer with each further failure")
    max_seconds: float = Field(3600, gt=0, description="but not longer than this")
    billing_hours: float = Field(
        5, gt=0, description="without credit, or revoked; doubles with each failure"
    )
    billing_max_hours: float = Field(24, gt=0, description="but not longer than this")
    failure_window_hours: float = Field(
        24, gt=0, description="a failure that is older counts no more"
    )


class FailoverConfig(PluginConfig):
    """The section ``providers.failover``."""

    models: tuple[Spec, ...] = Field(
        (), description="the default chain: `provider/model`, the first choice first"
    )
    chains: dict[ChainName, Chain] = Field(
        default_factory=dict, description="further chains, by name"
    )
    keys: dict[str, tuple[KeyConfig, ...]] = Field(
        default_factory=dict, description="keys of a provider, by the provider's name"
    )
    order: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="labels of a provider's keys in a fixed order, not in turn",
    )
    cooldowns: CooldownConfig = Field(
        default_factory=CooldownConfig, description="how long a key rests"
    )
    silence_seconds: float = Field(
        90,
        gt=0,
        le=115,
        description="a model that says nothing for so long is passed over",
    )

    @model_validator(mode="after")
    def _check_names(self) -> FailoverConfig:
        """Refuse chains of itself, and an order of keys that do not exist."""
        if DEFAULT_CHAIN in self.chains:
            raise ValueError(f"the chain {DEFAULT_CHAIN!r} is `models`; set that")
        for spec in (*self.models, *(s for c in self.chains.values() for s in c)):
            if spec.partition("/")[0] == NAME:
                raise ValueError(f"a chain cannot hold {spec!r}; name other providers")
        for provider in self.keys:
            ids = [profile.id for profile in self.profiles(provider)]
            if twice := next((id for id in ids if ids.count(id) > 1), None):
                raise ValueError(f"two keys are called {twice!r}; change a `label`")
        for provider, labels in self.order.items():
            known = [profile.label for profile in self.profiles(provider)]
            if wrong := [label for label in labels if label not in known]:
                names = ", ".join(known)
                raise ValueError(
                    f"`order.{provider}` names {wrong[0]!r}; known are {names}"
                )
        return self

    def profiles(self, provider: str) -> tuple[Profile, ...]:
        """Return the profiles of a provider; without keys it has one, as it is."""
        keys = self.keys.get(provider, ())
        named = (
            Profile(
                provider=provider,
                label=key.label or f"key{number}",
                settings={"api_key": key.api_key.get_secret_value()},
            )
            for number, key in enumerate(keys, 1)
        )
        return tuple(named) or (Profile(provider=provider, label="default"),)

    def all_profiles(self) -> Iterator[Profile]:
        """Yield the profiles of all providers that are named."""
        chains = (self.models, *self.chains.values())
        named = [spec.partition("/")[0] for chain in chains for spec in chain]
        for provider in dict.fromkeys((*named, *self.keys)):
            yield from self.profiles(provider)

    def candidates(self, model: str) -> tuple[str, ...] | None:
        """Return what ``failover/MODEL`` means; ``None``: there is no such chain.

        :param model: The name of a chain, or ``provider/model``, which then comes
            before the default chain.
        """
        if model == DEFAULT_CHAIN:
            return tuple(dict.fromkeys(self.models)) or None
        if model in self.chains:
            return tuple(dict.fromkeys(self.chains[model]))
        if "/" in model and model.partition("/")[0] != NAME:
            return tuple(dict.fromkeys((model, *self.models)))
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A provider with one of its keys.

    :param settings: What it is opened with instead of its section; secret.
    """

    provider: str
    label: str
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def id(self) -> str:
        """``provider:label``; all that is ever shown or stored."""
        return f"{self.provider}:{self.label}"

    @property
    def instance(self) -> str:
        """The name of the provider's instance; empty: the one that all share."""
        return self.id if self.settings else ""
