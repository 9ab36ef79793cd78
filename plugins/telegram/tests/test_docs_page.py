"""What the guide and the README tell people to configure can be configured."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest
from rustyclaw import load_config
from rustyclaw_telegram.channel import TelegramChannel
from rustyclaw_telegram.config import TelegramConfig
from rustyclaw_telegram.testing import TOKEN

ROOT = Path(__file__).parents[3]
SECRETS = {
    "TELEGRAM_BOT_TOKEN": TOKEN,
    "TELEGRAM_WORK_TOKEN": "777:another-Token",
    "TELEGRAM_HOOK_SECRET": "sixteen-letters-and-more",
}
BLOCKS = [
    dedent(block)
    for page in ("docs/channels/telegram.md", "plugins/telegram/README.md")
    for block in re.findall(
        r"^ *```yaml[^\n]*\n(.*?)^ *```", (ROOT / page).read_text("utf-8"), re.S | re.M
    )
]


def test_there_are_blocks() -> None:
    assert len(BLOCKS) == 4


@pytest.mark.parametrize("block", BLOCKS)
def test_block(block: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(block)

    config = load_config(home=tmp_path, env=SECRETS)

    assert not config.warnings
    channel = TelegramChannel(config.section("channels", "telegram", TelegramConfig))
    tokens = channel.config.tokens
    assert tokens["default"] == TOKEN
    assert tokens.get("work") in (None, SECRETS["TELEGRAM_WORK_TOKEN"])
