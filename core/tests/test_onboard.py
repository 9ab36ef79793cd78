"""Setting up: what is asked, tried out and written; and what `doctor --deep` asks."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rustyclaw.cli import probes
from rustyclaw.cli.app import run
from rustyclaw.config import load_config

#: A vendor whose keys say what happens, a platform, and what has no settings.
_PLUGIN = """
import sys
import anyio
from pydantic import Field
from rustyclaw import (
    Capabilities, Channel, ChannelConfig, ChannelError, Finished, ModelInfo,
    PluginConfig, Provider, ProviderError, Secret, Sent, TextDelta,
)

class VendorConfig(PluginConfig):
    api_key: Secret | None = Field(None, description="the key")
    base_url: str = Field("", description="where")

class Vendor(Provider):
    Config = VendorConfig
    default_model = "m1"
    key_variables = ("VENDOR_KEY", "VENDOR_OTHER_KEY")
    def problem(self):
        return "" if self.config.api_key else "vendor has no key; set VENDOR_KEY"
    async def probe(self):
        key = self.config.api_key.get_secret_value() if self.config.api_key else ""
        if "slow" in key:
            await anyio.sleep_forever()
        if "broken" in key:
            raise RuntimeError(f"the vendor broke over {key}")
        if "good" not in key:
            raise ProviderError(f"vendor refuses {key!r}", kind="auth")
        return f"answers from {self.config.base_url or 'home'}"
    async def models(self):
        return [ModelInfo(id=f"m{n}", context_window=n * 1000) for n in range(1, 31)]
    async def stream(self, request):
        if request.model == "m13":
            raise ProviderError("vendor has no credit for m13", kind="billing")
        yield TextDelta(text="yes")
        yield Finished()

class Plain(Provider):
    default_model = "plain"
    async def stream(self, request):
        yield Finished()

class ChatConfig(ChannelConfig):
    token: Secret = Field(description="the token")

class Chat(Channel):
    Config = ChatConfig
    async def run(self, inbox):
        await anyio.sleep_forever()
    async def send(self, target, message):
        return Sent(message_id="1")
    async def probe(self):
        if self.config.token.get_secret_value() != "good-chat-token":
            raise ChannelError("chat does not know the token", permanent=True)
        return "@bot"

class Page(Chat):
    Config = ChannelConfig
    probe = Channel.probe
    async def __aenter__(self):
        (self.folder / "file").touch()
        print("the page was opened", file=sys.stderr)
        return self
