"""A gate before an HTTP server: open, shut (nobody answers), or refusing all that would write.

    python tests/faults/gate.py TARGET_PORT FILE

It says where it is. The file holds one of these words; it is read anew for each request.
"""

from __future__ import annotations

import http.client
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TARGET, STATE = int(sys.argv[1]), Path(sys.argv[2])
REFUSAL = b"<Error><Code>AccessDenied</Code><Message>no writes today</Message></Error>"


class Gate(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def pass_on(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        state = STATE.read_text()
        if state == "shut":
            self.close_connection = True
            return
        if state == "refusing" and self.command not in ("GET", "HEAD"):
            self.answer(403, [("Content-Type", "application/xml")], REFUSAL)
            return
        server = http.client.HTTPConnection("127.0.0.1", TARGET, timeout=60)
        server.request(self.command, self.path, data, dict(self.headers))
        told = server.getresponse()
        self.answer(told.status, told.getheaders(), told.read())
        server.close()

    def answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        self.send_response_only(status)
        kept = {name: value for name, value in headers if name.lower() not in HOP}
        if self.command != "HEAD":
            kept["Content-Length"] = str(len(data))
        else:
            kept |= {n: v for n, v in headers if n.lower() == "content-length"}
        for name, value in kept.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on

    def log_message(self, *args: object) -> None:
        """Say nothing."""


HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")

if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gate)
    print(f"Running on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
