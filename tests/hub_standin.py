"""Local stand-ins of the services that isoclone speaks to: the Hugging Face hub, W&B's API.

They answer what the real clients (huggingface_hub, wandb) ask, and keep what was sent. They are no
proof that the real services accept it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[str, str, bytes, str], tuple[int, bytes, dict[str, str]]]


@contextmanager
def served(answer: Answer) -> Iterator[str]:
    """Serve `answer(method, path, body, address)` on this machine; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *words: Any) -> None:
            pass

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            here = f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]
            status, data, headers = answer(self.command, self.path, body, here)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_HEAD = reply

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def as_json(value: Any, status: int = 200) -> tuple[int, bytes, dict[str, str]]:
    return status, json.dumps(value).encode(), {"Content-Type": "application/json"}


class Hub:
    """A hub that keeps files: `files[kind, repository][path]`."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.large: dict[str, bytes] = {}
        self.refuses = 0

    def answer(
        self, method: str, path: str, body: bytes, here: str
    ) -> tuple[int, bytes, dict[str, str]]:
        path = path.partition("?")[0]
        if self.refuses:
            return as_json({"error": "no"}, self.refuses)
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization', 'me')}/{asked['name']}"
            self.files.setdefault((f"{asked.get('type') or 'model'}s", name), {})
            self.private[name] = bool(asked.get("private")) or asked.get("visibility") == "private"
            return as_json({"url": f"{here}/{name}"})
        if path == "/api/validate-yaml":
            assert json.loads(body)["content"].startswith("---\n")
            return as_json({"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/(\w+)/(.+)/preupload/main", path):
            told = [
                {"path": f["path"], "uploadMode": _mode(f["path"]), "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            return as_json({"files": told})
        if path.endswith(".git/info/lfs/objects/batch"):
            asked = [
                {**each, "actions": {"upload": {"href": f"{here}/lfs/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            return as_json({"transfer": "basic", "objects": asked})
        if path.startswith("/lfs/"):
            assert hashlib.sha256(body).hexdigest() == path.rpartition("/")[2]
            self.large[path.rpartition("/")[2]] = body
            return as_json({})
        if found := re.fullmatch(r"/api/(\w+)/(.+)/commit/main", path):
            self._commit(self.files[found[1], found[2]], body)
            url = f"{here}/{found[2]}/commit/{'c' * 40}"
            return as_json({"commitUrl": url, "commitOid": "c" * 40})
        if path == "/api/datasets":
            known = [name for kind, name in self.files if kind == "datasets"]
            return as_json([{"id": name, "sha": "c" * 40} for name in known])
        if found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/(revision|tree)/\w+", path):
            return self._listed(found[1], found[2])
        if found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/\w+/(.+)", path):
            kind = "datasets" if found[1] else "models"
            data = self.files.get((kind, found[2]), {}).get(found[3])
            if data is None:
                return 404, b"", {"X-Error-Code": "EntryNotFound"}
            etag = hashlib.sha256(data).hexdigest()
            return 200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": "c" * 40}
        return as_json({"error": f"{method} {path}"}, 404)

    def _listed(self, name: str, how: str) -> tuple[int, bytes, dict[str, str]]:
        files = self.files.get(("datasets", name))
        if files is None:
            return 404, b"", {"X-Error-Code": "RepoNotFound"}
        if how == "tree":
            rows = [
                {"type": "file", "path": path, "size": len(data), "oid": "0" * 40}
                for path, data in files.items()
            ]
            return as_json(rows)
        return as_json(
            {"id": name, "sha": "c" * 40, "siblings": [{"rfilename": path} for path in files]}
        )

    def _commit(self, files: dict[str, bytes], body: bytes) -> None:
        for line in body.decode().splitlines():
            told = json.loads(line)
            value = told["value"]
            if told["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif told["key"] == "lfsFile":
                files[value["path"]] = self.large[value["oid"]]


def _mode(path: str) -> str:
    return "lfs" if path.endswith((".safetensors", ".parquet")) else "regular"
