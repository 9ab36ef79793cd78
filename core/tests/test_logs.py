"""The log: two formats, redacted, one line an event, nothing left behind."""

from __future__ import annotations

import io
import json
import logging
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from rustyclaw.config import Redactor
from rustyclaw.config.model import LoggingConfig
from rustyclaw.errors import ConfigError
from rustyclaw.logs import configure_logs

CANARY = "canary-7f3a9c-do-not-show"
PLAIN = re.compile(r"\d\d:\d\d:\d\d (DEBUG|INFO |WARNING|ERROR) \S+  ")


class Log:
    """A configured log and what it wrote."""

    def __init__(self, redactor: Redactor | None = None, **config: Any) -> None:
        self._stream = io.StringIO()
        self.undo = configure_logs(
            LoggingConfig(**config), redactor or Redactor(), stream=self._stream
        )

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()


@pytest.fixture(autouse=True)
def _no_level(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("RUSTYCLAW_LOG_LEVEL", raising=False)
    before = list(logging.getLogger().handlers)
    yield
    assert logging.getLogger().handlers == before


logger = logging.getLogger("rustyclaw.gateway")


def test_plain_lines() -> None:
    with Log() as log:
        logger.info("hello %s", "world")
        logger.warning("careful")
    first, second = log.text.splitlines()
    assert PLAIN.match(first)
    assert first.endswith(" INFO  rustyclaw.gateway  hello world")
    assert second.endswith(" WARNING rustyclaw.gateway  careful")


def test_json_lines() -> None:
    with Log(format="json") as log:
        logger.info("hello %s", "world")
        logging.getLogger("rustyclaw_telegram.channel").error(
            "bad", extra={"run_id": "r1", "session_key": "s", "plugin": "telegram"}
        )
    first, second = log.events
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", first.pop("timestamp")
    )
    assert first == {
        "level": "INFO",
        "target": "rustyclaw.gateway",
        "message": "hello world",
    }
    assert second["target"] == "rustyclaw_telegram.channel"
    assert (second["run_id"], second["session_key"], second["plugin"]) == (
        "r1",
        "s",
        "telegram",
    )


def fail() -> None:
    raise ValueError(f"boom {CANARY}\n12:00:00 INFO  rustyclaw.gateway  forged")


@pytest.mark.parametrize("format", ["plain", "json"])
def test_tracebacks(format: str) -> None:
    redactor = Redactor()
    redactor.add(CANARY)
    with Log(redactor, format=format) as log:
        try:
            fail()
        except ValueError:
            logger.exception("it failed")
        logger.info("with a stack", stack_info=True)
    assert CANARY not in log.text
    assert "boom ***" in log.text
    assert "in fail" in log.text
    if format == "json":
        failed, stacked = log.events
        assert failed["message"] == "it failed"
        assert failed["error"].startswith("Traceback")
        assert "Stack (most recent" in stacked["error"]
    else:
        entries = [line for line in log.text.splitlines() if PLAIN.match(line)]
        assert len(entries) == 2  # the forged one is indented
        assert "\n    12:00:00 INFO" in log.text


@pytest.mark.parametrize("format", ["plain", "json"])
def test_every_part_of_an_event_is_redacted(format: str) -> None:
    redactor = Redactor()
    redactor.add(CANARY)
    with Log(redactor, format=format) as log:
        logger.info("a %s", CANARY)
        logger.info("token 123456789:AAEhBOweik9ai2o01mfkjfsl39-fjlkdsf2")
        logger.info("x", extra={"session_key": CANARY, "plugin": CANARY})
        logging.getLogger(CANARY).info("x")
        logger.info("%d", CANARY)  # the argument does not fit
        logger.info({"a": CANARY})
    assert CANARY not in log.text
    assert "AAEhBO" not in log.text
    assert len(log.text.splitlines()) == 6


messages = st.text() | st.text(
    alphabet="\n\r\t\x00\x1b\x7f\x85\x9b\u2028\u2029\u202e\u2066\ud800\udfffab%"
)


