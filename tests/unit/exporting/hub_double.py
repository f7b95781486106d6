"""A model hub on loopback that takes pushes: repositories, large-file storage, commits."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "hf_" + "k" * 34
_LARGE = (".safetensors", ".gguf", "tokenizer.json")


@dataclass
class Repository:
    """Files by name, each commit of them, and who may see it."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{}])

    @property
    def head(self) -> str:
        return commit_id(len(self.commits) - 1)


def commit_id(number: int) -> str:
    return hashlib.sha1(str(number).encode()).hexdigest()


class PushHub:
    """Answers as the hub does to its own library; the faults to plant are attributes."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.uploads: list[str] = []
        self.drop_uploads: set[int] = set()
        """Numbers of uploads whose connection ends without an answer."""
        self.makes_public = False
        self.role = "write"
        self.spoils: str | None = None
        """The name of a file that a commit stores with another byte."""
        self.before_commit: Any = lambda: None
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                double.answer(self, b"")

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_POST(self) -> None:
                double.answer(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def do_PUT(self) -> None:
                self.do_POST()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        path = request.path.partition("?")[0]
        if path.startswith("/lfs/") and request.command == "PUT":
            self._store(request, path.removeprefix("/lfs/"), body)
        elif request.headers.get("Authorization") != f"Bearer {KEY}":
            _send(request, 401, {"error": "Invalid username or password."})
        elif path == "/api/whoami-v2":
            access = {"accessToken": {"role": self.role}}
            _send(request, 200, {"name": "me", "orgs": [{"name": "team"}], "auth": access})
        elif path == "/api/validate-yaml":
            _send(request, 200, {"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self._create(request, json.loads(body))
        elif path.startswith("/api/models/"):
            self._repository(request, path.removeprefix("/api/models/"), body)
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._batch(request, json.loads(body))
        elif "/resolve/" in path:
            self._resolve(request, path)
        else:
            _send(request, 200, {})

    def _create(self, request: BaseHTTPRequestHandler, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] != "me":
            _send(request, 403, {"error": "You don't have the rights to create a model here."})
            return
        private = asked.get("visibility") == "private" and not self.makes_public
        self.repositories.setdefault(name, Repository(private))
        _send(request, 200, {"url": f"{self.url}/{name}"})

    def _repository(self, request: BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        owner, name, *rest = path.split("/")
        found = self.repositories.get(f"{owner}/{name}")
        if found is None:
            _send(request, 404, {"error": "no such"}, {"X-Error-Code": "RepoNotFound"})
        elif rest[:1] == ["preupload"]:
            names = [one["path"] for one in json.loads(body)["files"]]
            modes = [
                {"path": n, "uploadMode": "lfs" if n.endswith(_LARGE) else "regular", "shouldIgnore": False}
                for n in names
            ]  # fmt: skip
            _send(request, 200, {"files": modes})
        elif rest[:1] == ["commit"]:
            self._commit(request, f"{owner}/{name}", body)
        else:
            files = found.files
            if rest[:1] == ["revision"] and rest[1] != "main":
                numbers = {commit_id(i): i for i in range(len(found.commits))}
                files = found.commits[numbers[rest[1]]]
            listed = [_sibling(n, content) for n, content in sorted(files.items())]
            identity = f"{owner}/{name}"
            _send(request, 200, {
                "id": identity, "modelId": identity, "sha": found.head, "private": found.private,
                "siblings": listed, "tags": [], "downloads": 0,
            })  # fmt: skip

    def _batch(self, request: BaseHTTPRequestHandler, asked: dict[str, Any]) -> None:
        objects = []
        for one in asked["objects"]:
            known = one["oid"] in self.stored
            action = {"upload": {"href": f"{self.url}/lfs/{one['oid']}"}}
            objects.append({**one, **({} if known else {"actions": action})})
        _send(request, 200, {"transfer": "basic", "objects": objects})

    def _store(self, request: BaseHTTPRequestHandler, oid: str, body: bytes) -> None:
        self.uploads.append(oid)
        if len(self.uploads) in self.drop_uploads:
            _send(request, 507, {"error": "no room now"})
            return
        assert hashlib.sha256(body).hexdigest() == oid
        self.stored[oid] = body
        _send(request, 200, {})

    def _commit(self, request: BaseHTTPRequestHandler, repo: str, body: bytes) -> None:
        self.before_commit()
        found = self.repositories[repo]
        lines = [json.loads(line) for line in body.split(b"\n") if line]
        if lines[0]["value"].get("parentCommit") not in (None, found.head):
            _send(request, 412, {"error": "A commit has happened since. Please refresh."})
            return
        files = dict(found.files)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.stored[value["oid"]]
            else:
                del files[value["path"]]
        if self.spoils is not None:
            files[self.spoils] = bytes([files[self.spoils][0] ^ 1]) + files[self.spoils][1:]
        found.files = files
        found.commits.append(files)
        url = f"{self.url}/{repo}/commit/{found.head}"
        _send(request, 200, {"commitUrl": url, "commitOid": found.head})

    def _resolve(self, request: BaseHTTPRequestHandler, path: str) -> None:
        repo, _, rest = path.lstrip("/").partition("/resolve/")
        found = self.repositories[repo]
        content = found.files[rest.partition("/")[2]]
        headers = {"X-Repo-Commit": found.head, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        _send(request, 200, content, headers)


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    large = {
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "pointerSize": 130,
    }
    extra = {"lfs": large, "blobId": "0" * 40} if name.endswith(_LARGE) else {"blobId": blob}
    return {"rfilename": name, "size": len(content), **extra}


def _send(
    request: BaseHTTPRequestHandler,
    status: int,
    content: Any,
    headers: dict[str, str] | None = None,
) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
