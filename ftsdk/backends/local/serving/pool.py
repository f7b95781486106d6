"""The workers of an application: one for each base model in use, ended when nobody asks it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ftsdk.backends.local.local_model import base_folder, trained_dtype, trained_quantization
from ftsdk.backends.local.serving.worker import NeedsOwnWorker, Worker
from ftsdk.backends.resident import ResidentLimits
from ftsdk.errors import RateLimited
from ftsdk.types.model import ChatAnswer
from ftsdk.util.clock import Clock

_log = logging.getLogger("ftsdk")
_LOOK_EVERY_S = 5.0


class _Starts(Protocol):
    def __call__(self, folder: Path, limits: ResidentLimits, *, shared: bool) -> Worker: ...


@dataclass(frozen=True)
class _Key:
    """What one process loads: a base model as results were trained on it, or a result itself."""

    folder: Path
    quantize: str | None = None
    dtype: str | None = None
    is_shared: bool = True


@dataclass
class _Entry:
    worker: Worker
    used_at: float
    users: int = 0


class WorkerPool:
    """Workers that start at the first chat with their model and end after `limits.idle_s` without one."""

    def __init__(self, limits: ResidentLimits, clock: Clock, *, start: _Starts = Worker) -> None:
        self.limits = limits
        self._clock, self._start = clock, start
        self._entries: dict[_Key, _Entry] = {}
        self._alone: set[Path] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that run."""
        with self._lock:
            return [one.worker.pid for one in self._entries.values() if one.worker.is_alive]

    def chat(
        self,
        folder: Path,
        messages: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
        *,
        tuned: bool = True,
    ) -> ChatAnswer:
        """Answer with the result in `folder`, or with its base model. Raises what `Worker.chat` raises.

        `options` are those of `inference.chat` but `device`.
        """
        given = {name: value for name, value in options.items() if value is not None}
        on_text = given.pop("on_text", None)
        request = {**given, "folder": str(folder), "messages": list(messages), "tuned": tuned}
        key = self._key(folder)
        try:
            return self._asked(key, folder, request, on_text)
        except NeedsOwnWorker as reason:
            _log.info("the result in %s gets a process of its own: %s", folder, reason)
            self._alone.add(folder)
        return self._asked(self._key(folder), folder, request, on_text)

    def end_idle(self) -> None:
        """End the workers that nobody asked for `idle_s` seconds, and forget those that died."""
        now = self._clock.monotonic()
        with self._lock:
            gone = [
                key
                for key, one in self._entries.items()
                if not one.worker.is_alive
                or (not one.users and now - one.used_at >= self.limits.idle_s)
            ]
            ended = [self._entries.pop(key) for key in gone]
        for one in ended:
            one.worker.close()

    def close(self) -> None:
        """End all workers."""
        self._closed.set()
        with self._lock:
            ended = list(self._entries.values())
            self._entries.clear()
        for one in ended:
            one.worker.close()

    # --- which worker ---

    def _key(self, folder: Path) -> _Key:
        config = folder / "adapter_config.json"
        if folder in self._alone or not config.is_file() or _has_own_parts(config):
            return _Key(folder, is_shared=False)
        return _Key(base_folder(folder), trained_quantization(folder), trained_dtype(folder))

    def _asked(
        self,
        key: _Key,
        folder: Path,
        request: Mapping[str, Any],
        on_text: Callable[[str], object] | None,
    ) -> ChatAnswer:
        entry = self._entry(key, folder)
        try:
            return entry.worker.chat(request, on_text)
        finally:
            with self._lock:
                entry.users -= 1
                entry.used_at = self._clock.monotonic()

    def _entry(self, key: _Key, folder: Path) -> _Entry:
        """The worker of a key, which is started where there is none; its user is counted."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.worker.is_alive:
                entry.users += 1
                return entry
            replaced = [self._entries.pop(key)] if entry is not None else []
            replaced += self._make_room()
            worker = self._start(folder, self.limits, shared=key.is_shared)
            entry = self._entries[key] = _Entry(worker, self._clock.monotonic(), users=1)
            self._watch()
        for one in replaced:
            one.worker.close()
        return entry

    def _make_room(self) -> list[_Entry]:
        """Take out the worker that was unused for longest, if there are too many. Raises `RateLimited`."""
        if len(self._entries) < self.limits.processes:
            return []
        unused = [(one.used_at, key) for key, one in self._entries.items() if not one.users]
        if not unused:
            raise RateLimited(
                f"{self.limits.processes} other local models are answering, and no more are kept loaded",
                hint="ask again in a moment",
                retry_after=_LOOK_EVERY_S,
            )
        _, key = min(unused, key=lambda pair: pair[0])
        return [self._entries.pop(key)]

    def _watch(self) -> None:
        if self._watcher is None:
            self._watcher = threading.Thread(
                target=self._end_idle_again, name="ftsdk-worker-idle", daemon=True
            )
            self._watcher.start()

    def _end_idle_again(self) -> None:
        while not self._closed.wait(_LOOK_EVERY_S):
            self.end_idle()


def _has_own_parts(config: Path) -> bool:
    """Whether an adapter has more than matrices beside linear layers, as its configuration says."""
    found = json.loads(config.read_bytes())
    names = ("modules_to_save", "target_parameters", "trainable_token_indices")
    return any(found.get(name) for name in names)
