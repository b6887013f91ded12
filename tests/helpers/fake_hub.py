"""A local stand-in for the Hugging Face hub."""

import json
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"
NAME = "someone/tiny-bert"


class FakeHub:
    """The part of the Hugging Face hub that a download needs, on the loopback interface.

    Attributes:
        repositories: The contents of the files of each repository.
        revisions: Names of the only commit.
        gated: Names of gated models.
        served: Paths of the files that were downloaded.
        cut: A file whose download breaks off half-way.
        status: The status that it answers every request with, if it is set.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.revisions = {"main", "v1", SHA}
        self.gated: set[str] = set()
        self.served: list[str] = []
        self.cut: str | None = None
        self.status: int | None = None
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.answer(self, with_body=False)

            def do_GET(self) -> None:
                hub.answer(self, with_body=True)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def add(self, name: str, directory: Path, **more: bytes) -> None:
        files = {path.name: path.read_bytes() for path in directory.iterdir()}
        self.repositories[name] = files | more

    def stop(self) -> None:
        if self.thread.is_alive():
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, *, with_body: bool) -> None:
        status, headers, body = self.respond(urlsplit(request.path).path.strip("/"))
        request.send_response(status)
        headers["Content-Length"] = str(len(body))
        for key, value in headers.items():
            request.send_header(key, value)
        request.end_headers()
        if with_body and self.cut and request.path.endswith(self.cut):
            body = body[: len(body) // 2]
        if with_body:
            request.wfile.write(body)

    def respond(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if self.status is not None:
            return self.status, {}, b"{}"
        is_api = path.startswith("api/models/")
        path = path.removeprefix("api/models/")
        name = "/".join(path.split("/")[:2])
        verb, _, rest = path.removeprefix(name).strip("/").partition("/")
        if name not in self.repositories:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if name in self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b"{}"
        files = self.repositories[name]
        revision, _, file = rest.partition("/")
        if verb and revision not in self.revisions:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if not is_api:
            if file not in files:
                return 404, {"X-Error-Code": "EntryNotFound"}, b""
            self.served.append(file)
            etag = f'"{sha256(files[file]).hexdigest()}"'
            return 200, {"ETag": etag, "X-Repo-Commit": SHA}, files[file]
        answer: object = {"id": name, "sha": SHA, "siblings": [{"rfilename": n} for n in files]}
        if verb == "tree":
            answer = [
                {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
                for path, content in files.items()
            ]
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()
