"""The run directory: through it the application and the trainer communicate.

Nothing here imports torch or needs the process that started the run: any process of this user can
open a `RunDir`, read its state, ask it to stop, or resume it.

```
RunDir.create(path, spec, train=rows, validation=rows | None) -> RunDir
RunDir(path)                                    open an existing one; raises NotFound
run.start() -> bool                             False: it is alive, or has ended, already
run.resume() -> bool                            start again after an end or an interruption
run.read_state() -> RunState                    phase, alive, cancelling, progress, error …
run.read_events(after_seq=0) -> list[dict]      events with a greater number
run.request_cancel() -> bool                    False: it has ended already
run.checkpoints() -> list[CheckpointInfo]       oldest first, complete ones only
run.log_tail(n=40) -> list[str]                 last lines of trainer.log
run.spec -> RunSpec      run.result_path -> Path   run.path -> Path
```

| file | written by | content |
|---|---|---|
| `spec.json` | `create` | a `RunSpec`, never changed; `train.jsonl`, `validation.jsonl` beside it |
| `parent.safetensors` | `create` | the adapter whose weights the run begins with, if there is one |
| `lock` | `start` | held (flock) for as long as the supervisor or the trainer is alive |
| `pid.json` | `start`, supervisor | the supervisor's process, boot and attempt |
| `events.jsonl` | trainer | status, progress, metric, checkpoint, log, warning |
| `.ranks-*` | trainers | through it the processes of a group find each other |
| `cancel` | `request_cancel` | asks the trainer to stop |
| `reference-train.f32` | trainer | what the untrained model gives to the answers, where the method needs it |
| `checkpoints/step-00000010/` | trainer | complete or absent, with a manifest |
| `result/` | trainer | complete or absent |
| `outcome.json` | trainer, else supervisor | the last file written |
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ftsdk.backends.local.runs.events import EventWriter, read_lines, utc_now
from ftsdk.backends.local.runs.files import read_json, tail_lines, write_private, write_rows
from ftsdk.backends.local.runs.launch import start_supervisor
from ftsdk.backends.local.runs.outcome import OUTCOME_FILE, ended, reserve_space
from ftsdk.backends.local.runs.run_spec import RunSpec
from ftsdk.backends.local.runs.state import RunState, read_last_events, read_state
from ftsdk.errors import NotFound, StoreError, Unsupported, UsageError
from ftsdk.util.files import atomic_folder, atomic_write_json, fsync_folder, make_private_folder
from ftsdk.util.locks import file_lock

PARENT_FILE = "parent.safetensors"
_LOCK_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """One complete checkpoint.

    `size_bytes` is the size of its files, `time` when it was finished (ISO 8601, UTC).
    """

    step: int
    path: Path
    size_bytes: int
    time: str


class RunDir:
    """One run directory. Raises `NotFound` when `path` is none."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not (self.path / "spec.json").is_file():
            raise NotFound(
                "There is no training run in this folder.",
                where=str(self.path),
                hint="list the jobs of this machine with `ftsdk list`",
            )
        self._spec: RunSpec | None = None
        self._cursor = (0, 0)

    # --- creating and reading -----------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: Path | str,
        spec: RunSpec,
        *,
        train: Iterable[Mapping[str, Any]],
        validation: Iterable[Mapping[str, Any]] | None = None,
        parent: Path | None = None,
    ) -> RunDir:
        """Write a new run directory, complete or not at all; nothing is started.

        `parent` are the weights that the run begins with. Raises `UsageError` when the folder exists
        already.
        """
        target = Path(path)
        if target.exists():
            raise UsageError(
                "There is a run in this folder already.",
                where=str(target),
                hint="open it with RunDir(path), or choose another folder",
            )
        make_private_folder(target.parent)
        names = {
            "train": "train.jsonl",
            "validation": None if validation is None else "validation.jsonl",
        }
        full = spec.model_copy(update=names).model_dump(mode="json")
        with atomic_folder(target) as folder:
            write_rows(folder / "train.jsonl", train)
            if validation is not None:
                write_rows(folder / "validation.jsonl", validation)
            (folder / "checkpoints").mkdir(mode=0o700)
            if parent is not None:
                shutil.copyfile(parent, folder / PARENT_FILE)
            write_private(folder / "lock", b"")
            reserve_space(folder)
            text = json.dumps(full, indent=2, ensure_ascii=False, allow_nan=False)
            write_private(folder / "spec.json", text.encode() + b"\n")
        return cls(target)

    @property
    def spec(self) -> RunSpec:
        """What the run trains. Raises `StoreError` when `spec.json` cannot be understood."""
        if self._spec is None:
            path = self.path / "spec.json"
            try:
                self._spec = RunSpec.model_validate_json(path.read_bytes())
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                raise StoreError(
                    f"The run cannot be read: {first['msg']}",
                    where=f"{path}, {'.'.join(map(str, first['loc']))}",
                    hint="restore the file from a copy, or remove the folder and create the job again",
                ) from error
        return self._spec

    @property
    def result_path(self) -> Path:
        """The folder of the trained model, once the run has succeeded."""
        return self.path / "result"

    def read_state(self) -> RunState:
        """The state now; any number of processes may ask at any time."""
        _require_unix()
        return read_state(self.path)

    def read_events(self, after_seq: int = 0) -> list[dict[str, Any]]:
        """The events numbered above `after_seq`, in order, without a half-written last line."""
        seq, start = self._cursor if after_seq >= self._cursor[0] else (0, 0)
        self._cursor = (seq, start)
        found: list[dict[str, Any]] = []
        for event, behind in read_lines(self.path / "events.jsonl", start):
            self._cursor = (event["seq"], behind)
            if event["seq"] > after_seq:
                found.append(event)
        return found

    def checkpoints(self) -> list[CheckpointInfo]:
        """The checkpoints that have a manifest, oldest first; their hashes are not verified."""
        found = []
        for folder in sorted((self.path / "checkpoints").glob("step-*")):
            manifest = read_json(folder / "manifest.json")
            if manifest is not None:
                size = sum(entry["size_bytes"] for entry in manifest["files"].values())
                at = manifest.get("time", "")
                found.append(CheckpointInfo(int(manifest["step"]), folder, size, at))
        return found

    def log_tail(self, n: int = 40) -> list[str]:
        """The last `n` lines that the trainer printed."""
        return tail_lines(self.path / "trainer.log", n)

    # --- acting -------------------------------------------------------------------------------

    def start(self, *, command: Sequence[str] | None = None) -> bool:
        """Start the run unless it is alive or has ended; True when this call started it.

        The lock is taken before the supervisor starts and handed over to it, so two callers at
        once start one run. The run outlives this process. `command` replaces the supervisor's.
        """
        with self._lock() as lock_fd:
            if lock_fd is None or self._has_ended:
                return False
            self._begin_attempt()
            start_supervisor(self.path, lock_fd, command)
        return True

    def resume(self, *, command: Sequence[str] | None = None) -> bool:
        """Start again after an end or an interruption, from the newest sound checkpoint.

        False when the run is alive, or has succeeded. The earlier outcome is kept as
        `outcome-<n>.json`.
        """
        with self._lock() as lock_fd:
            if lock_fd is None:
                return False
            outcome = read_json(self.path / OUTCOME_FILE)
            if outcome is not None and outcome["outcome"] == "succeeded":
                return False
            # The request to cancel goes first: were it left behind by a crash here, the run would
            # stop again at once; were the outcome moved first, the run would look interrupted.
            (self.path / "cancel").unlink(missing_ok=True)
            if outcome is not None:
                number = 1 + len(list(self.path.glob("outcome-*.json")))
                (self.path / OUTCOME_FILE).replace(self.path / f"outcome-{number}.json")
                fsync_folder(self.path)
            reserve_space(self.path)
            self._begin_attempt()
            start_supervisor(self.path, lock_fd, command)
        return True

    def request_cancel(self) -> bool:
        """Ask the run to stop; False when it has ended already.

        A run that is alive writes a checkpoint and ends; another is ended by this call.
        """
        with self._lock() as lock_fd:
            if self._has_ended:
                return False
            atomic_write_json(self.path / "cancel", {"requested_at": utc_now()})
            if lock_fd is not None:
                steps = int(read_last_events(self.path).progress.get("step", 0))
                outcome = ended("cancelled", "Cancelled while it was not running.", steps=steps)
                atomic_write_json(self.path / OUTCOME_FILE, outcome)
        return True

    @property
    def _has_ended(self) -> bool:
        return (self.path / OUTCOME_FILE).exists()

    def _begin_attempt(self) -> None:
        """Count this attempt before any of its processes lives, so that readers see no old status."""
        before = read_json(self.path / "pid.json") or {}
        attempt = int(before.get("attempt", 0)) + 1
        writer = EventWriter(self.path / "events.jsonl")
        writer.write("log", attempt=attempt, message=f"Attempt {attempt} starts.")
        writer.close()
        facts = {"supervisor_pid": None, "boot_id": "", "started_at": utc_now(), "attempt": attempt}
        atomic_write_json(self.path / "pid.json", facts)

    @contextlib.contextmanager
    def _lock(self, wait_s: float = 1.0) -> Iterator[int | None]:
        """Hold the run's lock; yields its descriptor, or None while the run is alive.

        A reader of the state holds a shared lock for microseconds; `wait_s` is for those.
        """
        _require_unix()
        with file_lock(self.path / "lock", wait_s=wait_s, poll_s=_LOCK_POLL_S) as fd:
            yield fd


def _require_unix() -> None:
    if sys.platform == "win32":
        raise Unsupported(
            "Local training needs file locks of a Unix system.",
            hint="run ftsdk under Linux, macOS, or the Windows Subsystem for Linux",
        )
