"""A hub on loopback: answers what `huggingface_hub.snapshot_download` asks, nothing else."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GATED = "example/gated"


class _Hub(BaseHTTPRequestHandler):
    """One repository with some files at one commit, `main` being elsewhere; and one gated."""

    files: ClassVar[Mapping[str, bytes]] = {}
    repository: ClassVar[str] = ""
    commit: ClassVar[str] = ""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing: tests read their own output."""

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        if GATED in path:
            self._send(403, b"", {"X-Error-Code": "GatedRepo"}, with_body=with_body)
        elif self.repository in path and f"/{self.commit}" not in path:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"}, with_body=with_body)
        elif path.startswith(f"/api/models/{self.repository}/"):
            listed = self._tree() if "/tree/" in path else self._info()
            body = json.dumps(listed).encode()
            self._send(200, body, {"Content-Type": "application/json"}, with_body=with_body)
        elif path.startswith(f"/{self.repository}/resolve/"):
            self._send_file(path.rpartition("/")[2], with_body=with_body)
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, with_body=with_body)

    def _info(self) -> dict[str, object]:
        names = [{"rfilename": name} for name in self.files]
        return {"id": self.repository, "sha": self.commit, "siblings": names, "private": False}

    def _tree(self) -> list[dict[str, object]]:
        return [
            {"type": "file", "path": name, "size": len(data), "oid": _etag(data)}
            for name, data in self.files.items()
        ]

    def _send_file(self, name: str, *, with_body: bool) -> None:
        data = self.files[name]
        headers = {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": self.commit}
        self._send(200, data, headers, with_body=with_body)

    def _send(
        self, status: int, body: bytes, headers: Mapping[str, str], *, with_body: bool
    ) -> None:
        self.send_response(status)
        for name, value in (*headers.items(), ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def _etag(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@contextmanager
def hub_serving(repository: str, files: Mapping[str, bytes], commit: str = COMMIT) -> Iterator[str]:
    """The URL of a hub with one repository, for the length of a `with` block."""
    served = {"repository": repository, "files": files, "commit": commit}
    handler = type("Hub", (_Hub,), served)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
