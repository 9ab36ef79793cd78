"""Walks a script as a shell would run it and collects what the rules find.

The walk is abstract: both branches of a condition are taken, loops run twice, and a
variable holds everything that was ever assigned to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rustyclaw_exec.call import Call
from rustyclaw_exec.commands import judge, program_name
from rustyclaw_exec.expansion import is_known
from rustyclaw_exec.flows import filled_by, printed_by
from rustyclaw_exec.grammar import parse
from rustyclaw_exec.paths import Places
from rustyclaw_exec.rules.catalog import (
    DYNAMIC_COMMAND,
    DYNAMIC_SCRIPT,
    FORK_BOMB,
    REMOTE_CODE,
    SECRET_VARIABLE,
    SPOOFED,
    TOO_COMPLEX,
    UNPARSABLE,
)
from rustyclaw_exec.rules.code import judge_code
from rustyclaw_exec.rules.files import written
from rustyclaw_exec.rules.forkbomb import is_fork_bomb
from rustyclaw_exec.rules.secrets import check_arguments, is_secret
from rustyclaw_exec.rules.variables import assigned
from rustyclaw_exec.scanner import Unparsable
from rustyclaw_exec.spoofing import is_spoofed
from rustyclaw_exec.syntax import (
    Assign,
    Background,
    Chain,
    Compound,
    Function,
    Node,
    Pipeline,
    Redirect,
    Script,
    Simple,
    Word,
)
from rustyclaw_exec.values import (
    BELOW,
    LOOSE,
    MARK,
    NOTHING,
    OPAQUE,
    OUTPUT,
    PARENT,
    UNKNOWN,
    Flow,
    shown,
)
from rustyclaw_exec.verdict import Finding, Rule
from rustyclaw_exec.world import World, joined

#: Programs that may be judged for one command, and scripts within scripts.
_MAX_CALLS, _MAX_SCRIPTS = 1000, 8
#: Words of all those calls together.
_MAX_WORDS = 40_000
_STDOUT = re.compile(r"/dev/(?:stdout|stderr|tty|fd/\d+)|/proc/self/fd/\d+")
_DESCRIPTOR = re.compile(r"/dev/fd/|/proc/[^/]+/fd/")
_PLACEHOLDER: dict[int, str] = {
    ord(mark): "${__}" for mark in (UNKNOWN, OUTPUT, BELOW, PARENT)
}


class TooComplex(Exception):
    """The script needs more judging than is worth it."""


class Walker(World):
    """One judgement of one command; implements `Judge` for the rules.

    :param cwd: The folder in which the command starts.
    """

    def __init__(self, places: Places, cwd: str) -> None:
        super().__init__(places, cwd, self._substitute, self._secret)
        self.findings: list[Finding] = []
        self._functions: dict[str, Node] = {}
        self._running: set[str] = set()
        self._deferred: list[Flow] = []
        self._calls = self._words = 0
        self._scripts = 0

    def walk(self, text: str) -> list[Finding]:
        """Judge a whole command."""
        try:
            found = self.judge_shell(Flow(text), None)
            for script in self._deferred:
                found += self.judge_shell(script, None)
            return found
        except (TooComplex, RecursionError):
            return [*self.findings, Finding(TOO_COMPLEX, text)]

    # --- What rules may ask ---------------------------------------------------

    def judge_shell(self, script: Flow, stdin: Flow | None) -> list[Finding]:
        """Judge a text that a shell will run."""
        text = script.text
        if text.rstrip(LOOSE) == OUTPUT and "setup" in script.tags:
            return []
        found: list[Finding] = []
        if MARK.search(text):
            rule = REMOTE_CODE if "remote" in script.tags else DYNAMIC_SCRIPT
            found.append(Finding(rule, text))
            if not OPAQUE.sub("", text).strip():
                return found
            text = shown(text.translate(_PLACEHOLDER))
        if is_spoofed(text):
            found.append(Finding(SPOOFED, text))
        self._scripts += 1
        if self._scripts > _MAX_SCRIPTS:
            raise TooComplex
        try:
            tree = parse(text)
        except Unparsable as problem:
            found.append(Finding(UNPARSABLE, f"{problem}: {text}"))
        else:
            found += self._apart(tree, stdin)
        self._scripts -= 1
        return found

    def defer(self, script: Flow) -> None:
        """Judge a script again at the end, when all variables are known."""
        if len(self._deferred) < _MAX_SCRIPTS:
            self._deferred.append(script)

    def judge_program(
        self, arguments: Sequence[str], stdin: Flow | None, tags: frozenset[str]
    ) -> list[Finding]:
        """Judge a program that another one will run."""
        outer, self.findings = self.findings, []
        if arguments:
            self._run(tuple(arguments), stdin, tags)
        found, self.findings = self.findings, outer
        return found

    def judge_file(self, path: str, language: str) -> list[Finding]:
        """Judge a file that will run, by what this command wrote into it."""
        flow = self.content(path)
        if OPAQUE.search(path) or (flow is None and _DESCRIPTOR.match(path)):
            return [Finding(DYNAMIC_SCRIPT, path)]
        if flow is None:
            return []
        if "remote" in flow.tags:
            return [Finding(REMOTE_CODE, path)]
        if flow.text.startswith("#!"):
            language = "python" if "python" in flow.text.partition("\n")[0] else "shell"
        if language == "shell":
            return self.judge_shell(flow, None)
        call = self._call((path,), None, flow.tags)
        return list(judge_code(call, language, flow))

    # --- Nodes ----------------------------------------------------------------

    def _apart(self, script: Script, stdin: Flow | None) -> list[Finding]:
        """Walk a script with findings of its own."""
        outer, self.findings = self.findings, []
        before = self.cwds
        self._script(script, stdin)
        self.cwds = joined(before, self.cwds)
        found, self.findings = self.findings, outer
        return found

    def _script(self, script: Script, stdin: Flow | None) -> Flow:
        flow = NOTHING
        for node in script.nodes:
            before = self.cwds
            flow = (flow + self._node(node, stdin)).short
            self.cwds = joined(self.cwds, before)  # `cd` may have failed
        return flow

    def _node(self, node: Node, stdin: Flow | None) -> Flow:
        if isinstance(node, Simple):
            return self._simple(node, stdin)
        if isinstance(node, Pipeline):
            return self._pipeline(node, stdin)
        if isinstance(node, Chain):
            return self._chain(node, stdin)
        if isinstance(node, Background):
            return self._node(node.node, NOTHING)
        if isinstance(node, Function):
            return self._function(node)
        return self._compound(node, stdin)

    def _pipeline(self, node: Pipeline, stdin: Flow | None) -> Flow:
        before = self.cwds
        flow = stdin
        for stage in node.stages:
            flow = self._node(stage, flow)
            self.cwds = before
        return flow or NOTHING

    def _chain(self, node: Chain, stdin: Flow | None) -> Flow:
        before = self.cwds
        flow = self._node(node.first, stdin)
        for operator, following in node.rest:
            if operator == "||":
                self.cwds = joined(self.cwds, before)
            flow = (flow + self._node(following, stdin)).short
        return flow

    def _compound(self, node: Compound, stdin: Flow | None) -> Flow:
        before = self.cwds
        stdin, outputs = self._redirects(node.redirects, stdin)
        for word in node.words:
            for fields in self._fields(word)[0]:
                for text in fields if node.kind == "for" else ():
                    self.assign(node.name, Flow(text))
        flow = NOTHING
        for _ in range(2 if node.kind in ("loop", "for") else 1):
            start = self.cwds
            for body in node.bodies:
                flow = (flow + self._script(body, stdin)).short
            if node.kind in ("loop", "for") and self.cwds != start:
                self.cwds = ("",)  # each round may move on
        if node.kind == "subshell":
            self.cwds = before
        return self._stored(flow, outputs)

    def _function(self, node: Function) -> Flow:
        if is_fork_bomb(node):
            self.findings.append(Finding(FORK_BOMB, node.name))
        self._functions[node.name] = node.body
        before = self.cwds
        self._call_function(node.name, NOTHING)
        self.cwds = before
        return NOTHING

    def _call_function(self, name: str, stdin: Flow | None) -> Flow:
        if name in self._running:
            return NOTHING
        self._running.add(name)
        flow = self._node(self._functions[name], stdin)
        self._running.discard(name)
        return flow

    # --- Simple commands ------------------------------------------------------

    def _simple(self, node: Simple, stdin: Flow | None) -> Flow:
        for assign in node.assigns:
            self._assign(assign)
            if assign.name == "IFS" and not _keeps_ifs(node):
                self.expander.own_ifs = True
        stdin, outputs = self._redirects(node.redirects, stdin)
        commands, tags = self.expander.commands(node.words)
        flows = []
        for arguments in commands:
            if arguments:
                if node.words[0].dynamic:
                    self._found(DYNAMIC_COMMAND, " ".join(arguments))
                flows.append(self._run(arguments, stdin, tags))
        flow = flows[0] if flows else NOTHING
        if not node.words and stdin is not None:
            flow = Flow(OUTPUT, stdin.tags)  # `$(< file)`
        elif len(flows) > 1:
            flow = Flow(OUTPUT, frozenset[str]().union(*(f.tags for f in flows)))
        return self._stored(flow, outputs)

    def _assign(self, assign: Assign) -> None:
        flows = self.expander.values(assign.value)
        for item in assign.items:
            flows += [Flow(t) for fields in self._fields(item)[0] for t in fields]
        for flow in flows:
            if assign.appends:
                self.expander.append(assign.name, flow)
            self.assign(assign.name, flow)
            call = self._call(("echo", flow.text), None, flow.tags)
            self.findings += assigned(call, assign.name, flow.text)
            self.findings += check_arguments(call)

    def _run(
        self, arguments: tuple[str, ...], stdin: Flow | None, tags: frozenset[str]
    ) -> Flow:
        """Judge one program and return what it prints."""
        self._calls += 1
        self._words += len(arguments)
        if self._calls > _MAX_CALLS or self._words > _MAX_WORDS:
            raise TooComplex
        call = self._call(arguments, stdin, tags)
        if not is_known(call.path):
            self._found(DYNAMIC_COMMAND, call.text)
        if not call.path.isascii():
            self._found(SPOOFED, call.path)
        if call.name in ("cd", "pushd", "popd", "chdir"):
            stack = call.name in ("pushd", "popd")
            turned = call.name == "popd" or not call.args or call.args[0][0:1] in "+-"
            self.change_folder(("-",) if stack and turned else call.args)
        self.findings += judge(call)
        if "/" in call.path:
            self.findings += self.judge_file(call.path, "shell")
        for path, content in filled_by(call):
            self.store(path, content)
        if call.name == "ln" and len(call.args) > 1:
            self.link(*call.args[-2:])
        if call.path in self._functions:
            for place, value in enumerate(call.args[:9], 1):
                self.assign(str(place), Flow(value, tags))
            return self._call_function(call.path, stdin)
        return printed_by(call)

    def _call(
        self, arguments: tuple[str, ...], stdin: Flow | None, tags: frozenset[str]
    ) -> Call:
        return Call(
            name=program_name(arguments[0]),
            path=arguments[0],
            args=arguments[1:],
            stdin=stdin,
            tags=tags,
            judge=self,
        )

    # --- Redirections and substitutions ---------------------------------------

    def _redirects(
        self, redirects: Iterable[Redirect], stdin: Flow | None
    ) -> tuple[Flow | None, list[str]]:
        """Judge redirections; return the input and the files of the output."""
        outputs: list[str] = []
        for redirect in redirects:
            given: Flow | None = None
            if redirect.document is not None:
                given = self.expander.text(redirect.document.body)
            elif redirect.operator == "<<<":
                given = self.expander.text(redirect.target) + Flow("\n")
            else:
                for fields in self._fields(redirect.target)[0]:
                    for path in fields:
                        given = self._redirect(redirect, path, outputs) or given
            if given is not None and redirect.descriptor in ("", "0"):
                stdin = given
            elif given is not None:
                self.describe(int(redirect.descriptor), given)
        return stdin, outputs

    def _redirect(
        self, redirect: Redirect, path: str, outputs: list[str]
    ) -> Flow | None:
        """Judge a redirection; return what it gives to read."""
        operator = redirect.operator
        if operator in ("<&", ">&") and path.strip("-").isdigit():
            copied = self.content(f"/dev/fd/{path.strip('-')}") or Flow(OUTPUT)
            return copied if operator == "<&" else None
        call = self._call((operator, path), None, frozenset())
        if operator not in ("<", "<&"):
            self.findings += written(call, path)
            if redirect.descriptor in ("", "1") and not _STDOUT.fullmatch(path):
                outputs.append(path)
        if operator not in ("<", "<>", "<&"):
            return None
        self.findings += check_arguments(call)
        tags = frozenset({"secret"}) if is_secret(call, path) else frozenset[str]()
        return self.content(path) or Flow(OUTPUT, tags)

    def _stored(self, flow: Flow, outputs: list[str]) -> Flow:
        for path in outputs:
            self.store(path, flow)
        return NOTHING if outputs else flow

    def _substitute(self, script: Script, kind: str) -> Flow:
        before = self.cwds
        self._calls += 1
        stdin = Flow(OUTPUT) if kind == ">" else None
        flow = self._script(script, stdin)
        self.cwds = before
        if kind == "$":
            return flow
        return Flow(self.pipe(flow), flow.tags)

    # --- Small things ---------------------------------------------------------

    def _fields(self, word: Word) -> tuple[list[tuple[str, ...]], frozenset[str]]:
        expanded = self.expander.fields(word)
        return expanded.alternatives, expanded.tags

    def _secret(self, name: str) -> None:
        self._found(SECRET_VARIABLE, name)

    def _found(self, rule: Rule, detail: str) -> None:
        self.findings.append(Finding(rule, detail))


def _keeps_ifs(node: Simple) -> bool:
    """Return whether an ``IFS=`` before a command is gone after it."""
    return bool(node.words) and node.words[0].literal in (
        "read",
        "mapfile",
        "readarray",
    )
