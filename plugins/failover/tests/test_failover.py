"""What is tried when a model fails, in real gateways with vendors that are scripted."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import (
    ModelRequest,
    ProviderError,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCallDelta,
    TranscriptPolicy,
    tool,
)
from rustyclaw.testing import Bot, FakeProvider, call, fault, hang

from .conftest import House, vendor

LIMIT = ProviderError("429 slow down", kind="rate_limit")
NO_CREDIT = ProviderError("402 no credit", kind="billing")
DOWN = ProviderError("503", kind="timeout")
BUSY = ProviderError("529", kind="overloaded")
LONG = ProviderError("prompt is too long: 250000 tokens > 200000 maximum")


async def state_of(bot: Bot) -> dict[str, Any]:
    model = await bot.gateway.models.resolve("failover")
    return dict(await model.provider.ledger.all())  # type: ignore[attr-defined]


# --- Keys ---------------------------------------------------------------------------


async def test_the_second_key_answers_and_the_first_rests(house: House) -> None:
    house.a.scripts["one"] = [LIMIT]
    async with house.open() as bot:
        assert await bot.say("hi") == "a two"
        assert bot.last.model == "a/large"
        states = await state_of(bot)
        assert states["a:key1"].cooling_until == house.now + 60
        assert states["a:key2"].until(house.now) == 0
        assert await bot.say("hi", session="other") == "a two", "the first still rests"
        house.now += 61
        assert await bot.say("hi", session="third") == "a one"
    assert not house.b.asked
    ((name, told),) = house.notices[:1]
    assert name == "auth_rotation"
    assert (told["fromProfile"], told["toProfile"]) == ("a:key1", "a:key2")
    assert (told["reason"], told["sessionKey"]) == ("rate_limit", "agent:main:main")


async def test_a_key_without_credit_is_disabled_for_hours(house: House) -> None:
    house.a.scripts["one"] = [NO_CREDIT]
    async with house.open() as bot:
        assert await bot.say("hi") == "a two"
        state = (await state_of(bot))["a:key1"]
    assert state.state(house.now) == "disabled"
    assert state.disabled_until == house.now + 5 * 3600


async def test_a_damaged_row_costs_no_answer(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house.open() as bot:
        await bot.say("hi")
        file = tmp_path / "providers" / "failover" / "profiles.db"
        with sqlite3.connect(file) as db:
            db.execute("UPDATE profiles SET failures = '{'")
        db.close()
        assert (await bot.say("hi")).startswith("a ")
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize("kind", ["auth", "auth_permanent", "overloaded"])
async def test_others_that_mark(house: House, kind: Any) -> None:
    house.a.scripts["one"] = [ProviderError("no", kind=kind)]
    async with house.open() as bot:
        assert await bot.say("hi") == "a two"
        assert (await state_of(bot))["a:key1"].failures == {kind: 1}


async def test_keys_take_turns_and_a_conversation_keeps_its_own(house: House) -> None:
    async with house.open() as bot:
        for number, key in enumerate(("one", "two", "one")):
            house.now += 1
            assert await bot.say("hi", session=f"s{number}") == f"a {key}"
        for number, key in enumerate(("one", "two", "one")):
            house.now += 1
            assert await bot.say("hi", session=f"s{number}") == f"a {key}"
        house.a.scripts["one"] = [LIMIT]
        assert await bot.say("hi", session="s0") == "a two"
        house.now += 61
        assert await bot.say("hi", session="s0") == "a two", "it stays where it is"
        await bot.gateway.reset("s0")
        house.now += 1
        assert await bot.say("hi", session="s0") == "a one", "a new conversation"


async def test_an_order_that_somebody_wants(house: House) -> None:
    async with house.open(order={"a": ["key2", "key1"]}) as bot:
        for number in range(3):
            assert await bot.say("hi", session=f"s{number}") == "a two"
        house.a.scripts["two"] = [LIMIT]
        assert await bot.say("hi", session="new") == "a one"


async def test_a_state_outlives_the_gateway(house: House, tmp_path: Path) -> None:
    house.a.scripts["one"] = [LIMIT]
    async with house.open() as bot:
        assert await bot.say("hi") == "a two"
    async with house.open() as bot:
        assert await bot.say("hi", session="other") == "a two"
    file = tmp_path / "providers" / "failover" / "profiles.db"
    assert file.stat().st_mode & 0o777 == 0o600
    assert house.a.keys() == ["one", "two", "two"]


async def test_calls_go_on_if_the_state_cannot_be_kept(
    house: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "providers").write_text("no folder can be here")
    house.a.scripts["one"] = [LIMIT]
    async with house.open() as bot:
        assert await bot.say("hi") == "a two"
    assert "cannot be kept" in caplog.text


async def test_two_gateways_share_a_home(house: House) -> None:
    house.a.scripts["one"] = [LIMIT]
    async with house.open() as first:
        await first.say("hi")
        model = await first.gateway.models.resolve("failover")
        ledger = type(model.provider.ledger)(  # type: ignore[attr-defined]
            model.provider.host.folder, model.provider.config.cooldowns
        )
        assert "a:key1" in await ledger.all()
        await ledger.clear(["a:key1"])
        await ledger.close()
        house.now += 1
        assert await first.say("hi", session="other") == "a one", "cleared beside it"


# --- Models -------------------------------------------------------------------------


@pytest.mark.parametrize("error", [LIMIT, NO_CREDIT, BUSY])
async def test_all_keys_rest_and_the_next_model_answers(
    house: House, error: ProviderError
) -> None:
    house.a.scripts["one"], house.a.scripts["two"] = [error], [error]
    async with house.open() as bot:
        assert await bot.say("hi") == "b own-key"
        assert bot.last.model == "b/large"
        assert await bot.say("again") == "b own-key"
    assert house.a.keys() == ["one", "two"], "who rests is not asked again"
    name, told = house.notices[1]
    assert name == "fallback"
    assert (told["from"], told["to"], told["reason"]) == (
        "a/large",
        "b/large",
        error.kind,
    )
    (path,) = house.home.glob("agents/main/sessions/*.jsonl")
    assert '"b/large"' in path.read_text(), "the transcript knows who has answered"


async def test_the_first_choice_is_probed_when_its_rest_ends_soon(house: House) -> None:
    house.a.scripts["one"], house.a.scripts["two"] = [LIMIT], [LIMIT]
    async with house.open() as bot:
        await bot.say("hi")
        house.now += 31
        assert (await bot.say("hi")).startswith("a "), "it ends within two minutes"
        assert len(house.a.asked) == 3


@pytest.mark.parametrize("kind", ["timeout", "model_not_found", "unknown"])
async def test_what_says_nothing_about_a_key_goes_to_the_next_model(
    house: House, kind: Any
) -> None:
    house.a.scripts["one"] = [ProviderError("strange", kind=kind)]
    async with house.open() as bot:
        assert await bot.say("hi") == "b own-key"
        assert (await state_of(bot))["a:key1"].failures == {}
    assert house.a.keys() == ["one"]


async def test_a_fault_of_a_plugin_goes_to_the_next_model(house: House) -> None:
    house.a.scripts["one"] = [KeyError("a bug")]
    async with house.open() as bot:
        assert await bot.say("hi") == "b own-key"


async def test_a_stream_that_ends_early_goes_to_the_next_model(house: House) -> None:
    house.a.scripts["one"] = [fault()]
    async with house.open() as bot:
        assert await bot.say("hi") == "b own-key"


@pytest.mark.parametrize(
    "error", [ProviderError("tool_use.id", kind="format"), LONG], ids=["format", "long"]
)
async def test_what_is_about_the_request_is_passed_on(
    house: House, error: ProviderError
) -> None:
    house.a.scripts["one"] = [error]
    async with house.open() as bot:
        await bot.say("hi")
        assert bot.last.error is not None
    assert house.a.keys() == ["one"]
    assert not house.b.asked


async def test_all_fail(house: House) -> None:
    house.a.scripts["one"], house.a.scripts["two"] = [NO_CREDIT], [NO_CREDIT]
    house.b.scripts["own-key"] = [ProviderError("revoked", kind="auth_permanent")]
    async with house.open() as bot:
        await bot.say("hi")
        assert bot.last.error is not None
    assert bot.last.error.message == (
        "All models failed (2): a/large: 402 no credit (billing) | "
        "b/large: revoked (auth_permanent)"
    )
    assert bot.last.error.kind == "auth_failure"


async def test_the_last_model_is_always_asked(house: House) -> None:
    for key in ("one", "two"):
        house.a.scripts[key] = [NO_CREDIT]
    house.b.scripts["own-key"] = [NO_CREDIT]
    async with house.open() as bot:
        await bot.say("hi")
        assert await bot.say("again") == "b own-key"
    assert len(house.b.asked) == 2


async def test_a_single_candidate_raises_its_own_error(house: House) -> None:
    house.a.scripts["one"], house.a.scripts["two"] = [NO_CREDIT], [NO_CREDIT]
    async with house.open(models=["a/large"]) as bot:
        await bot.say("hi")
        assert bot.last.error is not None
    assert (
        bot.last.error.message == "The account at the provider has run out of credit."
    )


@pytest.mark.parametrize(
    ("model", "first", "second"),
    [
        ("failover/cheap", "b/small", "a/small"),
        ("failover/b/small", "b/small", "a/large"),
        ("failover/b/large", "b/large", "a/large"),
    ],
)
async def test_chains(house: House, model: str, first: str, second: str) -> None:
    house.b.scripts["own-key"] = ["yes", DOWN]
    async with house.open(model, chains={"cheap": ["b/small", "a/small"]}) as bot:
        for label in (first, second):
            await bot.say("hi")
            assert bot.last.model == label


@pytest.mark.parametrize("model", ["failover/none", "failover/failover/cheap"])
async def test_a_chain_that_does_not_exist(house: House, model: str) -> None:
    async with house.open(model, chains={"cheap": ["a"]}) as bot:
        await bot.say("hi")
        assert bot.last.error is not None
        assert "known are default, cheap" in bot.last.error.message


async def test_the_default_chain_is_empty(house: House) -> None:
    async with house.open(models=[]) as bot:
        await bot.say("hi")
        assert bot.last.error is not None
        assert "set providers.failover.models" in bot.last.error.message


async def test_a_model_that_cannot_be_had_is_left_out(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    models = ["missing/x", "a/tiny", "b/large"]
    house.a = vendor("a", tiny=8_000)
    async with house.open(models=models) as bot:
        assert await bot.say("hi") == "b own-key"
        model = await bot.gateway.models.resolve("failover")
        assert model.window == 200_000, "what is left out does not count"
    assert "left out model=missing/x" in caplog.text
    assert "left out model=a/tiny" in caplog.text


async def test_none_can_be_had(house: House) -> None:
    async with house.open(models=["missing/x", "gone/y"]) as bot:
        await bot.say("hi")
        assert bot.last.error is not None
        assert "pip install rustyclaw-missing" in bot.last.error.message


async def test_only_what_a_chain_names_is_opened(house: House) -> None:
    async with house.open("failover/cheap", chains={"cheap": ["b/small"]}) as bot:
        assert await bot.say("hi") == "b own-key"
    assert house.a.opened == 0
    assert house.b.opened == 1


async def test_keys_share_an_instance_only_if_they_are_none(house: House) -> None:
    async with house.open() as bot:
        for number in range(4):
            house.now += 1
            await bot.say("hi", session=f"s{number}")
        await bot.gateway.models.resolve("b")
    assert (house.a.opened, house.b.opened) == (2, 1)


# --- Thinking -----------------------------------------------------------------------

NOT_AT_ALL = ProviderError("this model does not support thinking", kind="format")
LISTED = "Unsupported value. Supported values are: 'low' and 'medium'."


async def test_another_level_of_thinking(house: House) -> None:
    house.a.scripts["one"] = [ProviderError(LISTED, kind="format")]
    async with house.open(agents={"thinking": "high"}) as bot:
        assert await bot.say("hi") == "a one"
        assert bot.last.thinking == "low"
        assert [r.thinking for _, r in house.a.asked] == ["high", "low"]
        assert await bot.say("again") == "a one"
        assert [r.thinking for _, r in house.a.asked][2:] == ["low"], "it is remembered"
        assert (await state_of(bot))["a:key1"].failures == {}
    assert not house.notices


async def test_each_level_is_tried_once(house: House) -> None:
    house.a.scripts["one"] = [NOT_AT_ALL] * 9
    async with house.open(agents={"thinking": "high"}) as bot:
        await bot.say("hi")
        assert bot.last.error is not None
    levels = [request.thinking for _, request in house.a.asked]
    assert levels == ["high", "medium", "low", "minimal", "off"]


async def test_another_key_is_asked_for_the_whole_level(house: House) -> None:
    house.a.scripts["one"] = [NOT_AT_ALL, LIMIT]
    async with house.open(agents={"thinking": "high"}) as bot:
        assert await bot.say("hi") == "a two"
        assert bot.last.thinking == ""
    levels = [request.thinking for _, request in house.a.asked]
    assert levels == ["high", "medium", "high"]


# --- What was shown is not shown again ------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        TextDelta(text="Once"),
        ThinkingDelta(text="Hm"),
        ToolCallDelta(index=0, id="c", name="look", arguments='{"a'),
    ],
)
async def test_nothing_else_is_tried_after_a_part_of_an_answer(
    house: House, event: Any, waits: list[tuple[str, float]]
) -> None:
    house.a.scripts["one"] = [[event, NO_CREDIT]]
    async with house.open() as bot:
        await bot.say("hi")
        assert bot.last.error is not None
        texts = [e.text for e in bot.events if isinstance(e, TextDelta)]
        assert (await state_of(bot))["a:key1"].failures == {"billing": 1}
    assert "".join(texts) in ("Once", "")
    assert house.a.keys() == ["one"]
    assert not house.b.asked


async def test_the_core_repeats_half_a_call_but_shows_nothing_twice(
    house: House,
) -> None:
    ran: list[str] = []

    @tool
    async def look(place: str) -> str:
        """Look.

        :param place: Where.
        """
        ran.append(place)
        return "seen"

    half = ToolCallDelta(index=0, id="c", name="look", arguments='{"place": "he')
    house.a.scripts["one"] = [[half, LIMIT]]
    house.a.scripts["two"] = [call("look", place="there"), "done"]
    house.others["tools.look"] = look
    async with house.open() as bot:
        assert await bot.say("hi") == "done"
    assert ran == ["there"]


# --- Ends -----------------------------------------------------------------------------


async def test_an_abort_closes_the_stream_and_marks_nobody(house: House) -> None:
    closed = anyio.Event()

    class Slow(FakeProvider):
        async def stream(self, request: ModelRequest) -> Any:
            try:
                yield TextDelta(text="On")
                await anyio.sleep_forever()
            finally:
                closed.set()

    house.others["providers.slow"] = Slow
    async with house.open(models=["slow/fake", "b/large"]) as bot:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bot.say, "hi")
            while not any(isinstance(e, TextDelta) for e in bot.events):
                await anyio.sleep(0.001)
            assert bot.gateway.abort("main")
        assert bot.last.aborted
        assert closed.is_set()
        assert (await state_of(bot))["slow:default"].failures == {}
    assert not house.b.asked


async def test_a_silent_model_is_passed_over(house: House) -> None:
    house.a.scripts["one"] = [hang()]
    async with house.open(silence_seconds=0.05) as bot:
        assert await bot.say("hi") == "b own-key"


async def test_a_vendor_that_is_overloaded_gets_a_moment(
    house: House, waits: list[tuple[str, float]]
) -> None:
    keys = [{"api_key": f"secret-key-{n}"} for n in "123456"]
    for n in "12345":
        house.a.scripts[n] = [BUSY]
    async with house.open(keys={"a": keys}) as bot:
        assert await bot.say("hi") == "a 6"
    seconds = [delay for who, delay in waits if who == "failover"]
    assert len(seconds) == 5
    for delay, wanted in zip(seconds, (0.25, 0.5, 1.0, 1.5, 1.5), strict=True):
        assert 0.8 * wanted <= delay <= 1.2 * wanted


async def test_attempts_are_bounded(house: House) -> None:
    keys = [{"api_key": f"secret-key-{n}"} for n in range(200)]
    for n in range(200):
        house.a.scripts[str(n)] = [LIMIT]
    async with house.open(keys={"a": keys}, models=["a/large"]) as bot:
        await bot.say("hi")
        assert bot.last.error is not None
    assert bot.last.error.kind == "retry_limit"
    assert len(house.a.asked) == 160


async def test_keys_are_in_no_log_no_event_and_no_file(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    house.a.scripts["one"], house.a.scripts["two"] = [LIMIT], [NO_CREDIT]
    async with house.open() as bot:
        await bot.say("hi")
    kept = b"".join(p.read_bytes() for p in house.home.rglob("*") if p.is_file())
    assert "failover: fall back from=a/large to=b/large reason=billing" in caplog.text
    for secret in ("secret-key-one", "secret-key-two"):
        assert secret not in caplog.text + repr(house.notices)
        assert secret.encode() not in kept


# --- Conversations --------------------------------------------------------------------


async def test_the_window_is_the_smallest_and_the_policy_the_strictest(
    house: House,
) -> None:
    strict = TranscriptPolicy(tool_call_ids="strict9", merge_roles=False)
    house.b = vendor("b", policy=strict, large=50_000)
    async with house.open() as bot:
        model = await bot.gateway.models.resolve("failover")
        assert model.window == 50_000
        policy = model.provider.transcript_policy
    assert (policy.tool_call_ids, policy.merge_roles) == ("strict9", True)


async def test_who_takes_no_thoughts_gets_none(house: House) -> None:
    house.b = vendor("b", policy=TranscriptPolicy(keep_thinking=False))
    thought = [ThinkingDelta(text="Hm", signature="sig"), *["Hello"]]
    house.a.scripts["one"] = [thought, LIMIT]
    house.a.scripts["two"] = [LIMIT]
    async with house.open() as bot:
        assert await bot.say("hi") == "Hello"
        assert await bot.say("again") == "b own-key"
    blocks = [b for m in house.a.asked[1][1].messages for b in m.content]
    assert any(isinstance(block, Thinking) for block in blocks)
    blocks = [b for m in house.b.asked[0][1].messages for b in m.content]
    assert all(isinstance(block, Text) for block in blocks)


async def test_an_overflow_is_compacted_by_the_core(house: House) -> None:
    async with house.open() as bot:
        for number in range(14):
            await bot.say(f"message {number}")
        house.a.scripts["one"] = [LONG]
        said = await bot.say("the last straw")
        assert said == "a two", "the cache is gone, so another key takes its turn"
        assert bot.last.compactions == 1
        assert (await state_of(bot))["a:key1"].failures == {}
    assert not house.b.asked
