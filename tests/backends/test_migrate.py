"""A migration replaces a fine-tune once: killed anywhere it ends, pays once, and leaves nothing running."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

import ftsdk
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.testing.lab.together.double import TogetherDouble
from ftsdk.types.migration import Migration, MigrationPlan
from ftsdk.util.clock import ManualClock

pytest.importorskip("openai", reason="needs the extra `openai`")
pytest.importorskip("together", reason="needs the extra `together`")
pytest.importorskip("scipy", reason="needs the extra `eval`")
MODEL = "gpt-4.1-mini-2025-04-14"
TO = "together:Qwen/Qwen3-8B"
LABELS = {
    "late": "where is the parcel that should be here today",
    "lost": "the parcel is gone and nobody has seen it",
    "refund": "give me the money back for this order",
    "invoice": "please send an invoice of the purchase",
}


class Metered(OpenAIDouble):
    """Counts each answer that it is paid for: the model and the question."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.paid: Counter[tuple[str, str]] = Counter()

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        reply = super()._completion(body)
        self.paid[body["model"], body["messages"][-1]["content"]] += 1
        return reply


@dataclasses.dataclass
class World:
    """The account at OpenAI with its fine-tune, the target, and a clock."""

    openai: Metered
    together: TogetherDouble
    clock: ManualClock
    model: str
    folder: Path

    def client(self, home: Path) -> ftsdk.Client:
        env = {**self.openai.variables(), **self.together.variables()}
        return ftsdk.Client(home=home, clock=self.clock, env=env)

    def migrate(self, home: Path, data: Any = None, **options: Any) -> Migration:
        asked = {"to": TO, "rights": "own", "folder": home / "migration", "recoverable": True}
        with self.client(home) as client:
            return client.migrate("openai", data, **{**asked, **options})

    @property
    def running(self) -> int:
        """How many deployments run at the target now, and are billed."""
        return sum(len(one["deployments"]) for one in self.together.endpoints.values())


def labelled(count: int, seed: int, noise: float = 0.0) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    rows = []
    for _ in range(count):
        label = chance.choice(list(LABELS))
        words = LABELS[label].split()
        chance.shuffle(words)
        asked = f"{' '.join(words)} {chance.randint(1, 10**9)}"
        said = chance.choice(list(LABELS)) if chance.random() < noise else label
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": asked},
                    {"role": "assistant", "content": said},
                ]
            }
        )
    return rows


def tune(world: World, count: int = 60, validation: Any = None, **options: Any) -> str:
    """Train a fine-tune from elsewhere, as its user did before."""
    with world.client(world.folder / "elsewhere") as client:
        job = client.create_job(
            labelled(count, 1), provider="openai", model=MODEL, name="support",
            validation=labelled(150, 2) if validation is None else validation, **options,
        )  # fmt: skip
        world.clock.advance(600)
        return job.refresh().result().id


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = ManualClock(dt.datetime(2026, 11, 30, tzinfo=dt.UTC))
    with Metered(clock=clock) as openai, TogetherDouble(clock=clock) as together:
        made = World(openai, together, clock, "", tmp_path)
        made.model = tune(made)
        openai.requests.clear()
        yield made


def receipt(found: Migration, step: str) -> dict[str, Any]:
    (path,) = found.models[0].folder.glob(f"?-{step}.json")
    return dict(orjson.loads(path.read_bytes()))


# --- from the inventory to the report ---


def test_a_model_is_replaced_and_the_report_says_how_good_the_new_one_is(
    world: World, home: Path
) -> None:
    found = world.migrate(home, requests=300_000)
    (one,) = found.models
    assert (one.model, one.result, found.exit_code) == (world.model, "passed", 0)
    assert [(c.name, c.verdict) for c in one.candidates] == [
        ("together Qwen3-8B", "parity"), ("prompt on gpt-6-luna", "worse"),
    ]  # fmt: skip
    assert one.chosen == "together Qwen3-8B"
    assert one.snippet.count("\n") == 2
    assert one.candidates[0].job_id is not None
    assert one.candidates[0].job_id in one.snippet
    compile(one.snippet, "snippet", "exec")
    for name in ("report.html", "report.json", "report.xml"):
        assert (one.folder / name).stat().st_size > 500
    assert len(world.together.jobs) == 1
    assert world.running == 0
    assert max(world.openai.paid.values()) == 1
    assert found.spent_usd > Decimal(4)  # the job's minimum, answers, seconds of a deployment


def test_every_receipt_has_its_version_inputs_times_and_money(world: World, home: Path) -> None:
    found = world.migrate(home)
    for step in ("capture", "rights", "plan", "compare", "report", "alias"):
        kept = receipt(found, step)
        assert kept["schema_version"] == 1
        assert kept["step"] == step
        assert kept["inputs"]
        assert kept["started_at"] <= kept["ended_at"]
        assert Decimal(kept["usd"]) >= 0
    assert Decimal(receipt(found, "capture")["usd"]) > 0
    assert receipt(found, "plan")["inputs"]["margin"] == 0.03
    planned, asked = receipt(found, "plan")["ended_at"], receipt(found, "compare")["started_at"]
    assert planned <= asked
    aliases = orjson.loads((found.folder / "aliases.json").read_bytes())["aliases"]
    assert aliases[world.model]["job"] == found.models[0].candidates[0].job_id
    assert oct(found.folder.stat().st_mode & 0o777) == "0o700"


def test_a_second_call_does_nothing_and_says_the_same(world: World, home: Path) -> None:
    first = world.migrate(home)
    world.openai.requests.clear()
    world.together.requests.clear()
    assert world.migrate(home) == first
    sent = [*world.openai.requests, *world.together.requests]
    assert [one for one in sent if one.method != "GET"] == []


def test_the_plan_spends_nothing_and_shows_everything(world: World, home: Path) -> None:
    class Enough(Exception):
        pass

    plans: list[MigrationPlan] = []

    def stop(plan: MigrationPlan) -> None:
        plans.append(plan)
        raise Enough

    with pytest.raises(Enough):
        world.migrate(home, on_plan=stop, requests=300_000, rights=None)
    sent = [*world.openai.requests, *world.together.requests]
    assert [one for one in sent if one.method != "GET"] == []
    (plan,) = plans
    (one,) = plan.models
    tuned = next(each for each in one.candidates if each.kind == "tuned")
    assert {each.name: each.change for each in tuned.settings} == {
        "epochs": "same", "batch_size": "chosen", "learning_rate_multiplier": "dropped",
        "learning_rate": "chosen", "seed": "same",
    }  # fmt: skip
    assert tuned.training.low == Decimal("4.00")
    assert tuned.lease is not None
    assert tuned.lease.usd == Decimal("8.99")
    assert tuned.monthly_usd is not None
    assert one.rights.origin == "unknown"
    assert any("azure" in line and "14 October 2027" in line for line in plan.bridges)
    assert {each.what for each in one.lost} >= {"The weights", "Cheaper cached input", "The name"}
    assert plan.high is not None
    assert plan.high > Decimal(12)
