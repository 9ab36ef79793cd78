"""Deliberately broken plugins, as distributions that can be put on ``sys.path``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: A module's file name with this suffix exists once the module was imported.
IMPORTED = ".imported"

Stage = Literal["discover", "import", "create", "register", "run"]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is wrong with a sample, and what an operator must be told.

    :param kind: ``tools`` or ``hooks``.
    :param stage: Where it shows; what shows in a ``run`` stops no start.
    :param says: Part of the explanation.
    :param source: The module's source.
    :param dists: The distributions that offer it, if not one of its own name.
    """

    kind: str
    stage: Stage
    says: str
    source: str
    dists: tuple[str, ...] = ()


_EMPTY_TOOLSET = """\
from rustyclaw import Toolset
class Plugin(Toolset):
    def tools(self):
        return []
"""

_HOOKS = """\
import time, anyio
from rustyclaw import hookimpl
class Plugin:
    @hookimpl
    {}
"""

#: The samples by entry-point name.
BROKEN: dict[str, Expectation] = {
    "missing_module": Expectation(
        "tools", "import", "no_such_module", "import no_such_module"
    ),
    "assertion": Expectation(
        "tools", "import", "the sums are off", "assert 1 == 2, 'the sums are off'"
    ),
    "system_exit": Expectation(
        "tools", "import", "leaving early", "raise SystemExit('leaving early')"
    ),
    "wrong_type": Expectation("tools", "create", "42", "Plugin = 42"),
    "duplicate": Expectation(
        "tools",
        "discover",
        "rustyclaw-one and rustyclaw-two",
        _EMPTY_TOOLSET,
        ("rustyclaw-one", "rustyclaw-two"),
    ),
    "slow_import": Expectation(
        "tools", "run", "import took", f"import time\ntime.sleep(2)\n{_EMPTY_TOOLSET}"
    ),
    "sync_hook": Expectation(
        "hooks",
        "register",
        "must be an `async def`",
        _HOOKS.format("def before_tool_call(self, call): return call"),
    ),
    "unknown_hook": Expectation(
        "hooks",
        "register",
        "did you mean 'before_tool_call'?",
        _HOOKS.format("async def before_tool_cal(self, call): return call"),
    ),
    "slow_hook": Expectation(
        "hooks",
        "run",
        "took longer than",
        _HOOKS.format("async def llm_input(self, request): await anyio.sleep(60)"),
    ),
    "blocking_hook": Expectation(
        "hooks",
        "run",
        "held the event loop",
        _HOOKS.format("async def llm_input(self, request): time.sleep(0.3)"),
    ),
}


def install_broken(path: Path) -> dict[str, Expectation]:
    """Write all samples to a folder, as an installer would; return them by name.

    Put ``path`` on ``sys.path`` or ``PYTHONPATH`` to have them installed.
    """
    witness = f"open(__file__ + {IMPORTED!r}, 'w').close()\n"
    for name, sample in BROKEN.items():
        module = f"broken_{name}"
        (path / f"{module}.py").write_text(witness + sample.source, encoding="utf-8")
        for dist in sample.dists or (f"rustyclaw-{module.replace('_', '-')}",):
            info = path / f"{dist.replace('-', '_')}-1.0.dist-info"
            info.mkdir(exist_ok=True)
            files = {
                "METADATA": f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n"
                f"Summary: Broken on purpose: {sample.stage}\n",
                "entry_points.txt": f"[rustyclaw.{sample.kind}]\n"
                f"{name} = {module}:Plugin\n",
                "RECORD": f"{module}.py,,\n{info.name}/METADATA,,\n"
                f"{info.name}/entry_points.txt,,\n{info.name}/RECORD,,\n",
            }
            for file, text in files.items():
                (info / file).write_text(text, encoding="utf-8")
    return dict(BROKEN)


def imported(path: Path) -> list[str]:
    """Return the names of the samples that somebody imported."""
    return sorted(
        file.name.removeprefix("broken_").removesuffix(f".py{IMPORTED}")
        for file in path.glob(f"*{IMPORTED}")
    )
