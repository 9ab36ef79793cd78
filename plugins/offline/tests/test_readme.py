"""The README tells the truth about the settings and the scripts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rustyclaw_offline.config import OfflineConfig
from rustyclaw_offline.provider import OfflineProvider

README = Path(__file__).parents[1] / "README.md"


def test_the_table_has_a_row_for_each_key() -> None:
    keys = re.findall(r"^\| `(\w+)` \|", README.read_text("utf-8"), re.MULTILINE)
    assert keys == list(OfflineConfig.model_fields)


async def test_the_example_script_can_be_played(chat, tmp_path: Path) -> None:
    (example,) = re.findall(
        r"```yaml\n(- .*?)```", README.read_text("utf-8"), re.DOTALL
    )
    path = tmp_path / "demo.yaml"
    path.write_text(example, encoding="utf-8")
    chat.provider = OfflineProvider(OfflineConfig(script=path))
    chat.model = "script"
    assert await chat.say("hi")
    assert await chat.say("look")
    assert chat.calls


@pytest.mark.parametrize("value", [{"delay": 1}, {"delay_ms": -1}, {"script": 3}])
def test_wrong_settings_are_refused(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="OfflineConfig"):
        OfflineConfig.model_validate(value)
