"""Restores the home that ftsdk 0.1.0 wrote before its modules moved.

`tests/fixtures/README.md` describes its contents and how it was made.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

__all__ = ["FACTS", "IDS", "THEN", "WHOLE", "chat_rows", "replay_requests", "restore_home"]

SOURCE = Path(__file__).parent / "fixtures" / "home_before_layout_change"
FACTS: Mapping[str, Any] = json.loads((SOURCE / "facts.json").read_text())
IDS: Mapping[str, str] = FACTS["ids"]
"""The id of each job and each lease, by name."""
THEN = dt.datetime.fromisoformat(FACTS["then"])
"""The time of the last command of the old version."""
WHOLE = SOURCE / "whole" / "adapter_model.safetensors"
"""The adapter that the old version trained from the interrupted run's spec without interruption."""

_RESERVE_BYTES = 256 * 1024


def chat_rows(count: int, word: str) -> list[dict[str, Any]]:
    """The rows of the job called `word`."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"{word} {i}?"},
                {"role": "assistant", "content": f"{word} {i * 7}."},
            ]
        }
        for i in range(count)
    ]


def restore_home(target: Path, *, together: str = "http://127.0.0.1:9") -> Path:
    """Copy the home and its base model into `target`, a new folder. Returns the home.

    Fills in the paths and the URL of Together's double, and recomputes the digests of checkpoints
    that cover a file with a path in it.
    """
    target.mkdir(parents=True)
    words = {"@HERE@": str(target), "@TOGETHER@": together}
    for name in ("home", "base"):
        shutil.copytree(SOURCE / name, target / name)
    for path in target.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if path.is_file() and path.suffix not in (".db", ".safetensors"):
            _replace(path, words)
    with closing(sqlite3.connect(target / "home" / "journal.db")) as journal, journal:
        for old, new in words.items():
            journal.execute("UPDATE jobs SET snapshot = replace(snapshot, ?, ?)", (old, new))
    for spec in (target / "home" / "runs").glob("*/spec.json"):
        _complete(spec.parent)
    return target / "home"


def _replace(path: Path, words: Mapping[str, str]) -> None:
    text = changed = path.read_text()
    for old, new in words.items():
        changed = changed.replace(old, new)
    if changed != text:
        path.write_text(changed)


def _complete(run: Path) -> None:
    """Add the files that the repository leaves out, and recompute the digests of checkpoints."""
    (run / "checkpoints").mkdir(exist_ok=True, mode=0o700)
    if not (run / "outcome.json").exists():
        (run / "reserve").write_bytes(bytes(_RESERVE_BYTES))
    for path in run.glob("checkpoints/*/manifest.json"):
        manifest = json.loads(path.read_bytes())
        del manifest["sha256"]
        manifest["identity"]["spec"] = _sha256(run / "spec.json")
        for name, entry in manifest["files"].items():
            file = path.parent / name
            entry |= {"size_bytes": file.stat().st_size, "sha256": _sha256(file)}
        text = json.dumps(manifest, sort_keys=True, ensure_ascii=True, allow_nan=False)
        manifest["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        path.write_text(json.dumps(manifest, indent=1) + "\n")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def replay_requests(double: Any, clock: Any) -> None:
    """Send the old version's requests to Together's double, so that it has the same jobs and endpoints.

    `clock`, which the double uses too, is moved to the time of each request.
    """
    double.salt = "before"  # the double derives its ids from it
    for sent in FACTS["together_requests"]:
        clock.advance((dt.datetime.fromisoformat(sent["at"]) - clock.now()).total_seconds())
        query = f"?{urlencode(sent['query'], doseq=True)}" if sent["query"] else ""
        request = urllib.request.Request(
            f"{double.origin}{sent['path']}{query}",
            data=sent["body"].encode(),
            headers=sent["headers"],
            method=sent["method"],
        )
        status = 200
        try:
            urllib.request.build_opener(_NoRedirect).open(request, timeout=10).close()
        except urllib.error.HTTPError as answer:
            status = answer.code
            answer.close()
        assert status in (200, 302), sent


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the upload it points to is itself a recorded request."""

    def redirect_request(self, *_: Any) -> None:
        return None
