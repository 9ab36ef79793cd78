"""What docs/getting-started.md tells, done as it says, and what may go wrong there.

Only the vendor and Telegram are fakes, at addresses that the environment names.
"""

from __future__ import annotations

import os
import pty
import re
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import load_config
from rustyclaw_http.testing.server import Answer, FakeVendor, Received
from rustyclaw_telegram.testing import TOKEN, FakeTelegram

ROOT = Path(__file__).parents[1]
HEADING = "## From nothing to a first Telegram answer"
KEY = "sk-good-0123456789abcdef"
#: What people put in the place of what the guide shows.
OWN = {"OPENAI_API_KEY": KEY, "TELEGRAM_BOT_TOKEN": TOKEN}
SECONDS = 60


def section() -> str:
    text = (ROOT / "docs" / "getting-started.md").read_text("utf-8")
    return text.partition(HEADING)[2].partition("\n## ")[0]


def commands() -> list[str]:
    """Return what the guide has people type, in order."""
    blocks = re.findall(r"^```bash\n(.*?)^```", section(), re.S | re.M)
    return [line for block in blocks for line in block.splitlines()]


def dialog() -> tuple[str, list[str]]:
    """Return what people answer to `onboard`, and what they then read."""
    (block,) = re.findall(r"^```text\n(.*?)^```", section(), re.S | re.M)
    rows = block.splitlines()
    answers = [found[1] for row in rows if (found := re.search(r"\]: ?(.*)$", row))]
    tests = [row for row in rows if row.startswith("testing ")]
    return "".join(f"{answer}\n" for answer in answers), tests


def vendor(received: Received) -> Answer:
    """Answer as OpenAI does, in Chat Completions."""
    if received.headers.get("authorization") != f"Bearer {KEY}":
        return Answer.json({"error": {"message": "Incorrect API key"}}, status=401)
    if received.method == "GET":
        listed = [{"id": "gpt-5.6"}, *({"id": f"x{n}"} for n in range(57))]
        return Answer.json({"object": "list", "data": listed})
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def piece(delta: dict[str, str], end: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}

    return Answer.sse(
        piece({"content": "It is "}), piece({"content": "me."}, "stop"), "[DONE]"
    )


class Terminal:
    """Runs commands as somebody does who follows the guide."""

    def __init__(self, home: Path, addresses: dict[str, str]) -> None:
        self.home, self.said = home, list[str]()
        keep = {k: v for k, v in os.environ.items() if k not in OWN}
        keep = {k: v for k, v in keep.items() if not k.startswith("RUSTYCLAW_")}
        self.env = {**keep, "RUSTYCLAW_HOME": str(home), **addresses}

    async def run(self, command: str, answers: str = "", code: int = 0) -> str:
        """Run a command to its end; return what it printed."""
        done = await anyio.run_process(
            [sys.executable, "-m", *command.split()],
            input=answers.encode(),
            env=self.env,
            check=False,
            stderr=subprocess.STDOUT,
        )
        text = done.stdout.decode()
        self.said.append(text)
        assert done.returncode == code, text
        return text


async def until(fact: Any, what: str) -> None:
    """Wait for something that another process does."""
    with anyio.move_on_after(SECONDS):
        while not fact():  # another process has no event to offer
            await anyio.sleep(0.05)
    assert fact(), what


@pytest.mark.slow
def test_the_guide_is_followed(tmp_path: Path) -> None:
    anyio.run(follow, tmp_path / "home")


async def follow(home: Path) -> None:
    with FakeTelegram() as telegram:
        async with FakeVendor(default=vendor) as fake:
            addresses = {
                "RUSTYCLAW_PROVIDERS__OPENAI__BASE_URL": fake.url,
                "RUSTYCLAW_CHANNELS__TELEGRAM__BASE_URL": telegram.url,
                "RUSTYCLAW_CHANNELS__TELEGRAM__POLL_SECONDS": "1",
            }
            terminal = Terminal(home, addresses)
            with anyio.fail_after(3 * SECONDS):
                await type_all(terminal, telegram)
    everything = [path for path in home.rglob("*") if path.is_file()]
    assert everything
    for secret in OWN.values():
        assert secret not in "".join(terminal.said)
        for path in everything:
            assert secret.encode() not in path.read_bytes(), path


