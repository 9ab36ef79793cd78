"""What must not be served is not: the gateway ends with 1 and says one line why."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from rustyclaw import RustyclawError
from rustyclaw_server.auth.devices import DeviceStore
from rustyclaw_server.config import ServerConfig
from rustyclaw_server.server import check_safety

from .client import Client
from .conftest import TOKEN, serving


def run(home: Path, settings: Mapping[str, Any]) -> tuple[int, list[str]]:
    """Run ``rustyclaw gateway`` until it ends; return exit code and output."""
    section = {"port": 0, **settings}
    config = {"hooks": {"server": section}, "plugins": {"allow": ["rustyclaw-server"]}}
    (home / "config.yaml").write_text(yaml.safe_dump(config))
    env = {k: v for k, v in os.environ.items() if not k.startswith("RUSTYCLAW_")}
    done = subprocess.run(
        [sys.executable, "-m", "rustyclaw", "gateway"],
        env=env | {"RUSTYCLAW_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    lines = done.stdout.splitlines()
    return done.returncode, [n for n in lines if "held the event loop" not in n]


def test_an_open_port_without_a_secret_ends_the_gateway(tmp_path: Path) -> None:
    code, lines = run(tmp_path, {"host": "0.0.0.0", "auth": {"mode": "none"}})
    assert code == 1
    (line,) = lines
    assert line.endswith("set hooks.server.auth.mode to `token`")


def test_a_port_that_is_taken_ends_the_gateway(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, lines = run(tmp_path, {"port": port})
    assert code == 1
    (line,) = lines
    assert f"cannot listen on 127.0.0.1:{port}: " in line
    assert not (tmp_path / "gateway.json").exists()


async def test_a_second_gateway_of_a_home_is_told_of_the_first(tmp_path: Path) -> None:
    async with serving(tmp_path / "home") as running:
        with pytest.raises(RustyclawError, match="another gateway serves"):
            async with serving(tmp_path / "home"):
                pass
        async with Client(running.url, token=TOKEN) as client:
            assert (await client.ask("health"))["ok"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"host": "0.0.0.0", "auth": {"mode": "none"}}, "no loopback address"),
        ({"host": "::", "auth": {"mode": "none"}}, "no loopback address"),
        ({"host": "192.0.2.1", "auth": {"mode": "none"}}, "no loopback address"),
        ({"host": "0.0.0.0", "auth": {"token": "short"}}, "too short"),
        ({"host": "::", "auth": {"mode": "password", "password": "x"}}, "too short"),
        ({"auth": {"mode": "password"}}, "set hooks.server.auth.password"),
        ({"auth": {"mode": "trusted-proxy"}}, "name the proxy"),
    ],
)
def test_an_unsafe_config_is_refused(settings: Any, problem: str) -> None:
    with pytest.raises(RustyclawError, match=problem):
        check_safety(ServerConfig(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"auth": {"mode": "none"}},
        {"host": "localhost", "auth": {"mode": "none"}},
        {"host": "::1", "auth": {"mode": "none"}},
        {"host": "127.8.8.8", "auth": {"mode": "none"}},
        {"host": "0.0.0.0"},
        {"host": "0.0.0.0", "auth": {"token": "sixteen-or-more-characters"}},
    ],
)
def test_a_safe_config_is_not(settings: Any) -> None:
    check_safety(ServerConfig(**settings))


@pytest.mark.parametrize("name", ["gateway-token", "device-secret"])
async def test_credentials_that_cannot_be_read_stop_the_start(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "credentials" / name).mkdir(parents=True)
    with pytest.raises(AssertionError, match="has not started"):
        async with serving(tmp_path, settings={"auth": {}}):
            pass
    assert f"cannot read '{tmp_path}/credentials/{name}': " in caplog.text


@pytest.mark.parametrize("text", [b"", b"x", bytes(31), bytes(33)])
async def test_a_torn_secret_makes_no_tokens(text: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "device-secret").write_bytes(text)
    with pytest.raises(AssertionError, match="has not started"):
        async with serving(tmp_path):
            pass


async def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    async with serving(tmp_path, settings={"auth": {}}) as running:
        paths = [
            tmp_path / "gateway.json",
            tmp_path / "credentials" / "gateway-token",
            tmp_path / "credentials" / "device-secret",
        ]
        assert [path.stat().st_mode & 0o777 for path in paths] == [0o600] * 3
        assert len(running.server.secret.value()) == 43
        assert isinstance(running.server.devices, DeviceStore)


async def test_what_a_killed_gateway_left_behind_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "gateway.json").write_text('{"url": "http://127.0.0.1:1", "secret')
    async with serving(tmp_path) as running:
        assert running.server.url in (tmp_path / "gateway.json").read_text()
    assert not (tmp_path / "gateway.json").exists()
