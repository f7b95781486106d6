"""The supervisor of one run: starts the trainer, waits for it, and records how it ended.

`python -m ftsdk.backends.local.runs.supervisor RUN_DIR`. A small process in a session of its own
that outlives the application. It takes no part in the training: it writes the outcome of a trainer
that dies without one, and terminates one that does not obey a cancel.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

from ftsdk.backends.local.runs.crash_report import OomCounters, explain_death
from ftsdk.backends.local.runs.environment import available_threads, trainer_environment
from ftsdk.backends.local.runs.events import EventWriter, utc_now
from ftsdk.backends.local.runs.launch import LOCK_FD_VARIABLE
from ftsdk.backends.local.runs.outcome import EXIT_INTERRUPTED, OUTCOME_FILE, ended, write_outcome
from ftsdk.backends.local.runs.ranks import Ranks, process_count
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.util.files import atomic_write_json
from ftsdk.util.locks import file_lock

_TRAINER = "ftsdk.backends.local.training.train"
_TERM_PATIENCE_S = 10.0
_POLL_S = 0.25


class _Termination:
    """Whether this supervisor got SIGTERM, for example from a machine that shuts down."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.requested = True


def supervise(
    run: RunDir,
    *,
    command: Sequence[str] | None = None,
    now: Callable[[], float] = time.monotonic,
    term_patience_s: float = _TERM_PATIENCE_S,
) -> int:
    """Run the trainer to its end and make sure that there is an outcome; returns its exit status.

    The caller holds the run's lock. Afterwards there is an `outcome.json`, unless the trainer was
    interrupted and can be resumed. A trainer that ignores a cancel for `cancel_grace_s` gets
    SIGTERM, and SIGKILL `term_patience_s` seconds later.
    """
    termination = _Termination()
    signal.signal(signal.SIGTERM, termination)
    attempt = _record_process(run)
    options = run.spec.options
    oom = OomCounters()
    argv = list(command) if command else [sys.executable, "-P", "-m", _TRAINER]
    with _turn(run, termination) as turn, (run.path / "trainer.log").open("ab") as log:
        if turn is None:
            _conclude(run, 0, forced=None, terminated=termination.requested, kernel_oom=False)
            return 0
        log.write(f"--- attempt {attempt}, {utc_now()}\n".encode())
        log.flush()
        trainer = _start(run, argv, log, turn, oom)
        forced = _wait(run, trainer, termination, options.cancel_grace_s, now, term_patience_s)
    returncode = int(trainer.wait())
    _conclude(
        run,
        returncode,
        forced=forced,
        terminated=termination.requested,
        kernel_oom=oom.rose(),
    )
    return returncode


def _start(
    run: RunDir, argv: Sequence[str], log: IO[bytes], turn: Sequence[int], oom: OomCounters
) -> subprocess.Popen[bytes] | Ranks:
    """Start the trainer: one process, or several that behave like one."""
    options = run.spec.options
    size = process_count(options, os.environ)
    threads = options.threads or max(1, available_threads() // size)
    environment = trainer_environment(os.environ, threads, report_to=options.report_to)
    full, fds = [*argv, str(run.path)], (*_lock_fds(), *turn)
    if size == 1:
        return subprocess.Popen(
            full, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, pass_fds=fds
        )

    def report(message: str) -> None:
        _write_event(run, "warning", message=message)

    return Ranks(
        run.path,
        full,
        size,
        log=log,
        environment=environment,
        pass_fds=fds,
        report=report,
        may_restart=lambda: not oom.rose(),
    )


def _record_process(run: RunDir) -> int:
    """Write this process into `pid.json`; returns the number of the attempt."""
    path = run.path / "pid.json"
    facts = json.loads(path.read_bytes())
    facts |= {"supervisor_pid": os.getpid(), "boot_id": _boot_id(), "started_at": utc_now()}
    atomic_write_json(path, facts)
    return int(facts["attempt"])


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # only Linux has it
        return ""


def _lock_fds() -> tuple[int, ...]:
    """The descriptor that holds the run's lock: the trainer inherits it, in case it outlives us."""
    fd = os.environ.get(LOCK_FD_VARIABLE)
    return (int(fd),) if fd else ()


@contextlib.contextmanager
def _turn(run: RunDir, termination: _Termination) -> Iterator[tuple[int, ...] | None]:
    """Wait until no other run of this home trains; yields the lock's descriptor for the trainer.

    Yields None when the run was asked to stop first, and no descriptor for a run that may train
    beside others (the option `concurrent`). Two trainers on the same processors wait for each
    other at each barrier, so both are slower than one after the other. The trainer inherits the
    descriptor, so that the lock is held for as long as it lives.
    """
    if run.spec.options.concurrent:
        yield ()
        return
    announced = False

    def keep_waiting() -> bool:
        nonlocal announced
        if not announced:
            _write_event(run, "status", status="queued", message="Waiting for another run here.")
            announced = True
        return not (termination.requested or (run.path / "cancel").exists())

    with file_lock(run.path.parent / ".turn", poll_s=_POLL_S, on_wait=keep_waiting) as fd:
        yield None if fd is None else (fd,)


def _wait(
    run: RunDir,
    trainer: subprocess.Popen[bytes] | Ranks,
    termination: _Termination,
    grace_s: float,
    now: Callable[[], float],
    term_patience_s: float,
) -> str | None:
    """Wait for the trainer's end; returns the signal that a cancel took, or None."""
    cancel_seen: float | None = None
    termed: float | None = None
    while True:
        try:
            trainer.wait(timeout=_POLL_S)
        except subprocess.TimeoutExpired:
            pass
        else:
            return None if termed is None or termination.requested else "SIGTERM"
        if cancel_seen is None and (run.path / "cancel").exists():
            cancel_seen = now()
        overdue = cancel_seen is not None and now() - cancel_seen > grace_s
        if termed is None and (termination.requested or overdue):
            termed = now()
            trainer.terminate()
        patience_s = max(grace_s, term_patience_s) if termination.requested else term_patience_s
        if termed is not None and now() - termed > patience_s:
            trainer.kill()
            trainer.wait()
            return "SIGKILL"


def _conclude(
    run: RunDir, returncode: int, *, forced: str | None, terminated: bool, kernel_oom: bool
) -> None:
    """Write the outcome, unless the trainer did or can be resumed."""
    if (run.path / OUTCOME_FILE).exists():
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
        how = f"The trainer did not stop in time, so it was ended by {forced}."
        message = "Cancelled. " + (how if forced else "No trainer was running.")
        write_outcome(run.path, ended("cancelled", message, **facts))
    elif terminated or returncode == EXIT_INTERRUPTED:
        _write_event(run, "log", message="Interrupted from outside; `ftsdk resume` continues it.")
    else:
        message, error = explain_death(returncode, tail, kernel_oom=kernel_oom)
        write_outcome(run.path, ended("failed", message, error=dict(error), **facts))


def _write_event(run: RunDir, kind: str, **facts: Any) -> None:
    writer = EventWriter(run.path / "events.jsonl")
    writer.write(kind, **facts)
    writer.close()


def main(argv: Sequence[str]) -> int:
    """Supervise the run directory named on the command line; returns the exit status."""
    run = RunDir(Path(argv[0]))
    if not _lock_fds():
        sys.stderr.write("the supervisor is started by RunDir.start, which holds the run's lock\n")
        return 2
    supervise(run)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
