"""A migration replaces a fine-tune once: killed anywhere it ends, pays once, and leaves nothing running."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import random
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

import ftsdk
from ftsdk.backends.together.backend import TogetherBackend
from ftsdk.errors import AuthError, BudgetError, NeedsDecision, StoreError, UsageError
from ftsdk.evaluation import scoring
from ftsdk.evaluation.overlap import OverlapFinder
from ftsdk.store.journal import Journal
from ftsdk.store.leases import Leases
from ftsdk.testing.lab.together.double import TogetherDouble
from ftsdk.types.evaluation import Score
from ftsdk.types.migration import CandidatePlan, Migration, MigrationPlan
from ftsdk.util.clock import ManualClock
from tests.backends.metered import Metered

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
        asked = {
            "to": TO,
            "rights": "own",
            "folder": home / "migration",
            "recoverable": True,
            "margin": 0.13,
        }
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
            validation=labelled(45, 2) if validation is None else validation, **options,
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
    assert receipt(found, "plan")["inputs"]["margin"] == 0.13
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


# --- killed anywhere ---


class Killed(BaseException):
    """The process ends here."""


def kill_points(monkeypatch: pytest.MonkeyPatch, left: int | None) -> list[str]:
    """Die before write number `left`; None only counts. Return what was written.

    Writes are renames, appended lines, and requests that change something at a provider: those die before
    they are sent and, in the next point, after the provider has acted.
    """
    done: list[str] = []
    replace, write = os.replace, os.write

    def before(what: str) -> None:
        if left is not None and len(done) >= left:
            raise Killed(what)
        done.append(what)

    def replaced(source: Any, target: Any) -> None:
        before(f"rename to {Path(target).name}")
        replace(source, target)

    def written(fd: int, data: Any) -> int:
        if bytes(data[:1]) == b"{" and b'"asking"' not in bytes(data[:12]):
            before("append a line")
        return write(fd, data)

    def sent(original: Any) -> Any:
        def send(self: Any, *arguments: Any, **options: Any) -> Any:
            name = f"{type(self).__name__}.{original.__name__}"
            before(f"before {name}")
            made = original(self, *arguments, **options)
            before(f"after {name}")
            return made

        return send

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "write", written)
    journal = Journal.write

    def journaled(self: Journal) -> Any:
        before("write to the journal")
        return journal(self)

    monkeypatch.setattr(Journal, "write", journaled)
    for name in ("submit", "deploy", "undeploy"):
        monkeypatch.setattr(TogetherBackend, name, sent(getattr(TogetherBackend, name)))
    return done


def forget(world: World) -> None:
    """Let the target and the meter start again; the fine-tune stays."""
    world.openai.paid.clear()
    world.openai.stored.clear()
    world.together.jobs.clear()
    world.together.endpoints.clear()


def test_killed_before_any_write_it_ends_and_pays_once(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Short tier: every 43rd point and all around jobs and deployments; `--long`: every point."""
    rows = labelled(12, 3)

    def one(home: Path) -> Migration:
        return world.migrate(home, rows, batch=False, concurrency=1, margin=0.2)

    with monkeypatch.context() as patch:
        done = kill_points(patch, None)
        expected = one(tmp_path / "counted")
    assert len(done) > 60
    asked = {"ft": 12, "base": 12, "prompt": 12}
    long = request.config.getoption("--long")
    points = [n for n, what in enumerate(done) if long or n % 43 == 5 or "TogetherBackend" in what]
    for left in points:
        forget(world)
        home = tmp_path / f"home {left}"
        with monkeypatch.context() as patch:
            kill_points(patch, left)
            with pytest.raises(Killed):
                one(home)
        what = f"{left}: {done[left]}"
        if done[left] == "before TogetherBackend.submit":  # it may have been sent: a person decides
            with pytest.raises(NeedsDecision) as doubt:
                one(home)
            with world.client(home) as client:
                client.resolve(str(doubt.value.job_id), send_again=True)
        found = one(home)
        assert found.exit_code == expected.exit_code, what
        assert [c.verdict for c in found.models[0].candidates] == [
            c.verdict for c in expected.models[0].candidates
        ], what
        assert len(world.together.jobs) == 1, what
        assert world.running == 0, what
        assert set(world.openai.paid.values()) == {1}, what
        assert len(world.openai.paid) == sum(asked.values()), what
        with world.client(home) as client:
            leases = Leases(client.session.journal).list()
            assert all(lease.state == "closed" for lease in leases), what
        report = orjson.loads((found.models[0].folder / "report.json").read_bytes())
        assert report["evaluation"]["rows"] == 12, what
        shutil.rmtree(home)


