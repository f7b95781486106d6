"""The supervisor of one run: starts the trainer, waits, and tells the truth about its end.

`python -m ftsdk.backends.local.runs.supervisor RUN_DIR`. A light process of its own session that
outlives the application. It has no part in the training; it is there so that a trainer that dies
without a word still leaves an outcome, and so that a cancel is obeyed even by one that hangs.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from ftsdk.backends.local.runs.crash_report import OomCounters, explain_death
from ftsdk.backends.local.runs.events import EventWriter, utc_now
from ftsdk.backends.local.runs.run_dir import RunDir, ended
from ftsdk.util import files
from ftsdk.util.locks import file_lock

__all__ = ["EXIT_INTERRUPTED", "main", "supervise", "trainer_environment"]

TRAINER = "ftsdk.backends.local.training.train"
EXIT_INTERRUPTED = 75
"""The trainer's word for: I was asked to go (SIGTERM), wrote a checkpoint, and can go on later."""
TERM_PATIENCE_S = 10.0
LOOK_EVERY_S = 0.25

_SECRET = re.compile(r"(API_?KEY|API_?TOKEN|ACCESS_KEY|SECRET|PASSWORD|_TOKEN)(_|$)", re.IGNORECASE)

MALLOC = {
    # A training step frees and takes the same gigabytes again and again. Handing them back to
    # the kernel in between costs a page fault for each 4 KiB of them.
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
HUGE_PAGES = "glibc.malloc.hugetlb=1"
"""Large pages for what malloc takes: a ninth of the page faults of a training step."""
SPIN = "2000"
"""How long (in spins, about a tenth of a millisecond) a thread waits awake for the next operation.

libgomp's own default is a hundred times more. On a machine that does other work too, the threads
then spin against those they wait for: the same step took four times the processor time.
"""


def trainer_environment(base: Mapping[str, str], threads: int) -> dict[str, str]:
    """The trainer's environment: no keys, no network of the hub, memory kept, threads set."""
    clean = {name: value for name, value in base.items() if not _SECRET.search(name)}
    clean.pop("FTSDK_LOCK_FD", None)
    clean |= MALLOC
    before = clean.get("GLIBC_TUNABLES")
    clean["GLIBC_TUNABLES"] = f"{before}:{HUGE_PAGES}" if before else HUGE_PAGES
    clean |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    clean |= {"PYTHONUNBUFFERED": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    clean["OMP_NUM_THREADS"] = str(threads)
    if "OMP_WAIT_POLICY" not in clean:
        clean.setdefault("GOMP_SPINCOUNT", SPIN)
    return clean


def available_threads(cpu_max: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """How many processors this process may use, by affinity and by the container's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = cpu_max.read_text().split()
    except (OSError, ValueError):
        return count
    if quota == "max":
        return count
    return max(1, min(count, round(int(quota) / int(period))))


class _Asked:
    """Whether this supervisor was asked to go, for example by a machine that shuts down."""

    def __init__(self) -> None:
        self.to_go = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.to_go = True


def supervise(
    run: RunDir,
    *,
    command: Sequence[str] | None = None,
    now: Callable[[], float] = time.monotonic,
    term_patience_s: float = TERM_PATIENCE_S,
) -> int:
    """Run the trainer to its end, and see that there is an outcome; returns its exit status.

    The caller holds the run's lock. Afterwards there is an `outcome.json`, unless the trainer
    was interrupted in a way that a resume continues.
    """
    asked = _Asked()
    signal.signal(signal.SIGTERM, asked)
    attempt = _introduce(run)
    options = run.spec.get("options", {})
    grace_s = float(options.get("cancel_grace_s", 30))
    oom = OomCounters()
    argv = list(command) if command else [sys.executable, "-P", "-m", TRAINER]
    threads = options.get("threads") or available_threads()
    with _turn(run, asked, options) as turn, (run.path / "trainer.log").open("ab") as log:
        if turn is None:
            _conclude(run, 0, forced=None, asked=asked.to_go, kernel_oom=False)
            return 0
        log.write(f"--- attempt {attempt}, {utc_now()}\n".encode())
        log.flush()
        trainer = subprocess.Popen(
            [*argv, str(run.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=trainer_environment(os.environ, int(threads)),
            pass_fds=(*_lock_fds(), *turn),
        )
        forced = _wait(run, trainer, asked, grace_s, now, term_patience_s)
    _conclude(run, trainer.returncode, forced=forced, asked=asked.to_go, kernel_oom=oom.rose())
    return int(trainer.returncode)


def _introduce(run: RunDir) -> int:
    """Say who supervises; gives the number of the attempt that `RunDir.start` began."""
    path = run.path / "pid.json"
    facts = json.loads(path.read_bytes())
    facts |= {"supervisor_pid": os.getpid(), "boot_id": _boot_id(), "started_at": utc_now()}
    files.atomic_write_json(path, facts)
    return int(facts["attempt"])


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # only Linux has it
        return ""


def _lock_fds() -> tuple[int, ...]:
    """The descriptor that holds the lock: the trainer gets it too, in case it outlives us."""
    fd = os.environ.get("FTSDK_LOCK_FD")
    return (int(fd),) if fd else ()


@contextlib.contextmanager
def _turn(
    run: RunDir, asked: _Asked, options: Mapping[str, Any]
) -> Iterator[tuple[int, ...] | None]:
    """Wait until no other run of this home trains; yields the lock's descriptor for the trainer.

    Yields None when the run was asked to stop first, and no descriptor for a run that may train
    beside others (`options.concurrent`). Two trainers on the same processors wait for each other
    at each barrier, so both are slower than one after the other. The trainer inherits the
    descriptor, so that the lock is held for as long as it lives.
    """
    if options.get("concurrent"):
        yield ()
        return
    announced = False

    def keep_waiting() -> bool:
        nonlocal announced
        if not announced:
            writer = EventWriter(run.path / "events.jsonl")
            writer.write("status", status="queued", message="Waiting for another run here.")
            writer.close()
            announced = True
        return not (asked.to_go or (run.path / "cancel").exists())

    turn = run.path.parent / ".turn"
    with file_lock(turn, poll_s=LOOK_EVERY_S, on_wait=keep_waiting) as fd:
        yield None if fd is None else (fd,)


def _wait(
    run: RunDir,
    trainer: subprocess.Popen[bytes],
    asked: _Asked,
    grace_s: float,
    now: Callable[[], float],
    term_patience_s: float,
) -> str | None:
    """Wait for the end; insist when a cancel is not obeyed. Gives the signal it took, if any."""
    cancel_seen: float | None = None
    termed: float | None = None
    while True:
        try:
            trainer.wait(timeout=LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            pass
        else:
            return None if termed is None or asked.to_go else "SIGTERM"
        if cancel_seen is None and (run.path / "cancel").exists():
            cancel_seen = now()
        overdue = cancel_seen is not None and now() - cancel_seen > grace_s
        if termed is None and (asked.to_go or overdue):
            termed = now()
            trainer.terminate()
        patience_s = max(grace_s, term_patience_s) if asked.to_go else term_patience_s
        if termed is not None and now() - termed > patience_s:
            trainer.kill()
            trainer.wait()
            return "SIGKILL"


def _conclude(
    run: RunDir, returncode: int, *, forced: str | None, asked: bool, kernel_oom: bool
) -> None:
    outcome_path = run.path / "outcome.json"
    if outcome_path.exists():
        return
    tail = run.log_tail(40)
    progress = run.read_state().progress
    facts: dict[str, Any] = {
        "exit_code": returncode if returncode >= 0 else None,
        "signal": -returncode if returncode < 0 else None,
        "log_tail": tail,
        "steps": int(progress.get("step", 0)),
        "trained_tokens": int(progress.get("trained_tokens", 0)),
        "train_s": float(progress.get("train_s", 0.0)),
    }
    if (run.path / "cancel").exists():
        how = f"It did not stop by itself in time, so it was ended by {forced}."
        message = "Cancelled. " + (how if forced else "No trainer was at work.")
        _write_outcome(run, ended("cancelled", message, **facts))
    elif asked or returncode == EXIT_INTERRUPTED:
        writer = EventWriter(run.path / "events.jsonl")
        writer.write("log", message="Interrupted from outside; `ftsdk resume` goes on.")
        writer.close()
    else:
        message, error = explain_death(returncode, tail, kernel_oom=kernel_oom)
        _write_outcome(run, ended("failed", message, error=dict(error), **facts))


def _write_outcome(run: RunDir, outcome: Mapping[str, Any]) -> None:
    # The reserve makes room for this one file on a disk that is full.
    (run.path / "reserve").unlink(missing_ok=True)
    files.atomic_write_json(run.path / "outcome.json", outcome)


def main(argv: Sequence[str]) -> int:
    """Supervise the run directory named on the command line."""
    run = RunDir(Path(argv[0]))
    if not _lock_fds():
        sys.stderr.write("supervise is started by RunDir.start, which holds the run's lock\n")
        return 2
    supervise(run)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
