"""A real gateway process with the offline provider, and a real browser before it.

Both are there once for all tests of a module; each test has a browser profile of its
own. Playwright holds an event loop while it is open, so it must be gone before the
tests of other modules. Without Chromium, Playwright or the server these tests are
skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rustyclaw.testing import install_broken

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = "/usr/bin/chromium"
TOKEN = "a-long-token-of-the-control-ui-tests"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--host-resolver-rules=MAP gateway.test 127.0.0.1"),
)
PATIENCE_SECONDS = 20.0

#: Texts that would run a script, or load something, if any of them became markup.
HOSTILE = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "<svg onload=window.hacked=1>",
    "[click](javascript:window.hacked=1)",
    "[click](JaVaScRiPt:window.hacked=1 'title')",
    "[click](data:text/html;base64,PHNjcmlwdD4=)",
    "![image](http://elsewhere.invalid/pixel.png)",
    '![x](x" onerror="window.hacked=1)',
    '<http://ok.invalid/"onmouseover="window.hacked=1>',
    "<a href='javascript:window.hacked=1'>x</a>",
    "</textarea></pre></code><iframe src='//elsewhere.invalid'></iframe>",
    "<style>@import '//elsewhere.invalid/a.css'</style>",
    "{{constructor.constructor('window.hacked=1')()}}",
    "`<b onclick=window.hacked=1>`",
    "| <img src=x onerror=window.hacked=1> | b |\n|---|---|\n"
    "| </td><script>window.hacked=1</script> | c |",
    '```html" onload="window.hacked=1\n<script>window.hacked=1</script>\n```',
    "[a](https://user:secret@elsewhere.invalid/)",
)

SCRIPT = {
    "hello": ["say: Hello! I am **here**."],
    "list the files": ["call: {file_list: {path: .}}", "say: That is what I found."],
    "count slowly": ["delay: 250", "say: " + " ".join(f"word{n}" for n in range(200))],
    "take your time": ["delay: 100", "say: " + " ".join(f"w{n}" for n in range(30))],
    "think about it": ["think: First I weigh it.", "say: I have thought."],
    "run the command": ["call: {exec: {command: echo approved-output}}", "say: Ran."],
    "hostile": [f"say: {json.dumps(chr(10).join(HOSTILE) + chr(10))}"],
    "deceive": [
        f"call: {{write_file: {{path: evil.txt, content: {json.dumps(HOSTILE[1])}}}}}",
        "call: {read_file: {path: evil.txt}}",
        "say: Written.",
    ],
    "fail": ["error: {kind: billing, message: the purse is empty}"],
    "markdown": [
        "say: "
        + json.dumps(
            "# Title\n\nSome *soft*, **strong** and `code` words, with a "
            "[link](https://example.org/a?b=c).\n\n- one\n- two\n  - deeper\n\n"
            "1. first\n2. second\n\n> quoted\n\n"
            "| name | size |\n|:--|--:|\n| a.txt | 2 |\n\n"
            '```python\nprint("hi")\n```\n'
        )
    ],
}


@dataclass
class Running:
    """A gateway that runs."""

    home: Path
    banner: str
    url: str

    @property
    def link(self) -> str:
        """The address that was printed, with the token."""
        found = re.search(r"Control UI: (\S+)", self.banner)
        assert found, self.banner
        return found[1]

    @property
    def config(self) -> Path:
        return self.home / "config.yaml"

    def rpc(self, method: str, **params: Any) -> Any:
        """Call a method as the command line does."""
        facts = json.loads((self.home / "gateway.json").read_text())
        body = json.dumps({"method": method, "params": params}).encode()
        headers = {"authorization": f"Bearer {facts['secret']}"}
        request = urllib.request.Request(f"{facts['url']}/rpc", body, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            value = json.load(answer)
        assert value["ok"], value
        return value["payload"]


#: A channel to which a stranger writes as soon as it runs.
CHANNEL = """\
import anyio
from rustyclaw import Channel, ChannelConfig, Inbound, Sender, Sent, Target


class Demo(Channel):
    Config = ChannelConfig

    async def run(self, inbox):
        await inbox.accept(
            Inbound(
                message_id="1",
                sender=Sender(id="stranger-1", name="A <b>Stranger</b>"),
                target=Target(channel="demo", chat_id="1"),
                text="let me in",
            )
        )
        await anyio.sleep_forever()

    async def send(self, target, message):
        return Sent(message_ids=("x",))