async def type_all(terminal: Terminal, telegram: FakeTelegram) -> None:
    gateway = None
    try:
        for command in commands():
            name, _, rest = command.partition(" ")
            if name == "pip":
                for dist in rest.split()[1:]:
                    assert (
                        ROOT / "plugins" / dist.removeprefix("rustyclaw-")
                    ).exists() or dist == "rustyclaw"
            elif name == "export":
                variable = rest.partition("=")[0]
                terminal.env[variable] = OWN[variable]
            elif command == "rustyclaw onboard":
                answers, tests = dialog()
                check_dialog(await terminal.run(command, answers), tests)
                assert (
                    load_config(home=terminal.home).agents.defaults.model
                    == "openai/gpt-5.6"
                )
            elif command == "rustyclaw gateway":
                gateway = await anyio.open_process(
                    [sys.executable, "-m", "rustyclaw", "gateway"], env=terminal.env
                )
                telegram.say("hello?")
                await until(lambda: approval(telegram), "the bot answers a stranger")
            elif command == "rustyclaw pairing approve telegram CODE":
                await terminal.run(approval(telegram))
                telegram.say("are you there?")
                await until(lambda: telegram.shown(55)[-1] == "It is me.", "an answer")
            else:
                await terminal.run(command)
    finally:
        if gateway is not None:
            gateway.terminate()
            await gateway.wait()
    deep = next(text for text in terminal.said if "provider 'openai' lists" in text)
    assert "[ok] provider 'openai' lists 58 models (" in deep
    assert "[ok] channel 'telegram' @claw_bot (" in deep
    assert "[!!]" not in deep
    running = "[ok] channel 'telegram' of the running gateway is connected; "
    assert f"{running}default state polling, bot @claw_bot, last_poll " in deep
    assert "a gateway runs: start it anew" in terminal.said[-1]


def approval(telegram: FakeTelegram) -> str:
    """Return the command that the bot has told a stranger, when it has."""
    (told,) = telegram.shown(55) or ("",)
    found = re.search(r"rustyclaw pairing approve telegram \w{8}", told)
    return found[0] if found else ""


def check_dialog(said: str, tests: list[str]) -> None:
    """Assert that people read what the guide shows, but for names and times."""
    for row in tests:
        shown = re.escape(row.replace("@your_bot", "@claw_bot"))
        assert re.search(re.sub(r"\\\(\d+\\ ms\\\)$", r"\\(\\d+ ms\\)", shown), said), (
            said
        )


# --- What may go wrong --------------------------------------------------------------


