"""Reads inline Python: harmless is what has no way to run, write or send."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator

from rustyclaw_exec.values import names

#: Modules that run programs or code, open connections or reach into the interpreter.
_MODULES = names(
    "subprocess pty ctypes cffi socket socketserver ssl http urllib requests httpx "
    "aiohttp httplib2 ftplib smtplib telnetlib poplib imaplib xmlrpc paramiko fabric "
    "pexpect sh plumbum multiprocessing runpy code codeop importlib imp pkgutil "
    "builtins pickle marshal shelve dill cloudpickle joblib gc posix nt "
    "_posixsubprocess _thread zipimport distutils setuptools pip ensurepip webbrowser "
    "pdb timeit trace cProfile profile doctest antigravity mmap resource pwd fcntl "
    "termios boto3 docker git asyncssh websocket websockets operator inspect types "
    "signal asyncio concurrent sys os shutil pathlib tempfile"
)
#: What may be used of modules that are half dangerous.
_PARTS = {
    "os": names(
        "getcwd listdir path sep linesep name cpu_count getpid uname walk scandir stat "
        "getenv environ mkdir makedirs get_terminal_size curdir extsep pathsep fspath "
        "access isatty getlogin cpu_count"
    ),
    "sys": names(
        "argv version version_info path stdin stdout stderr exit executable platform "
        "maxsize getsizeof byteorder implementation prefix base_prefix flags "
        "getrecursionlimit float_info int_info hexversion getdefaultencoding"
    ),
    "shutil": names("which disk_usage get_terminal_size"),
    "pathlib": names("Path PurePath"),
    "tempfile": names("gettempdir mkdtemp TemporaryDirectory NamedTemporaryFile"),
    "operator": names("itemgetter add mul"),
    "signal": names("Signals SIGTERM SIGINT SIGKILL"),
    "urllib": names("parse"),
    "importlib": names("metadata"),
    "asyncio": names("run sleep gather"),
}
#: Names and attributes that are dangerous wherever they come from.
_NAMES = names(
    "eval exec compile __import__ getattr setattr delattr globals locals vars "
    "breakpoint __builtins__ system popen Popen spawn fork forkpty kill killpg unlink "
    "rmdir removedirs rmtree rename chmod chown symlink_to hardlink_to write_text "
    "write_bytes call check_call check_output getoutput getstatusoutput startfile "
    "urlopen urlretrieve dlopen CDLL import_module load_module exec_module attrgetter "
    "methodcaller modules remove_dir_all"
)
_DUNDERS = names(
    "__version__ __name__ __file__ __doc__ __init__ __main__ __len__ __repr__"
)


class PythonCode:
    """A piece of Python and what can be said about it without running it.

    :param text: The source; code that does not parse is not harmless.
    """

    def __init__(self, text: str) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._tree: ast.AST | None = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self._tree = None
        self._aliases: dict[str, str] = {}

    @property
    def parsed(self) -> bool:
        """Whether the text is Python at all."""
        return self._tree is not None

    def is_harmless(self) -> bool:
        """Return whether nothing in the code can run, write or send anything."""
        if self._tree is None:
            return False
        nodes = list(ast.walk(self._tree))
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom) and not self._import(node):
                return False
        bases = {id(n.value) for n in nodes if isinstance(n, ast.Attribute)}
        return all(self._node(node, id(node) in bases) for node in nodes)

    def strings(self) -> Iterator[str]:
        """Yield each text in the code, and each list of texts as a command line."""
        if self._tree is None:
            return
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.List | ast.Tuple | ast.Call):
                items = node.args if isinstance(node, ast.Call) else node.elts
                texts = [i.value for i in items if isinstance(i, ast.Constant)]
                if len(texts) == len(items) > 1:
                    yield " ".join(_quoted(text) for text in texts)

    # --- One node -------------------------------------------------------------

    def _import(self, node: ast.Import | ast.ImportFrom) -> bool:
        """Note what names an import binds; return whether it may stand."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, _, rest = alias.name.partition(".")
                part = rest.partition(".")[0]
                if part and part in _PARTS.get(top, ()):
                    continue
                if top in _MODULES and top not in _PARTS:
                    return False
                self._aliases[alias.asname or top] = top
            return True
        top, _, rest = (node.module or "").partition(".")
        allowed = _PARTS.get(top)
        if allowed is None:
            return top not in _MODULES
        if rest:
            return rest.partition(".")[0] in allowed
        return all(alias.name in allowed for alias in node.names)

    def _node(self, node: ast.AST, is_base: bool) -> bool:
        if isinstance(node, ast.Name):
            if node.id in self._aliases and self._aliases[node.id] in _MODULES:
                return is_base  # a dangerous module handed on under another name
            return node.id not in _NAMES and _plain(node.id)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        return True

    def _attribute(self, node: ast.Attribute) -> bool:
        base = node.value.id if isinstance(node.value, ast.Name) else ""
        module = self._aliases.get(base, "")
        if module in _MODULES and module in _PARTS:
            return node.attr in _PARTS[module]
        if node.attr.startswith(("exec", "spawn", "popen")):
            return False
        return node.attr not in _NAMES and _plain(node.attr)

    def _call(self, node: ast.Call) -> bool:
        """Allow ``open`` only to read, and ``type`` only to look."""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if isinstance(node.func, ast.Name):
            name = node.func.id
        if name == "type":
            return len(node.args) == 1
        if name != "open":
            return True
        given = {keyword.arg for keyword in node.keywords}
        if given & {None, "opener"}:
            return False
        modes = [k.value for k in node.keywords if k.arg == "mode"] + node.args[1:2]
        if isinstance(node.func, ast.Attribute):  # `Path.open(mode)`
            modes += node.args[:1]
        return all(map(_reads, modes))


def _reads(mode: ast.expr) -> bool:
    """Return whether a mode of ``open`` is known and only reads."""
    text = mode.value if isinstance(mode, ast.Constant) else None
    return isinstance(text, str) and not set(text) & set("wax+")


def _plain(name: str) -> bool:
    return not (name.startswith("__") and name.endswith("__")) or name in _DUNDERS


def _quoted(value: object) -> str:
    """Quote a word so that a shell reads it back unchanged."""
    text = str(value)
    if text and all(c.isalnum() or c in "-_./=:,+@%~*" for c in text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"
