"""A migration on this machine, end to end: a tuned model is captured, replaced and compared.

    python benchmarks/migration.py [--data ../shared/data] [--labels 14] [--rows 280]

1. The old model: SmolLM2-135M, tuned on a label task. A double of OpenAI serves its answers as
   `ft:gpt-4.1-mini…`, on loopback, to the real SDK.
2. Its answers to at least 500 test rows are captured.
3. The training file is fetched back from the account, and the same base is tuned on it with another
   seed, on this machine: the replacement. Another is tuned on a tenth of the rows.
4. Three comparisons at a margin of 5 points: the replacement is at parity; the one from a tenth of
   the rows is worse; on 40 rows nothing can be said, and the report names the rows that would do.

The exit status is 1 where a verdict is another one. The data is BANKING77 (Casanueva et al., 2020,
CC BY 4.0) as chat rows. Some intents are used, far apart in the alphabet, so that few of them are
alike; the system message is shortened, since every token costs time on a CPU.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import ftsdk
from ftsdk.evaluation.models import model_of, training_files_of
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.testing.lab.timeline import Stage

Row = dict[str, Any]
Answers = Callable[[Sequence[Mapping[str, Any]]], str]
BASE = "gpt-4.1-mini-2025-04-14"
MARGIN = 0.05
FEW = 40
SYSTEM = "Intent?"
EXPECTED = {"retrained": "parity", "a tenth of the rows": "worse", f"{FEW} rows": "inconclusive"}


def main() -> int:
    """Train, capture, retrain, compare; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--labels", type=int, default=14)
    parser.add_argument("--rows", type=int, default=280, help="rows to train on")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--out", type=Path, help="write the report of the replacement as a page")
    given = parser.parse_args()
    started = time.monotonic()
    try:
        train, test = rows_of(given.data, given.labels, given.rows)
        client = ftsdk.Client()

        def tune(rows: Any, seed: int) -> ftsdk.FineTuneJob:
            return client.create_job(
                rows,
                provider="local",
                model=given.model,
                adapter=ftsdk.LoRA(rank=16),
                hyperparameters={
                    "epochs": given.epochs, "learning_rate": given.learning_rate, "batch_size": 8,
                },
                seed=seed,
                name=f"migration-{len(rows) if isinstance(rows, list) else 'all'}-{seed}",
                provider_options={"pull": True},
            ).wait(on_event=progress)  # fmt: skip

        old = tune(train, 0)
        print(f"the old model: {old.id}, {time.monotonic() - started:.0f} s", flush=True)
        answers = answers_of(old.result(), test)
        with Served(train, answers) as served:
            found = migrate(client, served, test, tune)
    except ftsdk.FtsdkError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(table(found))
    print(f"{time.monotonic() - started:.0f} s")
    if given.out is not None:
        given.out.write_text(found["retrained"].to_html())
    return 0 if {name: one.verdict for name, one in found.items()} == EXPECTED else 1


