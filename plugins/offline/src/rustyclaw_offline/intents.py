"""The table of what the assistant understands.

Each row says what a step of a request looks like and which tool serves it. To teach
the assistant something, add a row: patterns with named groups, the tool's name, and a
function of `arguments` that makes the tool's arguments out of the groups. The first
row that fits wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rustyclaw import ModelRequest

from rustyclaw_offline import arguments, local, showing
from rustyclaw_offline.patterns import (
    FILE,
    FILES,
    FOLDER,
    HOLDING,
    IS,
    KEY,
    LINE_RANGE,
    ME,
    MEMORY,
    NAME,
    NAMED_FILE,
    QUERY,
    REMEMBER,
    TEXT,
    THE,
    WHICH,
    some_text,
)
from rustyclaw_offline.quoting import CODE, QUOTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One row of the table.

    :param title: Heads the step in the final answer.
    :param example: What "help" shows; rows without one are small talk.
    :param patterns: Regular expressions of a whole step, in any case, in which each
        quotation is hidden behind a mark (`QUOTED`, `CODE`).
    :param tool: The tool that serves it; without one, ``answer`` does.
    :param build: Makes the arguments of the patterns' groups; ``None`` if they do
        not fit after all, so that the next pattern is tried.
    :param reads: The tool changes nothing, so several may be called at once.
    :param free: Groups that take any words up to the end of the line.
    :param show: How the text of a result is quoted in the final answer.
    :param answer: Answers without a tool.
    :param is_filler: Not worth an answer beside other steps.
    """

    title: str
    patterns: tuple[str, ...]
    example: str = ""
    tool: str = ""
    build: Callable[[dict[str, str]], Mapping[str, Any] | None] = dict
    reads: bool = True
    free: tuple[str, ...] = ()
    show: Callable[[str], str] = showing.as_words
    answer: Callable[[Mapping[str, Any], ModelRequest], str] | None = None
    is_filler: bool = False


def _help(found: Mapping[str, Any], request: ModelRequest) -> str:
    return local.abilities(TABLE, request)


# --- The table --------------------------------------------------------------------

_SMALL_TALK = (
    Intent(
        title="Greeting",
        patterns=(
            r"(?:hi|hello|hey|howdy|greetings|good (?:morning|afternoon|evening|day))"
            r"(?: there| you| assistant| rusty| rustyclaw)*",
            r"how are you(?: doing)?(?: today)?",
        ),
        answer=local.greet,
        is_filler=True,
    ),
    Intent(
        title="Thanks",
        patterns=(r"(?:many )?(?:thanks|thank you)(?: (?:so|very) much| a lot| you)*",),
        answer=local.accept_thanks,
        is_filler=True,
    ),
    Intent(
        title="Help",
        patterns=(
            r"/?help(?: me)?|\?",
            r"what (?:else )?(?:can|do) you do|what are you able to do",
            r"(?:(?:list|show)(?: me)?|what are|which|what)(?: all)?(?: the| your)*"
            r"(?: available)? ?(?:tools|commands|abilities)"
            r"(?: (?:do you have|are there|can you use))?",
        ),
        answer=_help,
    ),
    Intent(
        title="Who I am",
        patterns=(
            r"(?:who|what|which model|what model|what kind of \w+) are you",
            rf"what{IS} your name|what model is this|introduce yourself",
            r"are you (?:a |an )?(?:real |really |large )?(?:human|person|bot|robot|ai"
            r"|language model|llm|model|chatgpt|gpt|claude|gemini)",
        ),
        answer=local.introduce,
    ),
    Intent(
        title="Time",
        example="what time is it?",
        patterns=(
            r"(?:what|which) (?:time|date|day)(?: of the week)? is (?:it|today)"
            r"(?: today| right)?",
            rf"(?:what{IS}|tell me|show me)(?: the)?(?: current| exact)?"
            r" (?:time|date|day)(?: and(?: the)? (?:time|date))?"
            r"(?: is it)?(?: today| right)?",
            rf"what{IS} today(?:'s date)?|what day is today|date|time",
        ),
        answer=local.tell_time,
    ),
    Intent(
        title="Calculate",
        example="what is 12 * (3 + 4)?",
        patterns=(
            rf"(?:what{IS}|calculate|compute|evaluate|work out|solve|how much is)"
            r" (?P<expression>[^\x00]+?)(?: ?=)?",
            r"(?P<expression>[-(.\d][-+*/%^(). ,\dx]*[+*/%^x(][-+*/%^(). ,\dx]*?)"
            r"(?: ?=)?",
        ),
        build=arguments.expression,
        answer=local.calculate,
    ),
)

_MEMORIES = (
    Intent(
        title="List memory",
        example="what do you remember?",
        patterns=(
            rf"(?:list|show){ME}{MEMORY}(?: keys)?",
            r"what (?:do|can) you remember(?: about me)?|what do you know about me",
            rf"what{IS} in{MEMORY}",
        ),
        tool="memory_list",
        show=showing.as_list,
    ),
    Intent(
        title="Search memory for",
        example="search memory for colour",
        patterns=(
            rf"(?:search|look in|check){MEMORY} (?:for|about){THE}{QUERY}",
            rf"(?:search|look|find)(?: for)?{THE}{QUERY} in{MEMORY}",
            rf"what (?:do|can) you (?:remember|know) about{THE}{QUERY}",
            rf"do you remember(?: anything about)?{THE}{QUERY}",
        ),
        tool="memory_search",
        show=showing.as_list,
    ),
    Intent(
        title="Remember",
        example="remember that my favourite colour is blue",
        patterns=(
            rf"{REMEMBER}(?: that)?(?! to ){KEY} ?(?:{IS}|:|=|equals) (?P<value>.+?)",
            rf"{REMEMBER}(?: that| to)? (?P<value>.+?)",
        ),
        tool="memory_set",
        build=arguments.remember,
        reads=False,
        free=("value",),
    ),
)

