"""A small server of figures, for this machine only."""

import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, Self

from ann import validation
from ann.monitor import exposition, page
from ann.monitor.ledger import Report

_HOST = "127.0.0.1"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Watched(Protocol):
    """What a server shows: a ``Monitor``."""

    name: str

    def report(self) -> Report:
        """Return how things are."""


class Server:
    """Serves ``/metrics`` in Prometheus' format, and ``/``, a page for people.

    Parameters
    ----------
    monitors : sequence of Monitor
        With names of their own.
    port : int
        0 takes any that is free.
    """

    def __init__(self, monitors: Sequence[Watched], port: int = 9464) -> None:
        number = validation.integer(port, "port", 0, 65535)
        names = [monitor.name for monitor in monitors]
        if len(set(names)) < len(names):
            raise ValueError(f"monitors must have names of their own, got {names}")
        self._server = ThreadingHTTPServer((_HOST, number), _handler(list(monitors)))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="ann-monitor-http", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{_HOST}:{self._server.server_address[1]}/"

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _handler(monitors: list[Watched]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reports = [(monitor.name, monitor.report()) for monitor in monitors]
            if self.path == "/metrics":
                self._answer(exposition.CONTENT_TYPE, exposition.text(reports))
            elif self.path == "/":
                self._answer("text/html; charset=utf-8", page.html(reports))
            else:
                self.send_error(404)

        def _answer(self, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", _POLICY)
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet: a scrape every few seconds is no news."""

    return Handler
