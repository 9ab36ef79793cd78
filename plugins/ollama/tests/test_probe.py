"""Whether Ollama is there, and has a model."""

from __future__ import annotations

import socket

import pytest
from rustyclaw import ProviderError

from .conftest import MODELS, FakeOllama, Make


async def test_probe(make: Make, ollama: FakeOllama) -> None:
    assert await make().probe() == f"lists {len(MODELS)} models"
    assert [r.target for r in ollama.server.requests] == ["/api/tags"]


async def test_nothing_is_installed(make: Make, ollama: FakeOllama) -> None:
    ollama.models.clear()

    with pytest.raises(ProviderError, match="`ollama pull qwen3` installs one"):
        await make().probe()


async def test_nobody_listens(make: Make) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"

        with pytest.raises(ProviderError, match=f"at {url}.*`ollama serve`") as failed:
            await make(base_url=url).probe()

    assert failed.value.kind == "timeout"


def test_no_key_is_lacking(make: Make) -> None:
    assert make().problem() == ""
