"""Runs the sides of a benchmark one after the other, within a time, and measures each process."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.runs.environment import available_threads, trainer_environment

if TYPE_CHECKING:
    from _sides import Task

SIDES = Path(__file__).with_name("_sides.py")
WARM_UP_STEPS = 2
"""Steps at the start that steady rates leave out."""


class LeftOut(Exception):
    """A run that there was no time for."""


class SideFailed(Exception):
    """A run that failed; the message ends with what it printed."""


@dataclass(frozen=True)
class Aim:
    """One line of the end: a value beside what is wanted; `reached` is None where nothing is."""

    name: str
    value: str
    wanted: str = ""
    reached: bool | None = None

    def __str__(self) -> str:
        word = {True: "ok", False: "MISSED", None: ""}[self.reached]
        return f"{self.name:44} {self.value:>10}   {self.wanted:12} {word}"


@dataclass(frozen=True)
class Figures:
    """What one side measured; rates are tokens per second, or per CPU second.

    `training` counts all steps and what comes right before them (compilation), `steady` the steps
    after the first two, `whole` the process from its start to its end.
    """

    tokens: float
    whole_s: float
    whole_cpu_s: float
    peak_bytes: int
    training: float
    training_cpu: float
    steady: float
    steady_cpu: float
    facts: dict[str, Any]

    @classmethod
    def of(cls, facts: dict[str, Any], whole_s: float, usage: resource.struct_rusage) -> Figures:
        """The figures of a process that ended, from its marks and what the system counted."""
        cpu_s = usage.ru_utime + usage.ru_stime
        peak = facts.get("peak_gpu_bytes") or usage.ru_maxrss * 1024
        steps, begun, ended = facts.get("steps"), facts.get("begun"), facts.get("ended")
        if not steps:
            return cls(0, whole_s, cpu_s, peak, *[math.nan] * 4, facts)
        first = steps[WARM_UP_STEPS - 1] if len(steps) > WARM_UP_STEPS else begun
        return cls(
            steps[-1][0],
            whole_s,
            cpu_s,
            peak,
            *rates(begun, ended),
            *rates(first, steps[-1]),
            facts,
        )

    def rows_per_s(self, rows: int) -> float:
        """Rows per second in steady steps, where `rows` made up all tokens."""
        return self.steady * rows / self.tokens

    def __str__(self) -> str:
        return (
            f"{self.tokens:8.0f} tokens, per CPU second {self.training_cpu:7.1f} (steady "
            f"{self.steady_cpu:7.1f}, whole {self.tokens / self.whole_cpu_s:7.1f}), per second "
            f"{self.training:7.1f} ({self.steady:7.1f}, {self.tokens / self.whole_s:7.1f}), "
            f"{self.peak_bytes / 1e9:5.2f} GB, {self.whole_s:5.0f} s"
        )


def rates(first: list[float], last: list[float]) -> tuple[float, float]:
    """Tokens per second and per CPU second between two marks."""
    tokens, seconds, cpu = (end - start for start, end in zip(first, last, strict=True))
    return tokens / max(seconds, 1e-9), tokens / max(cpu, 1e-9)


class Processes:
    """Runs sides in folders below `scratch`; nothing runs longer than `minutes` from now."""

    def __init__(self, scratch: Path, minutes: float = math.inf, threads: int = 0) -> None:
        self._scratch = scratch
        self._deadline = time.monotonic() + 60 * minutes
        self._threads = threads or available_threads()
        self._count = 0
        self._left_out: list[str] = []

    def folder(self, name: str) -> Path:
        """A new folder for what sides share."""
        made = self._scratch / name
        made.mkdir()
        return made

    def left_out(self) -> list[Aim]:
        """A line for each run that there was no time for."""
        return [Aim(f"left out: {name}", "", "", reached=False) for name in self._left_out]

    def run(self, name: str, task: Task, cache: str | None = None) -> Figures:
        """Run one side; sides with the same `cache` share compiled code.

        Raises `LeftOut` when the time ends first, and `SideFailed` with the log of a side that fails.
        """
        self._count += 1
        out = self._scratch / (cache or "runs") / str(self._count)
        out.mkdir(parents=True)
        if cache is not None:  # a run's cache is beside its folder
            shared = self._scratch / cache / ".kernels"
            shared.mkdir(exist_ok=True)
            (out / ".kernels").symlink_to(shared)
        text = dataclasses.asdict(dataclasses.replace(task, out=str(out)))
        if math.isinf(task.limit_s):
            text["limit_s"] = None
        (out / "task.json").write_text(json.dumps(text))
        began = time.monotonic()
        status, usage = self._wait(name, out, self._environment(task))
        if status:
            raise SideFailed(f"{name} failed:\n" + (out / "log").read_text()[-3000:])
        measured = json.loads((out / "measured.json").read_bytes())
        shutil.rmtree(out / "run" / "checkpoints", ignore_errors=True)
        return Figures.of(measured, time.monotonic() - began, usage)

    def _environment(self, task: Task) -> dict[str, str]:
        """That of our trainer, or what TRL has by default; its best settings wait as our threads do."""
        ours = trainer_environment(os.environ, self._threads)
        if task.side in ("ftsdk", "share"):
            return ours
        own = {**os.environ, "OMP_NUM_THREADS": str(self._threads)}
        own |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        if task.settings and "GOMP_SPINCOUNT" in ours:
            own["GOMP_SPINCOUNT"] = ours["GOMP_SPINCOUNT"]
        return own

    def _wait(
        self, name: str, out: Path, environment: dict[str, str]
    ) -> tuple[int, resource.struct_rusage]:
        """Start the side and wait; returns its status and what the system counted of it."""
        if time.monotonic() > self._deadline:
            self._left_out.append(name)
            raise LeftOut("no time was left")
        command = [sys.executable, str(SIDES), str(out / "task.json")]
        with (out / "log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                return process.returncode, usage
            if time.monotonic() > self._deadline:
                process.kill()
                process.wait()
                self._left_out.append(name)
                raise LeftOut("the time ended")
            time.sleep(0.05)
