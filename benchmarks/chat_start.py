"""How long `ftsdk chat -m` takes from a cold start, against a bare script that answers the same.

    python benchmarks/chat_start.py [--rounds 5] [--model FOLDER]

Trains a small adapter on smollm2-135m. Then `ftsdk chat` and `_bare_chat.py`, which loads the same base and
the same adapter with transformers and peft, answer one message greedily, each in a new process, by turns.
Both must print the same answer. The aim: the median of the command is at most 1.2 times that of the script,
by the clock. The time of the processor is printed as well, since it depends less on what else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _training import model_folder

import ftsdk
from ftsdk.backends.local.compute.hardware import choose_hardware

AIM = 1.2
MESSAGE = "My parcel is late."
ANSWER = "[shipping/late] Your order number, please, and I'll open a trace."
MAX_TOKENS = 24


def main() -> int:
    """Print the medians and the ratio; 1 when the ratio is over the aim."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", type=Path, help="a folder with smollm2-135m")
    given = parser.parse_args()
    base = model_folder(given.model).resolve()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        adapter = train(home, base)
        dtype = str(choose_hardware().dtype).removeprefix("torch.")
        script = str(Path(__file__).with_name("_bare_chat.py"))
        programs = {
            "ftsdk chat": ["-m", "ftsdk", "chat", "-m", MESSAGE, "--max-tokens", str(MAX_TOKENS)],
            "bare script": [script, str(base), str(adapter), dtype, MESSAGE, str(MAX_TOKENS)],
        }
        return compare(programs, {**os.environ, "FTSDK_HOME": str(home)}, given.rounds)


def train(home: Path, base: Path) -> Path:
    """Train on one conversation, and return the folder of the adapter."""
    row = {
        "messages": [
            {"role": "user", "content": MESSAGE},
            {"role": "assistant", "content": ANSWER},
        ]
    }
    with ftsdk.Client(home=home) as client:
        job = client.create_job(
            [row] * 8,
            provider="local",
            model=str(base),
            epochs=4,
            learning_rate=2e-3,
            batch_size=8,
            allow_findings=True,
        )
        path = job.wait().result().path
    assert path is not None
    return path


def compare(programs: dict[str, list[str]], env: dict[str, str], rounds: int) -> int:
    """Run the programs by turns, once to fill the caches and then `rounds` times each."""
    answers = {name: run(words, env)[0] for name, words in programs.items()}
    print(json.dumps(answers, indent=2))
    if len(set(answers.values())) > 1:
        print("the answers differ")
        return 1
    clock: dict[str, list[float]] = {name: [] for name in programs}
    processor: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(rounds):
        for name in list(programs)[:: 1 if turn % 2 == 0 else -1]:
            _, wall, cpu = run(programs[name], env)
            clock[name].append(wall)
            processor[name].append(cpu)
    ours, bare = programs
    for title, times in (("clock", clock), ("processor", processor)):
        medians = {name: statistics.median(times[name]) for name in programs}
        shown = "   ".join(f"{name} {medians[name]:.2f} s" for name in programs)
        print(f"{title:<9}   {shown}   ratio {medians[ours] / medians[bare]:.2f}")
    ratio = statistics.median(clock[ours]) / statistics.median(clock[bare])
    print(f"{'over' if ratio > AIM else 'within'} {AIM:g} by the clock")
    return 1 if ratio > AIM else 0


def run(words: list[str], env: dict[str, str]) -> tuple[str, float, float]:
    """Return what a new Python prints, its seconds by the clock, and those of the processor."""
    began, before = time.monotonic(), os.times()
    done = subprocess.run(
        [sys.executable, *words], env=env, capture_output=True, text=True, check=False
    )
    took, after = time.monotonic() - began, os.times()
    if done.returncode:
        raise SystemExit(done.stderr)
    cpu = after.children_user + after.children_system
    return done.stdout.strip(), took, cpu - before.children_user - before.children_system


if __name__ == "__main__":
    sys.exit(main())
