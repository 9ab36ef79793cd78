"""The files of the page, and the answer to each request for one.

All files lie in one folder whose name is a hash of their content, so that a browser
may keep them for ever: a new release is a new folder. Only the page itself, which
names that folder, is asked for anew each time.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from rustyclaw import WebRequest, WebResponse, __version__

#: Nothing inline, nothing from elsewhere, no text that becomes markup.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self' ws: wss:",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "vary": "accept-encoding",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
#: First parts of paths that programs ask for; a page there would hide an error.
_NOT_PAGES = frozenset(
    {"api", "avatar", "health", "hooks", "metrics", "ready", "rpc", "tools", "v1"}
    | {"assets", "webhooks", "ws", "__openclaw__"}
)


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    packed: bytes
    media_type: str
    tag: str

    @classmethod
    def of(cls, name: str, body: bytes) -> _File:
        media_type = _TYPES[name.rpartition(".")[2]]
        tag = f'"{sha256(body).hexdigest()[:16]}"'  # weak: packed or not is the same
        return cls(body, gzip.compress(body, 9, mtime=0), media_type, tag)


class Site:
    """The page below a base path.

    :param base: Begins and ends with ``/``.
    :param sources: The files by path; ``index.html`` is the page. By default those
        of this package.
    """

    def __init__(self, base: str, sources: Mapping[str, bytes] | None = None) -> None:
        self._base = base
        sources = sources or dict(_packaged(files(__package__) / "web"))
        version = __version__.encode()
        self._page = sources["index.html"].replace(b"@version", version)
        digest = sha256()
        for name, body in sorted(sources.items()):
            digest.update(f"{name}\0{len(body)}\0".encode() + body)
        self._folder = f"assets/{digest.hexdigest()[:16]}/"
        self._files = {
            self._folder + name: _File.of(name, body)
            for name, body in sources.items()
            if name != "index.html"
        }
        self._pages = [self._page_at(depth) for depth in range(9)]

    def _page_at(self, depth: int) -> _File:
        """Return the page for a path so many folders down; its links are relative.

        So it works behind a proxy that takes a prefix away.
        """
        folder = ("../" * depth or "./") + self._folder
        return _File.of("index.html", self._page.replace(b"@assets/", folder.encode()))

    def answer(self, request: WebRequest) -> WebResponse:
        """Return a file, the page, or that there is none."""
        path = request.path.removeprefix(self._base)
        if file := self._files.get(path):
            return _sent(file, request, "public, max-age=31536000, immutable")
        depth = path.count("/")
        if depth < len(self._pages) and self._is_page(path, request):
            return _sent(self._pages[depth], request, "no-cache")
        return problem(404, "Not Found")

    def _is_page(self, path: str, request: WebRequest) -> bool:
        """Return whether a path is one that a person would type or follow."""
        if path in ("", "index.html"):
            return True
        first, _, _ = path.partition("/")
        is_file = "." in path.rpartition("/")[2]
        wants_page = "text/html" in request.headers.get("accept", "")
        return wants_page and not is_file and first.lower() not in _NOT_PAGES


def _packaged(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _packaged(entry, f"{prefix}{entry.name}/")
        elif entry.name.rpartition(".")[2] in _TYPES:
            yield prefix + entry.name, entry.read_bytes()


def _sent(file: _File, request: WebRequest, caching: str) -> WebResponse:
    headers = {**_HEADERS, "cache-control": caching, "etag": f"W/{file.tag}"}
    known = request.headers.get("if-none-match", "")
    if file.tag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return WebResponse(status=304, headers=headers)
    headers["content-type"] = file.media_type
    accepted = request.headers.get("accept-encoding", "")
    if "gzip" in (coding.partition(";")[0].strip() for coding in accepted.split(",")):
        headers["content-encoding"] = "gzip"
        return WebResponse(body=file.packed, headers=headers)
    return WebResponse(body=file.body, headers=headers)


def problem(
    status: int, text: str, headers: Mapping[str, str] | None = None
) -> WebResponse:
    """Return an answer for a program that asked for what is not here."""
    plain = {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store"}
    fixed = {**_HEADERS, **plain, **(headers or {})}
    return WebResponse(status=status, body=text.encode(), headers=fixed)
