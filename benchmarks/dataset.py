"""How fast is validation? Ratios in one run, on one machine: `python benchmarks/dataset.py DATA.jsonl`.

DATA has chat rows; a number is added to each question, so that no two rows are the same. Compared are
whole processes from their start to their end, imports included (from byte code, as installed), by turns:

* all rules, no tokens, against `together`'s `check_file` (which looks at structure only);
* all rules with exact o200k counts, against a plain loop over `tiktoken`;
* other shapes of the same rows, against plain chat; and the time of each stage.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]

CHECK_FILE = "from together.lib.utils import check_file\ncheck_file({path!r})"
ALL_RULES = (
    "from ftsdk.dataset import validate\nvalidate({path!r}, tokens=False, near_duplicates=False)"
)
WITH_TOKENS = (
    "from ftsdk.dataset import validate\nvalidate({path!r}, model='gpt-4.1', near_duplicates=False)"
)
TIKTOKEN = """
import json, tiktoken
from bpe_openai import registry
facts = registry.o200k_base()  # tiktoken's own copy of the ranks needs a network
encoding = tiktoken.Encoding(name="o200k_base", pat_str=facts["pat_str"],
    mergeable_ranks=facts["mergeable_ranks"], special_tokens=facts["special_tokens"])
total = 0
with open({path!r}, "rb") as handle:
    for line in handle:
        for message in json.loads(line)["messages"]:
            total += len(encoding.encode(message["content"], disallowed_special=()))
"""


class Took(NamedTuple):
    """Seconds of a process and of those that it started."""

    wall: float
    cpu: float


def run(code: str, path: Path = Path()) -> Took:
    """Run a program over a file, from its start to its end."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start, before = time.perf_counter(), os.times()
    command = [sys.executable, "-W", "ignore", "-c", code.format(path=str(path))]
    subprocess.run(command, check=True, env=environment)
    after = os.times()
    cpu = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return Took(time.perf_counter() - start, cpu)


def best_of(rounds: int, *programs: tuple[str, Path]) -> list[Took]:
    """The best wall time and the best CPU time of each program; they take turns."""
    found = [[run(code, path) for code, path in programs] for _ in range(rounds)]
    return [
        Took(min(t.wall for t in one), min(t.cpu for t in one)) for one in zip(*found, strict=True)
    ]


# --- rows ------------------------------------------------------------------------------------


def distinct_rows(source: Path, count: int) -> Iterator[tuple[str, str]]:
    """Pairs of question and answer, as many as asked for, each question with a number of its own."""
    rows = [json.loads(line)["messages"] for line in source.read_bytes().split(b"\n") if line]
    for number in range(count):
        asked, answered = rows[number % len(rows)][-2:]
        yield f"{asked['content']} (case {number})", answered["content"]


def chat(asked: str, answer: str) -> Row:
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    }


def with_weight(asked: str, answer: str) -> Row:
    row = chat(asked, answer)
    row["messages"][-1]["weight"] = 1
    return row


TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {
    "type": "object", "properties": {"page": {"type": "integer"}}, "required": ["page"]}}}]  # fmt: skip


def with_tools(asked: str, answer: str) -> Row:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "look", "arguments": '{"page": 3}'},
    }
    turns = [{"role": "assistant", "content": None, "tool_calls": [call]},
             {"role": "tool", "tool_call_id": "c1", "content": "nothing new"}]  # fmt: skip
    asking, answering = chat(asked, answer)["messages"]
    return {"messages": [asking, *turns, answering], "tools": TOOLS}


