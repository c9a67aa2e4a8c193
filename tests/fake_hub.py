"""A Hugging Face hub of one machine: as much of its web interface as downloading a model needs, and its refusals."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "somebody/captions"


class FakeHub:
    """Serves the files of one folder as `REPOSITORY`; any other repository does not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refusal: int | None = None
        """A status that every request is answered with."""
        self.downloaded: list[str] = []
        self.endpoint = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of one request."""
        if self.refusal is not None:
            return self.refusal, {}, b"{}"
        missing = 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        parts = unquote(urlsplit(path).path).strip("/").split("/")
        if parts[:1] == ["api"]:
            if parts[2:4] != REPOSITORY.split("/"):
                return missing
            if parts[4] == "revision" and parts[5] not in ("main", "v1", COMMIT):
                return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
            return 200, {}, json.dumps(self._about() if parts[4] == "revision" else self._tree()).encode()
        if parts[:2] != REPOSITORY.split("/"):
            return missing
        content = (self.folder / parts[-1]).read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        return 200, headers, content

    def _about(self) -> dict[str, object]:
        siblings = [{"rfilename": path.name} for path in sorted(self.folder.iterdir())]
        return {"id": REPOSITORY, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}

    def _tree(self) -> list[dict[str, object]]:
        return [
            {
                "type": "file",
                "path": path.name,
                "size": path.stat().st_size,
                "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
            }
            for path in sorted(self.folder.iterdir())
        ]


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """The hub at `hub.endpoint` while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, body = hub.answer(self.path)
            if self.command == "GET" and "/resolve/" in self.path:
                hub.downloaded.append(self.path.rpartition("/")[2])
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = respond  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
