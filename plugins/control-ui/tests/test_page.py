"""The page in a real browser, before a real gateway with the offline provider."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

expect.set_options(timeout=20_000)  # for machines that have much else to do

Say = Callable[..., None]
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "c2l4dGVlbiBieXRlcyEhIQ==",
}


def go(page: Page, where: str) -> None:
    page.evaluate("where => { location.hash = `#/${where}` }", where)


# --- Signing in -----------------------------------------------------------------------


def test_link_is_used_only_after_a_yes(profile: Any, gateway: Any) -> None:
    page = profile.page()
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(gateway.link + "&gatewayUrl=ws://elsewhere.invalid")

    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Use the access token from this link?")
    assert "token" not in page.url
    assert sockets == []

    dialog.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to the gateway")
    assert page.evaluate("JSON.stringify({...sessionStorage, ...localStorage})") == "{}"

    page.goto(gateway.link)
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")
    own = gateway.url.replace("http", "ws", 1)
    assert {url.rstrip("/") for url in sockets} == {own}
    # What was shown to us is kept for this tab, and nothing for longer.
    assert gateway.link.partition("token=")[2] in page.evaluate(
        "JSON.stringify({...sessionStorage})"
    )
    assert page.evaluate("JSON.stringify({...localStorage})") == "{}"
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")


def test_wrong_token_is_refused_and_the_right_one_remembered(
    profile: Any, gateway: Any
) -> None:
    page = profile.page()
    page.goto(gateway.url)
    page.get_by_label("Access token", exact=True).fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("That access token is not right.")).to_be_visible()

    token = gateway.link.partition("token=")[2]
    page.get_by_label("Access token", exact=True).fill(token)
    page.get_by_label("Remember this browser").check()
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")
    kept = page.evaluate("JSON.stringify({...localStorage})")
    assert token not in kept  # what is kept is this device's own token
    assert "device-token" in kept

    other_tab = profile.page()
    other_tab.goto(gateway.url)
    expect(other_tab.get_by_role("heading", level=1)).to_have_text("Dashboard")
    other_tab.get_by_role("button", name="Sign out").click()
    expect(other_tab.get_by_role("heading", level=1)).to_have_text(
        "Sign in to the gateway"
    )
    assert page.evaluate("JSON.stringify({...localStorage})") == "{}"


def test_device_key_cannot_be_copied(page: Page) -> None:
    facts = page.evaluate(
        """() => new Promise((resolve, reject) => {
            const opening = indexedDB.open('rustyclaw', 1);
            opening.onerror = () => reject(opening.error);
            opening.onsuccess = () => {
                const keys = opening.result.transaction('keys').objectStore('keys');
                const asking = keys.get('device');
                asking.onsuccess = () => crypto.subtle
                    .exportKey('pkcs8', asking.result.privateKey)
                    .then(() => resolve('copied'), error => resolve(error.name));
            };
        })"""
    )

    assert facts == "InvalidAccessError"


# --- Chat -----------------------------------------------------------------------------


def test_chat_shows_markdown(chat: Say, page: Page) -> None:
    chat("markdown please", "markdown")

    prose = page.locator(".turn.assistant .prose").last
    expect(prose.locator("h3")).to_have_text("Title")
    expect(prose.locator("strong")).to_have_text("strong")
    expect(prose.locator("em")).to_have_text("soft")
    expect(prose.locator("ul > li").first).to_have_text("one")
    expect(prose.locator("ul ul > li")).to_have_text("deeper")
    expect(prose.locator("ol > li")).to_have_count(2)
    expect(prose.locator("blockquote")).to_have_text("quoted")
    expect(prose.locator("td").last).to_have_text("2")
    expect(prose.locator("pre code")).to_have_text('print("hi")')
    link = prose.get_by_role("link", name="link")
    expect(link).to_have_attribute("href", "https://example.org/a?b=c")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")


def test_tool_call_is_a_card_with_its_result(chat: Say, page: Page) -> None:
    chat("list the files", "tools")

    card = page.locator("details.tool")
    expect(card).to_have_count(1)
    expect(card.locator("summary")).to_contain_text("file_list")
    expect(card.locator("summary")).to_contain_text("done")
    card.locator("summary").click()
    expect(card.locator(".code code")).to_have_text('{\n  "path": "."\n}')
    expect(card.locator("pre.plain")).not_to_be_empty()
    said = page.locator("#main").get_by_text("That is what I found.")
    expect(said).to_be_visible()


def test_slow_run_is_stopped(chat: Say, page: Page) -> None:
    chat("count slowly", "slow")

    live = page.locator("#live .prose")
    expect(live).to_contain_text("word2")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.locator("#live .turn")).to_have_count(0)
    turn = page.locator(".turn.assistant")
    expect(turn).to_contain_text("word2")
    expect(turn).not_to_contain_text("word199")


def test_reasoning_is_folded(chat: Say, page: Page, gateway: Any) -> None:
    gateway.rpc("sessions.patch", key="reason", thinkingLevel="high")
    chat("think about it", "reason")

    expect(page.locator("#main").get_by_text("I have thought.")).to_be_visible()
    thought = page.locator("details.thinking")
    expect(thought.get_by_text("First I weigh it.")).to_be_hidden()
    thought.locator("summary").click()
    expect(thought.get_by_text("First I weigh it.")).to_be_visible()


def test_failed_run_says_why(chat: Say, page: Page) -> None:
    chat("fail", "failing")

    expect(page.locator(".turn.note")).to_contain_text("out of credit")
    expect(page.locator("#live .turn")).to_have_count(0)


def test_command_is_answered(chat: Say, page: Page) -> None:
    chat("/help", "commands")

    expect(page.locator(".turn.user")).to_contain_text("/help")
    expect(page.locator(".turn.note")).to_contain_text("/new")


def test_attachment_goes_with_a_message(chat: Say, page: Page) -> None:
    go(page, "chat/attached")
    page.locator("input[type=file]").set_input_files(
        {"name": "note.txt", "mimeType": "text/plain", "buffer": b"a note"}
    )
    expect(page.locator(".composer-files")).to_contain_text("note.txt")
    chat("hello, see the file")

    expect(page.locator(".turn.user .media")).to_contain_text("note.txt")
    expect(page.locator(".turn.assistant")).to_contain_text("here")
    expect(page.locator(".composer-files .media")).to_have_count(0)


def test_exec_is_approved_inline(chat: Say, page: Page) -> None:
    chat("run the command", "approved")

    question = page.get_by_role("region", name="Approval needed")
    expect(question).to_contain_text("echo approved-output")
    question.get_by_role("button", name="Allow once").click()
    expect(page.locator("#main").get_by_text("Ran.", exact=True)).to_be_visible()
    card = page.locator("details.tool")
    expect(card.locator("summary")).to_contain_text("done")
    card.locator("summary").click()
    expect(card.locator("pre.plain")).to_contain_text("approved-output")
    expect(question).to_have_count(0)


def test_exec_is_denied_from_another_page(chat: Say, page: Page) -> None:
    chat("run the command", "denied")
    expect(page.get_by_role("region", name="Approval needed")).to_be_visible()
    go(page, "logs")

    page.get_by_role("button", name="Review").click()
    page.get_by_role("dialog").get_by_role("button", name="Deny").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    go(page, "chat/denied")
    card = page.locator("details.tool")
    expect(card.locator("summary")).to_contain_text("failed")


@pytest.mark.parametrize("words", ["hostile", "deceive"])
def test_nothing_that_is_said_becomes_markup(
    chat: Say, page: Page, gateway: Any, words: str
) -> None:
    label = f"<img src=x onerror=window.hacked=1>{words}"
    gateway.rpc("sessions.patch", key=f"x-{words}", label=label)
    chat(f"{words} <script>window.hacked=1</script>", f"x-{words}")

    expect(page.locator(".turn.assistant .prose").last).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    for card in page.locator("details.tool > summary").all():
        card.click()
    for where in ("sessions", "dashboard"):
        go(page, where)
        expect(page.locator("#main").get_by_text(label).first).to_be_visible()
    go(page, f"chat/x-{words}")
    expect(page.locator(".turn.assistant .prose").last).to_be_visible()
    found = page.evaluate(
        """() => {
            const all = (selector) => [...document.querySelectorAll(selector)];
            const tags = 'script, iframe, style, object, embed, img, form[action]';
            const attributes = all('#main *').flatMap((e) => [...e.attributes]);
            const links = all('#main .prose a').map((a) => a.href);
            return {
                hacked: window.hacked ?? null,
                tags: all(`#main :is(${tags})`).length,
                handlers: attributes.filter((a) => a.name.startsWith('on')).length,
                links: links.filter((l) => !/^(https?|mailto):[^@]*$/.test(l)),
            };
        }"""
    )
    assert found == {"hacked": None, "tags": 0, "handlers": 0, "links": []}


# --- Sessions -------------------------------------------------------------------------


def test_session_is_renamed_reset_and_deleted(chat: Say, page: Page) -> None:
    chat("hello", "to-rename")
    expect(page.locator(".turn.assistant")).to_contain_text("here")
    go(page, "sessions")
    page.get_by_role("searchbox").fill("to-rename")
    row = page.locator("li[data-key='agent:main:to-rename']")
    row.get_by_role("button", name="Rename").click()
    page.get_by_role("dialog").get_by_label("Name").fill("Renamed by a test")
    page.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("Renamed by a test")

    row.get_by_role("button", name="Read").click()
    expect(page.get_by_role("dialog")).to_contain_text("I am here")
    page.keyboard.press("Escape")

    row.get_by_role("button", name="anew").click()
    page.get_by_role("dialog").get_by_role("button", name="Begin anew").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    row.get_by_role("link").click()
    expect(page.get_by_text("What shall we do?")).to_be_visible()
    expect(page.locator(".turn")).to_have_count(0)

    go(page, "sessions")
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)


# --- Config ---------------------------------------------------------------------------


def test_config_is_edited_as_a_form(page: Page, gateway: Any) -> None:
    go(page, "config/session")
    page.get_by_label("Queue limit").fill("33")
    page.get_by_role("button", name="Review and save").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".minus")).to_have_text("- 20")
    expect(dialog.locator(".plus")).to_have_text("+ 33")
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved.").first).to_be_visible()

    text = gateway.config.read_text()
    assert "queue_limit: 33" in text
    assert "This comment must survive." in text
    token = gateway.link.partition("token=")[2]
    assert token in text

    page.get_by_label("Queue limit").fill("-1")
    page.get_by_role("button", name="Review and save").click()
    dialog.get_by_role("button", name="Save", exact=True).click()
    wrong = page.locator("[data-field='session.queue_limit']")
    expect(wrong.locator(".error")).to_be_visible()
    page.get_by_role("button", name="Discard").click()
    assert gateway.config.read_text() == text


def test_config_is_edited_as_yaml(page: Page, gateway: Any) -> None:
    go(page, "config")
    page.get_by_role("button", name="YAML").click()
    editor = page.get_by_label("Configuration as YAML")
    shown = editor.input_value()
    assert gateway.link.partition("token=")[2] not in shown
    assert "__OPENCLAW_REDACTED__" in shown

    editor.fill(shown.replace("mode: allowlist", "mode: sideways"))
    save = page.get_by_role("button", name="Review and save")
    save.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".plus")).to_contain_text("mode: sideways")
    dialog.get_by_role("button", name="Save", exact=True).click()
    line = 1 + shown.splitlines().index("    mode: allowlist")
    expect(page.get_by_role("alert").first).to_contain_text("mistake")
    expect(page.get_by_role("button", name=f"Line {line}")).to_be_visible()
    expect(page.locator(".editor-lines .wrong")).to_have_text(str(line))

    editor.fill(shown.replace("tools:", "tools: [", 1))
    save.click()
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert").first).to_contain_text("no YAML")
    expect(page.get_by_role("button", name="Line ")).to_be_visible()
    assert "tools: [" not in gateway.config.read_text()

    editor.fill(shown + "\n# written in a browser\n")
    save.click()
    dialog.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved.").first).to_be_visible()
    text = gateway.config.read_text()
    assert text.endswith("# written in a browser\n")
    assert gateway.link.partition("token=")[2] in text


# --- The other pages ------------------------------------------------------------------


def test_broken_plugin_is_explained(page: Page) -> None:
    go(page, "dashboard")
    page.get_by_role("link", name="broken").click()

    card = page.locator("[data-plugin='tools.missing_module']")
    expect(card).to_contain_text("broken")
    expect(card.get_by_label("Reason")).to_contain_text("no_such_module")
    expect(page.locator("[data-plugin='tools.files']")).to_contain_text("enabled")
    page.get_by_role("searchbox").fill("sync_hook")
    expect(page.locator("[data-plugin]")).to_have_count(1)


def test_life_of_a_message(page: Page) -> None:
    go(page, "life")
    expect(page.locator(".hook")).to_have_count(17)
    names = page.locator(".hook code").all_inner_texts()
    assert (names[0], names[4], names[-1]) == (
        "gateway_start",
        "llm_input",
        "gateway_stop",
    )
    page.get_by_role("button", name="Send a message").click()

    for name in ("session_start", "before_agent_start", "llm_input", "agent_end"):
        hook = page.locator(f"[data-hook='{name}']")
        expect(hook.locator(".hook-count")).to_contain_text("call")
        expect(hook).to_contain_text("audit")
    expect(page.locator(".call").first).to_contain_text("agent_end")


def test_logs_are_shown_and_filtered(page: Page, gateway: Any) -> None:
    go(page, "logs")
    expect(page.get_by_role("status").filter(has_text="lines")).to_be_visible()
    refused = http.client.HTTPConnection(gateway.url.removeprefix("http://"))
    refused.request("GET", "/", headers={**UPGRADE, "Origin": "http://evil.invalid"})
    assert refused.getresponse().status == 403
    refused.close()
    lines = page.locator(".log-line:visible")
    expect(lines.filter(has_text="origin not allowed").first).to_be_visible()
    page.get_by_label("Least level").select_option("error")
    for line in lines.all():
        assert line.get_attribute("data-level") == "error"
    page.get_by_label("Least level").select_option("debug")
    page.get_by_label("Filter text").fill("nothing has this text")
    expect(page.get_by_text("Nothing matches")).to_be_visible()


def test_devices_show_this_browser(profile: Any, gateway: Any) -> None:
    page = profile.page()
    page.goto(gateway.link)
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")
    go(page, "devices")

    own = page.locator("section.card", has_text="this browser")
    expect(own).to_have_count(1)
    expect(own).to_contain_text("admin")
    kept = "Object.entries(sessionStorage).find(([k]) => k.includes('device-token'))[1]"
    before = page.evaluate(kept)
    own.get_by_role("button", name="Rotate").click()
    yes = page.get_by_role("dialog").get_by_role("button", name="Make a new token")
    yes.click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.wait_for_function(f"before => {kept} !== before", arg=before)
    page.reload()
    expect(page.locator(".connection")).to_contain_text("Connected")
    own.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    # The token of this device is worth nothing; the shared one still is.
    expect(page.locator(".connection")).to_contain_text("Connected")


def test_stranger_is_let_in_and_a_channel_stopped(page: Page, gateway: Any) -> None:
    go(page, "channels")

    request = page.locator("[data-code]")
    expect(request).to_contain_text("A <b>Stranger</b>")
    expect(request).to_contain_text("stranger-1")
    request.get_by_role("button", name="Let in").click()
    expect(request).to_have_count(0)

    card = page.locator("[data-channel='demo']")
    expect(card.locator(".badge").first).to_have_text("connected")
    card.get_by_role("button", name="Log out").click()
    page.get_by_role("dialog").get_by_role("button", name="Log out").click()
    expect(card.locator(".badge").first).not_to_have_text("connected")
    assert "enabled: false" in gateway.config.read_text()
    card.get_by_role("button", name="Log in").click()
    expect(card.locator(".badge").first).to_have_text("connected")


def test_browser_of_elsewhere_is_approved(
    page: Page, browser: Browser, gateway: Any
) -> None:
    """By this name the gateway does not take the browser for one of its machine."""
    context = browser.new_context()
    other = context.new_page()
    address = gateway.link.replace("127.0.0.1", "remote.localhost")
    other.goto(address)
    other.get_by_role("button", name="Use it").click()
    heading = other.get_by_role("heading", level=1)
    expect(heading).to_have_text("This browser waits for approval")

    go(page, "devices")
    waiting = page.locator("[data-request]")
    waiting.get_by_role("button", name="Approve").click()
    expect(waiting).to_have_count(0)
    expect(heading).to_have_text("Dashboard")
    context.close()


def test_browser_without_keys_is_told_why(browser: Browser, gateway: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(gateway.url.replace("127.0.0.1", "gateway.test"))

    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("This browser cannot identify itself")
    expect(page.locator(".welcome")).to_contain_text("HTTPS")
    context.close()


def test_everything_works_from_the_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.get_by_role("link", name="Plugins", exact=True).press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page).to_have_title("Plugins · rustyclaw")


def test_lost_connection_comes_back(page: Page, profile: Any) -> None:
    go(page, "sessions")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sessions")
    page.evaluate(
        """() => {
            const native = WebSocket.prototype.send;
            WebSocket.prototype.send = function (...args) {
                WebSocket.prototype.send = native;
                this.close(4000);
            };
        }"""
    )
    page.get_by_role("searchbox").fill("zzzz")
    expect(page.locator(".connection")).to_contain_text("Connected")
    expect(page.get_by_text("Nothing found")).to_be_visible()


def test_restart_is_survived(page: Page) -> None:
    go(page, "config")
    expect(page.locator("[data-field]").first).to_be_visible()
    page.get_by_role("button", name="Restart").click()
    page.get_by_role("dialog").get_by_role("button", name="Restart").click()

    expect(page.get_by_text("The gateway restarts. This page goes on")).to_be_visible()
    expect(page.locator(".connection")).to_contain_text("Connected", timeout=60_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("Config")


def test_answer_comes_after_a_restart(chat: Say, page: Page, gateway: Any) -> None:
    chat("take your time", "late")
    expect(page.locator("#live .prose")).to_contain_text("w2")

    gateway.rpc("gateway.restart", delayMs=0)

    answer = page.locator(".turn.assistant")
    expect(answer).to_contain_text("w29", timeout=60_000)
    expect(answer).to_have_count(1)
    expect(page.locator("#live .turn")).to_have_count(0)
    expect(page.locator(".turn.user")).to_have_count(1)