# --- what is refused, and what continues ---


def posts(world: World) -> list[str]:
    sent = [*world.openai.requests, *world.together.requests]
    return [one.path for one in sent if one.method != "GET"]


def test_too_few_rows_are_refused_before_anything_is_paid(world: World, home: Path) -> None:
    with pytest.raises(UsageError, match="6 rows are too few for a verdict"):
        world.migrate(home, labelled(6, 3))
    assert posts(world) == []


def test_a_budget_that_is_too_small_is_refused_before_anything_is_paid(
    world: World, home: Path
) -> None:
    with pytest.raises(BudgetError, match=r"over its budget of \$5\.00"):
        world.migrate(home, budget=5)
    assert posts(world) == []
    assert world.migrate(home, budget=20).exit_code == 0


def test_one_budget_is_for_all_models(world: World, home: Path) -> None:
    second = tune(world, 50)
    plans: list[MigrationPlan] = []
    with pytest.raises(BudgetError):
        world.migrate(home, budget=20, on_plan=plans.append)
    assert {one.model for one in plans[0].models} == {world.model, second}
    assert len(world.together.jobs) == 0
    found = world.migrate(home, budget=30)
    assert [one.result for one in found.models] == ["passed", "passed"]
    assert len(world.together.jobs) == 2
    assert found.spent_usd == sum(one.spent_usd or 0 for one in found.models)
    assert found.spent_usd < 30


def test_unknown_rights_keep_the_answers_and_refuse_to_train(world: World, home: Path) -> None:
    with pytest.raises(UsageError, match="Nobody has said where the answers"):
        world.migrate(home, rights=None)
    assert world.together.jobs == {}
    paid = dict(world.openai.paid)
    assert paid
    found = world.migrate(home, rights="internal-classifier")
    assert found.exit_code == 0
    assert receipt(found, "rights")["result"] == {"origin": "internal-classifier", "reason": ""}
    captured = {key for key in world.openai.paid if key[0] != "gpt-6-luna"}
    assert captured == set(paid)
    assert max(world.openai.paid.values()) == 1


def test_a_prompt_alone_needs_no_rights_and_trains_nothing(world: World, home: Path) -> None:
    found = world.migrate(home, rights=None, to=None, prompts=["openai:gpt-6-luna"])
    assert [one.kind for one in found.models[0].candidates] == ["prompt"]
    assert found.exit_code == 8
    assert world.together.jobs == {}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"margin": 0.05}, "margin was 0.13, now 0.05"),
        ({"data": labelled(40, 9)}, "data was none"),
        ({"to": "fake:smollm2-135m"}, "to was"),
        ({"metrics": "exact"}, "metrics was auto, now exact"),
        ({"hyperparameters": {"epochs": 5}}, "hyperparameters was"),
    ],
    ids=["margin", "data", "target", "metric", "hyperparameters"],
)
def test_other_inputs_are_named_and_refused(
    world: World, home: Path, changed: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError, match="Nobody has said"):
        world.migrate(home, rights=None)
    with pytest.raises(UsageError, match="begun with other inputs") as refused:
        world.migrate(home, changed.pop("data", None), rights=None, **changed)
    assert named in str(refused.value)
    assert "--name" in str(refused.value.hint)


def test_under_another_name_it_begins_again_and_pays_no_answer_twice(
    world: World, tmp_path: Path, home: Path
) -> None:
    first = world.migrate(home)
    other = world.migrate(home, folder=tmp_path / "other", margin=0.05)
    assert other.folder != first.folder
    assert max(world.openai.paid.values()) == 1
    assert len(world.together.jobs) == 1  # the very same job: it is there already


def test_a_file_that_was_edited_since_is_named(world: World, home: Path) -> None:
    with pytest.raises(UsageError, match="Nobody has said"):
        world.migrate(home, rights=None)
    (answers,) = (home / "migration").glob("ft-*/capture/answers.jsonl")
    answers.write_bytes(answers.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"answers\.jsonl: it was changed"):
        world.migrate(home)


def test_two_at_once_are_refused(world: World, home: Path) -> None:
    def again(_: MigrationPlan) -> None:
        with pytest.raises(StoreError, match="Another process works on this migration"):
            world.migrate(home)

    assert world.migrate(home, on_plan=again).exit_code == 0


