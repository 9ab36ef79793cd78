"""The log below home: without secrets, impossible to forge, bounded, readable on."""

from __future__ import annotations

import json
import logging
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rustyclaw import Config, Gateway
from rustyclaw_server.logbook import LogBook, for_clients

from .client import READ, Failed
from .conftest import TOKEN, Running

logger = logging.getLogger("rustyclaw.test")


@pytest.fixture
def config() -> dict[str, Any]:
    return {}


@pytest.fixture
def book(tmp_path: Path) -> Iterator[LogBook]:
    gateway = SimpleNamespace(home=tmp_path, config=Config())
    gateway.config.redactor.add("se-cr-et\nvalue")
    book = LogBook(cast("Gateway", gateway), max_bytes=4000)
    book.open()
    yield book
    book.close()


def records(book: LogBook) -> list[dict[str, Any]]:
    return [json.loads(line) for line in book.path.read_text().splitlines()]


def test_a_record_is_one_line_without_secrets(book: LogBook) -> None:
    logger.warning(
        'got %s\n\x1b[31m{"level":"ERROR"}',
        "se-cr-et\nvalue",
        extra={"run_id": "r1", "session_key": "k"},
    )
    try:
        raise ValueError("sk-abcdefghijklmnopqrstuvwxyz")
    except ValueError:
        record = logging.getLogger("rustyclaw.test").makeRecord(
            "rustyclaw.test",
            logging.ERROR,
            "f",
            1,
            "no %d",
            ("number",),
            sys.exc_info(),
        )
    assert book._handler is not None
    book._handler.handle(record)  # not to all: pytest's own would raise

    text = book.path.read_text()
    assert text.count("\n") == 2
    assert "\x1b" not in text
    assert "se-cr-et" not in text
    assert "sk-abc" not in text
    first, second = records(book)
    assert (first["level"], first["target"]) == ("WARNING", "rustyclaw.test")
    assert (first["run_id"], first["session_key"]) == ("r1", "k")
    assert first["message"].startswith("got ***\n")
    assert "'no %d'" in second["message"]
    assert "ValueError: ***" in second["error"]
    assert stat.S_IMODE(book.path.stat().st_mode) == 0o600


def test_a_cursor_reads_on(book: LogBook) -> None:
    logger.warning("one")
    first = book.tail(None, 500, 250_000)
    assert (len(first["lines"]), first["truncated"], first["reset"]) == (
        1,
        False,
        False,
    )

    assert book.tail(first["cursor"], 500, 250_000)["lines"] == []
    logger.warning("two")
    logger.warning("three")
    more = book.tail(first["cursor"], 500, 250_000)

    assert [json.loads(line)["message"] for line in more["lines"]] == ["two", "three"]
    assert more["cursor"] == more["size"] == book.path.stat().st_size
    assert len(book.tail(None, 2, 250_000)["lines"]) == 2


def test_bounds_cut_at_whole_lines(book: LogBook) -> None:
    for number in range(10):
        logger.warning("line %d", number)

    cut = book.tail(None, 500, 300)
    behind = book.tail(10, 500, 300)

    assert (cut["truncated"], cut["reset"]) == (True, False)
    assert [json.loads(line)["message"] for line in cut["lines"]][-1] == "line 9"
    assert (behind["truncated"], behind["reset"]) == (True, True)
    assert behind["lines"] == cut["lines"]


def test_a_new_file_resets_the_cursor(book: LogBook) -> None:
    logger.warning("x" * 3000)
    before = book.tail(None, 500, 250_000)["cursor"]
    logger.warning("y" * 1500)  # over the bound: a new file

    after = book.tail(before, 500, 250_000)

    assert after["reset"] is True
    assert len(after["lines"]) == 1
    assert sum(path.stat().st_size for path in book.path.parent.iterdir()) < 8000


def test_half_a_line_waits_for_its_end(book: LogBook) -> None:
    logger.warning("whole")
    with book.path.open("a") as file:
        file.write('{"message": "ha')

    first = book.tail(None, 500, 250_000)
    with book.path.open("a") as file:
        file.write('lf"}\n')
    rest = book.tail(first["cursor"], 500, 250_000)

    assert len(first["lines"]) == 1
    assert json.loads(rest["lines"][0]) == {"message": "half"}


def test_a_log_that_fails_is_silent(book: LogBook, tmp_path: Path) -> None:
    book.path.unlink()
    book.path.parent.rename(tmp_path / "away")
    for _ in range(3):
        logger.warning("z" * 3000)  # it cannot make a new file

    assert book.tail(None, 500, 250_000)["lines"] == []
    assert book.tail(7, 500, 250_000)["reset"] is True


def test_openclaw_reads_our_lines() -> None:
    line = for_clients(
        json.dumps(
            {"timestamp": "t", "level": "WARNING", "target": "a.b", "message": "m"}
        )
    )
    record = json.loads(line)

    assert json.loads(record["_meta"]["name"]) == {"subsystem": "a.b"}
    assert record["_meta"]["logLevelName"] == "WARN"
    assert (record["1"], record["message"], record["time"]) == ("m", "m", "t")
    assert for_clients("no json") == "no json"


async def test_a_client_tails(running: Running) -> None:
    client = await running.client(scopes=[READ])
    logger.warning("the token is %s", TOKEN)

    answer = await client.ask("logs.tail", limit=1)

    assert json.loads(answer["lines"][0])["message"] == "the token is ***"
    for params in ({"limit": 0}, {"limit": 5001}, {"maxBytes": 0}, {"cursor": -1}):
        with pytest.raises(Failed, match=r"invalid logs\.tail params"):
            await client.ask("logs.tail", **params)
