"""Whether bots work, asked beside a gateway that runs with the same tokens.

Only `getMe` and `getWebhookInfo` are called: `getUpdates` would end the poll of
whoever polls already, with status 409.
"""

from __future__ import annotations

import anyio
from rustyclaw import ChannelError

from rustyclaw_telegram.api import BotApi, TelegramError, Transport
from rustyclaw_telegram.config import TelegramConfig
from rustyclaw_telegram.updates import Me

#: Below what the core allows, so that the error can name the address.
_SECONDS = 9.0


async def who_is(api: BotApi) -> Me:
    """Return the bot that a token belongs to.

    :raises TelegramError: There is none, or Telegram cannot be asked.
    """
    found = await api.call("getMe")
    try:
        return Me(id=int(found["id"]), username=str(found["username"]))
    except (KeyError, TypeError, ValueError):
        raise TelegramError("it names no bot", method="getMe") from None


async def probe(settings: TelegramConfig) -> str:
    """Return who all bots are, and what is odd about them.

    :raises ChannelError: One of them does not work.
    """
    proxy = settings.proxy.get_secret_value() if settings.proxy else None
    names, said = settings.tokens, list[str]()
    try:
        with anyio.fail_after(_SECONDS):
            async with Transport(proxy=proxy) as transport:
                for name, token in names.items():
                    of = f"account {name!r}: " if len(names) > 1 else ""
                    api = BotApi(transport, settings.base_url, token)
                    said.append(of + await _introduced(api, of, settings))
    except TimeoutError:
        problem = f"telegram: no answer within {_SECONDS:g} s at {settings.base_url}"
        raise ChannelError(f"{problem}; check the network and `base_url`") from None
    return "; ".join(said)


async def _introduced(api: BotApi, of: str, settings: TelegramConfig) -> str:
    try:
        me, info = await who_is(api), await api.call("getWebhookInfo")
    except TelegramError as exc:
        where = "" if exc.status else f" at {settings.base_url}; check the network"
        raise ChannelError(f"{of}{exc}{where}", permanent=exc.permanent) from None
    info, said = info if isinstance(info, dict) else {}, f"@{me.username}"
    if settings.webhook_url is None:
        if info.get("url"):
            said += ", with a webhook of somebody else, which the gateway will remove"
    elif error := info.get("last_error_message"):
        said += f", whose webhook fails: {str(error)[:200]}"
    return said