def test_a_receipt_of_a_newer_version_is_refused(world: World, home: Path) -> None:
    found = world.migrate(home)
    path = found.folder / "1-inventory.json"
    path.write_bytes(path.read_bytes().replace(b'"schema_version": 1', b'"schema_version": 9'))
    with pytest.raises(StoreError, match="A newer ftsdk wrote this migration"):
        world.migrate(home)


# --- rows ---


def test_rows_of_the_training_file_are_not_compared(world: World, home: Path) -> None:
    data = [*labelled(30, 3), *labelled(60, 1)[:5]]
    found = world.migrate(home, data, margin=0.2)
    assert receipt(found, "capture")["result"]["left_out"] == 5
    report = orjson.loads((found.models[0].folder / "report.json").read_bytes())
    assert report["evaluation"]["rows"] == 30
    trained = {row["messages"][0]["content"] for row in labelled(60, 1)}
    assert not trained & {question for _, question in world.openai.paid}


def test_rows_without_answers_are_compared_by_agreement(world: World, home: Path) -> None:
    data = [{"messages": row["messages"][:1]} for row in labelled(40, 3)]
    found = world.migrate(home, data, margin=0.2, repeats=2)
    report = orjson.loads((found.models[0].folder / "report.json").read_bytes())
    assert any("no right answers" in note for note in report["evaluation"]["notes"])
    assert found.models[0].candidates[0].verdict == "parity"
    old = next(one for one in report["evaluation"]["models"] if one["name"].startswith("captured ft:"))  # fmt: skip
    assert old["outcomes"]["answered"] == 40  # the second answers; the first are the reference
    assert "no right answers" in (found.models[0].folder / "report.html").read_text()


# --- targets that fail ---


def test_a_target_that_refuses_does_not_stop_the_others(world: World, home: Path) -> None:
    found = world.migrate(home, to=["together:nobody/knows-this", "fake:smollm2-135m"])
    (one,) = found.models
    assert one.chosen == "fake smollm2-135m"
    left = next(each for each in one.candidates if each.provider == "together")
    assert left.verdict == ""
    assert left.reason
    assert world.together.jobs == {}


def test_a_job_that_failed_is_named_and_created_again_only_when_asked(
    world: World, home: Path
) -> None:
    honest = world.together._new_job

    def failing(body: dict[str, Any], model: str) -> Any:
        job = honest(body, model)
        world.together.fail(job.id, "out of memory")
        return job

    world.together._new_job = failing  # type: ignore[method-assign]  # a provider on a bad day
    found = world.migrate(home)
    world.together._new_job = honest  # type: ignore[method-assign]  # and on a good one
    tuned = next(one for one in found.models[0].candidates if one.kind == "tuned")
    assert "its job ftj_" in tuned.reason
    assert "failed" in tuned.reason
    assert found.exit_code == 8  # the prompt is worse
    assert world.migrate(home).models[0].candidates == found.models[0].candidates
    assert len(world.together.jobs) == 1
    again = world.migrate(home, retry=True)
    assert len(world.together.jobs) == 2
    assert again.models[0].chosen == "together Qwen3-8B"


def test_a_prompt_model_that_the_account_may_not_use_does_not_stop_the_rest(
    world: World, home: Path
) -> None:
    found = world.migrate(home, prompts=["openai:gpt-9-moon"])
    (one,) = found.models
    assert one.chosen == "together Qwen3-8B"
    assert "does not find this model" in one.candidates[-1].reason


def test_a_prompt_with_the_nearest_training_rows_is_compared_as_well(
    world: World, home: Path
) -> None:
    pytest.importorskip("bm25s", reason="needs the extra `eval`")
    prompts = [
        ftsdk.Prompt(model="gpt-6-luna", provider="openai"),
        ftsdk.Prompt(model="gpt-6-luna", provider="openai", examples=3),
    ]
    found = world.migrate(home, prompts=prompts)
    names = {one.name for one in found.models[0].candidates}
    assert names == {"together Qwen3-8B", "prompt on gpt-6-luna", "3 examples on gpt-6-luna"}
    with pytest.raises(UsageError, match="prompts was"):
        world.migrate(home, prompts=[*prompts[:1], ftsdk.Prompt(model="gpt-6-luna", examples=9)])


