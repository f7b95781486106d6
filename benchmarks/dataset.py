"""How fast is validation? Ratios in one run, on one machine: `python benchmarks/dataset.py DATA.jsonl`.

Compared on the rows of DATA repeated 40 times, and on as many distinct rows:

* all rules, no tokens, against `together`'s `check_file` (which looks at structure only);
* with exact o200k counts, against a plain loop over `tiktoken`, and `bpe-openai` alone as the limit.

CPU time of this process is used, so that a busy machine changes the figures less.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def cpu(work: Callable[[], Any]) -> float:
    """The best CPU seconds (user and system) of two runs, child processes included."""
    import os

    best = float("inf")
    for _ in range(2):
        before = os.times()
        work()
        after = os.times()
        best = min(best, sum(after[:4]) - sum(before[:4]))
    return best


def wall(work: Callable[[], Any]) -> float:
    """The best wall seconds of two runs."""
    best = float("inf")
    for _ in range(2):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def tiktoken_loop() -> Callable[[str], int]:
    """A loop over tiktoken, with the o200k ranks that `bpe-openai` carries (its own need the network)."""
    import tiktoken
    from bpe_openai import registry

    facts = registry.o200k_base()
    encoding = tiktoken.Encoding(
        name="o200k_base", pat_str=facts["pat_str"], mergeable_ranks=facts["mergeable_ranks"],
        special_tokens=facts["special_tokens"],
    )  # fmt: skip
    return lambda text: len(encoding.encode(text, disallowed_special=()))


def texts(path: Path) -> list[str]:
    return [
        m["content"]
        for line in path.read_bytes().split(b"\n")
        if line
        for m in json.loads(line)["messages"]
    ]


def files(source: Path, folder: Path, times: int) -> dict[str, Path]:
    data = source.read_bytes()
    data += b"" if data.endswith(b"\n") else b"\n"
    repeated, distinct = folder / "repeated.jsonl", folder / "distinct.jsonl"
    repeated.write_bytes(data * times)
    with distinct.open("wb") as handle:
        for copy in range(max(1, times // 4)):
            for number, line in enumerate(data.split(b"\n")[:-1]):
                row = json.loads(line)
                row["messages"][0]["content"] += f" (case {copy}-{number})"
                handle.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return {f"{source.name} × {times}": repeated, "distinct rows": distinct}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--wall", action="store_true", help="wall time instead of CPU time")
    asked = parser.parse_args()

    from together.lib.utils import check_file

    from ftsdk.dataset import validate
    from ftsdk.dataset.tokens import OpenAICounter

    clock = wall if asked.wall else cpu
    with tempfile.TemporaryDirectory() as name:
        for title, path in files(asked.data, Path(name), asked.times).items():
            rows = path.read_bytes().count(b"\n")

            def rate(seconds: float, count: int = rows) -> float:
                return count / seconds

            ours = rate(clock(lambda p=path: validate(p, tokens=False, near_duplicates=False)))
            theirs = rate(clock(lambda p=path: check_file(p)))
            print(f"{title}: {rows:,} rows")
            print(f"  all rules, no tokens     {ours:>10,.0f} rows/s")
            print(
                f"  together check_file      {theirs:>10,.0f} rows/s   ours is {ours / theirs:.2f} times it"
            )
            sample = texts(path)[: 2 * 15_000]
            part = len(sample) // 2
            loop, limit = tiktoken_loop(), OpenAICounter("o200k_base")._count
            slow = rate(clock(lambda t=sample, f=loop: sum(map(f, t))), part)
            bare = rate(clock(lambda t=sample, f=limit: sum(map(f, t))), part)
            both = rate(clock(lambda p=path: validate(p, model="gpt-4.1", near_duplicates=False)))
            print(
                f"  all rules, exact o200k   {both:>10,.0f} rows/s   {both / slow:.2f} times tiktoken, {both / bare:.2f} times the limit"
            )
            print(f"  tiktoken loop            {slow:>10,.0f} rows/s")
            print(f"  bpe-openai, one thread   {bare:>10,.0f} rows/s")


if __name__ == "__main__":
    main()