def closed_port() -> str:
    """Return an address where nobody listens."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{nobody.getsockname()[1]}"


def silent(received: Received) -> Answer:
    return Answer(end="hang", delay_seconds=SECONDS)


def empty(received: Received) -> Answer:
    return Answer.json({"object": "list", "data": []})


def penniless(received: Received) -> Answer:
    """List the models, and refuse to talk."""
    if received.method == "GET":
        return vendor(received)
    said = {"message": "You exceeded your current quota, please check your plan and "}
    said |= {"code": "insufficient_quota", "type": "insufficient_quota"}
    return Answer.json({"error": said}, status=429)


WRONG = {"OPENAI_API_KEY": "sk-wrong-0123456789abcdef"}
WRONG_TOKEN = {"TELEGRAM_BOT_TOKEN": "999:wrong-Token_of-a-bot"}
NOWHERE = {"RUSTYCLAW_PROVIDERS__OPENAI__BASE_URL": closed_port()}
NO_TELEGRAM = {"RUSTYCLAW_CHANNELS__TELEGRAM__BASE_URL": closed_port()}
QUICK = {"RUSTYCLAW_PROVIDERS__OPENAI__IDLE_TIMEOUT_SECONDS": "0.3"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answering", "env", "said"),
    [
        (vendor, WRONG, "answered 401: Incorrect API key; check `providers.openai.api_k"
         "ey`; it is from the variable 'OPENAI_API_KEY'"),
        (vendor, NOWHERE, "check the network and the address"),
        (silent, QUICK, "fell silent at http://127.0.0.1:"),
        (empty, {}, "has no model for you at http://127.0.0.1:"),
        (penniless, {}, "top up the account, or use another provider"),
        (vendor, WRONG_TOKEN, "the token is not valid (any more): ask BotFather for a "
         "new one; it is from the variable 'TELEGRAM_BOT_TOKEN'"),
        (vendor, NO_TELEGRAM, "; check the network"),
        (vendor, {"TELEGRAM_BOT_TOKEN": "nonsense"}, "BotFather shows it as `123456:"),
    ],
    ids=["key", "address", "silence", "models", "credit", "token", "telegram", "form"],
)  # fmt: skip
def test_what_fails_is_explained_and_changes_nothing(
    answering: Any, env: dict[str, str], said: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    before = "# mine\nagents: {defaults: {model: offline}}\n"
    (home / "config.yaml").write_text(before)

    async def onboard() -> None:
        with FakeTelegram() as telegram:
            async with FakeVendor(default=answering) as fake:
                addresses = {
                    "RUSTYCLAW_PROVIDERS__OPENAI__BASE_URL": fake.url,
                    "RUSTYCLAW_CHANNELS__TELEGRAM__BASE_URL": telegram.url,
                }
                terminal = Terminal(home, {**OWN, **addresses, **env})
                options = "--non-interactive --provider openai --channel telegram"
                read = await terminal.run(f"rustyclaw onboard {options}", code=1)
                check(terminal, read)

    def check(terminal: Terminal, read: str) -> None:
        assert said in read
        assert "nothing was changed; `--skip-tests` asks nobody" in read
        for name in OWN:
            assert terminal.env[name] not in read
        for url in (NOWHERE, NO_TELEGRAM):
            if env == url:
                assert next(iter(url.values())) in read

    anyio.run(onboard)
    assert (home / "config.yaml").read_text() == before
    assert [path.name for path in home.iterdir()] == ["config.yaml"]


def test_a_key_is_typed_at_a_terminal_and_not_shown(tmp_path: Path) -> None:
    """A terminal of 40 columns, whose every character is read."""
    home = tmp_path / "home"
    steps = [
        ("where is the api key", "typed"),
        ("the api key: ", KEY),  # the space comes when nothing is shown any more
        ("model", ""),
        ("channel", "none"),
    ]
    env = {k: v for k, v in os.environ.items() if not k.startswith("RUSTYCLAW_")}
    env |= {"RUSTYCLAW_HOME": str(home), "COLUMNS": "40", "TERM": "dumb"}
    command = ["-m", "rustyclaw", "onboard", "--provider", "openai", "--skip-tests"]
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.executable, [sys.executable, *command], env)
    said = b""
    while True:
        assert select.select([terminal], [], [], SECONDS)[0], said
        try:
            said += os.read(terminal, 4096)
        except OSError:  # it has left
            break
        if steps and steps[0][0].encode() in said.rpartition(b"\n")[2]:
            os.write(terminal, f"{steps.pop(0)[1]}\n".encode())
    _, status = os.waitpid(child, 0)
    os.close(terminal)

    assert os.waitstatus_to_exitcode(status) == 0, said
    assert not steps
    assert KEY.encode() not in said
    kept = home / "credentials" / "openai.api_key"
    assert kept.read_text() == f"{KEY}\n"
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (
        0o600,
        0o700,
    )
    assert KEY not in (home / "config.yaml").read_text()
