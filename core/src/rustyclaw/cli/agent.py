"""``rustyclaw agent``: one question, or a conversation in the terminal.

The main thread owns the terminal: reading, printing and Ctrl-C are plain Python
there. The gateway's event loop has a thread of its own, so nothing blocks it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer
from anyio.from_thread import start_blocking_portal

from rustyclaw import __version__
from rustyclaw.approvals import Approval
from rustyclaw.cli.output import Json, clean, start
from rustyclaw.errors import RustyclawError
from rustyclaw.gateway import Gateway
from rustyclaw.messages import RunEnded, RunResult, TextDelta, ToolEnded
from rustyclaw.sessions.key import resolve

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

_HELP = """\
/tools          list the tools
/session KEY    go on in another conversation
/model SPEC     use another model in this one, such as `provider/model`
/exit           leave; so do Ctrl-D, and Ctrl-C twice"""


def agent(
    message: Annotated[str, typer.Option("-m", "--message", help="Ask this once.")] = "",
    session: Annotated[str, typer.Option(metavar="KEY", help="Conversation.")] = "main",
    agent: Annotated[str, typer.Option(metavar="ID", help="Who answers.")] = "",
    as_json: Json = False,
) -> None:
    """Talk to the assistant. A backslash at the end of a line continues it."""
    config = start()
    agent_id = config.agent(agent or config.default_agent_id).id
    with start_blocking_portal() as portal:
        gateway = Gateway(config, channels=False)
        with portal.wrap_async_context_manager(gateway):
            terminal = _Terminal(portal, gateway, agent_id, as_json)
            terminal.open(session)
            if not message:
                terminal.converse()
            elif not terminal.ask(message):
                raise typer.Exit(130)


class _Terminal:
    """A person at a terminal, or a pipe in their place."""

    def __init__(
        self, portal: BlockingPortal, gateway: Gateway, agent_id: str, as_json: bool
    ) -> None:
        self._portal, self._gateway = portal, gateway
        self._agent_id, self._as_json = agent_id, as_json
        self._events: SimpleQueue[Any] = SimpleQueue()
        self._result: RunResult | None = None
        self._midline = False
        self._prompt = "> " if sys.stdin.isatty() and sys.stdout.isatty() else ""
        if sys.stdin.isatty():
            gateway.approvals.attach(self._approve)

    def open(self, session: str) -> None:
        """Go on in a conversation, named by its key or the last part of it."""
        self._key = str(resolve(session, self._agent_id))

    # --- One answer ---------------------------------------------------------------

    def ask(self, text: str) -> bool:
        """Print an answer as it comes; return ``False`` if Ctrl-C stopped it.

        :raises RustyclawError: There is no answer; says why.
        """
        self._result = None
        future = self._portal.start_task_soon(self._run, text)
        future.add_done_callback(lambda _: self._events.put(None))
        try:
            self._follow()
        except KeyboardInterrupt:
            if not self._portal.call(self._gateway.abort, self._key):
                future.cancel()
            self._follow()  # a second Ctrl-C leaves
        finally:
            future.cancel()
            self._end_line()
        if not future.cancelled():
            future.result()
        if self._result is not None and self._result.error:
            raise RustyclawError(str(self._gateway.redact(self._result.error.message)))
        return self._result is not None and not self._result.aborted

    async def _run(self, text: str) -> None:
        answer = await self._gateway.command(text, self._key)
        if answer is not None:
            self._events.put(TextDelta(text=answer))
            result = RunResult(run_id="", session_key=self._key, text=answer)
            self._events.put(RunEnded(result=result))
        elif re.fullmatch(r"/\w+", text.strip()):
            raise RustyclawError(f"there is no command {text.strip()!r}; try /help")
        else:
            async with aclosing(self._gateway.run(text, session=self._key)) as events:
                async for event in events:
                    self._events.put(event)

    async def _approve(self, approval: Approval) -> bool:
        answers: list[bool] = []
        answered = anyio.Event()

        def answer(is_yes: bool) -> None:
            answers.append(is_yes)
            self._portal.call(answered.set)

        self._events.put((approval, answer))
        await answered.wait()
        return answers[0]

    # --- The screen ---------------------------------------------------------------

    def _follow(self) -> None:
        for event in iter(self._events.get, None):
            match event:
                case TextDelta() if not self._as_json:
                    print(clean(event.text), end="", flush=True)
                    self._midline = not event.text.endswith("\n")
                case ToolEnded(call=call, result=result):
                    said = f"failed: {result.text}" if result.is_error else "ok"
                    arguments = json.dumps(self._gateway.redact(dict(call.arguments)))
                    self._note(f"{call.name} {_short(arguments)} {_short(said)}")
                case RunEnded(result=result):
                    self._result = result
                    if self._as_json:
                        plain = asdict(replace(result, media=()))
                        print(json.dumps(plain, ensure_ascii=False))
                case (Approval() as approval, answer):
                    answer(self._confirm(approval))

    def _confirm(self, approval: Approval) -> bool:
        self._note(f"{approval.reason}:\n{approval.subject}\nallow? [y/N]")
        try:
            return input().strip().lower() in ("y", "yes")
        except EOFError:
            return False

    def _note(self, text: str) -> None:
        """Say something about the conversation, beside it."""
        self._end_line()
        dim = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        text = clean(text)
        print(f"\x1b[2m{text}\x1b[0m" if dim else text, file=sys.stderr, flush=True)

    def _end_line(self) -> None:
        if self._midline:
            print(flush=True)
        self._midline = False

    # --- A conversation -----------------------------------------------------------

    def converse(self) -> None:
        """Answer line by line, until there are no more."""
        config = self._gateway.config
        enabled = [*self._gateway.loader.enabled("providers"), "no model"]
        model = config.agent(self._agent_id).model or config.agents.defaults.model
        self._note(
            f"rustyclaw {__version__}, {model or enabled[0]}, {self._key}; "
            "/help lists commands"
        )
        interrupts = 0
        with _history(config.home / "history"):
            while interrupts < 2:
                try:
                    if (text := self._read().strip()) in ("/exit", "/quit", "/q"):
                        return
                    interrupts = 0
                    if text:
                        self._obey(text)
                except EOFError:
                    return
                except KeyboardInterrupt:
                    interrupts += 1
                    self._note("\nCtrl-C again, or Ctrl-D, leaves")
                except RustyclawError as exc:
                    print(f"error: {clean(exc)}", file=sys.stderr)

    def _read(self) -> str:
        text = input(self._prompt)
        while text.endswith("\\"):
            text = f"{text[:-1]}\n{input(self._prompt)}"
        return text

    def _obey(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        if word == "/tools":
            for tool in self._gateway.tools:
                owner = self._gateway.tools.owner(tool.name)
                self._note(f"{tool.name}  ({owner})")
        elif word == "/session" and rest:
            self.open(rest)
            self._note(f"this is {self._key}")
        elif word == "/model" and rest:
            self._portal.call(self._use_model, rest.strip())
        else:
            if not self.ask(text):
                self._note("[stopped]")
            if word == "/help":
                self._note(_HELP)

    async def _use_model(self, spec: str) -> None:
        sessions = self._gateway.state.sessions
        await sessions.get_or_create(self._key)
        await sessions.patch(self._key, model=spec)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:59]}…"


@contextmanager
def _history(path: Path) -> Iterator[None]:
    """Let the arrow keys bring back earlier lines, where Python has readline."""
    with suppress(ImportError):
        import readline
    ...
