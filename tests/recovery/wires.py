"""Five APIs of vendors, each with what its own tests know of it: one face for all.

The pieces of answers come from the fakes that stand in each provider's tests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

from rustyclaw_anthropic.provider import AnthropicProvider
from rustyclaw_google.provider import GoogleProvider
from rustyclaw_http.testing.server import Answer, FakeVendor, Received
from rustyclaw_ollama.provider import OllamaProvider
from rustyclaw_openai.presets import GroqProvider, OpenAIProvider

PLUGINS = Path(__file__).parents[2] / "plugins"
Script = Answer | Callable[[Received], Answer]


def _fake(name: str) -> ModuleType:
    """Return the fake that stands in a provider's tests."""
    path = PLUGINS / name / "tests" / "conftest.py"
    spec = util.spec_from_file_location(f"recovery_{name}_fake", path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


anthropic, openai, google, ollama = map(
    _fake, ("anthropic", "openai", "google", "ollama")
)


@dataclass(frozen=True, kw_only=True)
class Wire:
    """One API, in the words of its vendor.

    :param text: Makes an answer of pieces of text.
    :param call: Makes an answer that calls the tool ``look``.
    :param half_call: An answer that is cut off within the arguments of a call.
    :param begun: Makes an answer that ends like that after a piece of text.
    :param thought: An answer with a thought before its text, and what signs it.
    :param refusal: Makes a refusal: status and message.
    :param too_long: What it says of a prompt that is too long, and its status.
    :param limited: What it says of too many requests, and its status.
    :param unpaid: What it says of an account without credit, and its status.
    :param no_thinking: What it says of a level of thinking, each with the level that
        is asked for next, from ``high`` on; the status is 400.
    """

    name: str
    provider: str
    cls: type[Any]
    model: str
    text: Callable[..., Answer]
    call: Callable[[], Answer]
    half_call: Answer
    begun: Callable[[Any], Answer]
    thought: Answer
    signed: str
    refusal: Callable[[int, str], Answer]
    too_long: tuple[int, str]
    limited: tuple[int, str]
    unpaid: tuple[int, str]
    no_thinking: dict[str, str]
    section: dict[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> str:
        """``provider/model``."""
        return f"{self.provider}/{self.model}"

    def key_of(self, received: Received) -> str:
        """Return the key of a request."""
        names = ("x-api-key", "x-goog-api-key", "authorization")
        found = next(v for n in names if (v := received.headers.get(n)))
        return found.removeprefix("Bearer ")


class Stage:
    """A vendor that speaks one API, and plays a script; then it says "fine".

    :ivar asked: The requests that reached a model.
    """

    def __init__(self, wire: Wire, server: FakeVendor) -> None:
        self.wire, self.server = wire, server
        self.script: list[Script] = []
        self.default: Script = wire.text("fi", "ne")
        self.asked: list[Received] = []
        self._ollama = ollama.FakeOllama(server) if wire.name == "ollama" else None
        server.default = self._answer

    def _answer(self, received: Received) -> Answer:
        if self._ollama is not None and received.target != "/api/chat":
            answer: Answer = self._ollama.answer(received)
            return answer
        self.asked.append(received)
        found = self.script.pop(0) if self.script else self.default
        return found(received) if callable(found) else found

    @property
    def keys(self) -> list[str]:
        """The keys of all requests."""
        return [self.wire.key_of(received) for received in self.asked]

    @property
    def section(self) -> dict[str, Any]:
        """The section of the config."""
        quick = {"idle_timeout_seconds": 5.0, "api_key": f"{self.wire.provider}-own"}
        section = {"base_url": self.server.url, **quick, **self.wire.section}
        if self.wire.name != "ollama":
            section["discover_models"] = False
        return section


def _anthropic() -> Wire:
    half = anthropic.call(0, "toolu_1", "look", '{"place": "he')[:2]
    return Wire(
        name="anthropic",
        provider="anthropic",
        cls=AnthropicProvider,
        model="claude-opus-4-5",
        text=lambda *pieces: anthropic.answer(anthropic.text(*pieces)),
        call=lambda: anthropic.answer(
            anthropic.call(0, "toolu_1", "look", '{"place": "here"}'), reason="tool_use"
        ),
        half_call=anthropic.stream(anthropic.start(), *half, end="cut"),
        begun=lambda end: anthropic.stream(
            anthropic.start(), *anthropic.text("Once")[:2], end=end
        ),
        thought=anthropic.answer(
            anthropic.thought("Hm.", sign="SignedByAnthropic=="),
            anthropic.text("Hello", index=1),
        ),
        signed="SignedByAnthropic==",
        refusal=lambda status, text: anthropic.refusal(status, "error", text),
        too_long=(400, "prompt is too long: 210348 tokens > 200000 maximum"),
        limited=(
            429,
            "This request would exceed your organization's rate limit of 50,000 input "
            "tokens per minute.",
        ),
        unpaid=(
            400,
            "Your credit balance is too low to access the Anthropic API. Please go to "
            "Plans & Billing to upgrade or purchase credits.",
        ),
        no_thinking={
            "`max_tokens` must be greater than `thinking.budget_tokens`. Please "
            "consult our documentation": "medium",
            "'claude-opus-4-5' does not support thinking.": "medium",
        },
    )


def _openai_refusal(status: int, text: str) -> Answer:
    code = "insufficient_quota" if text == _OPENAI_UNPAID[1] else None
    error = {"message": text, "type": code or "invalid_request_error", "code": code}
    return Answer.json({"error": error}, status=status)


_OPENAI_LONG = (
    400,
    "This model's maximum context length is 128000 tokens. However, your messages "
    "resulted in 130112 tokens.",
)
_OPENAI_LIMIT = (
    429,
    "Rate limit reached for gpt-5.1 in organization org-a on tokens per min (TPM): "
    "Limit 30000, Used 29500, Requested 1200. Please try again in 1.4s.",
)
_OPENAI_UNPAID = (
    429,
    "You exceeded your current quota, please check your plan and billing details.",
)


def _openai_levels(name: str) -> dict[str, str]:
    return {
        f"Unsupported value: '{name}' does not support 'high' with this model. "
        "Supported values are: 'low' and 'medium'.": "low",
        f"Unsupported parameter: '{name}' is not supported with this model.": "medium",
    }


def _chat() -> Wire:
    begin = openai.call_piece(0, '{"place": "he', id="call_a", name="look")
    whole = openai.call_piece(0, '{"place": "here"}', id="call_a", name="look")
    return Wire(
        name="openai-chat",
        provider="openai",
        cls=OpenAIProvider,
        model="gpt-5.1",
        section={"api": "chat"},
        text=lambda *pieces: openai.chat(*({"content": piece} for piece in pieces)),
        call=lambda: openai.chat(whole, finish="tool_calls"),
        half_call=Answer.sse(openai.chunk(begin), end="cut"),
        begun=lambda end: Answer.sse(openai.chunk({"content": "Once"}), end=end),
        thought=openai.chat({"reasoning_content": "Hm."}, {"content": "Hello"}),
        signed="",
        refusal=_openai_refusal,
        too_long=_OPENAI_LONG,
        limited=_OPENAI_LIMIT,
        unpaid=_OPENAI_UNPAID,
        no_thinking=_openai_levels("reasoning_effort"),
    )


def _responses() -> Wire:
    half = openai.call_item(0, "call_a", "look", '{"place": "he')[:2]
    numbered = [
        (event["type"], {**event, "sequence_number": number})
        for number, event in enumerate(openai.text_item("Once")[:2])
    ]
    return Wire(
        name="openai-responses",
        provider="openai",
        cls=OpenAIProvider,
        model="gpt-5.1",
        section={"api": "responses"},
        text=lambda *pieces: openai.responses(*openai.text_item(*pieces)),
        call=lambda: openai.responses(
            *openai.call_item(0, "call_a", "look", '{"place": "here"}')
        ),
        half_call=Answer.sse(*((e["type"], e) for e in half), end="cut"),
        begun=lambda end: Answer.sse(*numbered, end=end),
        thought=openai.responses(
            *openai.reasoning_item(0, "Hm.", secret="SealedByOpenAI"),
            *openai.text_item("Hello", index=1),
        ),
        signed="SealedByOpenAI",
        refusal=_openai_refusal,
        too_long=_OPENAI_LONG,
        limited=_OPENAI_LIMIT,
        unpaid=_OPENAI_UNPAID,
        no_thinking=_openai_levels("reasoning.effort"),
    )


def _google() -> Wire:
    sealed = {"text": "Hello", "thoughtSignature": "U2lnbmVkQnlHb29nbGU="}
    return Wire(
        name="google",
        provider="google",
        cls=GoogleProvider,
        model="gemini-2.5-flash",
        text=lambda *pieces: google.answer(*({"text": piece} for piece in pieces)),
        call=lambda: google.answer(google.call("look", place="here")),
        half_call=Answer(
            chunks=[b'data: {"candidates": [{"content": {"parts": [{"functionCall": {'],
            end="cut",
        ),
        begun=lambda end: google.stream(google.chunk({"text": "Once"}), end=end),
        thought=google.answer({"text": "Hm.", "thought": True}, sealed),
        signed="U2lnbmVkQnlHb29nbGU=",
        refusal=lambda status, text: google.refusal(status, "INVALID_ARGUMENT", text),
        too_long=(
            400,
            "The input token count (1200000) exceeds the maximum number of tokens "
            "allowed (1048576).",
        ),
        limited=(429, "Resource has been exhausted (e.g. check quota)."),
        unpaid=(402, "Payment required: the prepaid credits are used up."),
        no_thinking={
            "Thinking level is not supported for this model.": "medium",
            "Thinking is not enabled for models/gemini-2.5-flash": "medium",
            "Unable to submit request because thinking is not supported by this "
            "model.": "medium",
        },
    )


def _ollama() -> Wire:
    once = ollama.line("Once")
    return Wire(
        name="ollama",
        provider="ollama",
        cls=OllamaProvider,
        model="qwen3",
        text=ollama.answer,
        call=lambda: ollama.answer(ollama.call("look", place="here")),
        half_call=Answer(
            headers={"content-type": "application/x-ndjson"},
            chunks=[b'{"message": {"tool_calls": [{"function": {"name": "look", "arg'],
            end="cut",
        ),
        begun=lambda end: replace(Answer.lines(once), end=end),
        thought=ollama.answer(ollama.line(thinking="Hm."), "Hello"),
        signed="",
        refusal=ollama.failure,
        too_long=(400, "prompt too long; exceeded max context length by 90 tokens"),
        limited=(429, "you have reached your hourly usage limit"),
        unpaid=(402, "payment required"),
        no_thinking={
            '"qwen3" does not support thinking': "medium",
            'think value "high" is not supported for this model': "medium",
        },
    )


WIRES = (_anthropic(), _chat(), _responses(), _google(), _ollama())
#: Groq speaks Chat Completions.
GROQ = replace(
    _chat(), name="groq", provider="groq", cls=GroqProvider, model="openai/gpt-oss-120b"
)
