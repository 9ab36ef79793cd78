"""The surface as a whole: its description, and what strangers learn of it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from rustyclaw import Route, WebRequest, WebResponse

from .conftest import TOKEN, Running, serving
from .web import Web

HOOK = "hk-tok-123456789012345678901234"
SETTINGS: dict[str, Any] = {
    "hooks": {
        "enabled": True,
        "token": HOOK,
        "per_minute": 10_000,
        "mappings": [{"name": "issue", "message": "{title}"}],
    }
}
#: All that anybody may learn.
HARMLESS = {
    '{"status":"ok"}',
    '{"ready":true}',
    "Not Found",
    "Bad Request",
    "Method Not Allowed",
    "Unauthorized",
    '{"error":{"message":"Unauthorized","type":"unauthorized","param":null,"code":null}}',
    "",
}
ELSEWHERE = ("/", "/metrics", "/docs", "/redoc", "/.env", "/config", "/rpc/x", "/v1")


@pytest.fixture(scope="module")
async def shared(
    tmp_path_factory: pytest.TempPathFactory, anyio_backend: Any
) -> AsyncIterator[Running]:
    home = tmp_path_factory.mktemp("shared")
    async with serving(home, settings=SETTINGS) as running:
        yield running


@pytest.fixture
async def web(shared: Running) -> AsyncIterator[Web]:
    async with Web(shared.url, shared.token) as web:
        yield web


@pytest.fixture
async def stranger(shared: Running) -> AsyncIterator[Web]:
    async with Web(shared.url) as web:
        yield web


@pytest.fixture
async def document(web: Web) -> Any:
    return (await web.get("/openapi.json")).json()


# --- What strangers learn -----------------------------------------------------------


async def test_strangers_learn_that_it_lives_and_no_more(
    shared: Running, stranger: Web, document: Any
) -> None:
    app_paths = [path.replace("{model}", "fake/fake") for path in document["paths"]]
    assert len(app_paths) >= 11
    for path in (*app_paths, *ELSEWHERE):
        for method, token in (
            *(("GET", ""), ("POST", ""), ("DELETE", ""), ("OPTIONS", "")),
            *(("GET", "wrong"), ("POST", "wrong")),
        ):
            headers = {"authorization": f"Bearer {token}"} if token else {}
            answer = await stranger.request(method, path, headers=headers)
            assert answer.text in HARMLESS, f"{method} {path}"
            for name in ("server", "x-powered-by", "set-cookie"):
                assert name not in answer.headers
    assert shared.provider.requests == []


async def test_every_answer_says_what_may_be_done_with_it(
    shared: Running, web: Web, document: Any
) -> None:
    async def page(request: WebRequest) -> WebResponse:
        return WebResponse(body=b"page")

    route = Route(method="GET", path="/page", handler=page)
    shared.gateway.routes.add(route, owner="test")
    for path in (*document["paths"], *ELSEWHERE, "/page", "/files/../x"):
        for method in ("GET", "POST"):
            answer = await web.request(method, path)
            assert answer.headers["x-content-type-options"] == "nosniff", path
            assert answer.headers["cache-control"] == "no-store", path
            assert answer.headers["referrer-policy"] == "no-referrer", path
            found = [name for name in answer.headers if name.startswith("access-")]
            assert found == [], "CORS stays off"


async def test_pages_of_elsewhere_are_refused(web: Web) -> None:
    body = {"model": "openclaw", "messages": [{"role": "user", "content": "x"}]}
    headers = {"origin": "https://evil.example"}
    for path in ("/v1/chat/completions", "/v1/responses", "/tools/invoke"):
        answer = await web.post(path, json=body, headers=headers)
        assert answer.status_code == 403
        preflight = {**headers, "access-control-request-method": "POST"}
        assert (await web.options(path, headers=preflight)).status_code == 405
    rebound = {"origin": "http://evil.example:80", "host": "evil.example:80"}
    answer = await web.get("/v1/models", headers=rebound)
    assert answer.status_code == 403


# --- Wrong secrets ------------------------------------------------------------------


async def test_wrong_secrets_lock_an_address(running: Running) -> None:
    away = {"x-forwarded-for": "203.0.113.9"}  # a proxy that nobody trusts
    async with Web(running.url, headers=away) as web:
        for number in range(10):  # another origin each time does not help
            name = f"192.0.2.{number}:80"
            headers = {"host": name, "origin": f"http://{name}"}
            headers["authorization"] = f"Bearer wrong{number}"
            answer = await web.get("/v1/models", headers=headers)
            assert answer.status_code == 401
        right = {"authorization": f"Bearer {TOKEN}"}
        answer = await web.get("/v1/models", headers=right)
        assert answer.status_code == 429
        assert answer.json()["error"]["type"] == "rate_limited"
        assert 290 <= int(answer.headers["retry-after"]) <= 300
        assert (await web.get("/health", headers=right)).json() == {"status": "ok"}
    async with Web(running.url, TOKEN) as web:  # programs here are not locked out
        assert (await web.get("/v1/models")).status_code == 200


async def test_a_page_that_guesses_locks_itself(running: Running) -> None:
    origin = {"origin": running.url}
    async with Web(running.url, headers=origin) as web:
        for number in range(10):
            headers = {"authorization": f"Bearer wrong{number}"}
            answer = await web.get("/v1/models", headers=headers)
            assert answer.status_code == 401
        headers = {"authorization": f"Bearer {TOKEN}"}
        assert (await web.get("/v1/models", headers=headers)).status_code == 429
    async with Web(running.url, TOKEN) as web:
        assert (await web.get("/v1/models")).status_code == 200


@pytest.mark.parametrize(
    "settings", [{"auth": {"mode": "password", "password": "a-password-of-tests"}}]
)
async def test_a_password_is_a_bearer_too(running: Running) -> None:
    async with Web(running.url, "a-password-of-tests") as web:
        assert (await web.get("/v1/models")).status_code == 200
    async with Web(running.url, TOKEN) as web:
        assert (await web.get("/v1/models")).status_code == 401


@pytest.mark.parametrize(
    "settings",
    [
        {
            "auth": {"mode": "trusted-proxy", "allow_users": ["ann"]},
            "trusted_proxies": ["127.0.0.1"],
        }
    ],
)
async def test_a_trusted_proxy_names_the_user(running: Running) -> None:
    async with Web(running.url) as web:
        for user, status in (("ann", 200), ("bob", 401), ("", 401)):
            headers = {"x-forwarded-user": user, "x-forwarded-for": "203.0.113.9"}
            answer = await web.get("/v1/models", headers=headers)
            assert answer.status_code == status


# --- Parts that are switched off ----------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{"http": {"chat_completions": False, "responses": False, "tools_invoke": False}}],
)
async def test_what_is_switched_off_is_not_there(running: Running) -> None:
    async with Web(running.url, TOKEN) as web:
        for path in ("/v1/chat/completions", "/v1/responses", "/tools/invoke"):
            assert (await web.ask(path, {})).status_code == 404
        assert (await web.get("/v1/models")).status_code == 404
        document = (await web.get("/openapi.json")).json()
    assert list(document["paths"]) == ["/health", "/ready", "/rpc", "/openapi.json"]


# --- The description ----------------------------------------------------------------


def references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "$ref":
                yield item
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


async def test_the_description_is_sound(document: Any) -> None:
    assert document["openapi"] == "3.1.0"
    known = {
        f"#/components/schemas/{name}" for name in document["components"]["schemas"]
    }
    assert set(references(document)) <= known
    used = set(references(document["paths"]))
    assert {
        "#/components/schemas/ChatParams",
        "#/components/schemas/ChatAnswer",
    } <= used
    ids = []
    for path, methods in document["paths"].items():
        for operation in methods.values():
            ids.append(operation["operationId"])
            assert operation["summary"].endswith(".")
            named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))
            for scheme in (name for one in operation["security"] for name in one):
                assert scheme in document["components"]["securitySchemes"]
    assert len(set(ids)) == len(ids)
    assert json.dumps(document)


async def test_all_routes_are_described(shared: Running, document: Any) -> None:
    from rustyclaw_server.http.routes import HttpApp

    routed = {
        route.path.replace(":path", "")  # type: ignore[attr-defined]  # plain routes alone
        for route in HttpApp(shared.server)._router.routes
    }
    hooks = {path for path in document["paths"] if path.startswith("/hooks/")}
    assert hooks == {"/hooks/wake", "/hooks/agent", "/hooks/issue"}
    assert {*document["paths"]} - hooks == routed - {"/hooks/{name}"}


async def test_only_the_owner_may_read_it(stranger: Web) -> None:
    assert (await stranger.get("/openapi.json")).status_code == 401
