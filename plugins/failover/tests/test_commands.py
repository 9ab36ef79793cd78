"""``rustyclaw models auth``, in a process of its own beside a running gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio
from rustyclaw import ProviderError
from rustyclaw_failover.config import NAME, CooldownConfig, Profile
from rustyclaw_failover.ledger import Ledger

from .conftest import House

CONFIG = """
providers:
  failover:
    models: [a/large, b/large]
    keys:
      a: [{api_key: secret-key-one}, {api_key: secret-key-two, label: work}]
plugins: {allow: [failover, models]}
"""


def command(home: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "rustyclaw", "models", *arguments],
        env={**os.environ, "RUSTYCLAW_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "secret-key" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


async def test_beside_a_running_gateway(house: House) -> None:
    (house.home / "config.yaml").write_text(CONFIG)
    house.now = 4_000_000_000.0  # the command has the clock of the machine
    house.a.scripts["one"] = [ProviderError("429", kind="rate_limit")]
    house.a.scripts["two"] = [ProviderError("402", kind="billing")]
    async with house.open() as bot:
        assert await bot.say("hi") == "b own-key"
        code, out = await anyio.to_thread.run_sync(
            lambda: command(house.home, "auth", "list", "--json")
        )
        assert code == 0
        rows = {row["profile"]: row for row in json.loads(out)}
        assert list(rows) == ["a:key1", "a:work", "b:default", "a:key2"]
        assert rows["a:key1"]["state"] == "cooling"
        assert rows["a:key1"]["until"] == house.now + 60
        assert rows["a:key2"]["state"] == "disabled"
        assert rows["a:key2"]["failures"] == {"billing": 1}
        assert rows["a:work"]["state"] == "ready"
        assert rows["b:default"]["provider"] == "b"

        code, out = await anyio.to_thread.run_sync(
            lambda: command(house.home, "auth", "clear", "a:key1")
        )
        assert (code, out) == (0, "cleared a:key1\n")
        assert await bot.say("hi", session="other") == "a one", "it is seen at once"


def test_lists_and_errors(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    code, out = command(tmp_path, "auth", "list")
    assert (code, out.split()) == (
        0,
        ["a:key1", "ready", "a:work", "ready", "b:default", "ready"],
    )
    code, out = command(tmp_path, "auth", "clear", "a:key9")
    assert code == 1
    assert "no profile 'a:key9'; known are a:key1, a:work, b:default" in out

    ledger = Ledger(tmp_path / "providers" / NAME, CooldownConfig())
    anyio.run(mark, ledger)
    code, out = command(tmp_path, "auth", "list")
    assert "a:work     disabled until 20" in out
    assert out.count("auth_permanent 1") == 1
    assert command(tmp_path, "auth", "clear") == (0, "cleared a:work\n")
    assert "disabled" not in command(tmp_path, "auth", "list")[1]


async def mark(ledger: Ledger) -> None:
    profile = Profile(provider="a", label="work")
    await ledger.failed(profile, "auth_permanent", None)
    await ledger.close()


def test_help(tmp_path: Path) -> None:
    assert "auth" in command(tmp_path, "--help")[1]
    code, out = command(tmp_path, "auth", "--help")
    assert code == 0
    for words in ("list", "clear", "until when", "forget its failures"):
        assert words in out
