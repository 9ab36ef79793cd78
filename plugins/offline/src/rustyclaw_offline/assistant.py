"""Decides what the assistant does next: call tools, or write the final answer.

It keeps no state. Each time it plans anew from the user's words and looks up in the
conversation which of the planned calls have been made. Only the user's words are ever
read as a request; what tools answer is quoted and never interpreted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from rustyclaw import ModelRequest, ToolResult

from rustyclaw_offline import local
from rustyclaw_offline.conversation import Turn
from rustyclaw_offline.intents import TABLE
from rustyclaw_offline.showing import as_span, as_words
from rustyclaw_offline.splitting import Action, plan
from rustyclaw_offline.steps import Call, Say, Step, Think

_ONLY_MEDIA = "I can only read text, so I cannot say anything about the attachment."
_NOTHING = "There is no text in your message. Say `help` to see what I can do."
_UNCLEAR = "I did not understand this step. Say `help` to see what I can do."
_HELD_BACK = (
    "Not done: I did not understand every step of your request, and then I change "
    "nothing. Please ask for this step by itself."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A step of the request and what has become of it.

    :param refusal: Why it will not be done.
    """

    number: int
    action: Action | None
    result: ToolResult | None = None
    refusal: str = ""

    @property
    def is_waiting(self) -> bool:
        """Whether its tool is still to be called."""
        return (
            self.action is not None
            and bool(self.action.intent.tool)
            and self.result is None
            and not self.refusal
        )

    @property
    def name(self) -> str:
        """What the step is called in thoughts and headings."""
        if self.action is None:
            return "?"
        found = self.action.arguments
        about = next(
            (found[key] for key in ("path", "command", "key", "query") if key in found),
            "",
        )
        title = self.action.intent.title
        return title if about in ("", ".") else f"{title} {as_span(about)}"


def respond(request: ModelRequest, turn: Turn) -> tuple[Step, ...]:
    """Return what to do next in a turn."""
    if not turn.text.strip():
        return (Say(_ONLY_MEDIA if turn.has_media else _NOTHING),)
    actions = plan(turn.text)
    if not any(actions):
        return (Say(local.not_understood(TABLE, request)),)
    tasks = _tasks(actions, request, turn)
    names = "; ".join(f"{task.number}. {task.name}" for task in tasks)
    calls = _next_calls(tasks)
    if calls:
        tools = " and ".join(call.tool for call in calls)
        return (Think(f"Plan: {names}. Next: {tools}."), *calls)
    sections = [_section(task, request, alone=len(tasks) == 1) for task in tasks]
    return (Think(f"Plan: {names}. All done; I answer."), Say("\n\n".join(sections)))


def _tasks(
    actions: Sequence[Action | None], request: ModelRequest, turn: Turn
) -> list[_Task]:
    present = {tool.name for tool in request.tools}
    foreign = turn.foreign_calls()
    tasks = []
    for number, action in enumerate(actions, 1):
        if action is None or not action.intent.tool:
            tasks.append(_Task(number=number, action=action))
            continue
        tool = action.intent.tool
        result = turn.result_of(number)
        for call in foreign if result is None else ():
            if call.name == tool and call.arguments == action.arguments:
                result = turn.results.get(call.id)  # done before a failover
        refusal = ""
        if tool not in present:
            refusal = (
                f"I cannot do this: the tool `{tool}` is not available to me. "
                f"`pip install {local.HOMES[tool]}` brings it; if it is installed, "
                "the config may deny it."
            )
        elif None in actions and not action.intent.reads:
            refusal = _HELD_BACK
        tasks.append(
            _Task(number=number, action=action, result=result, refusal=refusal)
        )
    return tasks


def _next_calls(tasks: Sequence[_Task]) -> tuple[Call, ...]:
    """Return the next call, or several that only read, in the order of the request."""

    def reads(task: _Task) -> bool:
        return task.action is not None and task.action.intent.reads

    waiting = [task for task in tasks if task.is_waiting]
    batch = list(takewhile(reads, waiting)) or waiting[:1]
    return tuple(
        Call(task.number, task.action.intent.tool, task.action.arguments)
        for task in batch
        if task.action is not None
    )


def _section(task: _Task, request: ModelRequest, *, alone: bool) -> str:
    """Return the part of the final answer that is about one step."""
    action, result = task.action, task.result
    if action is None:
        body = _UNCLEAR
    elif action.intent.answer is not None:
        body = action.intent.answer(action.arguments, request)
        if alone:
            return body
    elif result is None:
        body = task.refusal
    elif result.is_error:
        body = f"That failed: {as_words(result.text or 'without a reason')}"
    else:
        body = action.intent.show(result.text)
    if result is not None and result.media:
        body += f"\n\n({len(result.media)} attachment(s))"
    heading = task.name if alone else f"{task.number}. {task.name}"
    return f"**{heading}**\n\n{body}"
