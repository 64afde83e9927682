"""The viewer's web server: this machine only, a secret in the address, and listed files only.

A request is looked up in a table; no part of it is ever used as a path of the disk. Other programs
of this machine lack the token. A web page that points its own name at this machine is refused by
the Host header, and the page itself may load nothing from elsewhere.
"""

from __future__ import annotations

import gzip
import hmac
import json
import re
import secrets
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from crossview.core.errors import UserError, fail
from crossview.reporting.viewer.gallery import Gallery

HOST = "127.0.0.1"

NAMES = {HOST, "localhost"}
"""Names of this machine that the Host header may have, with any port: ssh forwards from another."""

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript"}

STATIC = {"": "viewer.html"} | {
    name: name for name in ("viewer.css", "viewer.js", "panel.js", "layers.js", "niivue.umd.js")
}
"""Shipped files by the last part of their address."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self' data: blob:; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

Answer = tuple[str, bytes]
"""Type and compressed content of an answer."""


class Server(ThreadingHTTPServer):
    """A server of one gallery on 127.0.0.1.

    Args:
        gallery: The cases.
        port: The port, 0 for any free one.

    Raises:
        UserError: If the port is taken or not allowed.
    """

    daemon_threads = True

    def __init__(self, gallery: Gallery, port: int = 0) -> None:
        self.gallery, self.token = gallery, secrets.token_urlsafe(18)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            fail(
                "the viewer can't use this port",
                f"--port {port}",
                found=getattr(error, "strerror", None) or error,
                expected="a free port from 1024 to 65535",
                fix="choose another --port, or leave it out for any free one",
            )

    def server_bind(self) -> None:
        # Without the look-up of this machine's name, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that closed its connection; print other errors."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def answer(self, path: str) -> Answer | None:
        """Return the answer to a path, or None for one that is not listed or lacks the token."""
        token, _, rest = path.removeprefix("/").partition("/")
        # The comparison takes as long for a token that is nearly right.
        if not hmac.compare_digest(token.encode(), self.token.encode()) or path[1:] == token:
            return None
        if rest in STATIC:
            name = STATIC[rest]
            return TYPES[name[name.rindex(".") :]], shipped(name)
        if rest == "gallery.json":
            return _json(self.gallery.facts())
        if rest == "progress.json":
            return _json(vars(self.gallery.waiting))
        return self._of_case(rest)

    def _of_case(self, rest: str) -> Answer | None:
        """Return the facts of a case, <number>.json, or a layer, <number>/<number>.nii."""
        found = re.fullmatch(r"([0-9]{1,9})(?:\.json|/([0-9]{1,3})\.nii)", rest)
        if found is None or int(found[1]) >= len(self.gallery.cases):
            return None
        try:
            case = self.gallery.opened(int(found[1]))
        except UserError as error:
            return _json({"error": str(error)}) if found[2] is None else None
        if found[2] is None:
            return _json(case.facts())
        layers = dict(enumerate(case.layers))
        layer = layers.get(int(found[2]))
        return None if layer is None else ("application/octet-stream", layer.volume)


def shipped(name: str) -> bytes:
    """Return a file of the page, compressed."""
    content = (files("crossview.reporting.viewer") / "static" / name).read_bytes()
    return gzip.compress(content, 1, mtime=0)


def _json(content: Any) -> Answer:
    return "application/json", gzip.compress(json.dumps(content).encode(), 1, mtime=0)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of listed addresses, and 404 to everything else."""

    server: Server
    protocol_version, server_version, sys_version = "HTTP/1.1", "crossview", ""
    timeout = 60

    def do_GET(self) -> None:
        host = re.sub(r":[0-9]+$", "", self.headers.get("Host", ""))
        answer = self.server.answer(self.path) if host in NAMES else None
        if answer is None:
            self._send(404, "text/plain", gzip.compress(MISSING.encode(), 1))
        else:
            self._send(200, *answer)

    do_HEAD = do_GET  # noqa: N815

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Encoding": "gzip", **HEADERS}
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Print no line per request."""


MISSING = "Nothing is shown here. Open the whole address that crossview view has printed.\n"
