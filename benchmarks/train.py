"""Training speed: ftsdk against TRL's SFTTrainer, with its defaults and with its best settings.

    python benchmarks/train.py [--minutes 90] [--rows 256] [--cold-rows 640] [--device auto]

Each side trains SmolLM2-135M with the same LoRA (rank 16, alpha 32, all linear layers) on distinct
rows of GSM8K, once, in a process of its own, one side after the other, 8 rows a step. What must be
equal is: rows, learning rate, linear schedule, gradient clipping at 1, no weight decay, no saving.

* `defaults`: TRL's own settings (bf16 autocast where this processor computes bf16, gradient
  checkpointing, padding).
* `best`: the fastest of a declared grid (`GRID`): no checkpointing; weights in bf16, or in float32
  where the processor emulates bf16; padded, grouped by length, padding-free or packed; rows of a
  forward pass. A few rows of each find it. Its threads wait for work as briefly as ours do.

TRL trains as many rows as `--trl-minutes` allows and is compared by its rate in steady steps: its
first steps are left out. Ours is the rate of the whole training, compilation counted, cold (no
compiled code in the cache) and warm. Peak memory is that of the process. Both adapters are scored
by the same code on the same held-out rows, and ours for that is trained on as many rows as TRL's.
The matrix limit is in `_matrix_limit.py`. On CUDA see `_gpu_sides.py`.

`--minutes` bounds the whole: what would end later is left out and said. Every result is printed when
it is there. `--parts` runs some parts only. On two cores without AMX the whole takes about 75
minutes, and the machine must have nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _processes import Aim, Figures, LeftOut, Processes, SideFailed
from _sides import STEP_ROWS, Task
from _training import model_folder

from ftsdk.backends.local.compute.hardware import bf16_on_cpu

GRID: tuple[tuple[str, int], ...] = (
    ("padded", 8),
    ("padded", 4),
    ("padded", 2),
    ("grouped", 8),
    ("grouped", 4),
    ("padding_free", 8),
    ("packed", 8),
)
"""Layout and rows of a forward pass; all without gradient checkpointing."""
WANTED_DEFAULTS = 5.0
WANTED_BEST = 3.3
WANTED_SHARE = 0.72
WANTED_MEMORY = 0.5
WANTED_LOSS = 0.01
WANTED_SHORT = 1.03
"""A run of 100 rows may take so much of the time of one without kernels: what two equal runs differ by."""
SHORT_ROWS = 100
PARTS = ("share", "cold", "search", "pairs", "short")


@dataclass
class Found:
    """What was measured so far."""

    cold: Figures | None = None
    warm: list[Figures] = field(default_factory=list)
    sides: dict[str, list[Figures]] = field(default_factory=dict)
    losses: list[tuple[str, float, float]] = field(default_factory=list)
    """For each pair the side, the loss of ours and its loss."""
    share: dict[str, Any] | None = None
    short: dict[str, Figures] = field(default_factory=dict)


def main() -> int:
    """Run the parts, print the table; 1 when an aim is missed or something was left out."""
    given = arguments().parse_args()
    device = given.device
    if device == "auto":
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory(prefix="ftsdk-train-") as scratch:
        processes = Processes(Path(scratch), given.minutes, given.threads)
        if device != "cpu":
            from _gpu_sides import benchmark

            return benchmark(processes, device)
        benchmark_cpu = Benchmark(given, processes)
        benchmark_cpu.run()
        aims = [*judge(benchmark_cpu.found, bf16_on_cpu())]
        aims += [*benchmark_cpu.failed, *processes.left_out()]
    print(f"\n{processor()}")
    for aim in aims:
        print(aim)
    return int(any(aim.reached is False for aim in aims))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", type=Path, help="folder of smollm2-135m")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rows", type=int, default=256, help="of a warm run of ours")
    parser.add_argument("--cold-rows", type=int, default=640)
    parser.add_argument("--search-rows", type=int, default=40, help="for each setting of the grid")
    parser.add_argument("--held-out", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1, help="of the alternating part")
    parser.add_argument("--trl-minutes", type=float, default=12.0, help="of one training by TRL")
    parser.add_argument("--minutes", type=float, default=math.inf, help="of the whole")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are")
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    return parser


def processor() -> str:
    """Which kind of processor this is, and what that means for the figures."""
    found = bf16_on_cpu()
    if found:
        return f"This processor has {found}: both sides compute in bf16."
    return (
        "This processor has no bf16 instructions (AVX2 at best): every side computes in float32, where "
        "matrix products are nearly all of a step. Ratios are printed, and not judged."
    )


class Benchmark:
    """The parts on a CPU, in order; each prints what it found."""

    def __init__(self, given: argparse.Namespace, processes: Processes) -> None:
        self.given, self.processes = given, processes
        self.model = str(model_folder(given.model))
        self.dtype = "bf16" if bf16_on_cpu() else "float32"
        self.found = Found()
        self.best = GRID[0]
        self.rates: dict[str, float] = {}
        self.failed: list[Aim] = []

    def run(self) -> None:
        """Run the parts that were asked for."""
        parts: dict[str, Callable[[], None]] = {
            "share": self.share,
            "cold": self.cold,
            "search": self.search,
            "pairs": self.pairs,
            "short": self.short,
        }
        for name in self.given.parts:
            print(f"--- {name}", flush=True)
            try:
                parts[name]()
            except (LeftOut, SideFailed) as reason:
                self.unfinished(name, reason)

    def unfinished(self, name: str, reason: Exception) -> None:
        """Print why something has no figures; a failure counts as a missed aim."""
        print(f"{name} has no figures: {reason}", flush=True)
        if isinstance(reason, SideFailed):
            self.failed.append(Aim(f"failed: {name}", "", "", reached=False))

    def task(self, side: str, rows: int, **more: Any) -> Task:
        """A task on the first rows of the training data."""
        train = str(self.given.data / "gsm8k_train.jsonl")
        basics: dict[str, Any] = {"model": self.model, "data": train, "out": ""}
        return Task(**{"side": side, "rows": rows, "dtype": self.dtype, **basics, **more})

    def trl(self, rows: int, setting: tuple[str, int] | None) -> Task:
        """A task of TRL: with a setting of the grid, or with its defaults."""
        limit_s = 60 * self.given.trl_minutes
        if setting is None:
            return self.task("trl", rows, limit_s=limit_s)
        layout, batch = setting
        settings = {"gradient_checkpointing": False}
        return self.task(
            "trl", rows, layout=layout, batch=batch, settings=settings, limit_s=limit_s
        )

    def share(self) -> None:
        """How near our compiled step is to its matrix products."""
        task = self.task("share", 64, settings={"kernels": "compiled"})
        self.found.share = self.processes.run("share", task, cache="share").facts
        print(json.dumps(self.found.share), flush=True)

    def cold(self) -> None:
        """Distinct rows with nothing in the cache."""
        self.found.cold = self.ours("cold", self.given.cold_rows, cache="warm")

    def ours(self, name: str, rows: int, cache: str, **settings: Any) -> Figures:
        """Our trainer, on a cache of compiled code that runs of this name share."""
        found = self.processes.run(name, self.task("ftsdk", rows, settings=settings), cache=cache)
        print(f"ftsdk {name:10} {found}", flush=True)
        return found

    def search(self) -> None:
        """The fastest setting of the grid by CPU seconds, and the rate of the defaults."""
        rows = self.given.search_rows
        rates = {}
        for setting in GRID:
            try:
                found = self.processes.run("search", self.trl(rows, setting))
            except (LeftOut, SideFailed) as reason:
                self.unfinished(f"trl {setting[0]} x {setting[1]}", reason)
                continue
            rates[setting] = found.steady_cpu
            print(f"trl   {setting[0]:12} x {setting[1]} {found}", flush=True)
        if rates:
            self.best = max(rates, key=lambda one: rates[one])
        print(f"best: {self.best[0]} x {self.best[1]}", flush=True)

    def pairs(self) -> None:
        """TRL's defaults and its best, each followed by ours on the same rows; ours in between."""
        for _ in range(self.given.rounds):
            self.found.warm.append(self.ours("warm", self.given.rows, cache="warm"))
            for name, setting in (("defaults", None), ("best", self.best)):
                try:
                    self.pair(name, setting)
                except (LeftOut, SideFailed) as reason:
                    self.unfinished(name, reason)
            self.found.warm.append(self.ours("warm", self.given.rows, cache="warm"))

    def pair(self, name: str, setting: tuple[str, int] | None) -> None:
        """One side of TRL on the rows that its time allows, ours on the same, and both losses."""
        rows = self.rows_in_time(name, setting)
        theirs = self.processes.run(name, self.trl(rows, setting))
        print(f"trl   {name:10} {theirs}", flush=True)
        self.found.sides.setdefault(name, []).append(theirs)
        if theirs.facts["cut_short"]:
            print(f"{name} was cut short: no losses to compare", flush=True)
            return
        settings = {"kernels": "plain"} if rows < self.given.rows else {}
        ours = self.ours("equal", rows, cache="warm", **settings)
        losses = [self.loss_of(one) for one in (ours, theirs)]
        print(f"held-out loss on {rows} rows: {losses[0]:.4f} and {losses[1]:.4f}", flush=True)
        self.found.losses.append((name, losses[0], losses[1]))

    def rows_in_time(self, name: str, setting: tuple[str, int] | None) -> int:
        """How many rows TRL trains in its time, by its rate on a few: whole steps, at most ours."""
        if name not in self.rates:
            few = self.processes.run("few", self.trl(4 * STEP_ROWS, setting))
            self.rates[name] = few.rows_per_s(4 * STEP_ROWS)
        possible = int(0.9 * 60 * self.given.trl_minutes * self.rates[name])
        return max(STEP_ROWS * 4, min(self.given.rows, possible // STEP_ROWS * STEP_ROWS))

    def loss_of(self, figures: Figures) -> float:
        """The held-out loss of what was trained."""
        task = self.task(
            "score",
            self.given.held_out,
            data=str(self.given.data / "gsm8k_test.jsonl"),
            adapter=figures.facts["adapter"],
        )
        return float(self.processes.run("score", task).facts["loss"])

    def short(self) -> None:
        """100 rows as users run them, cold and with a warm cache, against never compiled."""
        rows = min(SHORT_ROWS, self.given.rows)
        for name, cache, kernels in (
            ("plain", "none", "plain"),
            ("cold", "empty", "auto"),
            ("warm", "warm", "auto"),
        ):
            self.found.short[name] = self.ours(f"short {name}", rows, cache=cache, kernels=kernels)


# --- the table --------------------------------------------------------------------------------


def judge(found: Found, bf16: str | None) -> Iterator[Aim]:
    """Yield the aims beside what was found; ratios are judged where the processor has bf16."""
    fast = bf16 is not None
    runs = {"cold": [found.cold] if found.cold else [], "warm": found.warm}
    for name, wanted in (("defaults", WANTED_DEFAULTS), ("best", WANTED_BEST)):
        theirs = found.sides.get(name, [])
        for kind, ours in runs.items():
            if ours and theirs:
                ratio = _median(ours, "training_cpu") / _median(theirs, "steady_cpu")
                reached = ratio >= wanted if fast else None
                what = f"tokens per CPU second, {kind} : TRL's {name}"
                yield Aim(what, f"{ratio:.2f}", f">= {wanted}", reached)
                wall = _median(ours, "training") / _median(theirs, "steady")
                yield Aim("  the same by the clock", f"{wall:.2f}")
    if found.warm and found.sides.get("defaults"):
        memory = _median(found.warm, "peak_bytes") / _median(found.sides["defaults"], "peak_bytes")
        wanted_text = f"<= {WANTED_MEMORY}"
        yield Aim("peak memory : TRL's defaults", f"{memory:.2f}", wanted_text, memory <= 0.5)
    for name, ours_loss, their_loss in found.losses:
        apart = ours_loss / their_loss - 1
        reached = abs(apart) <= WANTED_LOSS
        yield Aim(f"held-out loss : TRL's {name}", f"{apart:+.2%}", "within 1 %", reached)
    if found.share is not None:
        value = float(found.share["share"])
        judged = bf16 is not None and bf16 != "AMX"
        reached = value >= WANTED_SHARE if judged else None
        yield Aim("share of the matrix limit", f"{value:.1%}", f">= {WANTED_SHARE:.0%}", reached)
    yield from _short_aims(found.short)


def _short_aims(short: dict[str, Figures]) -> Iterator[Aim]:
    for name in ("cold", "warm"):
        if name in short and "plain" in short:
            # The whole process counts: compiling and what it is read with.
            ratio = short[name].whole_cpu_s / short["plain"].whole_cpu_s
            how = "compiled" if short[name].facts["compiled"] else "not compiled"
            what = f"CPU seconds of {SHORT_ROWS} rows, {name} ({how}) : plain"
            yield Aim(what, f"{ratio:.2f}", f"<= {WANTED_SHORT}", ratio <= WANTED_SHORT)


def _median(figures: list[Figures], name: str) -> float:
    return statistics.median(getattr(one, name) for one in figures)


if __name__ == "__main__":
    raise SystemExit(main())