def test_a_training_file_that_is_gone_can_be_replaced_by_your_own(world: World, home: Path) -> None:
    world.openai.faults.add("status", method="GET", path="content$", status=404, times=None)
    data = labelled(45, 2)
    plans: list[MigrationPlan] = []
    found = world.migrate(home, data, on_plan=plans.append, batch=False)
    refused = next(c for c in plans[0].models[0].candidates if c.kind == "tuned").refused
    assert "your own copy: --training FILE" in refused[0]
    assert found.exit_code == 8
    own = world.folder / "own.jsonl"
    own.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in labelled(60, 1)))
    again = world.migrate(home, data, training=own, folder=world.folder / "b", batch=False)
    assert again.models[0].chosen == "together Qwen3-8B"


def test_a_target_that_was_refused_is_planned_again(world: World, home: Path) -> None:
    class Enough(Exception):
        pass

    def bridge(plan: MigrationPlan) -> CandidatePlan:
        return next(one for one in plan.models[0].candidates if one.provider == "azure")

    def stop(plan: MigrationPlan) -> None:
        plans.append(plan)
        raise Enough

    plans: list[MigrationPlan] = []
    to = ["together:Qwen/Qwen3-8B", "azure:gpt-4.1-mini-2025-04-14"]
    world.migrate(home, to=to, budget=30, on_plan=plans.append)
    assert "the price at azure is unknown" in bridge(plans[0]).refused[0]
    assert bridge(plans[0]).ends_on == dt.date(2027, 10, 14)
    assert plans[0].bridges == ()
    assert "add its price to prices.toml" in bridge(plans[0]).refused[0]
    trained = world.openai.count("POST", "fine_tuning/jobs$")
    with pytest.raises(Enough):  # without a budget, an unknown price is accepted
        world.migrate(home, to=to, on_plan=stop)
    (why,) = bridge(plans[1]).refused
    assert "trained and not compared" in why
    assert "--uncompared trains it nevertheless" in why
    with pytest.raises(Enough):
        world.migrate(home, to=to, uncompared=True, on_plan=stop)
    assert bridge(plans[2]).refused == ()
    assert any("trained and not compared" in note for note in bridge(plans[2]).notes)
    assert world.openai.count("POST", "fine_tuning/jobs$") == trained


def test_a_prompt_shows_examples_of_the_old_rows_and_its_costs_have_them(
    world: World, home: Path
) -> None:
    plans: list[MigrationPlan] = []
    prompts = ["openai:gpt-6-luna"]
    world.migrate(home, prompts=prompts, on_plan=plans.append, batch=False)
    world.openai.requests.clear()
    found = world.migrate(
        home,
        prompts=prompts,
        examples=3,
        folder=world.folder / "b",
        on_plan=plans.append,
        batch=False,
    )
    bare, shown = (
        next(one for one in plan.models[0].candidates if one.kind == "prompt") for plan in plans
    )
    assert (bare.name, shown.name) == ("prompt on gpt-6-luna", "3 examples on gpt-6-luna")
    assert bare.per_1000_usd is not None
    assert shown.per_1000_usd is not None
    assert shown.per_1000_usd[0] > 1.5 * float(bare.per_1000_usd[0])
    low = [plan.models[0].evaluation.low for plan in plans]
    assert low[0] is not None
    assert low[1] is not None
    assert low[1] > low[0]
    asked = [
        orjson.loads(one.body)["messages"]
        for one in world.openai.requests
        if one.method == "POST" and b"gpt-6-luna" in one.body and b"messages" in one.body
    ]
    known = {row["messages"][0]["content"] for row in labelled(60, 1)}
    assert len(asked) == 45
    assert {len(messages) for messages in asked} == {7}
    assert all({messages[n]["content"] for n in (0, 2, 4)} <= known for messages in asked)
    report = orjson.loads((found.models[0].folder / "report.json").read_bytes())
    assert any(
        "2 candidates are compared and one of them is chosen" in note
        for note in report["evaluation"]["notes"]
    )
    cost = next(one for one in report["costs"] if one["kind"] == "prompt")
    assert float(cost["usd_per_1000_requests"][0]) > float(bare.per_1000_usd[0])


def test_a_target_that_is_named_in_two_spellings_is_trained_once(world: World, home: Path) -> None:
    class Enough(Exception):
        pass

    def stop(plan: MigrationPlan) -> None:
        plans.append(plan)
        raise Enough

    plans: list[MigrationPlan] = []
    to = [TO, "together:Qwen3-8B", "together:Qwen/Qwen3.5-9B"]
    with pytest.raises(Enough):
        world.migrate(home, to=to, on_plan=stop)
    tuned = [one.model for one in plans[0].models[0].candidates if one.kind == "tuned"]
    assert tuned == ["Qwen/Qwen3-8B", "Qwen/Qwen3.5-9B"]


