"""What `create_job` adds to the provider's own time: validation, hashing, planning, the journal.

    python benchmarks/create_job.py [count]

It submits `count` jobs of 50 rows to the lab's OpenAI. The time that the calls of the official SDK
take (sending, the double's answer, parsing) is the provider's; all the rest is ours. The aim is a
median under 15 ms with the journal on the disk that FTSDK_HOME names.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import ftsdk
from ftsdk.backends.openai.transport import Transport
from ftsdk.testing.lab.openai.double import OpenAIDouble

MODEL = "gpt-4.1-mini-2025-04-14"
spent = {"s": 0.0}


def timed(function):
    """The same method; its time is the provider's."""

    def call(*arguments, **options):
        begun = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            spent["s"] += time.perf_counter() - begun

    return call


def main(count: int) -> None:
    """Print the median and the 95th percentile of our share, and of the provider's."""
    Transport.call = timed(Transport.call)
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"question {number}"},
                {"role": "assistant", "content": f"answer {number}"},
            ]
        }
        for number in range(50)
    ]
    ours, theirs = [], []
    with OpenAIDouble() as double, tempfile.TemporaryDirectory(dir=Path.cwd()) as home:
        client = ftsdk.Client(home=home, env=double.variables())
        for number in range(count + 5):
            spent["s"], begun = 0.0, time.perf_counter()
            client.create_job(rows, provider="openai", model=MODEL, seed=number)
            if number >= 5:  # the first ones load modules and open connections
                ours.append((time.perf_counter() - begun - spent["s"]) * 1000)
                theirs.append(spent["s"] * 1000)
            double.jobs.clear()
        client.close()
    for name, taken in (("ftsdk", ours), ("provider", theirs)):
        p95 = statistics.quantiles(taken, n=20)[-1]
        print(
            f"{name:<10}median {statistics.median(taken):6.1f} ms   p95 {p95:6.1f} ms   n={count}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
