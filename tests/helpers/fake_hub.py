"""A local stand-in for the Hugging Face hub."""

import json
import threading
from base64 import b64decode
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"
NAME = "someone/tiny-bert"


class FakeHub:
    """The part of the Hugging Face hub that trf needs, on the loopback interface.

    Attributes:
        repositories: The contents of the files of each repository.
        revisions: Names of commits. Each is the latest one, whose own name is `sha`.
        gated: Names of gated models.
        served: Paths of the files that were downloaded.
        cut: A file whose download breaks off half-way.
        status: The status that it answers every request with, if it is set.
        private: Names of private repositories.
        owners: Namespaces that the user may write to, the user's own first.
        commits: Revision and message of each commit.
        uploaded: Contents that were uploaded apart from commits, by their SHA-256.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.revisions = {"main", "v1", SHA}
        self.gated: set[str] = set()
        self.served: list[str] = []
        self.cut: str | None = None
        self.status: int | None = None
        self.sha = SHA
        self.private: set[str] = set()
        self.owners = ["me", "team"]
        self.commits: list[tuple[str, str]] = []
        self.uploaded: dict[str, bytes] = {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.answer(self, with_body=False)

            def do_GET(self) -> None:
                hub.answer(self, with_body=True)

            def do_POST(self) -> None:
                hub.answer(self, with_body=True)

            def do_PUT(self) -> None:
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
        path = urlsplit(request.path).path.strip("/")
        sent = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        status, headers, body = (
            self.respond(path) if request.command in ("GET", "HEAD") else self.take(path, sent)
        )
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
        if path == "api/whoami-v2":
            user, *teams = self.owners
            return _json({"name": user, "orgs": [{"name": each} for each in teams]})
        is_api = path.startswith("api/")
        for start in ("api/models/", "api/datasets/", "datasets/"):
            path = path.removeprefix(start)
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
            return 200, {"ETag": etag, "X-Repo-Commit": self.sha}, files[file]
        answer: object = {
            "id": name,
            "sha": self.sha,
            "private": name in self.private,
            "siblings": [{"rfilename": n} for n in files],
        }
        if verb == "tree":
            answer = [
                {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
                for path, content in files.items()
            ]
        return _json(answer)

    def take(self, path: str, sent: bytes) -> tuple[int, dict[str, str], bytes]:
        """Answer a request that changes something."""
        if self.status is not None:
            return self.status, {}, b"{}"
        if path.startswith("upload/"):
            self.uploaded[path.rpartition("/")[2]] = sent
            return _json({})
        values = [json.loads(line) for line in sent.splitlines()]
        if path == "api/repos/create":
            return self._create(values[0])
        if path == "api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        if path.endswith("/info/lfs/objects/batch"):
            return _json({"transfer": "basic", "objects": self._upload_actions(values[0])})
        name, verb, revision = path.removeprefix("api/models/").rsplit("/", 2)
        if verb == "branch":
            self.revisions.add(revision)
            return _json({})
        if revision not in self.revisions:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if verb == "preupload":
            modes = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                    "oid": self._git_id(name, each["path"]),
                }
                for each in values[0]["files"]
            ]
            return _json({"files": modes})
        return self._commit(name, revision, values)

    def _create(self, wanted: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        owner = wanted["organization"] or self.owners[0]
        name = f"{owner}/{wanted['name']}"
        if owner not in self.owners:
            return 403, {}, b"{}"
        if name in self.repositories:
            return _json({"url": f"{self.url}/{name}"}, 409)
        self.repositories[name] = {".gitattributes": b""}
        # Older versions of huggingface_hub send "private".
        if wanted.get("private") or wanted.get("visibility") == "private":
            self.private.add(name)
        return _json({"url": f"{self.url}/{name}"})

    def _upload_actions(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {**each, "actions": {"upload": {"href": f"{self.url}/upload/{each['oid']}"}}}
            for each in wanted["objects"]
        ]

    def _git_id(self, name: str, path: str) -> str | None:
        """What the client computes of a file to find out whether it has changed."""
        content = self.repositories[name].get(path)
        if content is None:
            return None
        if path.endswith(".safetensors"):
            return sha256(content).hexdigest()
        return sha1(f"blob {len(content)}\0".encode() + content).hexdigest()

    def _commit(
        self, name: str, revision: str, lines: list[dict[str, Any]]
    ) -> tuple[int, dict[str, str], bytes]:
        files = self.repositories[name]
        for key, value in ((line["key"], line["value"]) for line in lines):
            match key:
                case "header":
                    self.commits.append((revision, value["summary"]))
                case "file":
                    files[value["path"]] = b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.uploaded[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        self.sha = sha1(str(self.commits).encode()).hexdigest()
        self.revisions.add(self.sha)
        return _json({"commitUrl": f"{self.url}/{name}/commit/{self.sha}", "commitOid": self.sha})


def _json(value: object, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()
