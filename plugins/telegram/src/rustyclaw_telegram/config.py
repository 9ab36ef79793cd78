"""The settings of Telegram: section ``channels.telegram``."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, field_validator, model_validator
from rustyclaw import ChannelConfig, PluginConfig, Secret

#: As BotFather hands them out: the bot's id, a colon, and the secret itself.
_TOKEN = re.compile(r"\d{1,20}:[A-Za-z0-9_-]{5,100}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
#: What `setWebhook` takes as ``secret_token``; shorter ones can be guessed.
_HOOK_SECRET = re.compile(r"[A-Za-z0-9_-]{16,256}")
#: `Target.account_id` of the bot that has no name.
DEFAULT = "default"


def _address(text: str) -> str:
    """Check an address, and return it without a slash at the end."""
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text):
        raise ValueError("write an address as `https://api.example.org`")
    return text.rstrip("/")


def _token(secret: Secret) -> Secret:
    if not _TOKEN.fullmatch(secret.get_secret_value()):
        raise ValueError("this is no bot token; BotFather shows it as `123456:ABC...`")
    return secret


def _proxy(secret: Secret) -> Secret:
    if not re.fullmatch(r"https?://[^\s/?#]+/?", secret.get_secret_value()):
        raise ValueError("write the address of a proxy as `http://host:3128`")
    return secret


Token = Annotated[Secret, AfterValidator(_token)]


class Account(PluginConfig):
    """One of several bots."""

    token: Token = Field(description="what BotFather gave for this bot")


class TelegramConfig(ChannelConfig):
    """Telegram: one bot by its `token`, several by `accounts`, or both."""

    token: Token | None = Field(
        None, description="what BotFather gave; or name a variable in `token_env`"
    )
    accounts: dict[str, Account] = Field(
        {}, description="further bots by name, each with a `token` or `token_env`"
    )
    base_url: Annotated[str, AfterValidator(_address)] = Field(
        "https://api.telegram.org", description="the Bot API; or a server of your own"
    )
    proxy: Annotated[Secret, AfterValidator(_proxy)] | None = Field(
        None, description="address of a proxy, such as `http://user:word@host:3128`"
    )
    webhook_url: Annotated[str, AfterValidator(_address)] | None = Field(
        None,
        description="public address of the gateway; Telegram then calls "
        "`/telegram/ACCOUNT` there instead of being polled",
    )
    webhook_secret: Secret | None = Field(
        None, description="proves that Telegram calls; required with `webhook_url`"
    )
    poll_seconds: int = Field(
        30, ge=1, le=90, description="how long Telegram may hold a poll open"
    )
    placeholder: str = Field(
        "…",
        min_length=1,
        max_length=100,
        description="a message begins as this, and is then edited into the answer",
    )
    link_previews: bool = Field(
        False, description="show previews of links; they fetch what a model wrote"
    )
    max_media_bytes: int = Field(
        20_000_000, ge=0, description="largest file that is taken in"
    )

    @field_validator("accounts")
    @classmethod
    def _named(cls, accounts: dict[str, Account]) -> dict[str, Account]:
        for name in accounts:
            if not _NAME.fullmatch(name) or name == DEFAULT:
                raise ValueError(
                    f"{name!r} cannot be the name of an account; use small letters, "
                    f"digits, `-` and `_`, and not {DEFAULT!r}"
                )
        return accounts

    @model_validator(mode="after")
    def _complete(self) -> Self:
        tokens = self.tokens
        if not tokens:
            raise ValueError("no bot; set `token`, `token_env` or `accounts`")
        bots = [token.partition(":")[0] for token in tokens.values()]
        if len(set(bots)) < len(bots):
            raise ValueError("two accounts are the same bot; each needs its own token")
        if self.webhook_url is not None:
            secret = self.webhook_secret
            if secret is None or not _HOOK_SECRET.fullmatch(secret.get_secret_value()):
                raise ValueError(
                    "`webhook_url` needs a `webhook_secret` of 16 to 256 letters, "
                    "digits, `-` and `_`; without it anybody could write as anybody"
                )
        return self

    @property
    def tokens(self) -> dict[str, str]:
        """The token of each account, by the account's name."""
        named = {name: account.token for name, account in self.accounts.items()}
        if self.token is not None:
            named = {DEFAULT: self.token, **named}
        return {name: token.get_secret_value() for name, token in named.items()}
