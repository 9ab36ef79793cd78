"""Pages that show how a provider is configured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rustyclaw import load_config


def configured(page: Path, home: Path, provider: str) -> dict[str, Any]:
    """Return the section of the one provider that the YAML of a page configures.

    :param home: An empty folder, which gets it as its config.
    """
    text = page.read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml[^\n]*\n(.*?)^```", text, re.S | re.M)
    (home / "config.yaml").write_text(block, encoding="utf-8")
    config = load_config(home=home, env={})
    assert not config.warnings
    assert set(config.providers) == {provider}
    return dict(config.providers[provider])