def preference(asked: str, answer: str) -> Row:
    sides = [
        [{"role": "assistant", "content": text}] for text in (answer, answer[: len(answer) // 2])
    ]
    return {"input": {"messages": [{"role": "user", "content": asked}]},
            "preferred_output": sides[0], "non_preferred_output": sides[1]}  # fmt: skip


def converse(asked: str, answer: str) -> Row:
    turns = [{"role": role, "content": [{"text": text}]}
             for role, text in (("user", asked), ("assistant", answer))]  # fmt: skip
    return {
        "schemaVersion": "bedrock-conversation-2024",
        "system": [{"text": "Be short."}],
        "messages": turns,
    }


def gemini(asked: str, answer: str) -> Row:
    return {"contents": [{"role": role, "parts": [{"text": text}]}
                         for role, text in (("user", asked), ("model", answer))]}  # fmt: skip


def with_extra_keys(row: Row) -> Row:
    """The row with keys that no format reads, as most published data sets have some."""
    meta = {"score": len(str(row)) % 10, "tags": ["maths", "short"]}
    return {
        "id": f"row-{zlib.crc32(str(row).encode()) % 10**6}",
        **row,
        "source": "a book",
        "meta": meta,
    }


SHAPES: dict[str, Callable[[str, str], Row]] = {
    "plain chat": chat,
    "chat with a weight": with_weight,
    "chat with tools": with_tools,
    "instruction": lambda asked, answer: {"instruction": asked, "input": "", "output": answer},
    "prompt and completion": lambda asked, answer: {"prompt": asked, "completion": answer},
    "ShareGPT": lambda asked, answer: {
        "conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]
    },
    "prompt, chosen, rejected": lambda asked, answer: {
        "prompt": asked,
        "chosen": answer,
        "rejected": answer[: len(answer) // 2],
    },
    "preference pairs": preference,
    "Bedrock Converse": converse,
    "Gemini contents": gemini,
    "plain text": lambda asked, answer: {"text": f"{asked}\n{answer}"},
    "chat with extra keys": lambda asked, answer: with_extra_keys(chat(asked, answer)),
    "tools with extra keys": lambda asked, answer: with_extra_keys(with_tools(asked, answer)),
    "instruction with extra keys": lambda asked, answer: with_extra_keys(
        {"instruction": asked, "input": "", "output": answer}
    ),
}


def written(path: Path, rows: Iterator[Row]) -> Path:
    with path.open("wb") as handle:
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return path


# --- tables ----------------------------------------------------------------------------------


def against(title: str, rows: int, ours: Took, name: str, theirs: Took) -> None:
    wall, cpu = theirs.wall / ours.wall, theirs.cpu / ours.cpu
    print(f"  {title:<26} {wall:5.2f} times {name} by the clock, {cpu:5.2f} by CPU time of all processes "
          f"({rows / ours.wall:,.0f} and {rows / theirs.wall:,.0f} rows/s)", flush=True)  # fmt: skip


def show_shapes(source: Path, folder: Path, count: int) -> None:
    """Rows per second of each shape in one process, as a share of plain chat."""
    from ftsdk.dataset import validate

    usual = 0.0
    for title, make in SHAPES.items():
        rows = (make(*pair) for pair in distinct_rows(source, count))
        path = written(folder / "shape.jsonl", rows)
        speeds = []
        for _ in range(3):
            start = time.process_time()
            report = validate(path, tokens=False, near_duplicates=False)
            speeds.append(count / (time.process_time() - start))
        usual = usual or max(speeds)
        print(f"  {title:<26} {max(speeds) / usual:5.2f} of plain chat, {max(speeds):,.0f} rows/s of CPU, "
              f"format {report.format}", flush=True)  # fmt: skip


class Stages:
    """The CPU time of functions that are called once for each block of rows."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def time(self, owner: Any, name: str, title: str) -> None:
        """Add the time of a function to a stage from now on."""
        function = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            start = time.process_time()
            try:
                found = function(*args, **options)
                return list(found) if isinstance(found, Iterator) else found
            finally:
                self._add(title, time.process_time() - start)

        setattr(owner, name, timed)

    def time_steps(self, owner: Any, name: str, title: str) -> None:
        """As `time`, for a function that yields, each step by itself."""
        function = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Iterator[Any]:
            steps, end = function(*args, **options), object()
            while True:
                start = time.process_time()
                step = next(steps, end)
                self._add(title, time.process_time() - start)
                if step is end:
                    return
                yield step

        setattr(owner, name, timed)

    def _add(self, title: str, seconds: float) -> None:
        self.spent[title] = self.spent.get(title, 0.0) + seconds


EVERYTHING, A_LOOK = "everything", "all looks at a block"
STARTS = {
    "start of Python": "pass",
    "imports of the main process": "from ftsdk.dataset import validate",
    "imports of a command's worker": "import ftsdk.dataset.validation.worker",
    "imports for tokens, and the encoding": "from ftsdk.dataset.tokenize.counters import OpenAICounter\n"
    "OpenAICounter('o200k_base')._count('a')",
}


def show_stages(path: Path, rows: int) -> None:
    """The CPU time of each start, in seconds, and of each stage of one process, in microseconds a row."""
    for title, code in STARTS.items():
        print(f"  {title:<38} {min(run(code).cpu for _ in range(3)):6.2f} s", flush=True)
    from ftsdk.dataset.formats.typed_rows import TypedForm
    from ftsdk.dataset.readers import containers
    from ftsdk.dataset.rules.token_counts import Counting
    from ftsdk.dataset.validation import checker, parallel, plain_rows, validate

    parallel._processors = lambda: 1
    stages = Stages()
    stages.time_steps(containers, "read_blocks", "read and cut into rows")
    stages.time(plain_rows, "_signs", "look at the bytes (RE2)")
    stages.time(TypedForm, "rows", "decode into types")
    stages.time(plain_rows, "_sound", "structure, order, loops")
    stages.time(plain_rows, "_with_more", "keys that are there twice, other keys")
    stages.time(checker, "look", A_LOOK)
    stages.time(checker.RowChecker, "_take_together", "hashes, lengths, scripts")
    stages.time(checker.RowChecker, "_take_record", "rows read in full")
    stages.time(validate, "findings_of_set", "the set: duplicates, languages, outliers")
    stages.time(validate, "validate", EVERYTHING)
    validate.validate(path, tokens=False, near_duplicates=False)
    spent = stages.spent
    whole, looks = spent.pop(EVERYTHING), spent.pop(A_LOOK)
    inner = (
        "look at the bytes (RE2)",
        "decode into types",
        "structure, order, loops",
        "keys that are there twice, other keys",
    )
    spent["search for keys and numbers"] = looks - sum(spent[name] for name in inner)
    for title, seconds in {
        **spent,
        "all of it": whole,
        "the rest": whole - sum(spent.values()),
    }.items():
        print(f"  {title:<38} {1e6 * seconds / rows:6.2f} µs a row", flush=True)
    stages.time(Counting, "add_said", "tokens")
    validate.validate(path, model="gpt-4.1", near_duplicates=False)
    print(
        f"  {'tokens, where they are counted':<38} {1e6 * spent['tokens'] / rows:6.2f} µs a row",
        flush=True,
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = distinct_rows(asked.data, asked.rows)
        path = written(folder / "rows.jsonl", (chat(*pair) for pair in pairs))
        print(
            f"{asked.rows:,} distinct rows of {asked.data.name}, {len(os.sched_getaffinity(0))} processors"
        )
        theirs, ours = best_of(asked.rounds, (CHECK_FILE, path), (ALL_RULES, path))
        against("all rules, no tokens", asked.rows, ours, "check_file", theirs)
        part = written(
            folder / "part.jsonl", (chat(*p) for p in distinct_rows(asked.data, asked.rows // 4))
        )
        theirs, ours = best_of(asked.rounds, (TIKTOKEN, part), (WITH_TOKENS, part))
        against("all rules, exact o200k", asked.rows // 4, ours, "tiktoken", theirs)
        print("shapes, one process")
        show_shapes(asked.data, folder, min(asked.rows, 20_000))
        print("stages, one process")
        show_stages(part, asked.rows // 4)


if __name__ == "__main__":
    main()
