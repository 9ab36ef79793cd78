"""The seventeen lifecycle hooks: every place where a plugin may watch or change.

Read this file from top to bottom and you have read the life of one message.
Every hook is ``async``. An implementation names only the arguments it wants::

    @hookimpl
    async def before_tool_call(call: ToolCall) -> ToolCall | None: ...

The decorator says how answers combine, and what a failing plugin costs:

``@observe``    all run at once; answers are dropped, errors are logged.
``@transform``  one after another, each sees the last value; ``None`` keeps it,
                and so does an error, which is logged.
``@guard``      as transform, but ``raise Veto(reason)`` stops the action and
                ``raise Ask(reason)`` asks an operator. An error or a timeout is
                a veto: a guard that fails, fails closed.

Order follows ``plugins.order`` in the config, then the plugins' names; pluggy's
``tryfirst`` and ``trylast`` go before that. Each call has a time budget
(``plugins.budget_seconds``). Values are frozen: return a changed copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rustyclaw.markers import guard, observe, transform

if TYPE_CHECKING:
    from rustyclaw.gateway import Gateway
    from rustyclaw.messages import (
        CompactionRequest,
        CompactionResult,
        HookContext,
        Inbound,
        ModelRequest,
        ModelResponse,
        Outbound,
        Prompt,
        Sent,
        Target,
        ToolCall,
        ToolResult,
    )
    from rustyclaw.runs import RunResult

# --- The gateway wakes --------------------------------------------------------


@observe
async def gateway_start(gateway: Gateway) -> None:
    """The gateway is ready, and no channel has started yet.

    Here a plugin begins what it does besides watching: it adds methods, tools
    and routes to the gateway's registries and spawns its background tasks.

    :param gateway: The gateway that starts.
    """


# --- A message arrives --------------------------------------------------------


@observe
async def message_received(context: HookContext, message: Inbound) -> None:
    """A message is durable in the inbox, its sender is allowed, its turn is next.

    :param context: The session that the message was routed to.
    :param message: The message as the platform sent it: untrusted text.
    """


@observe
async def session_start(context: HookContext, resumed: bool) -> None:
    """A session is used for the first time since the gateway started.

    :param context: The session.
    :param resumed: It has a transcript from an earlier time.
    """


# --- The agent thinks ---------------------------------------------------------


@transform("prompt")
async def before_agent_start(context: HookContext, prompt: Prompt) -> Prompt | None:
    """A run is about to start: add to the system prompt or the user's message.

    :param context: The session and the run.
    :param prompt: The assembled system prompt and the message to answer.
    :returns: The prompt to use instead; the transcript keeps the original message.
    """


@transform("request")
async def llm_input(context: HookContext, request: ModelRequest) -> ModelRequest | None:
    """A model is about to be called: change the request, never the transcript.

    Fires once for each model call, so several times in a run that uses tools.

    :param context: The session and the run.
    :param request: The whole request.
    :returns: The request to send instead.
    """


@observe
async def llm_output(context: HookContext, response: ModelResponse) -> None:
    """A model call has ended well.

    :param context: The session and the run.
    :param response: The assembled message, its usage, stop reason and seconds.
    """


# --- Tools: from the model's wish to what the transcript keeps ----------------


@guard("call")
async def before_tool_call(context: HookContext, call: ToolCall) -> ToolCall | None:
    """A tool is about to run: rewrite its arguments, or forbid it.

    The arguments are validated again after the last rewrite.

    :param context: The session and the run.
    :param call: The tool and its arguments.
    :returns: The call to make instead.
    :raises Veto: Not to run the tool; the model is shown the reason.
    :raises Ask: To let an operator decide about exactly this call.
    """


@observe
async def after_tool_call(
    context: HookContext, call: ToolCall, result: ToolResult, seconds: float
) -> None:
    """A tool has answered, or was refused. Too late to change anything.

    :param context: The session and the run.
    :param call: The call that ran, as the guards left it.
    :param result: The answer; ``is_error`` if the tool failed or was refused.
    :param seconds: How long the tool ran, without the guards.
    """


@transform("result")
async def tool_result_persist(
    context: HookContext, call: ToolCall, result: ToolResult
) -> ToolResult | None:
    """A tool's result is about to enter the transcript: shorten or redact it.

    :param context: The session and the run.
    :param call: The call that was answered.
    :param result: The result, already cut to the size limit.
    :returns: The result that the transcript keeps and the model sees.
    """


# --- The conversation grows too long ------------------------------------------


@transform("request")
async def before_compaction(
    context: HookContext, request: CompactionRequest
) -> CompactionRequest | None:
    """Older messages are about to be summarised: say what must be kept.

    :param context: The session and the run.
    :param request: What will be replaced; ``instructions`` steers the summary.
    :returns: The request to use instead.
    """


@observe
async def after_compaction(context: HookContext, result: CompactionResult) -> None:
    """Older messages were replaced by a summary; the transcript keeps both.

    :param context: The session and the run.
    :param result: The summary and the sizes before and after.
    """


# --- The run ends and the answer leaves ---------------------------------------


@observe
async def agent_end(context: HookContext, result: RunResult) -> None:
    """A run has ended: answered, failed or aborted.

    :param context: The session and the run.
    :param result: The text, the summed usage, and the error if there was one.
    """


@guard("message")
async def message_sending(
    context: HookContext, target: Target, message: Outbound
) -> Outbound | None:
    """A message is about to leave for a platform: change it, or hold it back.

    :param context: The session that it belongs to.
    :param target: The chat it goes to.
    :param message: The text and media.
    :returns: The message to send instead.
    :raises Veto: Not to send it; the reason is kept with the message.
    :raises Ask: To let an operator decide.
    """


@observe
async def message_sent(
    context: HookContext,
    target: Target,
    message: Outbound,
    sent: Sent | None,
    error: str | None,
) -> None:
    """A platform took a message, or finally refused it.

    :param context: The session that it belongs to.
    :param target: The chat it went to.
    :param message: What was sent.
    :param sent: The platform's receipt, or ``None`` if it failed.
    :param error: Why it failed, or ``None``.
    """


# --- A session ends -----------------------------------------------------------


@observe
async def before_reset(context: HookContext, reason: str) -> None:
    """A session is about to begin anew; its transcript is still in place.

    :param context: The session.
    :param reason: ``reset``, ``delete`` or the command that asked for it.
    """


@observe
async def session_end(context: HookContext, reason: str) -> None:
    """A session was reset or deleted, or the gateway stops.

    :param context: The session.
    :param reason: ``reset``, ``delete`` or ``shutdown``.
    """


# --- The gateway sleeps -------------------------------------------------------


@observe
async def gateway_stop(gateway: Gateway, reason: str) -> None:
    """The gateway has drained: end what ``gateway_start`` began.

    :param gateway: The gateway that stops.
    :param reason: ``signal``, ``closed``, ``error`` or what the caller said.
    """
