"""Walks a script as a shell would run it and collects what the rules find.

The walk is abstract: both branches of a condition are taken, loops run twice, and a
variable holds everything that was ever assigned to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from rustyclaw_exec.call import Call
from rustyclaw_exec.commands import judge, program_name
from rustyclaw_exec.expansion import Expander, is_known
from rustyclaw_exec.flows import filled_by, printed_by, shortened
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
    WRITTEN_PROGRAM,
)
from rustyclaw_exec.rules.code import judge_code
from rustyclaw_exec.rules.files import written
from rustyclaw_exec.rules.secrets import check_arguments, is_secret
from rustyclaw_exec.rules.variables import assigned
from rustyclaw_exec.scanner import Unparsable
from rustyclaw_exec.spoofing import is_spoofed
from rustyclaw_exec.syntax import (
    Background,
    Chain,
    Compound,
    Function,
    Literal,
    Node,
    Pipeline,
    Redirect,
    Script,
    Simple,
    Word,
)
from rustyclaw_exec.values import (
    BELOW,
    MARK,
    MAX_ALTERNATIVES,
    NOTHING,
    OPAQUE,
    OUTPUT,
    PARENT,
    UNKNOWN,
    Flow,
    shown,
)
from rustyclaw_exec.verdict import Finding, Rule

#: Programs that may be judged for one command, and scripts within scripts.
_MAX_CALLS, _MAX_SCRIPTS = 1500, 8
_PLACEHOLDER = {ord(mark): "${__}" for mark in (UNKNOWN, OUTPUT, BELOW, PARENT)}


class TooComplex(Exception):
    """The script needs more judging than is worth it."""


class Walker:
    """One judgement of one command; implements `Judge` for the rules.

    :param cwd: The folder in which the command starts.
    """

    def __init__(self, places: Places, cwd: str) -> None:
        self.places = places
        self.findings: list[Finding] = []
        self.cwds: tuple[str, ...] = (cwd,)
        self._expander = Expander(
            tilde=places.tilde, substitute=self._substitute, on_secret=self._secret
        )
        self._functions: dict[str, Node] = {}
        self._running: set[str] = set()
        self._files: dict[str, Flow] = {}
        self._calls = 0
        self._scripts = 0
        for name, value in (("HOME", places.home), ("TMPDIR", "/tmp"), ("PWD", cwd)):  # noqa: S108  a name to reason about
            self.assign(name, Flow(value))
        for name in ("PATH", "USER", "LANG", "TERM", "TZ", "HOSTNAME", "SHELL", "UID"):
            self.assign(name, Flow(UNKNOWN))

    def walk(self, text: str) -> list[Finding]:
        """Judge a whole command."""
        try:
            return self.judge_shell(Flow(text), None)
        except (TooComplex, RecursionError):
            return [*self.findings, Finding(TOO_COMPLEX, text)]

    # --- What rules may ask ---------------------------------------------------

    def assign(self, name: str, value: Flow) -> None:
        """Remember what a variable may hold."""
        self._expander.assign(name, value)

    def judge_shell(self, script: Flow, stdin: Flow | None) -> list[Finding]:
        """Judge a text that a shell will run."""
        text = script.text
        if text == OUTPUT and "setup" in script.tags:
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
        if OPAQUE.search(path):
            return [Finding(DYNAMIC_SCRIPT, path)]
        flow = self._file(path)
        if flow is None:
            return []
        if "remote" in flow.tags:
            return [Finding(REMOTE_CODE, path)]
        if flow.text.startswith("#!"):
            language = "python" if "python" in flow.text.partition("\n")[0] else "shell"
        if language == "shell":
            return self.judge_shell(flow, None)
        call = self._call((path,), None, flow.tags)
        found = list(judge_code(call, language, flow))
        return (
            found if found or language == "python" else [Finding(WRITTEN_PROGRAM, path)]
        )

    # --- Nodes ----------------------------------------------------------------

    def _apart(self, script: Script, stdin: Flow | None) -> list[Finding]:
        """Walk a script with findings of its own."""
        outer, self.findings = self.findings, []
        before = self.cwds
        self._script(script, stdin)
        self.cwds = _joined(before, self.cwds)
        found, self.findings = self.findings, outer
        return found

    def _script(self, script: Script, stdin: Flow | None) -> Flow:
        flow = NOTHING
        for node in script.nodes:
            before = self.cwds
            flow = shortened(flow + self._node(node, stdin))
            self.cwds = _joined(self.cwds, before)  # `cd` may have failed
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
                self.cwds = _joined(self.cwds, before)
            flow = shortened(flow + self._node(following, stdin))
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
                flow = shortened(flow + self._script(body, stdin))
            if node.kind in ("loop", "for") and self.cwds != start:
                self.cwds = ("",)  # each round may move on
        if node.kind == "subshell":
            self.cwds = before
        return self._stored(flow, outputs)

    def _function(self, node: Function) -> Flow:
        if _calls_itself(node.body, node.name) > 1 or _forks_itself(node):
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
            self._assign(assign.name, assign.value, assign.items, bool(node.words))
        stdin, outputs = self._redirects(node.redirects, stdin)
        commands, tags = self._commands(node.words)
        flows = []
        for arguments in commands:
            if arguments:
                if _is_dynamic(node.words[0]):
                    self._found(DYNAMIC_COMMAND, " ".join(arguments))
                flows.append(self._run(arguments, stdin, tags))
        flow = flows[0] if flows else NOTHING
        if len(flows) > 1:
            flow = Flow(OUTPUT, frozenset[str]().union(*(f.tags for f in flows)))
        return self._stored(flow, outputs)

    def _assign(
        self, name: str, value: Word, items: Iterable[Word], before_command: bool
    ) -> None:
        if name == "IFS" and not before_command:
            self._expander.own_ifs = True
        flows = self._expander.values(value)
        for item in items:
            flows += [Flow(t) for fields in self._fields(item)[0] for t in fields]
        for flow in flows:
            self.assign(name, flow)
            call = self._call(("echo", flow.text), None, flow.tags)
            self.findings += assigned(call, name, flow.text)
            self.findings += check_arguments(call)

    def _commands(
        self, words: Iterable[Word]
    ) -> tuple[list[tuple[str, ...]], frozenset[str]]:
        """Return the argument lists that some words may become."""
        columns = []
        tags: frozenset[str] = frozenset()
        total = 1
        for word in words:
            alternatives, more = self._fields(word)
            columns.append(alternatives)
            tags |= more
            total *= len(alternatives)
        if total > MAX_ALTERNATIVES:
            columns = [c if len(c) == 1 else [(UNKNOWN,)] for c in columns]
        rows = product(*columns)
        return [tuple(t for fields in row for t in fields) for row in rows], tags

    def _run(
        self, arguments: tuple[str, ...], stdin: Flow | None, tags: frozenset[str]
    ) -> Flow:
        """Judge one program and return what it prints."""
        self._calls += 1
        if self._calls > _MAX_CALLS:
            raise TooComplex
        call = self._call(arguments, stdin, tags)
        if not is_known(call.path):
            self._found(DYNAMIC_COMMAND, call.text)
        if not call.path.isascii():
            self._found(SPOOFED, call.path)
        if call.name in ("cd", "pushd", "popd", "chdir"):
            self._change_folder(call)
        self.findings += judge(call)
        if "/" in call.path:
            self.findings += self.judge_file(call.path, "shell")
        for path, content in filled_by(call, self._file):
            self._store(path, content)
        if call.path in self._functions:
            for place, value in enumerate(call.args[:9], 1):
                self.assign(str(place), Flow(value, tags))
            return self._call_function(call.path, stdin)
        return printed_by(call, self._file)

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

    def _change_folder(self, call: Call) -> None:
        operands = [a for a in call.args if not a.startswith("-") or a == "-"]
        if call.name == "popd" or operands[:1] == ["-"]:
            self.cwds = ("",)
            return
        goal = operands[0] if operands else self.places.home
        located = [self.places.locate(goal, cwd) for cwd in self.cwds]
        self.cwds = tuple(t.path if t.exact else "" for t in located)
        for cwd in self.cwds:
            self.assign("PWD", Flow(cwd or UNKNOWN))

    # --- Redirections and substitutions ---------------------------------------

    def _redirects(
        self, redirects: Iterable[Redirect], stdin: Flow | None
    ) -> tuple[Flow | None, list[str]]:
        """Judge redirections; return the input and the files of the output."""
        outputs: list[str] = []
        for redirect in redirects:
            if redirect.document is not None:
                stdin = self._expander.text(redirect.document.body)
                continue
            if redirect.operator == "<<<":
                stdin = self._expander.text(redirect.target) + Flow("\n")
                continue
            for fields in self._fields(redirect.target)[0]:
                for path in fields:
                    if redirect.operator in ("<&", ">&") and path.strip("-").isdigit():
                        continue
                    stdin = self._redirect(redirect, path, stdin, outputs)
        return stdin, outputs

    def _redirect(
        self, redirect: Redirect, path: str, stdin: Flow | None, outputs: list[str]
    ) -> Flow | None:
        call = self._call((redirect.operator, path), None, frozenset())
        if redirect.operator in ("<", "<>", "<&"):
            self.findings += check_arguments(call)
            tags = frozenset({"secret"}) if is_secret(call, path) else frozenset[str]()
            stdin = self._file(path) or Flow(OUTPUT, tags)
        if redirect.operator not in ("<", "<&"):
            self.findings += written(call, path)
            if redirect.descriptor in ("", "1"):
                outputs.append(path)
        return stdin

    def _stored(self, flow: Flow, outputs: list[str]) -> Flow:
        for path in outputs:
            self._store(path, flow)
        return NOTHING if outputs else flow

    def _substitute(self, script: Script, kind: str) -> Flow:
        before = self.cwds
        self._calls += 1
        stdin = Flow(OUTPUT) if kind == ">" else None
        flow = self._script(script, stdin)
        self.cwds = before
        if kind == "$":
            return flow
        path = f"/dev/fd/{63 + len(self._files)}"
        self._files[path] = flow
        return Flow(path, flow.tags)

    # --- Small things ---------------------------------------------------------

    def _fields(self, word: Word) -> tuple[list[tuple[str, ...]], frozenset[str]]:
        expanded = self._expander.fields(word)
        return expanded.alternatives, expanded.tags

    def _file(self, path: str) -> Flow | None:
        for cwd in self.cwds:
            flow = self._files.get(self.places.locate(path, cwd).path)
            if flow is not None:
                return flow
        return None

    def _store(self, path: str, flow: Flow) -> None:
        for cwd in self.cwds:
            target = self.places.locate(path, cwd)
            if target.path and self.places.place(target) != "stream":
                known = self._files.get(target.path, NOTHING)
                self._files[target.path] = shortened(known + flow)

    def _secret(self, name: str) -> None:
        self._found(SECRET_VARIABLE, name)

    def _found(self, rule: Rule, detail: str) -> None:
        self.findings.append(Finding(rule, detail))


def _joined(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Return the folders of both, or an unknown one if they are too many."""
    folders = tuple(dict.fromkeys((*first, *second)))
    return folders if len(folders) <= 4 else (*folders[:3], "")


