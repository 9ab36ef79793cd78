"""The command line without a conversation: help, errors, and what is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from rustyclaw.cli.app import run
from rustyclaw.config import load_config
from rustyclaw.errors import RustyclawError
from rustyclaw.hooks import HookFault
from rustyclaw.interfaces.channel import ChannelConfig
from rustyclaw.messages import Inbound, Message, Outbound, Sender, Target, ToolCall
from rustyclaw.sessions.entries import Entry
from rustyclaw.sessions.journal import Reply
from rustyclaw.state import State
from rustyclaw.testing import imported, install_broken

_PLUGIN = """
import typer
from pydantic import Field
from rustyclaw import Finished, PluginConfig, Provider, Secret, TextDelta, hookimpl
from rustyclaw.errors import RustyclawError

app = typer.Typer()

@app.command()
def greet(name: str) -> None:
    if name == "nobody":
        raise RustyclawError("nobody is there; say a name")
    print(f"hello {name}")

class Tiny(Provider):
    class Config(PluginConfig):
        api_key: Secret | None = Field(None, description="the key")
        size: int = Field(1, description="how much")
    default_model = "tiny"
    async def stream(self, request):
        yield TextDelta(text="hi")
        yield Finished()

class Witness:
    @hookimpl
    async def before_reset(self, context, reason):
        print(f"{reason} of {context.session_key}")
"""


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Undo what the global options leave in the environment of this process."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def row(self, first: str) -> str:
        """Return the row of a table that begins with a word."""
        return next(line for line in self.out.splitlines() if line.startswith(first))


Cli = Callable[..., Outcome]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty home, which all commands of the test use."""
    folder = tmp_path / "home"
    for name in ("CONFIG", "LOG_LEVEL", "DEBUG"):
        monkeypatch.delenv(f"RUSTYCLAW_{name}", raising=False)
    monkeypatch.setenv("RUSTYCLAW_HOME", str(folder))
    monkeypatch.setattr("rustyclaw.logs.configure_logs", lambda *args: None)
    return folder


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Return a function that runs a command in this process."""

    def call(*args: object) -> Outcome:
        capsys.readouterr()
        code = run([str(arg) for arg in args])
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a distribution with a provider, a hook plugin and two commands."""
    folder = tmp_path / "site"
    install(
        folder,
        "rustyclaw-tiny",
        "[rustyclaw.providers]\ntiny = cli_tiny:Tiny\n"
        "[rustyclaw.hooks]\nwitness = cli_tiny:Witness\n"
        "[rustyclaw.commands]\ngreet = cli_tiny:app\nbroken = cli_tiny_missing:app\n",
    )
    (folder / "cli_tiny.py").write_text(_PLUGIN)
    monkeypatch.syspath_prepend(folder)
    return folder


def install(folder: Path, dist: str, entry_points: str) -> None:
    info = folder / f"{dist.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\nSummary: Is small\n"
    (info / "METADATA").write_text(metadata)
    (info / "entry_points.txt").write_text(entry_points)


def configure(home: Path, **sections: Any) -> None:
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "config.yaml").write_text(yaml.safe_dump(sections))
    (home / "config.yaml").chmod(0o600)


def in_state(home: Path, work: Callable[[State], Any]) -> Any:
    async def call() -> Any:
        async with State(home, load_config(home=home)) as state:
            return await work(state)

    return anyio.run(call)


