"""How fast is validation? Ratios in one run, on one machine: `python benchmarks/dataset.py DATA.jsonl`.

Compared on the rows of DATA repeated 40 times, and on as many distinct rows:

* all rules, no tokens, against `together`'s `check_file` (which looks at structure only);
* with exact o200k counts, against a plain loop over `tiktoken`, and `bpe-openai` alone as the limit.

Wall time is what a person waits; CPU time, of all processes together, is less moved by a busy
machine, and does not show what a second processor saves.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def clock(work: Callable[[], Any]) -> tuple[float, float]:
    """The best wall seconds and the best CPU seconds (child processes included) of two runs."""
    import os

    best_wall = best_cpu = float("inf")
    for _ in range(2):
        start, before = time.perf_counter(), os.times()
        work()
        after = os.times()
        best_wall = min(best_wall, time.perf_counter() - start)
        best_cpu = min(best_cpu, sum(after[:4]) - sum(before[:4]))
    return best_wall, best_cpu


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


def show(
    title: str, rows: int, took: tuple[float, float], *others: tuple[str, float, float]
) -> None:
    """One line: rows a second by both clocks, and how many times each of the others."""
    by_wall, by_cpu = rows / took[0], rows / took[1]
    ratios = "".join(
        f"   {by_wall / wall:.2f} ({by_cpu / cpu:.2f}) times {name}" for name, wall, cpu in others
    )
    print(f"  {title:<24} {by_wall:>10,.0f} ({by_cpu:,.0f}) rows/s{ratios}", flush=True)


def main() -> None:
    """Print one table: wall time, and CPU time of all processes in brackets."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--times", type=int, default=40)
    asked = parser.parse_args()

    from together.lib.utils import check_file

    from ftsdk.dataset import validate
    from ftsdk.dataset.tokenize.counters import OpenAICounter

    with tempfile.TemporaryDirectory() as name:
        for title, path in files(asked.data, Path(name), asked.times).items():
            rows = path.read_bytes().count(b"\n")
            print(f"{title}: {rows:,} rows")
            theirs = clock(lambda p=path: check_file(p))
            show("together check_file", rows, theirs)
            ours = clock(lambda p=path: validate(p, tokens=False, near_duplicates=False))
            show("all rules, no tokens", rows, ours,
                 ("check_file", rows / theirs[0], rows / theirs[1]))  # fmt: skip
            sample = texts(path)[: 2 * 15_000]
            part = len(sample) // 2
            loop, limit = tiktoken_loop(), OpenAICounter("o200k_base")._count
            slow = clock(lambda t=sample, f=loop: sum(map(f, t)))
            bare = clock(lambda t=sample, f=limit: sum(map(f, t)))
            show("tiktoken loop", part, slow)
            show("bpe-openai, one thread", part, bare)
            both = clock(lambda p=path: validate(p, model="gpt-4.1", near_duplicates=False))
            show("all rules, exact o200k", rows, both,
                 ("tiktoken", part / slow[0], part / slow[1]),
                 ("the limit", part / bare[0], part / bare[1]))  # fmt: skip


if __name__ == "__main__":
    main()
