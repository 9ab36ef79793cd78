"""What people deploy with is read by the program that it is for."""

from __future__ import annotations

import plistlib
import re
from pathlib import Path

import pytest
import yaml
from rustyclaw import load_config
from rustyclaw_server.commands.install import launchd_plist, systemd_unit
from rustyclaw_server.config import ServerConfig
from rustyclaw_server.server import check_safety

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "docs" / "deploy"


def environment() -> dict[str, str]:
    text = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^ENV (.*)$", text, re.MULTILINE)
    return dict(pair.split("=", 1) for pair in line.split())


def test_the_container_serves_beyond_loopback_and_only_with_a_token(
    tmp_path: Path,
) -> None:
    env = {**environment(), "RUSTYCLAW_HOME": str(tmp_path)}
    config = load_config(env=env)
    server = config.section("hooks", "server", ServerConfig)

    assert not config.warnings
    assert (server.host, server.auth.mode) == ("0.0.0.0", "token")
    check_safety(server)


def test_compose_keeps_the_port_on_this_machine() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    service = compose["services"]["rustyclaw"]

    context = (DEPLOY / service["build"]["context"]).resolve()
    assert (context / service["build"]["dockerfile"]).is_file()
    assert service["ports"] == ["127.0.0.1:18789:18789"]
    assert service["cap_drop"] == ["ALL"]
    seconds = int(service["stop_grace_period"].removesuffix("s"))
    assert seconds > load_config(env={}).gateway.drain_seconds


def test_units_start_this_program_with_this_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / 'odd "home" 100% $x'
    monkeypatch.setenv("RUSTYCLAW_HOME", str(home))

    unit = systemd_unit()
    assert re.search(
        r'^ExecStart="\S+" "-m" "rustyclaw" "gateway"$', unit, re.MULTILINE
    )
    quoted = str(home).replace('"', '\\"').replace("%", "%%")
    assert f'Environment="RUSTYCLAW_HOME={quoted}"' in unit
    assert "RestartPreventExitStatus=2" in unit

    plist = plistlib.loads(launchd_plist().encode())
    assert plist["ProgramArguments"][1:] == ["-m", "rustyclaw", "gateway"]
    assert plist["EnvironmentVariables"] == {"RUSTYCLAW_HOME": str(home)}
