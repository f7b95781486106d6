"""The trainer processes of one run as one process: started together, restarted together, ended together.

`Ranks` has what the supervisor needs of `subprocess.Popen`. When one rank dies, the others cannot go
on: all of them end, and start again from the last checkpoint, a few times. A rank that ends with an
outcome ends the run. Nothing here imports torch.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from ftsdk.backends.local.options import RunOptions
from ftsdk.backends.local.runs.outcome import EXIT_INTERRUPTED, OUTCOME_FILE

RENDEZVOUS = "FTSDK_RENDEZVOUS"
"""The environment variable with the file through which the ranks of a group find each other."""
EXIT_PEER_LOST = 76
"""Exit status of a rank that cannot continue because another one has ended."""
EXIT_AGAIN = 77
"""Exit status of a rank that asks for a start from the last checkpoint, with what it wrote down."""
RESTARTS = 3
"""How often a group starts again, for each start of the run."""
_PEER_PATIENCE_S = 10.0
"""How long ranks may take to notice that another one has died before they are killed."""
_POLL_S = 0.05
_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


def process_count(
    options: RunOptions, environment: Mapping[str, str], devices: Path = Path("/dev")
) -> int:
    """How many processes a run has: as asked, or one for each NVIDIA GPU that it may use."""
    if options.processes is not None:
        return options.processes
    if options.device not in ("auto", "cuda"):
        return 1
    present = [path for path in devices.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)]
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not present:
        return max(1, len(present))
    chosen = [name for name in visible.split(",") if name.strip() not in ("", "-1")]
    return max(1, len(chosen))


def process_notes(options: RunOptions, environment: Mapping[str, str]) -> tuple[str, ...]:
    """One line for a plan where several processes train together; else none."""
    count = process_count(options, environment)
    if count == 1:
        return ()
    why = "" if options.processes else ", one for each GPU"
    shared = "weights and the rows" if options.sharding == "fsdp" else "rows"
    return (f"{count} processes train together{why}; they share the {shared} of each step",)


def rank_environment(base: Mapping[str, str], rank: int, size: int, file: Path) -> dict[str, str]:
    """The environment of one rank: its number, where it meets the others, and loopback alone."""
    found = {**base, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    found |= {RENDEZVOUS: str(file), "GLOO_SOCKET_IFNAME": _LOOPBACK}
    return found | {"NCCL_SOCKET_IFNAME": _LOOPBACK, "NCCL_IB_DISABLE": "1"}


class Ranks:
    """The processes of a run in `run`, each started with `argv`.

    `environment` is that of a trainer. Rank 0 writes to `log`, and the others their errors.
    `report` gets one sentence for each restart, while no rank is alive; `may_restart` says whether
    the next one makes sense. `now` is a monotonic clock, in seconds.
    """

    def __init__(
        self,
        run: Path,
        argv: Sequence[str],
        size: int,
        *,
        log: IO[bytes],
        environment: Mapping[str, str],
        pass_fds: Sequence[int],
        report: Callable[[str], None],
        may_restart: Callable[[], bool] = lambda: True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run, self._argv, self._size = run, list(argv), size
        self._log, self._environment, self._pass_fds = log, environment, tuple(pass_fds)
        self._report, self._may_restart, self._now = report, may_restart, now
        self.returncode: int | None = None
        self.restarts = 0
        self._ending = False
        self._first_death: float | None = None
        self._dead_first: tuple[int, int] | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._start()

    def _start(self) -> None:
        for left in self._run.glob(".ranks-*"):
            left.unlink()
        file = self._run / f".ranks-{os.getpid()}-{self.restarts}"
        self._first_death = self._dead_first = None
        self._processes = [
            subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if rank else self._log,
                stderr=self._log,
                env=rank_environment(self._environment, rank, self._size, file),
                pass_fds=self._pass_fds,
            )
            for rank in range(self._size)
        ]

    @property
    def pids(self) -> list[int]:
        """The process ids of the ranks, by rank."""
        return [process.pid for process in self._processes]

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status of the group, as `Popen.wait` does.

        Raises `subprocess.TimeoutExpired` after `timeout` seconds.
        """
        until = None if timeout is None else self._now() + timeout
        while self._poll() is None:
            if until is not None and self._now() >= until:
                raise subprocess.TimeoutExpired(self._argv, timeout or 0.0)
            time.sleep(_POLL_S)
        return int(self.returncode or 0)

    def terminate(self) -> None:
        """Send SIGTERM to every rank; the group does not start again."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to every rank; the group does not start again."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        self._ending = True
        for process in self._processes:
            process.send_signal(number)

    def _poll(self) -> int | None:
        """The exit status of the group, or None; starts it again where that makes sense."""
        if self.returncode is not None:
            return self.returncode
        codes = [process.poll() for process in self._processes]
        self._note_first(codes)
        if None in codes:
            self._end_waiting()
            return None
        if self._restarts():
            self.restarts += 1
            self._report(self._why_again())
            self._start()
            return None
        self.returncode = self._status([code for code in codes if code is not None])
        for left in self._run.glob(".ranks-*"):
            left.unlink()
        return self.returncode

    def _note_first(self, codes: Sequence[int | None]) -> None:
        """Keep the first rank that died: by itself, where others died because of it."""
        for rank, code in enumerate(codes):
            if code is None or code in (0, EXIT_INTERRUPTED):
                continue
            if self._first_death is None:
                self._first_death = self._now()
            known = self._dead_first
            if known is None or (known[1] == EXIT_PEER_LOST and code != EXIT_PEER_LOST):
                self._dead_first = rank, code

    def _end_waiting(self) -> None:
        """Kill the ranks that still wait for one that died."""
        if self._first_death is None or self._now() - self._first_death < _PEER_PATIENCE_S:
            return
        for process in self._processes:
            if process.poll() is None:
                process.kill()

    def _restarts(self) -> bool:
        """Whether the group starts again: an error of Python's would come again, a signal may not."""
        code = None if self._dead_first is None else self._dead_first[1]
        return (
            code is not None
            and (code < 0 or code in (EXIT_PEER_LOST, EXIT_AGAIN))
            and not self._ending
            and self.restarts < RESTARTS
            and not (self._run / OUTCOME_FILE).exists()
            and not (self._run / "cancel").exists()
            and self._may_restart()
        )

    def _why_again(self) -> str:
        rank, code = self._dead_first or (0, 0)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return (
            f"Process {rank + 1} of {self._size} {how}; all of them start again from the last "
            f"checkpoint (restart {self.restarts} of at most {RESTARTS})."
        )

    def _status(self, codes: Sequence[int]) -> int:
        """The exit status of the group: of the first rank that died, or that it was interrupted."""
        if self._dead_first is not None:
            return self._dead_first[1]
        return max(codes)
