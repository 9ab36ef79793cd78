"""``rustyclaw gateway install``: have systemd or launchd keep the gateway running."""

from __future__ import annotations

import plistlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rustyclaw import RustyclawError, load_config

install_app = typer.Typer(add_completion=False, rich_markup_mode=None)

_LABEL = "rustyclaw"
#: Exit code 2 is a config that cannot be used: starting again would not mend it.
_SYSTEMD = """\
[Unit]
Description=rustyclaw gateway
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={command}
Environment={home}
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2
TimeoutStopSec={stop_seconds}
KillMode=mixed
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes

[Install]
WantedBy=default.target
"""


@install_app.command()
def install(
    start: Annotated[bool, typer.Option("--start", help="Start it as well.")] = False,
    show: Annotated[bool, typer.Option("--print", help="Only print the file.")] = False,
    launchd: Annotated[
        bool, typer.Option("--launchd/--systemd", help="Default: as the system is.")
    ] = sys.platform == "darwin",
) -> None:
    """Write a unit of the user's service manager that keeps the gateway running."""
    text = launchd_plist() if launchd else systemd_unit()
    if show:
        typer.echo(text, nl=False)
        return
    path = _place(launchd)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    typer.echo(f"wrote {path}")
    commands = _commands(path, launchd)
    if not start:
        typer.echo("start it with:")
        for command in commands:
            typer.echo(f"  {shlex.join(command)}")
        return
    for command in commands:
        _run(command)
    typer.echo("started")


def systemd_unit() -> str:
    """Return a unit for systemd."""
    config = load_config()
    return _SYSTEMD.format(
        command=" ".join(_quoted(word).replace("$", "$$") for word in _command()),
        home=_quoted(f"RUSTYCLAW_HOME={config.home}"),
        stop_seconds=int(config.gateway.drain_seconds) + 15,
    )


def launchd_plist() -> str:
    """Return an agent for launchd."""
    config = load_config()
    log = str(config.home / "gateway.log")
    facts: dict[str, Any] = {
        "Label": _LABEL,
        "ProgramArguments": _command(),
        "EnvironmentVariables": {"RUSTYCLAW_HOME": str(config.home)},
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ExitTimeOut": int(config.gateway.drain_seconds) + 15,
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
    return plistlib.dumps(facts).decode()


def _command() -> list[str]:
    return [sys.executable, "-m", "rustyclaw", "gateway"]


def _quoted(text: str) -> str:
    """Quote a word for a unit file, where `%` begins something else."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"{}"'.format(text.replace("%", "%%"))


def _place(launchd: bool) -> Path:
    if launchd:
        return Path("~/Library/LaunchAgents").expanduser() / f"{_LABEL}.plist"
    return Path("~/.config/systemd/user").expanduser() / f"{_LABEL}.service"


def _commands(path: Path, launchd: bool) -> list[list[str]]:
    if launchd:
        return [["launchctl", "load", "-w", str(path)]]
    systemctl = ["systemctl", "--user"]
    return [[*systemctl, "daemon-reload"], [*systemctl, "enable", "--now", path.name]]


def _run(command: list[str]) -> None:
    program = shutil.which(command[0])
    if program is None:
        raise RustyclawError(f"{command[0]!r} is not here; start the gateway by hand")
    done = subprocess.run(  # noqa: S603 - our own words
        [program, *command[1:]], capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise RustyclawError(f"`{shlex.join(command)}` failed: {said}")