_FILE_WORK = (
    Intent(
        title="Write",
        example='write hello.txt with the text "hi"',
        patterns=(
            rf"(?:write|create|make|save|generate){FILE}{HOLDING}",
            rf"(?:write|create|make|save|generate){NAMED_FILE}{HOLDING}",
            rf"(?:write|save|put|store){TEXT} (?P<content>{QUOTED})"
            rf" (?:to|into|in|as){FILE}",
            rf"(?:create|make|touch){NAMED_FILE}",
            rf"(?:create|touch){FILE}",
        ),
        tool="write_file",
        build=arguments.write_file,
        reads=False,
        free=("words",),
    ),
    Intent(
        title="Edit",
        example='replace "hi" with "hello" in hello.txt',
        patterns=(
            rf"(?:replace|change|substitute|swap){TEXT}{some_text('old')}"
            rf" (?:with|by|to|for|into){some_text('new')} in{FILE}",
            rf"(?:in|edit|change|update|modify|open){FILE}[,:]?(?: and| by| to)?"
            rf" (?:replace|replacing|change|changing){TEXT}{some_text('old')}"
            rf" (?:with|by|to|for){some_text('new')}",
        ),
        tool="edit_file",
        build=arguments.edit_file,
        reads=False,
    ),
    Intent(
        title="Run",
        example="run `ls -la`",
        patterns=(
            r"(?:run|execute|exec)(?: the| this)?(?: following)?"
            rf"(?: (?:shell|bash|terminal))?(?: command)?:? (?P<command>{QUOTED})",
            r"(?:run|execute|exec)(?:(?: the| this)?(?: following)?"
            r"(?: shell| bash| terminal)? command)?:?"
            rf" (?P<open>(?!{CODE}|(?:the|a|an|my|this|that|it|in)\b).+)",
            rf"\$ (?P<command>(?!{CODE}).+)",
        ),
        tool="exec",
        show=showing.as_fence,
        build=arguments.command,
        reads=False,
        free=("open", "command"),
    ),
    Intent(
        title="Append",
        patterns=(
            rf"(?:append|add){TEXT}{some_text('words')} to(?: the end of)?{FILE}",
        ),
        answer=local.cannot_append,
    ),
    Intent(
        title="Read",
        example="read hello.txt",
        patterns=(
            rf"(?:read|open|cat|show|display|print|view)(?: me)?"
            rf"(?:(?: the)? (?:contents?|text) of)?{FILE}(?:,?(?: from)?{LINE_RANGE})?",
            rf"(?:read|open|cat|show|display|print|view)(?: me)?{NAMED_FILE}"
            rf"(?:,?(?: from)?{LINE_RANGE})?",
            rf"(?:read|show|print|view)(?: me)?(?: the)?{LINE_RANGE}"
            rf" (?:of|from|in){FILE}",
            rf"(?:what{IS}(?: written)? in|what does){FILE}(?: say| contain)?",
        ),
        tool="read_file",
        show=showing.as_file,
        build=arguments.read_file,
    ),
    Intent(
        title="List files",
        example="list the files in docs",
        patterns=(
            rf"(?:list|show|display|print|get){ME}{THE}"
            rf"(?: (?P<glob>[^ ]*[*?][^ ]*))? {FILES}{WHICH}",
            rf"(?P<find>find|search for){ME}{THE}"
            rf"(?: (?P<glob>{QUOTED}|[^ ]*[*?.][^ ]*))?(?: {FILES})?{WHICH}",
            rf"(?:what|which) {FILES}"
            rf"(?: (?:are(?: there)?|exist|do (?:i|you|we) have))?{WHICH}",
            rf"(?:what{IS}(?: there)? (?:in|inside)|show(?: me)?){THE}"
            rf" (?P<path>workspace|{QUOTED}|[^ ]+/)",
            rf"(?:what{IS}(?: there)? (?:in|inside)|show(?: me)?){THE}"
            rf" {NAME} (?:folder|directory)",
            rf"(?:what{IS}(?: there)? (?:in|inside)|show(?: me)?){THE}"
            rf" (?:folder|directory) {NAME}",
            rf"(?:list|show|display|print)(?: me)?(?: the)? contents? of{FOLDER}",
            rf"(?:list|ls|dir)(?: -\w+)?(?:{FOLDER})?",
        ),
        tool="file_list",
        show=showing.as_list,
        build=arguments.list_files,
    ),
)

_RECALL = (
    Intent(
        title="Recall",
        example="what is my favourite colour?",
        patterns=(
            rf"recall{THE}{KEY}",
            rf"(?:what|who|when|where){IS}{THE}{KEY}",
            rf"tell me my{KEY}",
        ),
        tool="memory_get",
        build=arguments.recall,
    ),
)

#: Recalling comes last: "what is ..." may be many things.
TABLE: tuple[Intent, ...] = (*_SMALL_TALK, *_MEMORIES, *_FILE_WORK, *_RECALL)