@given(messages, st.sampled_from(["plain", "json"]))
def test_any_message_is_exactly_one_line(message: str, format: str) -> None:
    with Log(format=format) as log:
        logger.info(message)
        logger.info("%s", message, extra={"run_id": message})
    text = log.text
    assert text.count("\n") == 2
    assert len(text.splitlines()) == 2
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text
    )
    text.encode("utf-8")
    if format == "json":
        assert [event["message"] for event in log.events] == [
            json.loads(json.dumps(message))  # joins two halves of a character
        ] * 2


@given(st.text(), st.text(), st.text(min_size=6))
def test_a_known_secret_never_reaches_the_log(
    before: str, after: str, key: str
) -> None:
    redactor = Redactor()
    redactor.add(key)
    with Log(redactor, format="json") as log:
        logger.info("%s", before + key + after, extra={"plugin": key})
    (event,) = log.events
    assert key not in event["message"]
    assert key not in event["plugin"]


@pytest.mark.parametrize(
    ("level", "variable", "shown"),
    [
        ("debug", "", {"debug", "info", "warning", "error"}),
        ("info", "", {"info", "warning", "error"}),
        ("error", "", {"error"}),
        ("error", "DEBUG", {"debug", "info", "warning", "error"}),
        ("debug", "warning", {"warning", "error"}),
    ],
)
def test_levels(
    level: str, variable: str, shown: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUSTYCLAW_LOG_LEVEL", variable)
    with Log(level=level, format="json") as log:
        for name in ("debug", "info", "warning", "error"):
            getattr(logger, name)(name)
    assert {event["message"] for event in log.events} == shown


def test_an_unknown_level_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUSTYCLAW_LOG_LEVEL", "loud")
    with pytest.raises(ConfigError, match="RUSTYCLAW_LOG_LEVEL is 'loud'; use debug"):
        Log()


def test_filters_for_single_modules() -> None:
    filters = ("rustyclaw_a=debug", "rustyclaw_b.part=error")
    with Log(level="info", filters=filters, format="json") as log:
        for name in ("rustyclaw_a.x", "rustyclaw_b", "rustyclaw_b.part", "other"):
            logging.getLogger(name).debug("debug")
            logging.getLogger(name).info("info")
    assert [(event["target"], event["message"]) for event in log.events] == [
        ("rustyclaw_a.x", "debug"),
        ("rustyclaw_a.x", "info"),
        ("rustyclaw_b", "info"),
        ("other", "info"),
    ]


def test_undo_leaves_nothing_behind() -> None:
    root, part = logging.getLogger(), logging.getLogger("rustyclaw_part")
    before = (list(root.handlers), root.level, part.level, logging.raiseExceptions)
    log = Log(level="debug", filters=("rustyclaw_part=error",))
    assert part.level == logging.ERROR
    log.undo()
    assert before == (
        list(root.handlers),
        root.level,
        part.level,
        logging.raiseExceptions,
    )
    logger.warning("nobody hears it")
    assert log.text == ""


def test_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "gateway.log"
    redactor = Redactor()
    redactor.add(CANARY)
    undo = configure_logs(LoggingConfig(output=str(path)), redactor)
    logger.info("h\N{LATIN SMALL LETTER E WITH ACUTE} %s \ud800", CANARY)
    undo()
    assert path.read_text(encoding="utf-8").endswith("h\xe9 *** \\ud800\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for output in (tmp_path, tmp_path / "file" / "x.log"):
        with pytest.raises(ConfigError, match=r"logging\.output: cannot write"):
            configure_logs(LoggingConfig(output=str(output)), Redactor())


@pytest.mark.parametrize("output", ["stdout", "stderr"])
def test_standard_streams(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    undo = configure_logs(LoggingConfig(output=output), Redactor())
    logger.info("hello")
    undo()
    captured = capsys.readouterr()
    assert getattr(captured, {"stdout": "out", "stderr": "err"}[output]).endswith(
        "hello\n"
    )


def test_a_stream_that_breaks_does_not_show_the_event(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("broken pipe")

    undo = configure_logs(LoggingConfig(), Redactor(), stream=Broken())
    logger.info("secret %s", CANARY)
    undo()
    assert capsys.readouterr() == ("", "")
