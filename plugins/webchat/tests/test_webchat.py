"""What visitors' browsers and other sites may do, through the channel's own routes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from rustyclaw import Gateway, WebRequest, WebResponse
from rustyclaw.testing import FakeProvider, hang
from rustyclaw_webchat.channel import WebchatChannel
from rustyclaw_webchat.visitors import Rate, Visitors


class Browser:
    """A page that is open in front of a visitor."""

    def __init__(self, gateway: Gateway, **headers: str) -> None:
        self._gateway = gateway
        self.headers = headers
        self.token = ""

    async def fetch(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> WebResponse:
        route = next(
            r for r in self._gateway.routes if (r.method, r.path) == (method, path)
        )
        sent = {**self.headers, **headers}
        if self.token:
            sent.setdefault("authorization", f"Bearer {self.token}")
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = WebRequest(
            method=method, path=path, headers=sent, body=raw, peer="192.0.2.1"
        )
        return await route.handler(request)

    async def arrive(self) -> None:
        answer = await self.fetch("POST", "/webchat/visitor")
        assert answer.status == 200, answer.body
        self.token = read(answer)["token"]

    async def say(self, text: str, message_id: str = "1") -> WebResponse:
        body = {"id": message_id, "text": text}
        return await self.fetch("POST", "/webchat/messages", body)

    @asynccontextmanager
    async def events(self, after: int = 0) -> AsyncIterator[AsyncIterator[Any]]:
        answer = await self.fetch(
            "GET", "/webchat/events", **{"last-event-id": str(after)}
        )
        assert answer.status == 200, answer.body
        assert not isinstance(answer.body, bytes)
        body: Any = answer.body  # a generator
        async with aclosing(body) as pieces, aclosing(_events(pieces)) as events:
            yield events


async def _events(pieces: AsyncIterator[bytes]) -> AsyncGenerator[Any]:
    async for piece in pieces:
        lines = dict(line.split(": ", 1) for line in piece.decode().strip().split("\n"))
        yield lines["event"], json.loads(lines["data"])


async def _until(name: str, events: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for event in events:
        yield event
        if event[0] == name:
            return


def read(answer: WebResponse) -> Any:
    assert isinstance(answer.body, bytes)
    return json.loads(answer.body)


@asynccontextmanager
async def site(
    home: Path, script: Any = None, **settings: Any
) -> AsyncIterator[Gateway]:
    config = {
        "agents": {"defaults": {"model": "fake/fake"}},
        "channels": {"webchat": settings},
    }
    plugins = {
        "providers.fake": FakeProvider(script=script),
        "channels.webchat": WebchatChannel,
    }
    async with Gateway(config, home=home, plugins=plugins, discover=False) as gateway:
        with anyio.fail_after(5):
            while gateway.channels["webchat"].state != "connected":
                await anyio.sleep(0.01)
        yield gateway


async def test_an_answer_streams_and_ends_in_one_message(tmp_path: Path) -> None:
    text = ("a long answer " * 20).strip()
    script = [[text, *hang()]]
    async with site(tmp_path, script) as gateway:
        browser = Browser(gateway)
        await browser.arrive()
        assert (await browser.say("hi")).status == 202
        async with browser.events() as events:
            with anyio.fail_after(10):
                assert (await anext(events))[1]["text"] == "hi"
                async for name, data in events:
                    if name == "draft" and data["text"] == text:
                        break
                (run,) = gateway.active_runs()
                gateway.abort(run.session_key)
                rest = [event async for event in _until("message", events)]
    answer = rest[-1][1]
    assert answer["role"] == "assistant"
    assert answer["text"].startswith(text)


async def test_each_visitor_has_a_room_of_their_own(tmp_path: Path) -> None:
    async with site(tmp_path) as gateway:
        for name in ("one", "two"):
            browser = Browser(gateway)
            await browser.arrive()
            async with browser.events() as events:
                await browser.say(f"I am {name}")
                with anyio.fail_after(10):
                    async for _, data in events:
                        if data.get("role") == "assistant":
                            break
        keys = [info.key for info in await gateway.state.sessions.list()]
    assert len(set(keys)) == 2
    assert all(key.startswith("agent:main:webchat:channel:") for key in keys), (
        "so that the tools that write or run are not a visitor's"
    )


async def test_a_page_that_comes_back_is_shown_what_it_missed(tmp_path: Path) -> None:
    async with site(tmp_path, ["first answer"]) as gateway:
        browser = Browser(gateway)
        await browser.arrive()
        async with browser.events() as events:
            await browser.say("hi")
            async for _, data in events:
                if data.get("role") == "assistant":
                    last = data["seq"]
                    break
    async with site(tmp_path, ["unused"]) as gateway:  # the same token after a restart
        again = Browser(gateway)
        again.token = browser.token
        async with again.events() as events:
            said = [(await anext(events))[1]["text"] for _ in range(2)]
        assert said == ["hi", "first answer"]
        async with again.events(after=last) as events:
            with anyio.move_on_after(0.1) as nothing:
                await anext(events)
            assert nothing.cancelled_caught


async def test_a_message_sent_twice_is_answered_once(tmp_path: Path) -> None:
    async with site(tmp_path, ["one", "two"]) as gateway:
        browser = Browser(gateway)
        await browser.arrive()
        async with browser.events() as events:
            assert (await browser.say("hi", "same")).status == 202
            assert (await browser.say("hi", "same")).status == 202
            assert (await browser.say("bye", "other")).status == 202
            texts = []
            with anyio.fail_after(10):
                async for name, data in events:
                    if name == "message":
                        texts.append(data["text"])
                    if "two" in texts:
                        break
    assert texts.count("hi") == 1
    assert texts.count("one") == 1


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"token": ""}, 401),
        ({"token": "0" * 32 + ".forged"}, 401),
        ({"body": b"not json"}, 400),
        ({"body": b'{"id": "1"}'}, 400),
        ({"body": b'{"id": "", "text": "x"}'}, 400),
        ({"body": b"[" * 5000}, 400),
        ({"body": json.dumps({"id": "1", "text": "x" * 101}).encode()}, 400),
        ({"origin": "https://evil.example"}, 403),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_refused(
    tmp_path: Path, change: dict[str, Any], status: int
) -> None:
    async with site(tmp_path, max_chars=100) as gateway:
        browser = Browser(gateway, host="127.0.0.1:1")
        await browser.arrive()
        browser.token = change.get("token", browser.token)
        headers = {"origin": change["origin"]} if "origin" in change else {}
        body = change.get("body", b'{"id": "1", "text": "hi"}')
        answer = await browser.fetch("POST", "/webchat/messages", body, **headers)
        assert answer.status == status
        assert read(answer)["error"]
        assert not await gateway.state.sessions.list()


async def test_other_sites_may_embed_the_chat_if_they_are_named(tmp_path: Path) -> None:
    friend, stranger = "https://friend.example", "https://stranger.example"
    async with site(tmp_path, allowed_origins=[friend]) as gateway:
        browser = Browser(gateway, host="chat.example")
        for origin, status in ((friend, 204), (stranger, 403)):
            answer = await browser.fetch("OPTIONS", "/webchat/messages", origin=origin)
            assert answer.status == status
        answer = await browser.fetch("POST", "/webchat/visitor", origin=friend)
        assert answer.headers["access-control-allow-origin"] == friend
        answer = await browser.fetch("POST", "/webchat/visitor", origin=stranger)
        assert answer.status == 403
        assert "access-control-allow-origin" not in answer.headers


async def test_too_much_is_refused(tmp_path: Path) -> None:
    async with site(
        tmp_path, messages_per_minute=2, visitors_per_minute=1, group_policy="disabled"
    ) as gateway:
        browser = Browser(gateway)
        await browser.arrive()
        found = [(await browser.say("x", str(n))).status for n in range(3)]
        assert found == [202, 202, 429]
        assert (await browser.fetch("POST", "/webchat/visitor")).status == 429


async def test_the_page_and_its_script(tmp_path: Path) -> None:
    async with site(tmp_path, title="<b>Me</b>", greeting="</script>") as gateway:
        browser = Browser(gateway)
        page = await browser.fetch("GET", "/webchat")
        assert isinstance(page.body, bytes)
        assert b"&lt;b&gt;Me&lt;/b&gt;" in page.body
        assert "script-src 'self'" in page.headers["content-security-policy"]
        script = await browser.fetch("GET", "/webchat/widget.js")
        assert isinstance(script.body, bytes)
        assert b"</script>" not in script.body.split(b"const settings")[1][:200]
        assert b'"{settings}"' not in script.body


def test_only_our_own_tokens_count(tmp_path: Path) -> None:
    visitors, others = Visitors.of(tmp_path), Visitors(b"other")
    token = visitors.issue()
    assert visitors.check(token) == token.partition(".")[0]
    assert Visitors.of(tmp_path).check(token), "the secret is kept"
    assert (tmp_path / "secret").stat().st_mode & 0o077 == 0
    for forged in ("", ".", "x.y", others.issue(), token[:-1], f"a{token[1:]}"):
        assert visitors.check(forged) is None or forged == token


def test_rate() -> None:
    now = [0.0]
    rate = Rate(2, clock=lambda: now[0])
    assert [rate.allows("a") for _ in range(3)] == [True, True, False]
    assert rate.allows("b")
    now[0] = 30
    assert [rate.allows("a") for _ in range(2)] == [True, False]