"""
GOOD, BAD, SLOW = "good-key-0123456789", "wrong-key-0123456789", "slow-key-0123456789"
TOKEN = "good-chat-token"


@dataclass
class Outcome:
    code: int
    out: str
    err: str


class Rig:
    """A home with plugins, and the command line on it."""

    def __init__(
        self, home: Path, patch: pytest.MonkeyPatch, caught: pytest.CaptureFixture[str]
    ) -> None:
        self.home, self._patch, self._caught = home, patch, caught

    def __call__(self, *args: str, answers: str | None = None) -> Outcome:
        """Run a command in this process; answers are lines that somebody types."""
        self._patch.setattr("sys.stdin", StringIO(answers or ""))
        self._caught.readouterr()
        return Outcome(run([*args]), *self._caught.readouterr())

    def onboard(self, *args: str, answers: str | None = None) -> Outcome:
        """Run it; without answers nobody is asked."""
        how = () if answers is not None else ("--non-interactive",)
        done = self("onboard", *how, *args, answers=answers)
        for secret in (GOOD, BAD, SLOW, TOKEN):
            assert secret not in done.out + done.err
        return done

    @property
    def file(self) -> Path:
        return self.home / "config.yaml"

    @property
    def config(self) -> Any:
        """What the file says, once it is known to be valid."""
        assert not load_config(home=self.home).warnings
        text = self.file.read_text()
        assert not any(secret in text for secret in (GOOD, BAD, TOKEN))
        return yaml.safe_load(text)

    def credentials(self) -> dict[str, str]:
        """Return what is kept, which nobody else may read."""
        folder = self.home / "credentials"
        if not folder.exists():
            return {}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for path in folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def rig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Rig]:
    before = dict(os.environ)
    site = tmp_path / "site"
    info = site / "rustyclaw_vendor-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: rustyclaw-vendor\nVersion: 1.0\nSummary: Sells\n"
    )
    (info / "entry_points.txt").write_text(
        "[rustyclaw.providers]\nvendor = onboarded:Vendor\nplain = onboarded:Plain\n"
        "[rustyclaw.channels]\nchat = onboarded:Chat\npage = onboarded:Page\n"
    )
    (site / "onboarded.py").write_text(_PLUGIN)
    monkeypatch.syspath_prepend(site)
    for name in [n for n in os.environ if n.startswith(("RUSTYCLAW_", "VENDOR_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RUSTYCLAW_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("rustyclaw.logs.configure_logs", lambda *args: None)
    monkeypatch.setattr(probes, "_SECONDS", 0.3)
    yield Rig(tmp_path / "home", monkeypatch, capsys)
    os.environ.clear()
    os.environ.update(before)


VENDOR = ("--provider", "vendor", "--api-key-env", "MY_KEY")
CHAT = ("--channel", "chat", "--token-env", "MY_TOKEN")


# --- Nobody is asked --------------------------------------------------------------


def test_all_by_options(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", GOOD)
    monkeypatch.setenv("MY_TOKEN", TOKEN)

    done = rig.onboard(*VENDOR, "--model", "m2", *CHAT, "--base-url", "https://x")

    assert done.code == 0, done.err
    assert "testing provider vendor ... ok: answers from https://x (" in done.out
    assert "testing vendor/m2 ... ok: answers as m2 (" in done.out
    assert "testing channel chat ... ok: @bot (" in done.out
    assert "rustyclaw pairing approve chat CODE" in done.out
    config = rig.config
    assert {"vendor", "plain", "chat", "page"} <= set(config.pop("plugins")["allow"])
    assert config == {
        "agents": {"defaults": {"model": "vendor/m2"}},
        "providers": {"vendor": {"api_key_env": "MY_KEY", "base_url": "https://x"}},
        "channels": {"chat": {"token_env": "MY_TOKEN"}},
    }
    assert rig.file.read_text().startswith("# ")
    assert stat.S_IMODE(rig.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(rig.home.stat().st_mode) == 0o700
    assert (rig.home / "agents/main/workspace/AGENTS.md").exists()
    assert not rig.credentials()


def test_secrets_in_files(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{GOOD}\n")
    file = str(tmp_path / "key")

    done = rig.onboard("--provider", "vendor", "--api-key-file", file)

    assert done.code == 0, done.err
    assert rig.config["providers"] == {"vendor": {"api_key_file": file}}
    assert rig.config["agents"]["defaults"]["model"] == "vendor"


@pytest.mark.parametrize("name", ["VENDOR_KEY", "VENDOR_OTHER_KEY"])
def test_the_variable_that_a_vendor_is_used_to(
    rig: Rig, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, GOOD)

    assert rig.onboard("--provider", "vendor").code == 0
    assert rig.config["providers"] == {"vendor": {"api_key_env": name}}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (VENDOR, "vendor refuses '***'; it is from the variable 'MY_KEY'"),
        (("--provider", "vendor"), "vendor refuses ''"),
        (("--provider", "vendor", "--api-key-env", "NO"), "variable 'NO' is not set"),
        (("--provider", "vendor", "--api-key-file", "no"), "No such file"),
        (("--provider", "vendor", "--api-key-env", "SLOW"), "not answer within 0.3 s"),
        (("--provider", "vendor", "--api-key-env", "BROKEN"), "RuntimeError: the"),
        (("--provider", "far-away"), "try `pip install rustyclaw-far-away`"),
        (
            ("--provider", "vendor", "--api-key-env", "GOOD", "--model", "m13"),
            "no credit for m13",
        ),
        (("--provider", "plain", *CHAT), "it is from the variable 'MY_TOKEN'"),
        (("--provider", "plain", "--channel", "chat"), "channels.chat.token: is requi"),
        (("--provider", "plain", "--channel", "sms"), "channel 'sms' is not installed"),
    ],
)
def test_nothing_is_written_when_a_test_fails(
    rig: Rig, options: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"MY_KEY": BAD, "MY_TOKEN": "wrong-token-9", "SLOW": SLOW, "GOOD": GOOD}
    for name, value in {**keys, "BROKEN": "broken-key-123"}.items():
        monkeypatch.setenv(name, value)

    done = rig.onboard(*options)

    assert done.code == 1
    assert said in done.err
    assert "nothing was changed; `--skip-tests` asks nobody" in done.err
    assert "broken-key-123" not in done.err
    assert not rig.home.exists() or not list(rig.home.glob("c*"))


@pytest.mark.parametrize("name", ["vendor", "far-away"])
def test_without_tests_nobody_is_asked(rig: Rig, name: str) -> None:
    options = ("--provider", name, "--api-key-env", "LATER", "--no-allow-installed")

    done = rig.onboard(*options, "--skip-tests")

    assert done.code == 0, done.err
    assert "testing" not in done.out
    assert ("pip install rustyclaw-far-away" in done.out) == (name == "far-away")
    assert rig.config["providers"] == {name: {"api_key_env": "LATER"}}
    assert "plugins" not in rig.config


def test_again_changes_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", GOOD)
    assert rig.onboard(*VENDOR, "--model", "m2").code == 0
    before = rig.file.read_text()

    done = rig.onboard()

    assert done.code == 0, done.err
    assert "testing vendor/m2 ... ok" in done.out
    assert "is left as it is" in done.out
    assert rig.file.read_text() == before


def test_other_settings_and_comments_stay(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", GOOD)
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    rig.home.mkdir()
    rig.file.write_text(
        "# mine\nagents:\n  defaults:\n    model: plain  # dull\n    thinking: low\n"
        "providers:\n  plain: {}\n  vendor:\n    api_key: old-key-0123\n"
        "    base_url: https://y  # mine, too\n"
        "channels:\n  chat:\n    enabled: false\n    token: old-token-0123\n"
        "    allow_from: ['7']\n"
        "plugins:\n  allow: [plain]\n  deny: [vendor]\n"
    )

    done = rig.onboard(*VENDOR, *CHAT)

    assert done.code == 0, done.err
    assert "answers from https://y" in done.out
    text = rig.file.read_text()
    assert text.startswith("# mine\n")
    assert "# dull" in text
    assert "# mine, too" in text
    assert rig.config == {
        "agents": {"defaults": {"model": "vendor", "thinking": "low"}},
        "providers": {
            "plain": {},
            "vendor": {"base_url": "https://y", "api_key_env": "MY_KEY"},
        },
        "channels": {
            "chat": {"enabled": True, "allow_from": ["7"], "token_env": "MY_TOKEN"}
        },
        "plugins": {"allow": ["plain", "vendor", "chat"], "deny": []},
    }


def test_a_broken_file_is_not_touched(rig: Rig) -> None:
    rig.home.mkdir()
    rig.file.write_text("agents: [\n")

    done = rig.onboard("--provider", "plain")

    assert done.code == 2
    assert rig.file.read_text() == "agents: [\n"


def test_an_agent_with_a_model_of_its_own_is_named(rig: Rig) -> None:
    rig.home.mkdir()
    rig.file.write_text("agents:\n  list:\n  - {id: bo, model: other/x}\n")

    done = rig.onboard("--provider", "plain")

    assert "agent 'bo' keeps a model of its own: other/x" in done.out


# --- Somebody answers ---------------------------------------------------------------


def lines(*answers: str) -> str:
    return "".join(f"{answer}\n" for answer in answers)


def test_secrets_are_typed(rig: Rig) -> None:
    answers = lines("vendor", "typed", GOOD, "3", "chat", "t", TOKEN)

    done = rig.onboard(answers=answers)

    assert done.code == 0, done.err
    assert rig.credentials() == {
        "vendor.api_key": f"{GOOD}\n",
        "chat.token": f"{TOKEN}\n",
    }
    config = rig.config
    assert config["agents"]["defaults"]["model"] == "vendor/m3"
    kept = {"api_key_file": "credentials/vendor.api_key"}
    assert config["providers"] == {"vendor": kept}
    assert config["channels"] == {"chat": {"token_file": "credentials/chat.token"}}
    assert "and 10 more; any may be named" in done.out
    assert "\n   3  m3  3k\n" in done.out

    again = rig.onboard(answers=lines("", "", "", "", ""))
    assert again.code == 0, again.err
    assert "is left as it is" in again.out
    changed = rig.onboard(answers=lines("", "typed", f"{GOOD}-2", "m30", "none"))
    assert changed.code == 0, changed.err
    assert rig.credentials()["vendor.api_key"] == f"{GOOD}-2\n"
    assert rig.config["agents"]["defaults"]["model"] == "vendor/m30"
    assert set(rig.config["channels"]) == {"chat"}


def test_what_fails_is_asked_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_OTHER_KEY", GOOD)
    answers = lines(
        *("vendr", "again", "vendor"),
        *("typed", BAD, "again"),
        *("https://z", "", ""),  # the variable that is set is proposed
        *("m13", "again", "m14"),
        *("chat", "typed", "wrong", "again", "typed", TOKEN),
    )

    done = rig.onboard(answers=answers)

    assert done.code == 0, done.err
    assert "provider 'vendr' is not installed" in done.out
    assert "vendor refuses '***'" in done.out
    assert "no credit for m13" in done.out
    config = rig.config
    key = {"base_url": "https://z", "api_key_env": "VENDOR_OTHER_KEY"}
    assert config["providers"] == {"vendor": key}
    assert config["agents"]["defaults"]["model"] == "vendor/m14"
    assert rig.credentials() == {"chat.token": f"{TOKEN}\n"}


def test_what_fails_can_be_skipped(rig: Rig) -> None:
    answers = lines("vendor", "typed", BAD, "skip", "m13", "chat", "none", "skip")

    done = rig.onboard(answers=answers)

    assert done.code == 0, done.err
    assert "testing vendor/m13" not in done.out
    assert rig.config["channels"] == {"chat": {}}
    assert rig.config["agents"]["defaults"]["model"] == "vendor/m13"
    assert rig.credentials() == {"vendor.api_key": f"{BAD}\n"}


@pytest.mark.parametrize("end", ["quit\n", ""])
def test_leaving_changes_nothing(rig: Rig, end: str) -> None:
    done = rig.onboard(answers=lines("vendor", "typed", BAD) + end)

    assert done.code == 130
    assert "nothing was changed" in done.out
    assert not rig.credentials()
    assert not rig.file.exists()


def test_what_has_no_key_is_not_asked_for_one(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles = ["anyio>=4.11", 'rustyclaw-moon>=0.1; extra == "providers"']
    monkeypatch.setattr("rustyclaw.cli.wizard.requires", lambda dist: bundles)

    done = rig.onboard(answers=lines("plain", "", "page"))

    assert done.code == 0, done.err
    assert "where is" not in done.out
    assert "pairing" not in done.out
    assert rig.config["channels"] == {"page": {}}
    assert done.out.count("could be installed: rustyclaw-moon\n") == 1
    assert not (rig.home / "channels").exists()


# --- doctor -------------------------------------------------------------------------


def write(rig: Rig, **sections: Any) -> None:
    rig.home.mkdir(mode=0o700, exist_ok=True)
    rig.file.write_text(yaml.safe_dump(sections))
    rig.file.chmod(0o600)


def test_deep_asks_all_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", BAD)
    vendor, chat = {"api_key_env": "VENDOR_KEY"}, {"token": TOKEN}
    write(
        rig,
        providers={"plain": {}, "vendor": vendor},
        channels={"chat": chat, "page": {}},
    )

    done = rig("doctor", "--deep")

    assert done.code == 1
    said = done.out.splitlines()[-4:]
    assert said[0].startswith("[ok] provider 'plain' names 1 model (")
    source = "it is from the variable 'VENDOR_KEY'"
    assert said[1] == f"[!!] vendor refuses '***'; {source}"
    assert said[2].startswith("[ok] channel 'chat' @bot (")
    assert said[3].startswith("[ok] channel 'page' can be opened (")
    rows = json.loads(rig("doctor", "--deep", "--json").out)[-4:]
    assert [row["probe"]["works"] for row in rows] == [True, False, True, True]
    assert rows[2]["probe"]["text"] == "@bot"
    assert BAD not in json.dumps(rows)


def test_deep_waits_for_nobody(rig: Rig) -> None:
    write(rig, providers={"vendor": {"api_key": SLOW}}, channels={})

    done = rig("doctor", "--deep")

    assert done.code == 1
    assert "[!!] provider 'vendor' did not answer within 0.3 s" in done.out


def test_what_lacks_is_seen_without_asking(rig: Rig) -> None:
    write(rig, providers={"vendor": {}})

    plain, deep = rig("doctor"), rig("doctor", "--deep")

    assert plain.code == deep.code == 1
    for done in (plain, deep):
        assert done.out.count("[!!] vendor has no key; set VENDOR_KEY") == 1


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"api_key_env": "NO"}, "the variable 'NO' is not set"),
        ({"api_key_file": "no"}, "No such file"),
    ],
)
def test_a_missing_variable_or_file(
    rig: Rig, section: dict[str, str], said: str
) -> None:
    write(rig, providers={"vendor": section})

    done = rig("doctor")

    assert done.code == 1
    assert said in done.out


def test_who_is_not_used_may_lack_what_it_likes(rig: Rig) -> None:
    write(rig, agents={"defaults": {"model": "plain"}})

    done = rig("doctor", "--deep")

    assert done.code == 0, done.out
    assert "vendor has no key" not in done.out


def test_beside_a_gateway_only_what_leaves_it_alone_is_asked(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {
        "chat": {"state": "connected", "connected": True, "lastError": None},
        "page": {
            "state": "connected",
            "connected": True,
            "a": {"state": "polling", "last_poll": 1e9 + 0.5, "error": "is stuck"},
        },
    }

    async def served(home: Path) -> bool:
        return True

    monkeypatch.setattr("rustyclaw.cli.doctor.is_served", served)
    monkeypatch.setattr(probes, "ask_gateway", lambda name: {"channels": facts})
    write(rig, providers={"plain": {}}, channels={"chat": {"token": TOKEN}, "page": {}})

    done = rig("doctor", "--deep")

    assert done.code == 1
    assert "the page was opened" not in done.err
    assert "[ok] channel 'chat' @bot (" in done.out
    assert "[ok] channel 'chat' of the running gateway is connected" in done.out
    (page,) = (row for row in done.out.splitlines() if "'page' of the running" in row)
    assert page.startswith("[!!]")
    assert "a state polling, last_poll " in page
    assert "error is stuck" in page
