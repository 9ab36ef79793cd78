"""``rustyclaw agent`` and ``gateway``, as processes: pipes, a terminal, signals."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_PLUGIN = '''
import os
import sys
import anyio
from rustyclaw import (
    Ask, Channel, Finished, Provider, ProviderError, TextDelta, ToolCallDelta,
    ToolEnded, hookimpl, tool,
)

class Tiny(Provider):
    """Says what it is told; `use TEXT` calls the tool, `hang` never ends."""
    default_model = "tiny"
    async def stream(self, request):
        last = request.messages[-1]
        if last.role == "user" and last.text.startswith("use "):
            yield TextDelta(text="looking")
            yield ToolCallDelta(
                index=0, id="1", name="echo",
                arguments='{"text": "%s"}' % last.text[4:],
            )
            yield Finished(stop_reason="tool_calls")
            return
        if last.text == "break":
            raise ProviderError("it broke\\x1b[2J", kind="model_not_found")
        yield TextDelta(text="so: ")
        if last.text == "hang":
            await anyio.sleep_forever()
        yield TextDelta(text=last.text if last.role == "user" else "done")
        yield Finished()

@tool(effects=("read",))
async def echo(text: str) -> str:
    """Say it again."""
    if text == "badly":
        raise ValueError("no good")
    return text

class Careful:
    @hookimpl
    async def before_tool_call(self, call):
        if call.arguments.get("text") == "danger":
            raise Ask("it is dangerous")

class Restless:
    """Wants one restart, and has another conversation that asks for leave."""
    @hookimpl
    async def gateway_start(self, gateway):
        home = gateway.home
        with (home / "starts").open("a") as file:
            file.write(f"{os.getpid()}\\n")
        if (home / "restart").exists():
            (home / "restart").unlink()
            gateway.request_stop("restart")
        if (home / "elsewhere").exists():
            gateway.spawn(self.talk, gateway)
    async def talk(self, gateway):
        async for event in gateway.run("use danger", session="other"):
            if isinstance(event, ToolEnded):
                print("elsewhere:", event.result.text, file=sys.stderr, flush=True)

class Quiet(Channel):
    async def run(self, inbox):
        await anyio.sleep_forever()
    async def send(self, target, message):
        raise NotImplementedError
'''
_CONFIG = """\
providers: {tiny: {}}
plugins: {allow: [tiny, echo, careful, quiet, restless]}
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Make a home and install a provider, a tool, a guard and a channel."""
    site, home = tmp_path / "site", tmp_path / "home"
    info = site / "rustyclaw_tiny-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: rustyclaw-tiny\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(
        "[rustyclaw.providers]\ntiny = cli_agent_tiny:Tiny\n"
        "[rustyclaw.tools]\necho = cli_agent_tiny:echo\n"
        "[rustyclaw.hooks]\ncareful = cli_agent_tiny:Careful\n"
        "restless = cli_agent_tiny:Restless\n"
        "[rustyclaw.channels]\nquiet = cli_agent_tiny:Quiet\n"
    )
    (site / "cli_agent_tiny.py").write_text(_PLUGIN)
    home.mkdir(mode=0o700)
    (home / "config.yaml").write_text(_CONFIG)
    env = {k: v for k, v in os.environ.items() if not k.startswith("RUSTYCLAW_")}
    path = os.pathsep.join([str(site), env.get("PYTHONPATH", "")])
    return env | {"PYTHONPATH": path, "RUSTYCLAW_HOME": str(home)}


def agent(
    env: dict[str, str], *args: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rustyclaw", "agent", *args]
    return subprocess.run(
        command, env=env, input=stdin, capture_output=True, text=True, timeout=20
    )


# --- One question -----------------------------------------------------------------


def test_an_answer_goes_to_stdout_and_the_tools_to_stderr(env: dict[str, str]) -> None:
    done = agent(env, "-m", "use both hands")

    assert done.returncode == 0, done.stderr
    assert done.stdout == "looking\nso: done\n"
    assert done.stderr == 'echo {"text": "both hands"} ok\n'


def test_a_failed_tool_says_why(env: dict[str, str]) -> None:
    assert "failed: " in agent(env, "-m", "use badly").stderr


def test_json_is_one_object(env: dict[str, str]) -> None:
    done = agent(env, "-m", "hi", "--json", "--session", "other")

    found = json.loads(done.stdout)
    assert (found["text"], found["session_key"]) == ("so: hi", "agent:main:other")
    assert (found["model"], found["error"]) == ("tiny/tiny", None)


def test_a_failed_run_is_one_error(env: dict[str, str]) -> None:
    done = agent(env, "-m", "break")

    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("error: ")]
    assert line == "error: it broke\\x1b[2J"


def test_without_a_provider_it_says_what_to_install(env: dict[str, str]) -> None:
    Path(env["RUSTYCLAW_HOME"], "config.yaml").write_text("providers: {gone: {}}")
    done = agent(env, "-m", "hi")

    assert done.returncode == 1
    assert done.stderr.endswith(
        "error: provider 'gone' is not installed; try `pip install rustyclaw-gone`\n"
    )


def test_an_unknown_agent_is_a_config_error(env: dict[str, str]) -> None:
    done = agent(env, "-m", "hi", "--agent", "nobody")

    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no agent 'nobody'" in done.stderr


def test_no_operator_is_asked_in_a_pipe(env: dict[str, str]) -> None:
    done = agent(env, "-m", "use danger", stdin="y\n")

    assert done.stdout == "looking\nso: done\n"
    assert "failed: " in done.stderr
    assert "allow?" not in done.stderr


# --- A conversation in a pipe -----------------------------------------------------


def test_lines_are_answered_in_turn(env: dict[str, str]) -> None:
    lines = (
        "one\\",
        "two",
        "",
        "/session b",
        "/status",
        "break",
        "/model tiny/x",
        "hi",
    )
    done = agent(env, stdin="\n".join((*lines, "/tools", "/help", "/exit", "late")))

    assert done.returncode == 0
    said = done.stdout.splitlines()
    assert said[:3] == ["so: one", "two", "session agent:main:b"]
    assert "so: hi" in said
    assert "/model [SPEC]" in done.stdout
    assert "late" not in done.stdout
    banner, *_, error, tools = done.stderr.splitlines()
    assert banner.startswith("rustyclaw 0.")
    assert "agent:main:main" in banner
    assert error.startswith("error: ")
    assert tools == "echo"
    assert not Path(env["RUSTYCLAW_HOME"], "history").exists()


# --- A terminal -------------------------------------------------------------------


class Terminal:
    """A process that has a terminal of its own."""

    def __init__(self, env: dict[str, str], *args: str) -> None:
        self._screen, theirs = pty.openpty()
        self.seen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rustyclaw", *args],
            env=env | {"TERM": "dumb"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
        )
        os.close(theirs)

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def wait_for(self, text: str) -> str:
        """Read until a text is there; return all up to it."""
        deadline = time.monotonic() + 10
        while text not in self.seen:
            ready, _, _ = select.select([self._screen], [], [], 0.1)
            try:
                self.seen += os.read(self._screen, 4096).decode() if ready else ""
            except OSError:  # it is closed
                break
            assert time.monotonic() < deadline, self.seen
        before, found, self.seen = self.seen.partition(text)
        assert found, before
        return before

    def interrupt(self) -> int:
        """Press Ctrl-C until the process ends: readline may overlook one."""
        for _ in range(20):
            self.type("\x03")
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.5)
                break
        return self.end()

    def end(self) -> int:
        code = self.process.wait(10)
        os.close(self._screen)
        return code


@pytest.fixture
def terminal(env: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def start(*args: str) -> Terminal:
        started.append(Terminal(env, *args))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.end()


def test_a_person_is_asked(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("agent", "-m", "use danger")

    assert "arguments={'text': 'danger'}" in screen.wait_for("allow? [y/N/always]")
    screen.type("y\n")
    screen.wait_for('echo {"text": "danger"} ok')
    screen.wait_for("so: done")
    assert screen.end() == 0


def test_a_conversation_at_a_terminal(
    terminal: Callable[..., Terminal], env: dict[str, str]
) -> None:
    screen = terminal("agent")
    screen.wait_for("> ")
    screen.type("use danger\n")
    screen.wait_for("allow? [y/N/always]")
    screen.type("\n")
    screen.wait_for("failed: ")
    screen.wait_for("> ")
    screen.type("hang\n")
    screen.wait_for("so: ")
    screen.type("\x03")
    screen.wait_for("Ctrl-C again")
    screen.type("again\n")
    screen.wait_for("so: again")
    screen.wait_for("> ")

    assert screen.interrupt() == 0
    history = Path(env["RUSTYCLAW_HOME"], "history")
    assert history.stat().st_mode & 0o777 == 0o600
    assert "again" in history.read_text().splitlines()


def test_ctrl_d_leaves(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("agent")
    screen.wait_for("> ")
    screen.type("\x04")

    assert screen.end() == 0


def test_ctrl_c_ends_one_question(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("agent", "-m", "hang")
    screen.wait_for("so: ")

    assert screen.interrupt() == 130
    terminal("sessions", "show", "main").wait_for("[stopped]")


# --- The gateway ------------------------------------------------------------------


def test_the_gateway_says_when_it_is_ready_and_drains(env: dict[str, str]) -> None:
    home = Path(env["RUSTYCLAW_HOME"])
    (home / "config.yaml").write_text(f"{_CONFIG}channels: {{quiet: {{}}}}")
    command = [sys.executable, "-m", "rustyclaw"]
    process = subprocess.Popen(
        [*command, "gateway"], env=env, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            ready = process.stdout.readline() if process.stdout else ""
            second, status = (
                subprocess.run(
                    [*command, *args], env=env, capture_output=True, text=True
                )
                for args in (["gateway"], ["status", "--json"])
            )
        finally:
            process.terminate()

    assert ready.endswith("is ready: quiet connected\n")
    assert process.returncode == 0
    assert second.returncode == 1
    assert second.stderr.startswith("error: another gateway serves ")
    assert json.loads(status.stdout)["gateway"] == "running"


@contextmanager
def running(
    env: dict[str, str], *args: str, stdin: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[str]]:
    """Run a command until the test is over."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rustyclaw", *args],
        env=env,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def starts(env: dict[str, str]) -> list[str]:
    """Return the process ids of all gateways that were started."""
    return Path(env["RUSTYCLAW_HOME"], "starts").read_text().split()


