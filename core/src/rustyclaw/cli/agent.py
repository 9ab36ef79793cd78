"""``rustyclaw agent``: one question, or a conversation in the terminal.

The main thread owns the terminal, so that reading, printing and Ctrl-C are plain
Python; the gateway's event loop has a thread of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import threading
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, replace
from queue import SimpleQueue
from typing import Annotated, Any

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal
from typer import Option

from rustyclaw import Gateway, RustyclawError, __version__
from rustyclaw.approvals import Approval, Decision
from rustyclaw.cli.app import Json
from rustyclaw.cli.terminal import clean, greeting, leave, start
from rustyclaw.messages import TextDelta
from rustyclaw.runs import RunEnded, ToolEnded
from rustyclaw.sessions.key import resolve

_HELP = """\
/tools          list the tools
/session KEY    go on in another conversation
/allow ID       let another conversation do what it asks for; or /deny ID
/exit           leave; so do Ctrl-D, and Ctrl-C twice"""


_DECISIONS: dict[str, Decision] = {
    **dict.fromkeys(("y", "yes", "once"), "allow-once"),
    **dict.fromkeys(("a", "always"), "allow-always"),
}


def agent(
    message: Annotated[str, Option("-m", "--message", help="Ask this once.")] = "",
    session: Annotated[str, Option(metavar="KEY", help="Conversation.")] = "main",
    agent: Annotated[str, Option(metavar="ID", help="Who answers.")] = "",
    serve: Annotated[bool, Option("--serve", help="Be a gateway meanwhile.")] = False,
    as_json: Json = False,
) -> None:
    """Talk to the assistant. A backslash at the end of a line continues it."""
    config = start()
    key = resolve(session, config.agent(agent or config.default_agent_id).id)
    gateway = Gateway(config, channels=serve and not message)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(gateway):
        terminal = _Terminal(portal, gateway, str(key), as_json)
        if sys.stdin.isatty():
            gateway.approvals.attach(terminal.approve)
        if message:
            terminal.obey(message)
        elif not gateway.serving:
            terminal.converse()
        else:
            terminal.converse_and_serve()
    leave(gateway.stop_reason)


@dataclass
class _Terminal:
    """A person at a terminal, or a pipe in their place."""

    portal: BlockingPortal
    gateway: Gateway
    session: str
    as_json: bool
    events: SimpleQueue[Any] | None = None

    def converse_and_serve(self) -> None:
        """Converse, or wait to be stopped if nobody is there to talk to."""
        try:
            signal.signal(signal.SIGTERM, _leave)
            self.portal.call(self.gateway.spawn, self._obey_stop)
            if not self.gateway.stop_reason:  # else it has failed already
                print(greeting(self.gateway), flush=True)
            if not self.converse() and not sys.stdin.isatty():
                threading.Event().wait()
        except (_Leave, KeyboardInterrupt):
            pass
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one does not wait

    async def _obey_stop(self) -> None:
        """Have the main thread leave when somebody wants the gateway to stop."""
        await self.gateway.stop_requested()
        os.kill(os.getpid(), signal.SIGTERM)

    def converse(self) -> bool:
        """Answer line after line; return whether anybody was there."""
        config = self.gateway.config
        model = config.agent(self.session.split(":")[1]).model
        model = model or config.agents.defaults.model or "default model"
        _aside(f"rustyclaw {__version__}, {model}, {self.session}; see /help")
        prompt = "> " if sys.stdin.isatty() and sys.stdout.isatty() else ""
        if prompt:
            with suppress(ImportError, OSError):  # some builds of Python lack it
                import readline

                path = str(config.home / "history")
                os.close(os.open(path, os.O_CREAT, 0o600))
                readline.read_history_file(path)
                readline.set_history_length(1000)
                atexit.register(readline.write_history_file, path)
        interrupts = lines = 0
        while interrupts < 2:
            try:
                text = input(prompt)
                while text.endswith("\\"):
                    text = f"{text[:-1]}\n{input(prompt)}"
                interrupts, lines = 0, lines + 1
                self.obey(text.strip())
            except EOFError:  # Ctrl-D, or /exit
                break
            except KeyboardInterrupt:
                interrupts += 1
                _aside("\nCtrl-C again, or Ctrl-D, leaves")
            except RustyclawError as exc:
                _aside(f"error: {exc}")
        return bool(lines or interrupts)

    def obey(self, text: str) -> None:
        """Do a command, or have the agent answer."""
        call, gateway = self.portal.call, self.gateway
        word, _, rest = text.partition(" ")
        if word == "/exit":
            raise EOFError
        if word == "/tools":
            _aside("\n".join(tool.name for tool in gateway.tools))
        elif word in ("/allow", "/deny") and rest:
            decision: Decision = "allow-once" if word == "/allow" else "deny"
            call(gateway.approvals.resolve, rest.strip(), decision)
        elif word == "/session" and rest:
            self.session = str(resolve(rest, self.session.split(":")[1]))
        elif (answer := call(gateway.command, text, self.session)) is not None:
            print(clean(f"{answer}\n{_HELP}" if word == "/help" else answer))
        elif text:
            self._ask(text)

    def _ask(self, text: str) -> None:
        """Print an answer as it comes; an interrupt aborts the run."""
        events = self.events = SimpleQueue[Any]()
        future = self.portal.start_task_soon(self._run, text, events)
        future.add_done_callback(lambda _: events.put(None))
        midline = False
        try:
            for event in iter(events.get, None):
                is_text = isinstance(event, TextDelta) and not self.as_json
                if midline and not is_text:
                    print(flush=True)
                midline = is_text and not event.text.endswith("\n")
                self._print(event)
        finally:
            self.events = None
            future.cancel()
        future.result()

    async def _run(self, text: str, heard: SimpleQueue[Any]) -> None:
        async with aclosing(self.gateway.run(text, session=self.session)) as events:
            async for event in events:
                heard.put(event)

    def _print(self, event: Any) -> None:
        match event:
            case TextDelta() if not self.as_json:
                print(clean(event.text), end="", flush=True)
            case ToolEnded(call=call, result=result):
                arguments = json.dumps(self.gateway.redact(dict(call.arguments)))
                said = f"failed: {result.text}" if result.is_error else "ok"
                said = " ".join(str(self.gateway.redact(said)).split())
                _aside(f"{call.name} {arguments:.60} {said:.60}")
            case RunEnded(result=result):
                if self.as_json:
                    print(json.dumps(asdict(replace(result, media=()))))
                if result.error:
                    raise RustyclawError(self.gateway.redact(result.error.message))
            case (approval, answers, answered):
                _aside(f"{approval.reason}: {approval.subject}\nallow? [y/N/always]")
                word = sys.stdin.readline().strip().lower()
                answers.append(_DECISIONS.get(word, "deny"))
                self.portal.call(answered.set)

    async def approve(self, approval: Approval) -> Decision:
        """Have the main thread ask the person, if it is they who wait."""
        answers: list[Decision] = []
        answered = anyio.Event()
        if self.events is None or approval.context.session_key != self.session:
            how = f"/allow {approval.id} or /deny {approval.id}"
            _aside(f"{approval.reason}: {approval.subject}\nanswer {how}")
        else:
            self.events.put((approval, answers, answered))
        await answered.wait()  # or `obey` resolves it, or another operator
        return answers[0]


class _Leave(BaseException):
    """Leave the conversation, wherever the main thread is."""


def _leave(signum: int, frame: object) -> None:
    raise _Leave


def _aside(text: str) -> None:
    """Say something beside the conversation, on stderr."""
    is_dim = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    print(f"\x1b[2m{clean(text)}\x1b[0m" if is_dim else clean(text), file=sys.stderr)
