"""The files of the page: how they are sent, and what may stand in them."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from rustyclaw import WebRequest, WebResponse
from rustyclaw_control_ui import site as module
from rustyclaw_control_ui.site import Site

WEB = Path(module.__file__).parent / "web"
SOURCES = {
    path.relative_to(WEB).as_posix(): path.read_text(encoding="utf-8")
    for path in WEB.rglob("*")
    if path.is_file()
}
SCRIPTS = {name: text for name, text in SOURCES.items() if name.endswith(".js")}


@pytest.fixture(scope="module")
def site() -> Site:
    return Site("/")


def get(site: Site, path: str, **headers: str) -> WebResponse:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return site.answer(WebRequest(method="GET", path=path, headers=fields))


def assets(page: WebResponse) -> list[str]:
    return re.findall(r'(?:src|href)="([^"#]+)"', bytes(page.body).decode())  # type: ignore[arg-type]  # bytes here


# --- Answers --------------------------------------------------------------------------


def test_page_allows_nothing_but_its_own_files(site: Site) -> None:
    page = get(site, "/")

    assert page.status == 200
    policy = page.headers["content-security-policy"]
    for rule in (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self' ws: wss:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ):
        assert rule in policy.split("; ")
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-cache"
    assert page.headers["content-type"] == "text/html; charset=utf-8"


def test_files_may_be_kept_for_ever(site: Site) -> None:
    for path in assets(get(site, "/")):
        file = get(site, path.removeprefix("."))
        assert file.status == 200, path
        assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert file.headers["x-content-type-options"] == "nosniff"
        assert "content-security-policy" in file.headers


def test_known_answer_is_not_sent_again(site: Site) -> None:
    first = get(site, "/")

    again = get(site, "/", if_none_match=f'"x", {first.headers["etag"]}')
    assert (again.status, again.body) == (304, b"")
    assert get(site, "/", if_none_match='"x"').status == 200


def test_packed_is_the_same(site: Site) -> None:
    plain, packed = get(site, "/"), get(site, "/", accept_encoding="br, gzip;q=0.5")

    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(bytes(packed.body)) == plain.body  # type: ignore[arg-type]  # bytes here
    assert packed.headers["vary"] == "accept-encoding"


@pytest.mark.parametrize("path", ["/", "/index.html", "/somewhere", "/a/b/c"])
def test_people_get_the_page(site: Site, path: str) -> None:
    page = get(site, path, accept="text/html,*/*")

    assert page.status == 200
    up = "../" * (path.count("/") - 1)
    assert all(link.startswith(up or "./") for link in assets(page))


@pytest.mark.parametrize(
    "path",
    [
        *("/health", "/v1/models", "/v1", "/V1/x", "/hooks/wake", "/rpc", "/ready"),
        *(
            "/assets/old/js/main.js",
            "/missing.js",
            "/favicon.ico",
            "/api/x",
            "/tools/x",
        ),
        *("/a/../../../pyproject.toml", "/assets/", "/" + "deep/" * 20),
    ],
)
def test_programs_get_an_error(site: Site, path: str) -> None:
    answer = get(site, path, accept="text/html")

    assert answer.status == 404
    assert answer.headers["cache-control"] == "no-store"


def test_unknown_path_is_an_error_for_who_wants_no_page(site: Site) -> None:
    assert get(site, "/somewhere", accept="application/json").status == 404
    assert get(site, "/somewhere").status == 404


# --- What stands in the files ---------------------------------------------------------


def test_nothing_comes_from_elsewhere() -> None:
    for name, text in SOURCES.items():
        without_words = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
        for url in re.findall(r"""(?:https?:)?//[\w.-]+\.[\w-]+""", without_words):
            assert url == "http://www.w3.org", f"{name} names {url}"
        assert "@import" not in text
        if name.endswith(".css"):
            assert "url(" not in text, f"{name} loads a file"


def test_text_never_becomes_markup() -> None:
    words = (
        *("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"),
        *("eval(", "new Function", "createContextualFragment", "DOMParser", "srcdoc"),
    )
    for name, text in SCRIPTS.items():
        assert not [word for word in words if word in text], name
        assert not re.search(r"setAttribute\(\s*[\"'](on|style)", text), name


def test_page_has_neither_scripts_nor_styles_of_its_own() -> None:
    page = SOURCES["index.html"]

    assert not re.search(r"<style|\sstyle=|\son\w+=", page)
    assert re.findall(r"<script[^>]*>(.*?)</script>", page) == ["", ""]


def test_imports_lead_somewhere() -> None:
    for name, text in SCRIPTS.items():
        folder = Path(name).parent
        for target in re.findall(r'from "(\.[^"]+)"', text):
            parts: list[str] = []
            for part in (folder / target).parts:
                if part == "..":
                    parts.pop()
                else:
                    parts.append(part)
            assert "/".join(parts) in SCRIPTS, f"{name} imports {target}"


def test_every_icon_is_drawn() -> None:
    drawn = set(re.findall(r"^  (\w+): \"M", SCRIPTS["js/dom.js"], re.MULTILINE))
    pattern = r"""(?:icon|empty|iconButton)\("(\w+)"|picture: "(\w+)\""""
    used = {
        name
        for text in SCRIPTS.values()
        for found in re.findall(pattern, text)
        for name in found
        if name
    }

    assert used
    assert used <= drawn


def test_weight() -> None:
    """What the heaviest page loads, as it is on the disk, and all of it packed."""
    always = [text for name, text in SOURCES.items() if name.endswith(".css")]
    reached: set[str] = set()

    def follow(name: str) -> None:
        if name in reached:
            return
        reached.add(name)
        for target in re.findall(r'from "(\.[^"]+)"', SCRIPTS[name]):
            follow(
                (WEB / Path(name).parent / target).resolve().relative_to(WEB).as_posix()
            )

    weights = {}
    for page in (name for name in SCRIPTS if name.startswith("js/pages/")):
        reached.clear()
        for name in ("js/theme.js", "js/main.js", page):
            follow(name)
        files = [*always, *(SCRIPTS[name] for name in reached)]
        weights[page] = sum(len(text.encode()) for text in files)
    packed = sum(len(gzip.compress(text.encode())) for text in SOURCES.values())

    assert max(weights.values()) < 150_000, weights
    assert packed < 75_000