def _is_dynamic(word: Word) -> bool:
    """Return whether what a word says is decided by an expansion."""
    return not all(isinstance(part, Literal) for part in word.parts) or any(
        isinstance(part, Literal)
        and not part.quoted
        and set(part.text) & set("*?[{")
        and part.text not in ("[", "[[", "{", "}")
        for part in word.parts
    )


def _simple_commands(node: Node) -> Iterator[Simple]:
    if isinstance(node, Simple):
        yield node
    elif isinstance(node, Pipeline):
        for stage in node.stages:
            yield from _simple_commands(stage)
    elif isinstance(node, Chain):
        for part in (node.first, *(n for _, n in node.rest)):
            yield from _simple_commands(part)
    elif isinstance(node, Background):
        yield from _simple_commands(node.node)
    elif isinstance(node, Compound):
        for body in node.bodies:
            for inner in body.nodes:
                yield from _simple_commands(inner)


def _calls_itself(body: Node, name: str) -> int:
    """Count how often a function's body calls the function."""
    return sum(
        bool(c.words) and c.words[0].literal == name for c in _simple_commands(body)
    )


def _forks_itself(function: Function) -> bool:
    """Return whether a function starts itself in the background."""
    if not isinstance(function.body, Compound):
        return False
    return any(
        isinstance(node, Background) and _calls_itself(node, function.name)
        for body in function.body.bodies
        for node in body.nodes
    )
