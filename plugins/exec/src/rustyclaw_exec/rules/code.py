"""Judges inline code: ``python -c``, ``perl -e``, ``node -e`` and their like.

Python is parsed. Of other languages the words are read: code whose every word is
known to be harmless runs, all other code asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rustyclaw_exec.call import Call
from rustyclaw_exec.rules.catalog import (
    DYNAMIC_CODE,
    DYNAMIC_SCRIPT,
    EXFILTRATION,
    REMOTE_CODE,
    SECRET_READ,
)
from rustyclaw_exec.rules.files import deleted
from rustyclaw_exec.rules.python_code import PythonCode
from rustyclaw_exec.rules.secrets import is_secret
from rustyclaw_exec.values import MARK, Flow, names
from rustyclaw_exec.verdict import Finding

_MAX_STRINGS = 40
_STRING = re.compile(
    r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|`((?:[^`\\]|\\.)*)`"
    r"|\b(?:qx|qq|q|%x)\s*[({\[<|/]([^)}\]>|/]*)[)}\]>|/]",
    re.DOTALL,
)
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_REGEX = re.compile(
    r"\b(s|tr|y)([/|#!,;:%~])((?:(?!\2)[^\\]|\\.)*)\2((?:(?!\2)[^\\]|\\.)*)\2(\w*)",
    re.DOTALL,
)
_MATCH = re.compile(
    r"(?:(?<=[(,!&|~{;=])|^|\b(?:if|unless|split|and|or|grep))\s*m?/((?:[^/\\\n]|\\.)*)/\w*"
)
_INTERPOLATED = re.compile(r"[@$#]\{(?!\w+\})|\{\$")
_SENDS = re.compile(
    r"(?i)\b(?:https?|socket|fetch|lwp|net|urlopen|requests|smtp|ftp)\b"
)
_REMOVES = re.compile(
    r"\b(?:rmtree|rmSync|rm_rf|rm_r|remove_tree|remove_dir_all|rmdirSync)\b"
)

#: The words of each language that cannot run, write or send anything.
_HARMLESS = {
    "perl": names(
        "print printf say if elsif unless else while until for foreach my our local "
        "use strict warnings utf8 split join map grep sort reverse uc lc ucfirst "
        "lcfirst length substr index rindex sprintf push pop shift unshift keys values "
        "each exists defined delete scalar chomp chop abs int sqrt x eq ne lt gt le ge "
        "cmp and or not last next redo return sub BEGIN END qw m ord chr hex oct time "
        "localtime gmtime STDIN STDERR STDOUT _ ARGV ENV INC List Util sum sum0 max "
        "min first uniq JSON PP decode_json encode_json POSIX strftime floor ceil NR n "
        "e a b i exit die warn undef wantarray"
    ),
    "ruby": names(
        "puts print p pp if unless elsif else while until for do end def each map "
        "select reject inject reduce sum min max sort sort_by reverse join split gsub "
        "sub strip chomp length size upcase downcase capitalize to_s to_i to_f to_a "
        "first last times upto downto step require json csv date time set JSON parse "
        "generate pretty_generate File read readlines exist basename dirname extname "
        "ARGV ENV ARGF STDIN STDOUT gets RUBY_VERSION Date today Time now strftime "
        "Math sqrt Array Hash String Integer Float nil true false then case when and "
        "or not in begin rescue ensure return yield lambda proc new keys values "
        "include empty uniq flatten zip each_with_index collect format printf rand "
        "Random each_line lines chars i n x a b s"
    ),
    "node": names(
        "console log error warn table dir JSON parse stringify process version "
        "versions argv env exit cwd platform arch uptime memoryUsage hrtime stdout "
        "write require const let var of in for if else function return map filter "
        "reduce join split trim toString length Math max min round floor ceil abs "
        "random PI sqrt pow Date now toISOString getTime Object keys values entries "
        "Array from isArray push slice concat includes indexOf sort reverse forEach "
        "some every find Number parseInt parseFloat isNaN String toUpperCase "
        "toLowerCase padStart padEnd replace repeat true false null undefined new "
        "typeof while do break continue try catch fs path os util readFileSync "
        "existsSync readdirSync statSync size join basename dirname extname resolve "
        "inspect default name main scripts dependencies async await then Promise all x "
        "y i n a b s k v e d f r utf8 fromEntries toFixed Set Map has get set"
    ),
    "php": names(
        "echo print printf var_dump print_r if else elseif foreach for while as "
        "function fn return array count strlen str_replace substr explode implode "
        "json_encode json_decode date time phpversion PHP_VERSION PHP_EOL PHP_OS "
        "strtoupper strtolower ucfirst trim sprintf md5 sha1 hash base64_encode "
        "base64_decode range array_sum array_keys array_values in_array max min round "
        "floor ceil intdiv abs sqrt pi rand mt_rand random_int true false null new "
        "DateTime format php phpinfo ini_get php_sapi_name php_uname extension_loaded "
        "get_loaded_extensions JSON_PRETTY_PRINT"
    ),
    "lua": names(
        "print string table math os time date clock getenv io read write lines for "
        "while do end function local return if then else elseif not and or in pairs "
        "ipairs tostring tonumber type format rep sub gsub match gmatch find len upper "
        "lower insert concat sort floor ceil sqrt max min huge pi random _VERSION true "
        "false nil i x n s k v a b"
    ),
}
#: Texts that name something dangerous when code looks it up by name.
_DANGEROUS_TEXT = names(
    "constructor __proto__ eval Function child_process process mainModule require "
    "binding net http https http2 tls dgram dns cluster vm worker_threads repl "
    "inspector module v8 wasi system exec shell_exec passthru popen proc_open "
    "pcntl_exec assert unlink call_user_func create_function include execute "
    "loadstring"
)


def judge_code(call: Call, language: str, flow: Flow) -> Iterator[Finding]:
    """Judge code that an interpreter will run.

    :param language: A key of the tables here; anything else always asks.
    """
    if "remote" in flow.tags and MARK.search(flow.text):
        yield call.found(REMOTE_CODE)
    if MARK.search(flow.text):
        yield call.found(DYNAMIC_SCRIPT)
    python = PythonCode(flow.text) if language == "python" else None
    if python is not None and python.parsed:
        texts, harmless = list(python.strings()), python.is_harmless()
    else:
        found = _STRING.finditer(flow.text)
        texts = [next(g for g in match.groups() if g is not None) for match in found]
        harmless = _is_harmless(language, flow.text, texts)
    texts = texts[:_MAX_STRINGS]
    secret = any(is_secret(call, text) for text in texts if len(text) < 4096)
    if secret:
        sends = not harmless and _SENDS.search(flow.text)
        yield call.found(EXFILTRATION if sends else SECRET_READ)
    if harmless:
        return
    for text in texts:
        yield from _texts_as_commands(call, text.strip("| \n"))
        if _REMOVES.search(flow.text) and len(text) < 4096:
            yield from deleted(call, text, recursive=True)
    yield call.found(DYNAMIC_CODE)


def _texts_as_commands(call: Call, text: str) -> Iterator[Finding]:
    """Yield what is forbidden in a text, if the code should run it."""
    for finding in call.shell(text):
        if finding.rule.decision == "deny":
            yield finding


def _is_harmless(language: str, code: str, texts: list[str]) -> bool:
    known = _HARMLESS.get(language)
    if known is None or "(?{" in code or "(??{" in code:
        return False
    if any(text in _DANGEROUS_TEXT or text.startswith("node:") for text in texts):
        return False
    if "`" in code or re.search(r"\b(?:qx|%x)\b", code):
        return False
    if language in ("perl", "ruby", "php") and any(map(_INTERPOLATED.search, texts)):
        return False
    if language == "perl":
        for found in _REGEX.finditer(code):
            if found[1] == "s" and "e" in found[5]:
                return False
        code = _MATCH.sub(" ", _REGEX.sub(" ", code))
    code = _STRING.sub('""', code)
    if re.search(
        r"\[\s*\"\"\s*[+.]|\.\.\s*\"\"\s*\]|\$\w+\s*\(|\$\$|&\$|->\$|<[^<=>]*\|", code
    ):
        return False  # a name is put together, or called through a variable
    if re.search(r"\b(?:process|os|io|require|string)\s*\[", code):
        return False
    declared = set(re.findall(r"\b(?:let|const|var|my|local|for)\s+[$@%]?(\w+)", code))
    declared |= set(re.findall(r"[$@%](\w+)", code)) | set(
        re.findall(r"(\w+)\s*=>", code)
    )
    return all(word in known or word in declared for word in _WORD.findall(code))
