"""Ask the training stack a question in a process of its own, so that the asker loads no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.local.runs.environment import trainer_environment
from ftsdk.backends.local.runs.launch import keep_package_importable

_TIMEOUT_S = 300.0


class NoAnswer(Exception):
    """The training stack gave no answer; the message says why."""


def ask_stack(program: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Run `python -m PROGRAM QUESTION FILE`; returns the JSON in the file. Raises `NoAnswer`."""
    environment = trainer_environment(os.environ, 1)  # without keys, and without the hub
    keep_package_importable(environment)
    with tempfile.TemporaryDirectory(prefix="ftsdk-") as folder:
        path = Path(folder) / "answer.json"
        command = [sys.executable, "-P", "-m", program, json.dumps(asked), str(path)]
        try:
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                text=True, encoding="utf-8", errors="replace", check=False, timeout=_TIMEOUT_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            reason = f"building it without weights took over {_TIMEOUT_S:.0f} s"
            raise NoAnswer(reason) from None
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
        except (OSError, ValueError):
            raise NoAnswer(f"exit code {done.returncode}: {last_line(done.stderr)}") from None
    return found


def last_line(text: str) -> str:
    """The last line that a process wrote, for a message."""
    return text.strip().rpartition("\n")[2][:200] or "no output"
