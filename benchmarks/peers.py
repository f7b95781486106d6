"""How often one job is paid twice, lost or left without a verdict when something goes wrong.

    pip install 'ftsdk[openai,together,replicate]' litellm dspy
    python benchmarks/peers.py [--seeds 6] [--first 0] [--ways openai,litellm,…] [--cells …] [--at-once 2]

Each way of creating a job (`_peer_scripts.py`) runs against a simulated provider on loopback, in each
of 16 situations, with different rows and moments for each seed. A program that fails is run again a
minute later, at most twice, as a person or a scheduler would do. Counted are the jobs at the provider
(each is paid), and what the programs said. Time passes 20 times faster than it is (`SPEED`); requests time out after 5 real
seconds, for every package. A package that is not installed is left out.

In "list later than the horizon" the answer is lost and the provider's list never shows the job: the
right outcome is to ask a person, and never to send again.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _peer_scripts import SPEED, WAYS, FastClock

from ftsdk.testing.lab.base import Double
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.testing.lab.replicate.double import ReplicateDouble
from ftsdk.testing.lab.timeline import Stage
from ftsdk.testing.lab.together.double import TogetherDouble

SCRIPTS = Path(__file__).with_name("_peer_scripts.py")
RUNS = 3  # the first, and two more after a failure
PAUSE_S = 60.0  # between a failure and the next run, on the clock of the trial
LONGEST_RUN_S = 120.0
ASKS = "list later than the horizon"
# For each double: its class, the statuses of a training of a minute, the paths of a create and a read.
DOUBLES: dict[str, tuple[Any, tuple[Stage, ...], str, str]] = {
    "openai": (
        OpenAIDouble,
        (Stage("validating_files", 0), Stage("queued", 10), Stage("running", 20), Stage("succeeded", 80)),
        r"fine_tuning/jobs$",
        r"fine_tuning/jobs/[^/]+$",
    ),
    "together": (
        TogetherDouble,
        (Stage("pending", 0), Stage("queued", 10), Stage("running", 20), Stage("completed", 80)),
        r"fine-tunes$",
        r"fine-tunes/[^/]+$",
    ),
    "replicate": (
        ReplicateDouble,
        (Stage("starting", 0), Stage("processing", 20), Stage("succeeded", 80)),
        r"trainings$",
        r"trainings/[^/]+$",
    ),
}  # fmt: skip
PACE_BODIES = {
    "openai": {"error": {"message": "Rate limit reached.", "type": "rate_limit_exceeded", "code": "rate_limit_exceeded", "param": None}},
    "together": {"error": {"message": "Rate limit reached.", "type": "rate_limit", "code": "rate_limit", "param": None}},
    "replicate": {"title": "Too many requests", "detail": "Request was throttled.", "status": 429},
}  # fmt: skip


@dataclass
class Trial:
    """One way in one situation: its double, its folder, and what happened."""

    way: str
    cell: str
    seed: int
    double: Double
    folder: Path
    create: str
    read: str
    dice: random.Random
    began: float = field(default_factory=time.time)
    runs: list[Run] = field(default_factory=list)

    def fault(self, behaviour: str, path: str, *, method: str, **more: Any) -> None:
        """Let the next request that matches go wrong."""
        self.double.faults.add(behaviour, method=method, path=path, **more)

    def jobs(self) -> list[str]:
        """Return the ids of the jobs at the provider."""
        holder: Any = self.double
        return list(holder.trainings if self.provider == "replicate" else holder.jobs)

    @property
    def provider(self) -> str:
        """The simulated provider."""
        return provider_of(self.way)

    def start(self) -> subprocess.Popen[str]:
        """Start the program."""
        env = {name: value for name, value in os.environ.items() if name in {"PATH", "PYTHONPATH"}}
        env |= self.double.variables()
        env |= {"HOME": str(self.folder), "FTSDK_HOME": str(self.folder / "home")}
        env |= {
            "SPEED": str(SPEED),
            "BEGAN": repr(self.began),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        env |= {"DSPY_CACHEDIR": str(self.folder / "cache"), "PYTHONWARNINGS": "ignore"}
        return subprocess.Popen(
            [sys.executable, str(SCRIPTS), self.way, "rows.jsonl"],
            env=env, cwd=self.folder, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self) -> None:
        """Run the program until it ends well, at most `RUNS` times."""
        while len(self.runs) < RUNS:
            if self.take(self.start()).ended_well:
                return
            time.sleep(PAUSE_S / SPEED)

    def take(self, process: subprocess.Popen[str]) -> Run:
        """Wait for a program, and record how it ended."""
        try:
            out, err = process.communicate(timeout=LONGEST_RUN_S)
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            code = None
        self.runs.append(Run(code, out, err))
        return self.runs[-1]


@dataclass
class Run:
    """One run of a program. `code` is None when it did not end in `LONGEST_RUN_S`."""

    code: int | None
    out: str
    err: str

    @property
    def verdict(self) -> tuple[str, str | None] | None:
        """The last verdict that it printed, with the provider's id of the job."""
        for line in reversed(_objects(self.out)):
            if "verdict" in line:
                return line["verdict"], line["id"]
            if "status" in line and "id" in line:  # `ftsdk create --json`
                asks = self.code == 7
                return ("asks" if asks else line["status"]), line.get("provider_job_id")
            if "error" in line and self.code == 7:
                return "asks", None
        return None

    @property
    def ended_well(self) -> bool:
        """True when there is a verdict, so that nobody runs it again."""
        return self.verdict is not None

    @property
    def traceback(self) -> bool:
        """True when an exception reached the user that is not the package's own error."""
        return "Traceback (most recent call last)" in self.err


