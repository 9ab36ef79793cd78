"""Every page, light and dark, on a desk and on a phone: can everybody use it?

The pictures are kept in ``build/screenshots`` for people to look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

expect.set_options(timeout=20_000)  # for machines that have much else to do

PICTURES = Path(__file__).parents[3] / "build" / "screenshots"
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
#: What shows that a page has its content.
PAGES = {
    "dashboard": ".tile",
    "chat/showcase": ".turn.assistant details.tool",
    "sessions": "[data-key]",
    "channels": "[data-channel]",
    "plugins": "[data-plugin]",
    "devices": "[data-device]",
    "config/agents": "[data-field]",
    "life": ".hook-plugins .badge",
    "logs": ".log-lines",
}

CHECK, FUZZ = (
    Path(__file__).with_name(name).read_text(encoding="utf-8")
    for name in ("accessibility.js", "markdown.js")
)


@pytest.fixture(scope="module")
def conversation(browser: Browser, gateway: Any) -> None:
    """Something to look at."""
    context = browser.new_context()
    page = context.new_page()
    sign_in(page, gateway)
    page.goto(f"{gateway.url}/#/chat/showcase")
    for words, answer in (
        ("markdown please", ".code pre"),
        ("list the files", "details.tool"),
    ):
        page.fill("#message", words)
        page.click("#send")
        expect(page.locator(f".turn.assistant {answer}").first).to_be_visible()
        expect(page.locator("#live .turn")).to_have_count(0)
    context.close()


def sign_in(page: Page, gateway: Any) -> None:
    page.goto(gateway.link)
    page.get_by_role("button", name="Use it").click()
    page.wait_for_selector(".connection .dot.ok", state="attached")


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=SIZES)
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def window(browser: Browser, theme: str, size: str) -> Iterator[Page]:
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    yield page
    context.close()


def test_every_page(
    window: Page, gateway: Any, conversation: None, theme: str, size: str
) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    found = {}
    window.goto(gateway.url)
    expect(window.get_by_role("heading", level=1)).to_have_text(
        "Sign in to the gateway"
    )
    window.screenshot(path=PICTURES / f"sign-in-{theme}-{size}.png")
    found["sign-in"] = window.evaluate(CHECK)
    sign_in(window, gateway)
    for path, content in PAGES.items():
        window.evaluate("path => { location.hash = `#/${path}` }", path)
        name = path.partition("/")[0]
        expect(window.locator(f".page-{name} {content}").first).to_be_visible()
        expect(window.locator("#main .skeleton")).to_have_count(0)
        found[name] = window.evaluate(CHECK)
        window.screenshot(path=PICTURES / f"{name}-{theme}-{size}.png")

    assert {name: problems for name, problems in found.items() if problems} == {}


def test_dialog(window: Page, gateway: Any, theme: str, size: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    window.goto(gateway.link)
    expect(window.get_by_role("dialog")).to_be_visible()
    window.screenshot(path=PICTURES / f"dialog-{theme}-{size}.png")

    assert window.evaluate(CHECK) == []
    focused = window.evaluate("document.activeElement.closest('dialog') !== null")
    assert focused


def test_menu_on_a_phone(browser: Browser, gateway: Any) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    sign_in(page, gateway)
    menu = page.get_by_role("button", name="Menu", exact=True)
    expect(page.get_by_role("link", name="Logs")).to_be_hidden()

    menu.click()
    expect(menu).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("link", name="Dashboard")).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    expect(page.get_by_role("link", name="Logs")).to_be_hidden()
    menu.click()
    page.get_by_role("link", name="Logs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Logs")
    expect(page.get_by_role("link", name="Logs")).to_be_hidden()
    context.close()


def test_theme_can_be_chosen(browser: Browser, gateway: Any) -> None:
    context = browser.new_context(color_scheme="light")
    page = context.new_page()
    sign_in(page, gateway)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)

    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="As the system").click()
    assert page.evaluate(ground) == light
    context.close()


def test_renderer_survives_anything(browser: Browser, gateway: Any) -> None:
    """Random Markdown is rendered quickly, without an error or a foreign element."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(gateway.url)
    found = page.evaluate(FUZZ)
    context.close()

    assert found == []