def is_running(env: dict[str, str]) -> str:
    command = [sys.executable, "-m", "rustyclaw", "status", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    return str(json.loads(done.stdout)["gateway"])


@pytest.mark.parametrize("stdin", [subprocess.DEVNULL, subprocess.PIPE])
def test_an_agent_that_serves_needs_nobody_to_talk_to(
    env: dict[str, str], stdin: int
) -> None:
    home = Path(env["RUSTYCLAW_HOME"])
    (home / "config.yaml").write_text(f"{_CONFIG}channels: {{quiet: {{}}}}")
    with running(env, "agent", "--serve", stdin=stdin) as process:
        assert process.stdout is not None
        assert "is ready: quiet " in process.stdout.readline()
        assert is_running(env) == "running"
        process.terminate()
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert "error" not in process.stderr.read()
    assert is_running(env) == "not running"


def test_an_agent_that_serves_leaves_with_the_one_who_talked(
    env: dict[str, str],
) -> None:
    done = agent(env, "--serve", stdin="hi\n")

    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "so: hi"


@pytest.mark.parametrize("command", [("gateway",), ("agent", "--serve")])
def test_a_restart_keeps_the_process(
    env: dict[str, str], command: tuple[str, ...]
) -> None:
    Path(env["RUSTYCLAW_HOME"], "restart").touch()
    with running(env, *command) as process:
        assert process.stdout is not None
        deadline = time.monotonic() + 15
        while not Path(env["RUSTYCLAW_HOME"], "starts").exists() or (
            len(starts(env)) < 2
        ):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        while "is ready" not in (line := process.stdout.readline()):
            assert line, "it ended"
        while is_running(env) != "running":
            assert time.monotonic() < deadline
        process.terminate()
        assert process.wait(10) == 0
    assert starts(env) == [str(process.pid)] * 2


def test_ctrl_d_leaves_an_agent_that_serves(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("agent", "--serve")
    screen.wait_for("> ")
    screen.type("\x04")

    assert screen.end() == 0


@pytest.mark.parametrize(
    ("word", "outcome"), [("allow", "danger"), ("deny", "an operator refused it")]
)
def test_a_person_decides_for_another_conversation(
    terminal: Callable[..., Terminal], env: dict[str, str], word: str, outcome: str
) -> None:
    Path(env["RUSTYCLAW_HOME"], "elsewhere").touch()
    screen = terminal("agent", "--serve")
    approval = screen.wait_for(" or /deny ").rpartition(" ")[2]
    screen.type(f"/{word} nobody\n")
    screen.wait_for("error: no approval 'nobody' waits")
    screen.type(f"/{word} {approval}\n")
    screen.wait_for("elsewhere:")  # the prompt may come in between
    screen.wait_for(outcome)
    screen.type("/exit\n")

    assert screen.end() == 0
