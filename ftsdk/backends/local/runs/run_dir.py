"""The run directory: the one place where the application and the trainer meet.

Nothing here imports torch, and nothing here needs the process that started the run: any process
of this user can open a `RunDir`, read its state, ask it to stop, or let it go on. What a reader
is told rests on three facts alone: is the lock held, is there an outcome, was it ever started.

```
RunDir.create(path, spec, train=rows, validation=rows | None) -> RunDir
RunDir(path)                                    an existing one; NotFound when it is not there
run.start() -> bool                             False: it is alive, or has ended, already
run.resume() -> bool                            the same after an end or an interruption
run.read_state() -> RunState                    phase, alive, cancelling, progress, error …
run.read_events(after_seq=0) -> list[dict]      events with a greater number
run.request_cancel() -> bool                    False: it has ended already
run.checkpoints() -> list[CheckpointInfo]       oldest first, whole ones only
run.log_tail(n=40) -> list[str]                 last lines of trainer.log
run.spec -> dict      run.result_path -> Path   run.path -> Path
```

| file | written by | what |
|---|---|---|
| `spec.json` | `create` | what to train, never changed; `train.jsonl`, `validation.jsonl` beside it |
| `lock` | `start` | held (flock) for as long as supervisor or trainer lives |
| `pid.json` | `start`, supervisor | its process, boot and attempt |
| `events.jsonl` | trainer | status, progress, metric, checkpoint, log, warning |
| `cancel` | `request_cancel` | asks the trainer to stop |
| `checkpoints/step-00000010/` | trainer | whole or absent, with a manifest |
| `result/` | trainer | whole or absent |
| `outcome.json` | trainer, else supervisor | the last thing written |
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ftsdk.backends.local.runs.events import EventWriter, read_lines, utc_now
from ftsdk.errors import NotFound, Unsupported, UsageError
from ftsdk.util import files
from ftsdk.util.locks import file_lock, is_locked

__all__ = ["CheckpointInfo", "Phase", "RunDir", "RunState"]

Phase = Literal[
    "not_started",
    "starting",
    "validating",
    "running",
    "finalizing",
    "succeeded",
    "failed",
    "cancelled",
    "interrupted",
]
"""`interrupted`: it had started, nothing of it lives, and there is no outcome; resume goes on."""

_ALIVE_PHASES: Mapping[str, Phase] = {
    "validating": "validating",
    "running": "running",
    "finalizing": "finalizing",
}

FORMAT = 1
RESERVE_BYTES = 256 * 1024
"""Held back so that an outcome can still be written when the disk is full."""
TAIL_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """One whole checkpoint; `size_bytes` is that of its files, `time` when it was finished."""

    step: int
    path: Path
    size_bytes: int
    time: str


@dataclass(frozen=True, slots=True)
class RunState:
    """What is true of a run now.

    `progress` is the last progress event (empty before the first), `error` the outcome's error,
    `attempt` how often it was started (0: never).
    """

    phase: Phase
    alive: bool
    cancelling: bool
    attempt: int = 0
    message: str = ""
    progress: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    outcome: Mapping[str, Any] | None = None
    started_at: str | None = None
    supervisor_pid: int | None = None

    @property
    def is_final(self) -> bool:
        """True when it ended, one way or another."""
        return self.phase in ("succeeded", "failed", "cancelled")


class RunDir:
    """A handle on one run directory; it holds no state that the folder does not."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not (self.path / "spec.json").is_file():
            raise NotFound(
                "There is no training run in this folder.",
                where=str(self.path),
                hint="list the jobs of this machine with `ftsdk list`",
            )
        self._spec: dict[str, Any] | None = None
        self._cursor = (0, 0)

    # --- making and reading -------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: Path | str,
        spec: Mapping[str, Any],
        *,
        train: Iterable[Mapping[str, Any]],
        validation: Iterable[Mapping[str, Any]] | None = None,
    ) -> RunDir:
        """Write a new run directory, whole or not at all; nothing is started.

        `spec` needs not name `format`, `train`, `validation` and `created_at`: they are filled
        in. Raises `UsageError` when the folder is there already.
        """
        target = Path(path)
        if target.exists():
            raise UsageError(
                "There is a run in this folder already.",
                where=str(target),
                hint="open it with RunDir(path), or choose another folder",
            )
        files.make_private_folder(target.parent)
        full = {"format": FORMAT, "created_at": utc_now(), **spec, "train": "train.jsonl"}
        full["validation"] = None if validation is None else "validation.jsonl"
        with files.atomic_folder(target) as folder:
            _write_rows(folder / "train.jsonl", train)
            if validation is not None:
                _write_rows(folder / "validation.jsonl", validation)
            (folder / "checkpoints").mkdir(mode=0o700)
            _private(folder / "lock", b"")
            _private(folder / "reserve", b"\0" * RESERVE_BYTES)
            text = json.dumps(full, indent=2, ensure_ascii=False, allow_nan=False)
            _private(folder / "spec.json", text.encode() + b"\n")
        return cls(target)

    @property
    def spec(self) -> dict[str, Any]:
        """What the run was asked to do, as it was written."""
        if self._spec is None:
            self._spec = json.loads((self.path / "spec.json").read_bytes())
        return self._spec

    @property
    def result_path(self) -> Path:
        """Where the trained model is, once the run has succeeded."""
        return self.path / "result"

    def read_state(self) -> RunState:
        """What is true now; any number of processes may ask at any time."""
        # The order matters: a run that ends between two looks has its outcome before it lets go
        # of the lock, so the outcome is read after the lock was seen free.
        alive = self._is_locked()
        pid = _read_json(self.path / "pid.json") or {}
        outcome = _read_json(self.path / "outcome.json")
        status, message, progress = self._last_told()
        cancelling = alive and outcome is None and (self.path / "cancel").exists()
        if outcome is not None:
            phase: Phase = outcome["outcome"]
            message = outcome.get("message", "")
        elif alive:
            phase = _ALIVE_PHASES.get(status, "starting")
        else:
            phase = "interrupted" if pid else "not_started"
        return RunState(
            phase=phase,
            alive=alive,
            cancelling=cancelling,
            attempt=int(pid.get("attempt", 0)),
            message=message,
            progress=progress,
            error=None if outcome is None else outcome.get("error"),
            outcome=outcome,
            started_at=pid.get("started_at"),
            supervisor_pid=pid.get("supervisor_pid"),
        )

    def read_events(self, after_seq: int = 0) -> list[dict[str, Any]]:
        """Events numbered above `after_seq`, in order; a half-written last line is left alone."""
        seq, start = self._cursor if after_seq >= self._cursor[0] else (0, 0)
        self._cursor = (seq, start)
        found: list[dict[str, Any]] = []
        for event, behind in read_lines(self.path / "events.jsonl", start):
            self._cursor = (event["seq"], behind)
            if event["seq"] > after_seq:
                found.append(event)
        return found

    def checkpoints(self) -> list[CheckpointInfo]:
        """Checkpoints that are whole by name and manifest, oldest first (hashes are not read)."""
        found = []
        for folder in sorted((self.path / "checkpoints").glob("step-*")):
            manifest = _read_json(folder / "manifest.json")
            if manifest is not None:
                size = sum(entry["size_bytes"] for entry in manifest["files"].values())
                at = manifest.get("time", "")
                found.append(CheckpointInfo(int(manifest["step"]), folder, size, at))
        return found

    def log_tail(self, n: int = 40) -> list[str]:
        """The last `n` lines of what the trainer printed."""
        return _tail_lines(self.path / "trainer.log", n)

    # --- acting -------------------------------------------------------------------------------

    def start(self, *, command: Sequence[str] | None = None) -> bool:
        """Start the run unless it is alive or has ended; True when this call started it.

        The lock is taken before the supervisor is born and handed over to it, so two callers at
        once start one run. The run outlives this process.
        """
        with self._lock() as lock_fd:
            if lock_fd is None or (self.path / "outcome.json").exists():
                return False
            self._spawn(lock_fd, command)
        return True

    def resume(self, *, command: Sequence[str] | None = None) -> bool:
        """Go on after an end or an interruption, from the newest sound checkpoint.

        False when the run is alive, or has succeeded. The old outcome is kept beside as
        `outcome-<n>.json`.
        """
        with self._lock() as lock_fd:
            if lock_fd is None:
                return False
            outcome = _read_json(self.path / "outcome.json")
            if outcome is not None and outcome["outcome"] == "succeeded":
                return False
            # The wish to cancel goes first: were it left behind by a crash here, the run would
            # stop again at once; were the outcome moved first, it would look interrupted.
            (self.path / "cancel").unlink(missing_ok=True)
            if outcome is not None:
                number = 1 + len(list(self.path.glob("outcome-*.json")))
                (self.path / "outcome.json").replace(self.path / f"outcome-{number}.json")
                files.fsync_folder(self.path)
            if not (self.path / "reserve").exists():
                _private(self.path / "reserve", b"\0" * RESERVE_BYTES)
            self._spawn(lock_fd, command)
        return True

    def request_cancel(self) -> bool:
        """Ask the run to stop; False when it has ended already.

        A run that lives writes a checkpoint and ends; one that does not is ended here and now.
        """
        with self._lock() as lock_fd:
            if (self.path / "outcome.json").exists():
                return False
            files.atomic_write_json(self.path / "cancel", {"requested_at": utc_now()})
            if lock_fd is not None:
                steps = int(self._last_told()[2].get("step", 0))
                outcome = ended("cancelled", "Cancelled while it was not running.", steps=steps)
                files.atomic_write_json(self.path / "outcome.json", outcome)
        return True

    def _spawn(self, lock_fd: int, command: Sequence[str] | None) -> None:
        self._begin_attempt()
        argv = list(command) if command else [sys.executable, "-P", "-m", _SUPERVISOR]
        environment = {**os.environ, "FTSDK_LOCK_FD": str(lock_fd)}
        _keep_package_importable(environment)
        with (self.path / "supervisor.log").open("ab") as log:
            subprocess.run(
                [sys.executable, "-I", "-S", "-c", _DETACH, *argv, str(self.path.resolve())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock_fd,),
                env=environment,
                check=True,
            )

    def _begin_attempt(self) -> None:
        """Count this attempt before anything of it lives, so that nobody reads of the last one."""
        before = _read_json(self.path / "pid.json") or {}
        attempt = int(before.get("attempt", 0)) + 1
        writer = EventWriter(self.path / "events.jsonl")
        writer.write("log", attempt=attempt, message=f"Attempt {attempt} starts.")
        writer.close()
        facts = {"supervisor_pid": None, "boot_id": "", "started_at": utc_now(), "attempt": attempt}
        files.atomic_write_json(self.path / "pid.json", facts)

    # --- the lock -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _lock(self, patience_s: float = 1.0) -> Iterator[int | None]:
        """Hold the lock, or give None when somebody alive has it.

        A reader's look at the lock takes microseconds; the patience is for those.
        """
        _require_unix()
        with file_lock(self.path / "lock", wait_s=patience_s, poll_s=0.01) as fd:
            yield fd

    def _is_locked(self) -> bool:
        _require_unix()
        return is_locked(self.path / "lock")

    # --- what was last told -------------------------------------------------------------------

    def _last_told(self) -> tuple[str, str, dict[str, Any]]:
        """Last status word of this attempt, its message, and the last progress of any."""
        status, message = None, ""
        progress: dict[str, Any] | None = None
        for line in reversed(_tail_lines(self.path / "events.jsonl", 4000)):
            try:
                event = json.loads(line)
            except json.JSONDecodeError:  # cut by our window, or torn by a crash
                continue
            if event["kind"] == "progress" and progress is None:
                progress = event
            elif status is None and event["kind"] == "status":
                status, message = event["status"], event.get("message", "")
            elif status is None and event["kind"] == "log" and "attempt" in event:
                status = "starting"
            if status is not None and progress is not None:
                break
        return status or "", message, progress or {}


