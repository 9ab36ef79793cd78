"""The settings of the exec tool: section ``tools.exec``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator
from rustyclaw import PluginConfig

from rustyclaw_exec.environment import is_forbidden


class ExecConfig(PluginConfig):
    """What may run, how long, and with what environment."""

    mode: Literal["ask", "allowlist", "deny"] = Field(
        "ask",
        description="`ask` runs what is harmless and asks about the rest; `allowlist` "
        "also asks about what is not in `allow`; `deny` runs nothing",
    )
    allow: tuple[str, ...] = Field(
        (),
        description="for `allowlist`: names (`git`), names with first arguments "
        "(`npm test`), or patterns of absolute paths (`/opt/tools/*`)",
    )
    trusted_dirs: tuple[str, ...] = Field(
        ("/usr/local/bin", "/usr/bin", "/bin"),
        min_length=1,
        description="folders of programs: the PATH of every command, and where the "
        "names in `allow` may lie",
    )
    max_timeout_seconds: float = Field(
        600, gt=0, le=600, description="longest time that a call may ask for"
    )
    kill_grace_seconds: float = Field(
        0.5, ge=0, le=10, description="time between SIGTERM and SIGKILL"
    )
    max_output_bytes: int = Field(
        262_144,
        ge=1024,
        description="how much output is kept; of more, the middle is left out",
    )
    max_flood_bytes: int = Field(
        67_108_864, ge=1024, description="output after which a command is killed"
    )
    env_allow: tuple[str, ...] = Field(
        (), description="further variables of the gateway that commands may see"
    )

    @field_validator("env_allow")
    @classmethod
    def _harmless(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if is_forbidden(name):
                raise ValueError(
                    f"{name!r} would hand commands a secret or foreign code; remove it"
                )
        return names

    @field_validator("trusted_dirs")
    @classmethod
    def _absolute(cls, folders: tuple[str, ...]) -> tuple[str, ...]:
        for folder in folders:
            if not folder.startswith("/") or ":" in folder or ".." in folder.split("/"):
                raise ValueError(f"{folder!r} is no absolute folder")
        return folders