def _objects(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects in `text`: one on a line, or the whole text."""
    found = []
    for piece in [*text.split("\n"), text]:
        with contextlib.suppress(ValueError):
            value = json.loads(piece)
            if isinstance(value, dict):
                found.append(value)
    return found


# --- the situations ---------------------------------------------------------------------------


def answer_lost(behaviour: str, **more: Any) -> Callable[[Trial], None]:
    """The provider makes the job, and its answer does not arrive."""

    def cell(trial: Trial) -> None:
        trial.fault(behaviour, trial.create, method="POST", acted=True, **more)
        trial.run()

    return cell


def killed_before_the_answer(trial: Trial) -> None:
    """The program is killed while the provider makes the job."""
    trial.fault("hang", trial.create, method="POST", acted=True)
    process = trial.start()
    wait_until(lambda: trial.jobs() or process.poll() is not None)
    time.sleep(trial.dice.uniform(0, 0.2))
    kill(trial, process)


def killed_while_watching(trial: Trial) -> None:
    """The program is killed after it has asked for the job's status."""
    wanted = trial.dice.randint(0, 2)
    process = trial.start()
    wait_until(
        lambda: (
            (trial.jobs() and trial.double.count("GET", trial.read) >= wanted)
            or process.poll() is not None
        )
    )
    kill(trial, process)


def kill(trial: Trial, process: subprocess.Popen[str]) -> None:
    """Kill the program, free its connections, and run it again."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    trial.take(process)
    trial.double.faults.clear()
    trial.run()


def listed_late(looks: int) -> Callable[[Trial], None]:
    """The answer is lost, and the job is missing from the first lists."""

    def cell(trial: Trial) -> None:
        vars(trial.double)["lists_before_visible"] = looks
        trial.fault("close", trial.create, method="POST", acted=True)
        trial.run()

    return cell


def too_fast(trial: Trial) -> None:
    """The provider refuses for pace, before it accepts anything."""
    for _ in range(trial.dice.randint(1, 4)):
        trial.fault(
            "status", trial.create, method="POST", status=429,
            retry_after=str(trial.dice.randint(1, 20)), body=PACE_BODIES[trial.provider],
        )  # fmt: skip
    trial.run()


def unknown_word(trial: Trial) -> None:
    """A status that no documentation has."""
    trial.fault(
        "set", trial.read, method="GET", times=2, skip=trial.dice.randint(0, 1),
        field="status", value="levitating",
    )  # fmt: skip
    trial.run()


def outage_at_the_start(trial: Trial) -> None:
    """Nothing can be reached for a while, from the first request on."""
    seconds = trial.dice.uniform(20, 120) / SPEED + 2  # the program takes about two to start
    away = threading.Thread(target=trial.double.refuse_for, args=(seconds,))
    away.start()
    trial.run()
    away.join()


def outage_while_watching(trial: Trial) -> None:
    """Nothing can be reached for a while, once the job is there."""

    def leave() -> None:
        if wait_until(trial.jobs):
            time.sleep(trial.dice.uniform(0, 0.3))
            trial.double.refuse_for(trial.dice.uniform(30, 180) / SPEED)

    away = threading.Thread(target=leave)
    away.start()
    trial.run()
    away.join()


def missing_once(trial: Trial) -> None:
    """One read of the job is answered with 404."""
    trial.fault("status", trial.read, method="GET", status=404, skip=trial.dice.randint(0, 1))
    trial.run()


def two_at_once(trial: Trial) -> None:
    """The same program is started twice at the same time."""
    first, second = trial.start(), trial.start()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(trial.take, [first, second]))
    if not any(run.ended_well for run in trial.runs):
        trial.run()


CELLS: dict[str, Callable[[Trial], None]] = {
    "lost: reset": answer_lost("reset"),
    "lost: closed": answer_lost("close"),
    "lost: no answer": answer_lost("hang"),
    "lost: cut": answer_lost("cut"),
    "lost: 502": answer_lost("status", status=502),
    "accepted, then 503": answer_lost("status", status=503),
    "killed before the answer": killed_before_the_answer,
    "killed while watching": killed_while_watching,
    "listed late": listed_late(3),
    ASKS: listed_late(1_000_000),
    "429": too_fast,
    "unknown status": unknown_word,
    "outage at the start": outage_at_the_start,
    "outage while watching": outage_while_watching,
    "404 once": missing_once,
    "two at once": two_at_once,
}


def wait_until(ready: Callable[[], Any]) -> bool:
    """Wait until `ready()` is true; False after `LONGEST_RUN_S`."""
    end = time.monotonic() + LONGEST_RUN_S
    while time.monotonic() < end:
        if ready():
            return True
        time.sleep(0.005)
    return False


# --- running ----------------------------------------------------------------------------------


def provider_of(way: str) -> str:
    """Return the simulated provider that a way is run against."""
    name = way.rpartition(", ")[2]
    return name if name in DOUBLES else "openai"


@dataclass(frozen=True)
class Outcome:
    """What is counted of a trial."""

    way: str
    cell: str
    seed: int
    jobs: int
    lost: bool
    """Nothing was made, or the programs never named a job that was."""
    tracebacks: int
    verdict: str | None

    @property
    def right(self) -> bool:
        """One job and a verdict; where the list never shows the job, a question."""
        if self.cell == ASKS and self.verdict == "asks":
            return self.jobs == 1
        return self.jobs == 1 and not self.lost and self.verdict == "succeeded"


def outcome(way: str, cell: str, seed: int) -> Outcome:
    """Run one trial in a folder of its own."""
    kind, stages, create, read = DOUBLES[provider_of(way)]
    dice = random.Random(f"{cell} {seed}")
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        folder = Path(name)
        (folder / "rows.jsonl").write_text("".join(rows(dice)))
        (folder / "ftsdk.toml").write_text("[options]\ntimeout_s = 5\n")
        began = time.time()
        with kind(clock=FastClock(began), stages=stages) as double:
            # A job is refused while its file is checked: the answer that is lost would be a refusal.
            vars(double)["processing_s"] = 0.0
            trial = Trial(way, cell, seed, double, folder, create, read, dice, began)
            CELLS[cell](trial)
            made = trial.jobs()
    if os.environ.get("SHOW"):  # what the programs printed
        for run in trial.runs:
            print(f"--- {way}, {cell}, {seed}: {run.code}\n{run.out}\n{run.err}", file=sys.stderr)
    said = [run.verdict for run in trial.runs if run.verdict is not None]
    known = {job_id for _, job_id in said}
    final = said[-1][0] if said else None
    return Outcome(
        way, cell, seed, jobs=len(made),
        lost=not made or (final != "asks" and not known & set(made)),
        tracebacks=sum(run.traceback for run in trial.runs),
        verdict=final,
    )  # fmt: skip


def rows(dice: random.Random) -> Iterator[str]:
    """Yield the lines of a small dataset that differs with the seed."""
    for number in range(24):
        yield (
            json.dumps(
                {
                    "messages": [
                        {"role": "user", "content": f"where is parcel {dice.randrange(10**6)}?"},
                        {"role": "assistant", "content": f"[shipping/{number}] on its way"},
                    ],
                }
            )
            + "\n"
        )


def installed(way: str) -> bool:
    """Return whether the package of a way is there."""
    return importlib.util.find_spec(way.partition(" ")[0]) is not None


def main() -> None:
    """Run the trials that were asked for, and print a line for each way."""
    asked = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    asked.add_argument("--seeds", type=int, default=6)
    asked.add_argument("--first", type=int, default=0, help="the first seed, to go on after a run")
    asked.add_argument("--ways", type=lambda text: text.split("|"), default=list(WAYS))
    asked.add_argument("--cells", type=lambda text: text.split("|"), default=list(CELLS))
    asked.add_argument("--at-once", type=int, default=2)
    asked.add_argument("--all", action="store_true", help="print every trial that is not right")
    given = asked.parse_args()
    ways = [way for way in given.ways if installed(way)]
    seeds = range(given.first, given.first + given.seeds)
    width = max(map(len, ways))
    print(
        f"{'':{width}}  {'right':>7} {'paid twice':>10} {'lost':>5} {'tracebacks':>10} {'no verdict':>10}"
    )
    for way in ways:
        trials = [(way, cell, seed) for cell in given.cells for seed in seeds]
        with ThreadPoolExecutor(given.at_once) as pool:
            found = list(pool.map(lambda one: outcome(*one), trials))
        count = Counter[str]()
        for one in found:
            count["right"] += one.right
            count["twice"] += one.jobs > 1
            count["lost"] += one.lost
            count["tracebacks"] += one.tracebacks > 0
            count["silent"] += one.verdict is None
        print(
            f"{way:{width}}  {count['right']:>3}/{len(found):<3} {count['twice']:>10} "
            f"{count['lost']:>5} {count['tracebacks']:>10} {count['silent']:>10}",
            flush=True,
        )
        for one in found:
            if given.all and not one.right:
                print(
                    f"    {one.cell}, seed {one.seed}: {one.jobs} jobs, {one.verdict}"
                    + (", lost" if one.lost else "")
                    + (", traceback" if one.tracebacks else "")
                )


if __name__ == "__main__":
    main()
