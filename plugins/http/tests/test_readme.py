"""What the README shows works, and what it lists is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rustyclaw_http.config import ProviderConfig
from rustyclaw_http.testing.hearing import hear, request
from rustyclaw_http.testing.server import Answer, FakeVendor

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
PROVIDER, CONFTEST, TEST, _CORPUS = BLOCKS


def names_in(*programs: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "readme"}
    for program in programs:
        exec(compile(program, "README.md", "exec"), names)
    return names


async def test_the_provider(vendor: FakeVendor) -> None:
    vendor.script(Answer.sse({"text": "Hello"}, "[DONE]"))
    config = ProviderConfig.model_validate({"base_url": vendor.url, "api_key": "k"})
    async with names_in(PROVIDER)["AcmeProvider"](config) as provider:
        assert (await hear(provider, request())).text == "Hello"


async def test_the_test(vendor: FakeVendor) -> None:
    await names_in(PROVIDER, CONFTEST, TEST)["test_a_limit"](vendor)


def test_the_settings() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)
    assert rows == list(ProviderConfig.model_fields)
