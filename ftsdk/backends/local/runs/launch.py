"""Start the supervisor of a run as a process that outlives the application."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

LOCK_FD_VARIABLE = "FTSDK_LOCK_FD"
"""The environment variable in which the supervisor finds the descriptor that holds the run's lock."""

_SUPERVISOR = "ftsdk.backends.local.runs.supervisor"
_DETACH = """
import os, sys
if os.fork() == 0:
    os.setsid()
    os.execv(sys.argv[1], sys.argv[1:])
"""
"""Start a program as a grandchild, so that the application that lives on gets no zombie, and in a
session of its own, so that closing the terminal does not end it."""


def start_supervisor(run: Path, lock_fd: int, command: Sequence[str] | None = None) -> None:
    """Start the supervisor of the run directory `run`; it inherits the lock through `lock_fd`.

    `command` replaces `python -m …supervisor`; the run directory is appended to it.
    """
    argv = list(command) if command else [sys.executable, "-P", "-m", _SUPERVISOR]
    environment = {**os.environ, LOCK_FD_VARIABLE: str(lock_fd)}
    keep_package_importable(environment)
    with (run / "supervisor.log").open("ab") as log:
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", _DETACH, *argv, str(run.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock_fd,),
            env=environment,
            check=True,
        )


def keep_package_importable(environment: dict[str, str]) -> None:
    """Let the child import this copy of the package, also from a source checkout.

    The child starts with `-P`, so that a `datasets/` or `torch.py` in the caller's folder cannot
    shadow the libraries of the trainer.
    """
    root = Path(__file__).resolve().parents[4]
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    if root not in installed:
        before = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{before}{os.pathsep}{root}" if before else str(root)
