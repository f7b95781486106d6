"""A file of answers: one JSON line for each request, readable by you alone, with secrets masked."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.hosted.redact import mask_text
from ftsdk.errors import UsageError


class AnswerLog:
    """A file of answers that several requests write at once."""

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        try:
            self._fd = os.open(path, flags, 0o600)
            if os.name != "nt":
                os.fchmod(self._fd, 0o600)
        except OSError as error:
            raise UsageError(
                f"The answers cannot be written to {path}: {error.strerror}",
                where="--log-answers",
                hint="name a file in a folder that exists and that you may write",
            ) from error

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record, without the secrets in it. Raises `OSError`."""
        data = json.dumps(_masked(record), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with self._lock:
            while data:
                data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {mask_text(str(name)): _masked(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(one) for one in value]
    return value