def modules_after(*args: str, path: str = "") -> tuple[str, set[str]]:
    """Run a command in a process; return its output and all that it imported."""
    script = (
        "import sys, atexit; from rustyclaw.cli import main\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); main()"
    )
    path = os.pathsep.join([path, os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", script, *args], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, set(done.stderr.split())


# --- Version and help -----------------------------------------------------------


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version_imports_nothing(option: str) -> None:
    out, modules = modules_after(option)

    assert out.startswith("rustyclaw 0.")
    assert not {"typer", "pydantic", "asyncio", "anyio", "json", "inspect"} & modules


def test_version_behind_other_options() -> None:
    assert modules_after("-v", "--version")[0].startswith("rustyclaw 0.")


def test_help_imports_no_plugin_and_nothing_heavy(tmp_path: Path) -> None:
    install_broken(tmp_path)
    out, modules = modules_after("--help", path=str(tmp_path))

    for command in [
        "agent",
        "gateway",
        "status",
        "doctor",
        "onboard",
        "plugins",
        "config",
        "sessions",
    ]:
        assert f"\n  {command} " in out
    assert not imported(tmp_path)
    heavy = {"pydantic", "httpx", "asyncio", "anyio", "rich", "yaml", "stevedore"}
    assert not heavy & modules


def test_help_tells_of_the_commands_of_plugins(cli: Cli, plugins: Path) -> None:
    outcome = cli()

    assert outcome.code == 0
    assert outcome.row("  greet").split() == ["greet", "Is", "small"]


def test_python_runs_the_package(home: Path) -> None:
    command = [sys.executable, "-m", "rustyclaw", "config", "path"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout == f"{home}/config.yaml\n"


# --- Errors ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ("statsu", 2, "did you mean 'status'"),
        ("sessions", 2, "missing command"),
        ("sessions show", 2, "missing argument 'key'"),
        ("sessions show a b", 2, "unexpected extra argument"),
        ("status --nothing", 2, "no such option"),
        ("config get agents.nothing", 2, "nothing is set at 'agents.nothing'"),
        ("config get agents.list.0", 2, "nothing is set"),
        ("config unset agents.defaults.model", 2, "is not set in this file"),
        ("config set agents.defaults.max_tokens many", 2, "agents.defaults.max_tokens"),
        ("sessions show nothing", 1, "there is no session 'nothing'"),
        ("sessions reset nothing", 1, "there is no session 'nothing'"),
        ("sessions delete nothing", 2, "nobody is there to ask; add `--yes`"),
        ("pairing approve telegram ABCDEFGH", 1, "no pending request"),
        ("greet nobody", 1, "nobody is there; say a name"),
        ("broken", 2, "no module named 'cli_tiny_missing'"),
        ("-c nothing.yaml status", 2, "cannot read 'nothing.yaml'"),
    ],
)
def test_errors_are_one_line(
    args: str, code: int, said: str, cli: Cli, plugins: Path
) -> None:
    outcome = cli(*args.split())

    assert outcome.code == code
    assert not outcome.out
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    assert said.lower() in line.lower()


def test_debug_shows_where(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUSTYCLAW_DEBUG", "1")

    with pytest.raises(RustyclawError):
        cli("sessions", "show", "nothing")


def test_unexpected_errors_say_how_to_see_more(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rustyclaw.load_config", lambda: 1 / 0)
    outcome = cli("status")

    assert outcome.code == 1
    assert outcome.err.startswith("error: ZeroDivisionError: division by zero")
    assert "RUSTYCLAW_DEBUG=1" in outcome.err


def test_all_config_problems_are_shown(cli: Cli, home: Path) -> None:
    configure(home, agents={"defaults": {"max_tokens": 0, "temperature": 3}})
    outcome = cli("config", "validate")

    assert outcome.code == 2
    assert [line[:7] for line in outcome.err.splitlines()] == ["error: "] * 2


# --- Plugins --------------------------------------------------------------------


def test_commands_of_plugins_run(cli: Cli, plugins: Path) -> None:
    assert cli("greet", "you").out == "hello you\n"


@pytest.fixture
def dotted(plugins: Path) -> Path:
    """Install commands that belong to a group of the core."""
    install(
        plugins,
        "rustyclaw-more",
        "[rustyclaw.commands]\ngateway.greet = cli_tiny:app\n"
        "gateway.broken = cli_tiny_missing:app\n",
    )
    return plugins


def test_a_name_with_a_dot_is_a_command_of_a_group(cli: Cli, dotted: Path) -> None:
    assert cli("gateway", "greet", "you").out == "hello you\n"
    assert "greet" in cli("gateway", "--help").out
    assert "gateway.greet" not in cli("--help").out


def test_a_broken_command_of_a_group_breaks_only_itself(cli: Cli, dotted: Path) -> None:
    outcome = cli("gateway", "broken")
    assert outcome.code == 2
    assert "no module named 'cli_tiny_missing'" in outcome.err.lower()
    assert cli("gateway", "greet", "you").code == 0
    assert cli("gateway", "nothing").code == 2


def test_commands_of_denied_plugins_do_not_run(
    cli: Cli, plugins: Path, home: Path
) -> None:
    configure(home, plugins={"deny": ["greet"]})
    outcome = cli("greet", "you")

    assert outcome.code == 2
    assert "is denied" in outcome.err


def test_plugins_are_listed_without_import(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_broken(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    outcome = cli("plugins", "list", "--json")

    states = {row["name"]: row["state"] for row in outcome.json}
    assert (states["assertion"], states["duplicate"]) == ("enabled", "conflict")
    assert not imported(tmp_path)


def test_plugins_table_is_plain(cli: Cli, plugins: Path) -> None:
    lines = cli("plugins", "list").out.splitlines()

    facts = ["enabled", "providers", "tiny", "rustyclaw-tiny", "1.0", "Is", "small"]
    assert facts in [line.split() for line in lines]


def test_allow_and_deny_move_a_plugin(cli: Cli, plugins: Path, home: Path) -> None:
    def lists() -> tuple[Any, ...]:
        policy = load_config(home=home).plugins
        return policy.allow, policy.deny

    def state() -> str:
        rows = cli("plugins", "list", "--json").json
        return str(next(row["state"] for row in rows if row["name"] == "tiny"))

    assert cli("plugins", "deny", "tiny").code == 0
    assert (lists(), state()) == ((None, ("tiny",)), "denied")
    cli("plugins", "allow", "tiny")
    assert (lists(), state()) == ((None, ()), "enabled")
    cli("config", "set", "plugins.allow", "[other]")
    assert state() == "new"
    cli("plugins", "allow", "tiny")
    assert (lists(), state()) == ((("other", "tiny"), ()), "enabled")
    cli("plugins", "deny", "tiny")
    assert (lists(), state()) == ((("other",), ("tiny",)), "denied")


# --- Config ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("agents.defaults.model", "tiny/tiny", "tiny/tiny"),
        ("agents.defaults.max_tokens", "100", 100),
        ("agents.defaults.thinking", "off", "off"),
        ("session.auto_compact", "false", False),
        ("plugins.deny", "[a, 'b']", ["a", "b"]),
        ("channels.telegram", "{token: x}", {"token": "x"}),
        ("agents.defaults.user_timezone", "null", None),
    ],
)
def test_config_set_reads_yaml(
    key: str, value: str, kept: object, cli: Cli, home: Path
) -> None:
    configure(home)
    (home / "config.yaml").write_text("# mine\nlogging:\n  level: info  # loud\n")
    assert cli("config", "set", key, value).code == 0

    text = (home / "config.yaml").read_text()
    found = yaml.safe_load(text)
    for part in key.split("."):
        found = found[part]
    assert found == kept or (kept == "off" and "thinking: off" in text)
    assert "# mine" in text
    assert "# loud" in text


def test_config_get_and_show_are_redacted(cli: Cli, home: Path) -> None:
    configure(
        home, channels={"x": {"token": "hunter2hunter2"}}, plugins={"deny": ["y"]}
    )

    assert cli("config", "get", "plugins.deny.0").out == "y\n"
    assert cli("config", "get", "agents.defaults.max_tokens", "--json").json == 4096
    assert yaml.safe_load(cli("config", "get", "channels").out) == {
        "x": {"token": "***"}
    }
    assert cli("config", "show", "--json").json["session"]["fsync"] == "turn"
    assert "hunter2" not in cli("config", "show").out


def test_config_unset(cli: Cli, home: Path) -> None:
    configure(home, plugins={"deny": ["y", "z"]})

    assert cli("config", "unset", "plugins.deny.0").code == 0
    assert load_config(home=home).plugins.deny == ("z",)


def test_config_can_be_mended_when_it_is_invalid(cli: Cli, home: Path) -> None:
    configure(home, agents={"defaults": {"max_tokens": 0}})

    assert cli("status").code == 2
    assert cli("config", "set", "agents.defaults.max_tokens", "10").code == 0
    assert cli("status").code == 0


def test_config_validate_warns(cli: Cli, home: Path) -> None:
    configure(home, agnets={})
    outcome = cli("config", "validate")

    assert outcome.code == 0
    assert "did you mean 'agents'" in outcome.out
    assert outcome.out.endswith("config.yaml is valid\n")


def test_config_schema(cli: Cli, plugins: Path) -> None:
    bare = cli("config", "schema").json
    full = cli("config", "schema", "--plugins").json

    assert "tiny" not in bare["properties"]["providers"].get("properties", {})
    assert full["properties"]["providers"]["properties"]["tiny"]["properties"]["size"]


def test_options_choose_home_and_config(cli: Cli, tmp_path: Path) -> None:
    assert cli("--home", tmp_path, "config", "path").out == f"{tmp_path}/config.yaml\n"
    assert cli("-c", tmp_path / "x", "config", "path").out == f"{tmp_path}/x\n"


# --- Sessions -------------------------------------------------------------------


@pytest.fixture
def session(home: Path) -> str:
    """Make a conversation that holds what may be in one."""

    async def work(state: State) -> None:
        info = await state.sessions.get_or_create("agent:main:main")
        transcript = await state.sessions.transcript(info)
        call = ToolCall(id="1", name="look", arguments={"at": "sky"})
        for entry in (
            Entry.of(Message.user("what is up?\x1b[2J")),
            Entry.of(Message(role="assistant", content=(call,))),
            Entry.compaction(summary="we spoke of the sky"),
        ):
            await transcript.append(entry)

    in_state(home, work)
    return "agent:main:main"


def test_sessions_list_and_show(cli: Cli, session: str) -> None:
    assert [row["key"] for row in cli("sessions", "list", "--json").json] == [session]
    assert cli("sessions", "list").row(session)

    lines = cli("sessions", "show", "main").out.splitlines()
    assert lines[0] == "user: what is up?\\x1b[2J"
    assert "name='look', arguments={'at': 'sky'}" in lines[1]
    assert lines[2] == "[compaction] we spoke of the sky"

    raw = cli("sessions", "show", session, "--json").out.splitlines()
    assert [json.loads(line)["type"] for line in raw][2:] == ["compaction"]


def test_sessions_reset_and_delete_tell_the_hooks(
    cli: Cli, session: str, plugins: Path, home: Path
) -> None:
    configure(home, plugins={"allow": ["witness"]})

    assert cli("sessions", "reset", "main").out == f"reset of {session}\n"
    assert cli("sessions", "show", "main").out == ""
    assert cli("sessions", "delete", "main", "--yes").out == f"delete of {session}\n"
    assert cli("sessions", "list", "--json").json == []


# --- Pairing, agents, status ----------------------------------------------------


def ask_to_be_let_in(home: Path, sender: str) -> None:
    message = Inbound(
        message_id=sender,
        sender=Sender(id=sender, name="E\x1b[31mve"),
        target=Target(channel="telegram", chat_id=sender),
    )
    in_state(home, lambda s: s.access.decide(message, ChannelConfig()))


def test_pairing(cli: Cli, home: Path) -> None:
    for sender in ("7", "8"):
        ask_to_be_let_in(home, sender)
    rows = cli("pairing", "list", "--json").json
    codes = {row["sender"]: row["code"] for row in rows}

    assert "\x1b" not in cli("pairing", "list").out
    assert cli("status", "--json").json["pending_pairings"] == 2
    approved = cli("pairing", "approve", "telegram", codes["7"].lower())
    assert approved.out == "7 may talk to you on telegram\n"
    rejected = cli("pairing", "reject", "telegram", codes["8"])
    assert rejected.out == "8 was turned away on telegram\n"
    assert cli("pairing", "list", "--json").json == []


# --- Approvals --------------------------------------------------------------------


def test_what_is_allowed_for_always_is_listed_and_forgotten(
    cli: Cli, home: Path
) -> None:
    for key in ("main exec ls", "main exec make"):
        in_state(home, partial(State.allow, key=key))
    rows = cli("approvals", "allowed", "--json").json
    ids = {row["key"]: row["id"] for row in rows}
    assert list(ids) == ["main exec make", "main exec ls"]
    assert "exec make" in cli("approvals", "allowed").row(ids["main exec make"])

    assert cli("approvals", "forget", ids["main exec ls"]).code == 0
    assert cli("approvals", "forget", "main exec make").code == 0
    assert cli("approvals", "allowed", "--json").json == []
    assert "see `approvals allowed`" in cli("approvals", "forget", "x").err


@pytest.mark.parametrize("command", ["list", "allow x", "deny x"])
def test_without_a_gateway_no_question_waits(cli: Cli, command: str) -> None:
    outcome = cli("approvals", *command.split())
    assert outcome.code == 1
    assert "no gateway serves this home" in outcome.err


def test_agents(cli: Cli, home: Path) -> None:
    assert [row["id"] for row in cli("agents", "list", "--json").json] == ["main"]

    outcome = cli("agents", "add", "work", "--model", "tiny", "--workspace", "desk")
    assert outcome.code == 0
    assert (home / "desk" / "AGENTS.md").exists()
    cli("agents", "add", "play")
    rows = cli("agents", "list", "--json").json
    assert [row["id"] for row in rows] == ["main", "work", "play"]
    assert load_config(home=home).default_agent_id == "main"
    assert cli("agents", "list").row("work").split()[1:] == ["tiny", str(home / "desk")]
    assert "duplicate agent id 'work'" in cli("agents", "add", "work").err


def test_status(cli: Cli, session: str, plugins: Path, home: Path) -> None:
    configure(home, providers={"tiny": {}}, channels={"gone": {}}, agnets={})
    facts = cli("status", "--json").json

    assert facts["providers"] == ["tiny"]
    assert facts["channels"] == ["gone"]
    assert facts["sessions"] == 1
    assert facts["gateway"] == "not running"
    assert len(facts["warnings"]) == 1
    assert cli("status").row("providers").split() == ["providers", "tiny"]


# --- Doctor ---------------------------------------------------------------------


def marks(outcome: Outcome, text: str) -> set[str]:
    return {row["mark"] for row in outcome.json if text in row["text"]}


def test_doctor_finds_nothing_wrong(cli: Cli, plugins: Path, home: Path) -> None:
    configure(home, providers={"tiny": {}}, plugins={"allow": ["tiny"]})
    outcome = cli("doctor")

    assert outcome.code == 0, outcome.out
    assert "[ok] provider 'tiny' (rustyclaw-tiny 1.0): enabled" in outcome.out
    assert "[!!]" not in outcome.out


def test_doctor_explains_each_broken_plugin(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = install_broken(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("rustyclaw.loading.SLOW_IMPORT_SECONDS", 0.5)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    outcome = cli("doctor", "--json")

    assert outcome.code == 1
    for name, sample in samples.items():
        if sample.stage != "run":
            assert marks(outcome, sample.says) >= {"!!"}, name


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"agents": {"defaults": {"max_tokens": 0}}}, "agents.defaults.max_tokens"),
        ({"providers": {"tiny": {"size": "big"}}}, "providers.tiny.size"),
        ({"providers": {"gone": {}}}, "pip install rustyclaw-gone"),
        ({"plugins": {"allow": []}}, "provider 'offline'"),
        ({"plugins": {"required": ["gone"]}}, "'gone' is not installed"),
        ({"agents": {"defaults": {"model": "gone/x"}}}, "pip install rustyclaw-gone"),
    ],
)
def test_doctor_marks_what_is_wrong(
    config: dict[str, Any], said: str, cli: Cli, plugins: Path, home: Path
) -> None:
    configure(home, **config)
    outcome = cli("doctor", "--json")

    assert outcome.code == 1
    assert "!!" in marks(outcome, said)


def test_doctor_closes_what_is_open(cli: Cli, session: str, home: Path) -> None:
    configure(home)
    open_files = [home / "state.db", home / "config.yaml", home / "credentials" / "x"]
    open_files[-1].parent.mkdir()
    open_files[-1].touch()
    for path in (home, home / "credentials", *open_files):
        path.chmod(0o755)

    assert len(marks(cli("doctor", "--json"), "open to others")) == 1
    assert marks(cli("doctor", "--fix", "--json"), "closed now") == {"ok"}
    assert {path.stat().st_mode & 0o077 for path in (home, *open_files)} == {0}
    assert not marks(cli("doctor", "--json"), "open to others")


def test_doctor_tells_of_what_happened(cli: Cli, session: str, home: Path) -> None:
    target = Target(channel="telegram", chat_id="1")
    reply = Reply(session=session, target=target, message=Outbound(text="x", id="1"))

    async def work(state: State) -> None:
        fault = HookFault(hook="llm_input", plugin="slow", reason="took too long")
        await state.record_fault(fault)
        await state.journal.finish([], reply)
        await state.journal.save(replace(reply, state="failed"), "no such chat")

    in_state(home, work)
    (transcript,) = home.glob("agents/main/sessions/*.jsonl")
    transcript.with_name(f"{transcript.name}.bad-12345678").touch()
    outcome = cli("doctor", "--json")

    for text in ("took too long", "no such chat", "a transcript was damaged"):
        assert marks(outcome, text) == {"--"}


def test_doctor_says_that_the_state_cannot_be_used(cli: Cli, home: Path) -> None:
    (home / "state.db").mkdir(parents=True)

    assert marks(cli("doctor", "--json"), "state.db") == {"!!"}