# --- answers that fail, and deployments ---


def test_errors_of_one_model_are_no_wrong_answers_and_are_asked_again(
    world: World, home: Path
) -> None:
    world.together.faults.add(
        "status", method="POST", path="chat/completions$", status=400, times=8,
        body={"error": {"message": "bad", "type": "invalid_request_error", "code": "bad_row"}},
    )  # fmt: skip
    found = world.migrate(home)
    tuned = next(one for one in found.models[0].candidates if one.kind == "tuned")
    assert tuned.result == "not comparable"
    assert "errors" in tuned.reason
    assert world.running == 0
    again = world.migrate(home)
    assert again.models[0].candidates[0].verdict == "parity"
    assert again.exit_code == 0
    assert max(world.openai.paid.values()) == 1


def test_a_deployment_ends_when_the_comparison_breaks_off(world: World, home: Path) -> None:
    world.together.faults.add(
        "status", method="POST", path="chat/completions$", status=401, times=1,
        body={"error": {"message": "Invalid API key provided", "type": "authentication_error"}},
    )  # fmt: skip
    with pytest.raises(AuthError):
        world.migrate(home)
    assert world.running == 0
    assert world.migrate(home).exit_code == 0
    assert world.running == 0


def test_a_deployment_of_yours_is_used_and_not_ended(world: World, home: Path) -> None:
    first = world.migrate(home)
    job_id = str(first.models[0].candidates[0].job_id)
    with world.client(home) as client:
        client.get_job(job_id).deploy(hours=5)
        world.clock.advance(60)
    world.migrate(home, labelled(30, 7), folder=world.folder / "more", margin=0.2)
    assert world.running == 1
    with world.client(home) as client:
        client.get_job(job_id).undeploy()


def test_a_deployment_over_the_budget_is_refused_before_it_starts(
    world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[MigrationPlan] = []
    monkeypatch.setattr("ftsdk.migration.migrate._total", lambda _: (None, None))
    with pytest.raises(BudgetError, match="needs a deployment"):
        world.migrate(home, budget=8, on_plan=plans.append)
    assert world.running == 0
    assert len(world.together.jobs) == 1


# --- planted faults: each turns a test above red ---


def test_a_leaked_deployment_would_be_seen(
    world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftsdk.migration.leases.undeploy", lambda *_, **__: None)
    world.migrate(home)
    assert world.running == 1


def test_an_error_that_counts_as_a_wrong_answer_would_be_seen(
    world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = scoring.score_outcome

    def dishonest(metric: Any, row: Any, outcome: Any) -> Score:
        return Score(0.0, False) if outcome.answer is None else honest(metric, row, outcome)

    monkeypatch.setattr(scoring, "score_outcome", dishonest)
    world.together.faults.add(
        "status", method="POST", path="chat/completions$", status=400, times=8,
        body={"error": {"message": "bad", "type": "invalid_request_error", "code": "bad_row"}},
    )  # fmt: skip
    tuned = world.migrate(home).models[0].candidates[0]
    assert tuned.result != "not comparable"


def test_an_overlap_that_is_not_found_would_be_seen(
    world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OverlapFinder, "find", lambda *_: iter(()))
    found = world.migrate(home, [*labelled(30, 3), *labelled(60, 1)[:5]], margin=0.2)
    assert receipt(found, "capture")["result"]["left_out"] == 0


def test_a_test_that_is_not_paired_would_be_seen(
    world: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is right on other rows as often is no equal: pairs show it, rates do not."""
    honest = scoring.paired

    def unpaired(reference: Any, candidate: Any) -> Any:
        return honest(reference, [*candidate[1:], candidate[0]])

    world.model = tune(world, validation=labelled(60, 5, noise=0.3))
    first = world.migrate(home, models=[world.model])
    monkeypatch.setattr(scoring, "paired", unpaired)
    second = world.migrate(home, models=[world.model], folder=world.folder / "other")
    honestly, blindly = (found.models[0].candidates[0] for found in (first, second))
    assert honestly.difference == blindly.difference == 0.0
    assert honestly.verdict == "parity"
    assert blindly.verdict == "inconclusive"
