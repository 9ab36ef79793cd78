"""The Bot API server's side of HTTP, with its ways to fail."""

from __future__ import annotations

import email.parser
import email.policy
import json
import re
import socket
import struct
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from rustyclaw_telegram.testing.marks import Refusal

if TYPE_CHECKING:
    from rustyclaw_telegram.testing.fake import FakeTelegram

#: ``hang``: no answer; ``slow``: its beginning; ``reset``: the connection breaks,
#: with ``-after`` when the call is done; ``garbage``: a proxy answers.
Trouble = Literal["hang", "reset", "reset-after", "garbage", "slow"]


class Server(ThreadingHTTPServer):
    """Serves each connection in a thread."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    telegram: FakeTelegram

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65_536
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        """Hand out a file."""
        telegram = self.server.telegram
        match = re.fullmatch(r"/file/bot([^/]+)/(.+)", self.path)
        content = dict(telegram.files.values()).get(unquote(match[2]) if match else "")
        if match is None or not telegram.knows(match[1]) or content is None:
            self._refuse(Refusal(404, "Not Found"))
            return
        fault = telegram.fault("download")
        if isinstance(fault, Refusal):
            self._refuse(fault)
        elif fault is not None:
            self._spoil(fault)
        else:
            self._write(200, content, "application/octet-stream")

    def do_POST(self) -> None:
        """Answer a call."""
        telegram = self.server.telegram
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = re.sub("^http://[^/]+", "", self.path)  # as a proxy is asked
        match = re.fullmatch(r"/bot([^/]+)/(\w+)", path)
        if match is None:
            self._refuse(Refusal(404, "Not Found"))
            return
        params, files = _decode(self.headers.get("content-type", ""), body)
        call = telegram.note(match[2], match[1], params, files)
        telegram.watch(call.method, "before")
        fault = telegram.fault(call.method)
        if isinstance(fault, Refusal):
            self._refuse(fault)
            return
        if fault is not None and fault not in ("reset-after", "slow"):
            self._spoil(fault)
            return
        try:
            result = telegram.answer(call)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        telegram.watch(call.method, "after")
        if fault is not None:
            self._spoil(fault)
            return
        self._say(200, {"ok": True, "result": result})
        telegram.watch(call.method, "answered")

    def _refuse(self, refusal: Refusal) -> None:
        answer: dict[str, Any] = {"ok": False, "error_code": refusal.status}
        answer["description"] = refusal.description
        if refusal.parameters:
            answer["parameters"] = refusal.parameters
        self._say(refusal.status, answer)

    def _spoil(self, what: Trouble) -> None:
        """Do not answer as one should."""
        self.close_connection = True
        if what == "garbage":
            self._write(502, b"<html>Bad Gateway</html>", "text/html")
        elif what in ("hang", "slow"):
            if what == "slow":
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 90000\r\n\r\n{")
                self.wfile.flush()
            self.server.telegram.closing.wait()
        else:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def _say(self, status: int, value: Any) -> None:
        self._write(status, json.dumps(value).encode(), "application/json")

    def _write(self, status: int, body: bytes, media_type: str) -> None:
        with suppress(ConnectionError):
            self.send_response(status)
            self.send_header("content-type", media_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _decode(
    content_type: str, body: bytes
) -> tuple[dict[str, Any], dict[str, tuple[str, bytes, str]]]:
    """Return the parameters and the files of a request."""
    if not content_type.startswith("multipart/form-data"):
        return (json.loads(body) if body else {}), {}
    head = f"content-type: {content_type}\r\n\r\n".encode()
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    params: dict[str, Any] = {}
    files: dict[str, tuple[str, bytes, str]] = {}
    for part in parser.parsebytes(head + body).iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        if not isinstance(content, bytes):
            continue
        if (file_name := part.get_filename()) is not None:
            files[name] = (file_name, content, part.get_content_type())
            continue
        text = content.decode()
        try:
            params[name] = json.loads(text)
        except ValueError:
            params[name] = text
    return params, files
