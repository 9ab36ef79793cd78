"""The settings of the exec tool: section ``tools.exec``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
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
    sandbox: Literal["none", "bubblewrap", "docker"] = Field(
        "none", description="what commands run in, besides being judged"
    )
    sandbox_scope: Literal["all", "non_main"] = Field(
        "all",
        description="`non_main` spares the session `main`, unless it has just read "
        "untrusted content",
    )
    sandbox_workspace: Literal["ro", "rw", "none"] = Field(
        "rw", description="how the workspace is seen there"
    )
    sandbox_network: bool = Field(False, description="whether there is a network there")
    sandbox_paths: tuple[str, ...] = Field(
        (), description="further folders or files that can be read there"
    )
    sandbox_memory_mb: int = Field(
        1024,
        ge=16,
        description="memory in MiB; bubblewrap: address space of each process",
    )
    sandbox_pids: int = Field(
        256, ge=2, description="processes; bubblewrap: not if the gateway runs as root"
    )
    sandbox_cpus: float = Field(2, gt=0, description="processors; only docker")
    sandbox_image: str = Field(
        "",
        pattern=r"^([\w][\w./:@-]*)?$",
        description="the image for docker, which must be there already",
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

    @model_validator(mode="after")
    def _has_image(self) -> Self:
        if self.sandbox == "docker" and not self.sandbox_image:
            raise ValueError("the sandbox `docker` needs a `sandbox_image`; name one")
        return self

    @field_validator("sandbox_paths")
    @classmethod
    def _narrow(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if (
                not path.startswith("/")
                or ".." in path.split("/")
                or not path.strip("/")
            ):
                raise ValueError(f"{path!r} is no absolute path below `/`")
        return paths

    @field_validator("trusted_dirs")
    @classmethod
    def _absolute(cls, folders: tuple[str, ...]) -> tuple[str, ...]:
        for folder in folders:
            if not folder.startswith("/") or ":" in folder or ".." in folder.split("/"):
                raise ValueError(f"{folder!r} is no absolute folder")
        return folders
