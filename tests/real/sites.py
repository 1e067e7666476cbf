"""A site on an origin of its own, for the browser of these tests."""

from __future__ import annotations

import http.server
import json
import queue
import threading
from typing import Any

PAGE = b'<!doctype html><meta charset="utf-8"><title>shop</title><script src="/bundle.js"></script>'


class Site:
    """The shop's site on an origin of its own; ``results`` gets what its pages report."""

    def __init__(self) -> None:
        self.script = b""
        self.results: queue.Queue[dict[str, Any]] = queue.Queue()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                script = self.path == "/bundle.js"
                self._answer(site.script if script else PAGE, "text/javascript" if script else "text/html")

            def do_POST(self) -> None:
                site.results.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self._answer(b"{}", "application/json")

            def _answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("content-type", f"{kind}; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
