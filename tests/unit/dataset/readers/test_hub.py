"""Datasets of a hub: their commit is pinned, and what is wrong is said with a hint.

The hub is a server on loopback. The library reads `HF_ENDPOINT` when it is imported, so that each test asks
in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ftsdk.dataset import Dataset
from ftsdk.dataset.readers.hub import HubName, parse
from ftsdk.errors import DatasetError, UsageError

pytest.importorskip("datasets", reason="needs the extra `hub`")

COMMIT = "c0ffee" + "0" * 34
CARD = """---
configs:
- config_name: main
  data_files:
  - {split: train, path: data/train.jsonl}
  - {split: test, path: data/test.jsonl}
---
"""


def row(number: int) -> bytes:
    return json.dumps({"instruction": f"ask {number}", "input": "", "output": f"say {number}"}).encode() + b"\n"  # fmt: skip


FILES = {"README.md": CARD.encode(), "data/train.jsonl": b"".join(map(row, range(30))), "data/test.jsonl": row(99)}  # fmt: skip


class Hub(BaseHTTPRequestHandler):
    """Answers like a hub with the dataset `org/tiny`, whose branch `main` is at `COMMIT`."""

    asked: list[str]

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        self.asked.append(path)
        status, data = self.found(path)
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if "/resolve/" in path else "application/json")  # fmt: skip
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound" if "org/tiny" in path else "RepoNotFound")  # fmt: skip
        self.end_headers()
        if body:
            self.wfile.write(data)

    def found(self, path: str) -> tuple[int, bytes]:
        if "/resolve/" in path and "org/tiny" in path:
            data = FILES.get(path.rsplit(f"/resolve/{COMMIT}/", maxsplit=1)[-1])
            return (404, b"{}") if data is None else (200, data)
        if path.startswith("/api/datasets/org/tiny/tree/"):
            folder = path.split(COMMIT)[1].lstrip("/")
            names = [name for name in FILES if name.startswith(folder)]
            return 200, json.dumps(
                [
                    {
                        "type": "file",
                        "oid": hashlib.sha1(FILES[n]).hexdigest(),
                        "size": len(FILES[n]),
                        "path": n,
                    }
                    for n in names
                ]
            ).encode()
        if path.startswith("/api/datasets/org/tiny"):
            info = {"_id": "1", "id": "org/tiny", "sha": COMMIT, "siblings": [{"rfilename": n} for n in FILES]}  # fmt: skip
            return 200, json.dumps(info).encode()
        return 404, b"{}"


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run(code: str, address: str, folder: Path) -> Any:
    """What the code prints as JSON, in a process that has the hub at this address."""
    own = {"HF_ENDPOINT": address, "HF_HOME": str(folder / "hf"), "FTSDK_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **own}, cwd=folder,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.split("\n")[-2])


JOB = """
import json, ftsdk
from ftsdk.dataset import Dataset, validate
name = "hf:org/tiny?config=main&split=train"
report = validate(name, near_duplicates=False)
job = ftsdk.create_job(dataset=name, provider="fake", model="fake-1")
client = ftsdk.Client()
print(json.dumps({"rows": report.rows, "format": report.format, "counts": report.counts, "name": Dataset.load(name).name,
                  "test": Dataset.load("hf:org/tiny?config=main&split=test").rows,
                  "journal": client.get_job(job.id).snapshot.model_dump_json()}))
"""


def test_a_dataset_of_a_hub_is_read_at_its_commit(hub: str, tmp_path: Path) -> None:
    found = run(JOB, hub, tmp_path)
    assert (found["rows"], found["format"], found["counts"]) == (30, "instruction", {})
    assert found["test"] == 1
    assert found["name"] == f"hf:org/tiny?config=main&split=train&revision={COMMIT}"
    assert found["name"] in json.dumps(json.loads(found["journal"]))
    files = [path for path in Hub.asked if path.endswith(".jsonl")]
    assert files
    assert all(f"/resolve/{COMMIT}/" in path for path in files)


ERRORS = """
import json, sys
from ftsdk.dataset import Dataset
from ftsdk.errors import DatasetError
found = {}
for name in sys.argv[1:] or NAMES:
    try:
        found[name] = Dataset.load(name).rows
    except DatasetError as error:
        found[name] = [error.report.faults[0].code, error.what, error.hint]
print(json.dumps(found))
"""


def test_what_a_hub_does_not_have_is_named(hub: str, tmp_path: Path) -> None:
    names = ["hf:org/none", "hf:org/tiny?split=dev", "hf:org/tiny?config=other"]
    found = run(f"NAMES = {names}\n{ERRORS}", hub, tmp_path)
    assert [found[name][0] for name in names] == ["FT001"] * 3
    assert "no dataset org/none" in found[names[0]][1]
    assert "train" in found[names[1]][1]
    assert "main" in found[names[2]][1]


def test_a_hub_that_cannot_be_reached_is_an_error_with_a_hint(tmp_path: Path) -> None:
    names = ["hf:org/tiny"]
    found = run(f"NAMES = {names}\n{ERRORS}", "http://127.0.0.1:9", tmp_path)
    code, what, hint = found["hf:org/tiny"]
    assert (code, "cannot be reached" in what) == ("FT003", True)
    assert "give its file" in hint


def test_names_of_a_hub() -> None:
    assert parse("hf:tatsu-lab/alpaca") == HubName("tatsu-lab/alpaca")
    found = parse("hf:openai/gsm8k?config=main&split=test&revision=abc")
    assert found == HubName("openai/gsm8k", "test", "main", "abc")
    assert parse(str(found)) == found
    for wrong in ("hf:", "hf:a/b/c", "hf:a b", "hf:a/b?splits=test", "hf:a/b?split="):
        with pytest.raises(UsageError, match="a dataset of a hub"):
            parse(wrong)


def test_a_name_that_is_no_file_says_how_a_hub_is_named() -> None:
    with pytest.raises(DatasetError) as caught:
        Dataset.load("tatsu-lab/alpaca")
    assert "hf:tatsu-lab/alpaca" in str(caught.value)