def rows_of(folder: Path, labels: int, count: int) -> tuple[list[Row], list[Row]]:
    """Return `count` training rows and all test rows of some labels, in a fixed random order."""
    train, test = (_read(folder / f"banking77_{name}.jsonl") for name in ("train", "test"))
    known = sorted({_label(row) for row in train})
    kept = set(known[:: max(1, len(known) // labels)][:labels])
    chance = random.Random(0)
    train, test = ([row for row in rows if _label(row) in kept] for rows in (train, test))
    return chance.sample(train, min(count, len(train))), chance.sample(test, len(test))


def _read(path: Path) -> list[Row]:
    if not path.is_file():
        raise ftsdk.ConfigError(
            f"The benchmark's data is not here: {path.name}",
            where=str(path.resolve()),
            hint="give the folder that holds it with --data FOLDER",
        )
    rows = [json.loads(line) for line in path.read_bytes().removesuffix(b"\n").split(b"\n")]
    for row in rows:
        row["messages"] = [{"role": "system", "content": SYSTEM}, *row["messages"][-2:]]
    return rows


def _label(row: Row) -> str:
    return str(row["messages"][-1]["content"])


def answers_of(model: ftsdk.ModelHandle, rows: Sequence[Row]) -> Answers:
    """Return what a model answers to the rows, asked at once: it is served from memory."""
    asked = [row["messages"][:-1] for row in rows]
    said = [one.text for one in model.chat_many(asked, max_tokens=24, concurrency=32)]
    known = {json.dumps(messages): text for messages, text in zip(asked, said, strict=True)}
    return lambda messages: known[json.dumps([dict(one) for one in messages])]


class Served:
    """An account at a double of OpenAI that has a fine-tune, which answers by a function."""

    def __init__(self, train: Sequence[Row], answers: Answers) -> None:
        self.double = OpenAIDouble(stages=(Stage("running", 0.0), Stage("succeeded", 0.0)))
        self._train, self._answers, self.name = list(train), answers, ""

    def __enter__(self) -> Self:
        self.double.start()
        with TemporaryDirectory() as home:
            made_elsewhere = ftsdk.Client(home=home, env=self.env)
            job = made_elsewhere.create_job(self._train, provider="openai", model=BASE).wait()
            self.name = job.result().id
            made_elsewhere.close()
        self.double.answers = lambda model, messages: (
            self._answers(messages) if model == self.name else None
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.double.stop()

    @property
    def env(self) -> dict[str, str]:
        """The variables that point at the account."""
        return self.double.variables()


def migrate(
    client: ftsdk.Client,
    served: Served,
    test: Sequence[Row],
    tune: Callable[[Any, int], ftsdk.FineTuneJob],
) -> dict[str, ftsdk.EvaluationReport]:
    """Capture the served model, replace it, and compare; returns the three reports by name."""
    with ftsdk.Client(home=client.home, env=served.env) as account:
        captured = account.capture(served.name, list(test), base=False, options={"max_tokens": 24})
        model = model_of(account.session, served.name)
        [(file_id, fetched)] = training_files_of(
            account.session, model, Path(client.home) / "fetched"
        ).training
        rows = list(fetched)
    print(f"captured {captured.rows} rows of {served.name}; {len(rows)} training rows in {file_id}")
    old = ftsdk.Captured(captured.folder)
    retrained, worse = tune(rows, 1), tune(rows[: len(rows) // 10], 2)

    def compare(name: str, job: ftsdk.FineTuneJob, data: Sequence[Row]) -> ftsdk.EvaluationReport:
        report = client.evaluate(
            list(data),
            [old, job.id],
            margin=MARGIN,
            metrics=["label"],
            options={"max_tokens": 24},
            concurrency=32,
        )
        print(f"{name}: {report.verdict}", flush=True)
        return report

    return {
        "retrained": compare("retrained", retrained, test),
        "a tenth of the rows": compare("a tenth of the rows", worse, test),
        f"{FEW} rows": compare(f"{FEW} rows", retrained, test[:FEW]),
    }


def table(found: Mapping[str, ftsdk.EvaluationReport]) -> str:
    """Return the comparisons as lines."""
    lines = [
        f"\n{'':22}{'rows':>6}{'old':>8}{'new':>8}{'difference, 95 %':>24}{'flips':>10}  verdict"
    ]
    for name, report in found.items():
        one, means = report.compare(), report.candidates[0].means["label"]
        span = f"{one.delta:+.1%} ({one.low:+.1%}, {one.high:+.1%})"
        needed = f", {one.rows_needed} rows needed" if one.rows_needed else ""
        lines.append(
            f"{name:22}{one.n:>6}{means.reference:>8.1%}{means.candidate:>8.1%}{span:>24}"
            f"{f'+{one.wins} −{one.losses}':>10}  {report.verdict}{needed}"
        )
    return "\n".join(lines)


def progress(event: ftsdk.Event) -> None:
    """Progress, in plain lines."""
    if event.kind in ("status", "warning", "error"):
        print(event, flush=True)


if __name__ == "__main__":
    sys.exit(main())