_SUPERVISOR = "ftsdk.backends.local.runs.supervisor"

_DETACH = """
import os, sys
if os.fork() == 0:
    os.setsid()
    os.execv(sys.argv[1], sys.argv[1:])
"""
"""A birth in two steps, so that the supervisor is nobody's child: no zombie stays behind in an
application that lives on, and no terminal's hang-up reaches it."""


def ended(outcome: str, message: str, **facts: Any) -> dict[str, Any]:
    """An outcome with every field that its readers look for."""
    return {
        "outcome": outcome,
        "message": message,
        "error": None,
        "exit_code": None,
        "signal": None,
        "log_tail": [],
        "finished_at": utc_now(),
        "trained_tokens": 0,
        "steps": 0,
        "train_s": 0.0,
        **facts,
    }


def _require_unix() -> None:
    if sys.platform == "win32":
        raise Unsupported(
            "Local training needs file locks of a Unix system.",
            hint="run ftsdk under Linux, macOS, or the Windows Subsystem for Linux",
        )


def _write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(fd, "wb") as handle:
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def _private(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with os.fdopen(fd, "wb") as handle:
        handle.write(data)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return value


def _tail_lines(path: Path, n: int) -> list[str]:
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return []
    with handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - TAIL_BYTES))
        lines = handle.read().rstrip(b"\n").split(b"\n")
    # A progress bar redraws its line with carriage returns; only the last drawing counts.
    shown = [line.rsplit(b"\r", 1)[-1].decode(errors="replace") for line in lines if line]
    return shown[max(0, len(shown) - n) :]


def _keep_package_importable(environment: dict[str, str]) -> None:
    """Let the child find this very package, also when it runs from a source checkout.

    The child starts with `-P`, so that a `datasets/` or `torch.py` in the caller's folder cannot
    shadow the libraries of the trainer.
    """
    root = Path(__file__).resolve().parents[4]
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    if root not in installed:
        before = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{before}{os.pathsep}{root}" if before else str(root)