"""


def install_channel(path: Path) -> None:
    """Install the channel ``demo``, as an installer would."""
    (path / "demo_channel.py").write_text(CHANNEL, encoding="utf-8")
    info = path / "rustyclaw_demo-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: rustyclaw-demo\nVersion: 1.0\n"
    )
    entries = "[rustyclaw.channels]\ndemo = demo_channel:Demo\n"
    (info / "entry_points.txt").write_text(entries)
    (info / "RECORD").write_text(f"{info.name}/METADATA,,\n")


def free_port() -> int:
    """Return a port that the gateway also has after a restart."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def config_text(script: Path, port: int) -> str:
    return f"""\
# The settings of a test. This comment must survive.
agents:
  defaults:
    model: offline/script
providers:
  offline:
    script: {script}
plugins:
  deny: [slow_import, slow_hook, blocking_hook]
channels:
  demo: {{}}
tools:
  exec:
    mode: allowlist
hooks:
  server:
    port: {port}
    allowed_hosts: [gateway.test, remote.localhost]
    auth:
      token: {TOKEN}
session:
  queue_limit: 20
gateway:
  drain_seconds: 0.2
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway of its own process, with broken plugins installed."""
    if not find_spec("rustyclaw_server"):
        pytest.skip("rustyclaw-server is not installed")
    home = tmp_path_factory.mktemp("home")
    broken = tmp_path_factory.mktemp("broken")
    install_broken(broken)
    install_channel(broken)
    script = home / "script.yaml"
    lines = []
    for words, steps in SCRIPT.items():
        lines += [f"- when: {words}", "  steps:", *(f"    - {step}" for step in steps)]
    script.write_text("\n".join(lines), encoding="utf-8")
    (home / "config.yaml").write_text(
        config_text(script, free_port()), encoding="utf-8"
    )
    paths = [str(broken), os.environ.get("PYTHONPATH", "")]
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith("RUSTYCLAW_")},
        "RUSTYCLAW_HOME": str(home),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    said, told = home / "said.txt", home / "log.txt"
    with said.open("w") as out, told.open("w") as err:
        command = [sys.executable, "-m", "rustyclaw", "gateway"]
        process = subprocess.Popen(command, env=env, stdout=out, stderr=err)
    try:
        await_(lambda: "Control UI: " in said.read_text(), told)
        facts = json.loads((home / "gateway.json").read_text())
        yield Running(home=home, banner=said.read_text(), url=facts["url"])
    finally:
        process.terminate()
        process.wait(30)


def await_(condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists() or not shutil.which(CHROMIUM):
        pytest.skip(f"{CHROMIUM} is not installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Watched:
    """A browser profile, and what its pages did that no page may do."""

    context: BrowserContext
    problems: list[str]

    def page(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", self._console)
        return page

    def _console(self, message: Any) -> None:
        if message.type == "error" and "WebSocket" not in message.text:
            self.problems.append(f"console: {message.text}")


def watched(browser: Browser, gateway: Running) -> Watched:
    """Return a fresh profile that notes what its pages ask of anybody else."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    found = Watched(context, [])
    allowed = (gateway.url, gateway.url.replace("http", "ws", 1), "data:", "blob:")

    def seen(request: Any) -> None:
        if not request.url.startswith(allowed):
            found.problems.append(f"request to {request.url}")

    context.on("request", seen)
    return found


@pytest.fixture
def profile(browser: Browser, gateway: Running) -> Iterator[Watched]:
    """A fresh profile; it fails the test if a page does what it may not."""
    fresh = watched(browser, gateway)
    yield fresh
    fresh.context.close()
    assert fresh.problems == []


@pytest.fixture(scope="module")
def known_profile(browser: Browser, gateway: Running) -> Iterator[Watched]:
    """A profile that the gateway knows and remembers; it saves each test a sign-in."""
    known = watched(browser, gateway)
    page = known.page()
    page.goto(gateway.url)
    page.get_by_label("Access token", exact=True).fill(TOKEN)
    page.get_by_label("Remember this browser").check()
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector(".connection .dot.ok", state="attached")
    page.close()
    yield known
    known.context.close()


@pytest.fixture
def page(known_profile: Watched, gateway: Running) -> Iterator[Page]:
    """A new page that is signed in; it fails the test if it does what it may not."""
    known_profile.problems.clear()
    page = known_profile.page()
    page.goto(gateway.url)
    page.wait_for_selector(".connection .dot.ok", state="attached")
    yield page
    page.close()
    assert known_profile.problems == []


@pytest.fixture
def chat(page: Page) -> Callable[..., None]:
    """Return a function that opens a new conversation and says something in it."""

    def say(words: str, session: str = "") -> None:
        if session:
            page.evaluate("key => { location.hash = `#/chat/${key}` }", session)
        page.wait_for_selector("#message")
        page.fill("#message", words)
        page.click("#send")

    return say
