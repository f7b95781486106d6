from __future__ import annotations

import dataclasses
import os
from decimal import Decimal

import pytest

from ftsdk.backends.fake import FakeBackend
from ftsdk.config import default_home
from ftsdk.errors import AuthError, RateLimited, StoreError, Unavailable
from ftsdk.store.journal import Journal
from ftsdk.store.reservations import Reservations
from ftsdk.types.cost import Cost
from tests.unit.cli.conftest import DONE, FAILS, LONG


def test_create_shows_the_plan_asks_starts_and_watches(cli, data):
    ran = cli.ok("create", data, "--set", DONE, stdin="y\n")
    assert (
        "Plan  fake · smollm2-135m · SFT · LoRA r16 α32 · 3 epochs · batch 8 · lr 2e-4" in ran.out
    )
    assert "12 rows × 3 · $0.00" in ran.out
    assert "Start?" in ran.err
    assert "succeeded" in ran.out
    assert "ftsdk chat ftj_" in ran.out


def test_an_empty_answer_starts_what_is_free(cli, data):
    assert "accepted as fake-" in cli.ok("create", data, "--set", DONE, stdin="\n").out


def test_answering_no_starts_nothing(cli, data):
    ran = cli("create", data, stdin="maybe\nn\n")
    assert ran.code == 1
    assert "Nothing was started." in ran.err
    assert cli.ok("list", "--json").json == {"jobs": []}


@pytest.mark.parametrize("words", [("--no-input",), ()])
def test_create_refuses_when_nobody_can_answer(cli, data, words):
    ran = cli("create", data, *words)
    assert ran.code == 7
    assert "hint" in ran.err
    assert "--yes" in ran.err
    assert cli.ok("list", "--json").json == {"jobs": []}


def test_json_asks_nothing_and_refuses_without_yes(cli, data):
    error = cli.error(7, "create", data)
    assert error["code"] == "needs_decision"
    assert error["submitted"] == "no"


def test_detach_returns_at_once_with_the_job(cli, data):
    made = cli.ok("create", data, "--yes", "--detach", "--json", "--set", LONG).json
    assert made["status"] == "queued"
    assert made["provider_job_id"].startswith("fake-")


def test_every_option_arrives_in_the_spec(cli, data):
    made = cli.ok(
        "create", data, "--yes", "--detach", "--json", "--epochs", 2, "--learning-rate", "1e-4",
        "--batch-size", 4, "--max-length", 64, "--rank", 8, "--alpha", 8, "--quantize", "nf4",
        "--seed", 5, "--name", "n", "--tag", "team=cx", "--tag", "k=a=b", "--max-cost", "5",
        "--set", "warmup_ratio=0.1", "--set", "schedule=cosine", "--set", "dropout=0.1",
        "--validation", "0.25", "--key", "k1", "--method", "sft",
    ).json  # fmt: skip
    spec = made["spec"]
    assert spec["hyperparameters"] == {
        "epochs": 2.0, "learning_rate": 1e-4, "batch_size": 4, "max_length": 64,
        "warmup_ratio": 0.1, "schedule": "cosine", "max_steps": None, "beta": None,
        "learning_rate_multiplier": None, "gradient_accumulation_steps": None,
        "weight_decay": None, "max_grad_norm": None, "warmup_steps": None, "min_lr_ratio": None,
        "schedule_cycles": None, "decay_ratio": None,
    }  # fmt: skip
    assert spec["adapter"]["rank"] == 8
    assert spec["adapter"]["alpha"] == 8.0
    assert spec["adapter"]["quantize"] == "nf4"
    assert spec["adapter"]["dropout"] == 0.1
    assert (spec["seed"], made["name"], made["key"]) == (5, "n", "k1")
    assert made["tags"] == {"team": "cx", "k": "a=b"}
    assert made["dataset"]["validation_rows"] > 0


def test_full_means_no_adapter(cli, data):
    made = cli.ok("create", data, "--yes", "-d", "--json", "--full").json
    assert made["spec"]["adapter"] is None


def test_the_same_key_twice_is_one_job_and_asks_nothing(cli, data):
    words = ("create", data, "--key", "nightly", "--set", DONE)
    first = cli.ok(*words, "--yes")
    second = cli.ok(*words, "--no-input", "--yes")
    assert "already exists" in second.out
    assert "Plan" not in second.out
    assert len(cli.ok("list", "--json").json["jobs"]) == 1
    assert first.out.split("  accepted")[0].split()[-1] in second.out


def test_a_job_that_fails_ends_with_5_and_its_reason(cli, data):
    ran = cli("create", data, "--yes", "--set", FAILS, "--set", "message=out of luck")
    assert ran.code == 5
    assert "out of luck" in ran.err


def test_create_with_json_prints_the_failed_job_beside_the_error(cli, data):
    ran = cli("create", data, "--yes", "--json", "--set", FAILS)
    assert ran.code == 5
    assert ran.json["error"]["code"] == "job_failed"
    assert ran.json["job"]["status"] == "failed"


def test_a_refusal_of_the_provider_is_4(cli, data):
    error = cli.error(4, "create", data, "--yes", "--set", "submit=refused")
    assert (error["code"], error["submitted"]) == ("rejected", "no")


def test_a_lost_response_is_settled_by_looking_for_the_job(cli, data):
    made = cli.ok("create", data, "--yes", "--json", "--detach", "--set", "submit=lost").json
    assert made["provider_job_id"].startswith("fake-")


def test_a_lost_request_says_how_to_decide(cli, data):
    error = cli.error(4, "create", data, "--yes", "--set", "submit=lost_request")
    assert error["submitted"] == "maybe"
    assert "ftsdk reconcile" in error["hint"]
    [job] = cli.ok("list", "--json").json["jobs"]
    assert job["status"] == "in_doubt"


def test_an_unknown_price_is_refused_with_a_limit(cli, data, monkeypatch):
    monkeypatch.setattr("ftsdk.backends.fake.FakeBackend.estimate", _unknown_price)
    error = cli.error(6, "create", data, "--yes", "--max-cost", "1")
    assert error["code"] == "budget"


def test_an_unknown_price_defaults_to_no(cli, data, monkeypatch):
    monkeypatch.setattr("ftsdk.backends.fake.FakeBackend.estimate", _unknown_price)
    ran = cli("create", data, stdin="\n")
    assert ran.code == 1
    assert "though its cost is not known" in ran.err


def test_a_price_is_asked_for_with_its_figure(cli, data, monkeypatch):
    from decimal import Decimal

    from ftsdk.types.cost import Cost

    price = Cost(basis="quoted", low=Decimal(4), high=Decimal(4))
    monkeypatch.setattr("ftsdk.backends.fake.FakeBackend.estimate", lambda *_: price)
    ran = cli("create", data, stdin="\n")
    assert ran.code == 1
    assert "$4.00 quoted" in ran.out
    assert "Spend up to $4.00?" in ran.err
    assert "Spend up to $10.00?" in cli("create", data, "--max-cost", "10", stdin="n\n").err
    assert cli("create", data, "--max-cost", "3", "--yes").code == 6


def _unknown_price(*_):
    from ftsdk.types.cost import Cost

    return Cost()


def test_a_missing_base_model_is_asked_for_and_fetched(cli, data, monkeypatch):
    from ftsdk.errors import Unavailable

    here = []

    def plan(self, spec, train=None):
        if not here:
            raise Unavailable("tiny is not here", retryable=False, missing_model="tiny")
        return original(self, spec, train)

    from ftsdk.backends.fake import FakeBackend

    original = FakeBackend.plan
    monkeypatch.setattr(FakeBackend, "plan", plan)
    monkeypatch.setattr("ftsdk.cli.local_models.pull_model", lambda name, **_: here.append(name))
    assert cli("create", data, "--no-input").code == 7
    assert cli("create", data, stdin="n\n").code == 4
    ran = cli.ok("create", data, "--set", DONE, stdin="y\ny\n")
    assert here == ["tiny"]
    assert "Download it now?" in ran.err


def test_plan_lists_every_field(cli, data):
    ran = cli.ok("plan", data, "--epochs", 4)
    line = next(line for line in ran.out.split("\n") if line.startswith("  epochs"))
    assert line.split() == ["epochs", "4", "4"]
    assert "schedule" in ran.out
    document = cli.ok("plan", data, "--epochs", 4, "--json").json
    assert document["provider"] == "fake"
    assert {"name", "asked", "sent", "sent_as", "note"} == set(document["fields"][0])
    assert document["cost"]["high"] == "0"
    assert document["adapter"]["rank"] == 16
    assert cli.ok("list", "--json").json == {"jobs": []}


def test_estimate_prints_the_cost_and_its_source(cli, data):
    ran = cli.ok("estimate", data)
    assert "$0.00" in ran.out
    assert "fake charges nothing" in ran.out
    document = cli.ok("estimate", data, "--json").json
    assert document["rows"] == 12
    assert document["cost"]["basis"] == "billed"


def test_interrupted_while_sending_it_says_how_to_find_out(cli, data, monkeypatch):
    def submit(self, request):
        raise KeyboardInterrupt

    monkeypatch.setattr("ftsdk.backends.fake.FakeBackend.submit", submit)
    ran = cli("create", data, "--yes")
    assert ran.code == 130
    assert "ftsdk reconcile ftj_" in ran.err


def test_interrupted_before_anything_was_journaled_it_says_nothing_wrong(cli, data, monkeypatch):
    def plan(self, spec, train=None):
        raise KeyboardInterrupt

    monkeypatch.setattr("ftsdk.backends.fake.FakeBackend.plan", plan)
    ran = cli("create", data, "--yes")
    assert ran.code == 130
    assert "reconcile" not in ran.err


# --- the very same job twice --------------------------------------------------------------------


def test_a_second_identical_create_asks(cli, data):
    first = cli.ok("create", data, "--yes", "--json", "--detach").json["id"]
    ran = cli("create", data, stdin="n\n")
    assert (ran.code, "is identical" in ran.err) == (1, True)
    assert "The first one goes on.   ftsdk watch ftj_" in ran.err
    assert "no other job is created" not in ran.err
    assert [job["id"] for job in cli.ok("list", "--json").json["jobs"]] == [first]
    cli.ok("create", data, "--detach", stdin="y\ny\n")
    assert len(cli.ok("list", "--json").json["jobs"]) == 2


@pytest.mark.parametrize("words", [("--no-input",), (), ("--json",)])
def test_a_second_identical_create_goes_on_watching_when_nobody_can_answer(cli, data, words):
    first = cli.ok("create", data, "--yes", "--json", "--detach", "--set", DONE).json["id"]
    ran = cli.ok("create", data, "--set", DONE, *words)
    assert first in ran.err
    assert "--again" in ran.err
    assert first in ran.out
    assert len(cli.ok("list", "--json").json["jobs"]) == 1
    cli.ok("create", data, "--yes", "--no-input", "--set", DONE)  # free: --yes answers this one too
    assert len(cli.ok("list", "--json").json["jobs"]) == 2


def test_yes_does_not_confirm_a_duplicate_that_may_cost(cli, data, monkeypatch):
    import dataclasses

    from ftsdk.backends.fake import FakeBackend

    able = dataclasses.replace(FakeBackend.capabilities, price="unknown")
    monkeypatch.setattr(FakeBackend, "capabilities", able)
    first = cli.ok("create", data, "--yes", "--no-input", "--detach", "--json").json["id"]
    again = cli.ok("create", data, "--yes", "--no-input", "--detach")
    assert f"{first}  already exists" in again.out
    assert "very same job" in again.err
    assert len(cli.ok("list", "--json").json["jobs"]) == 1
    cli.ok("create", data, "--yes", "--no-input", "--detach", "--again")
    cli.ok("create", data, "--yes", "--no-input", "--detach", "--seed", 1)
    cli.ok("create", data, "--yes", "--no-input", "--detach", "--key", "k")
    assert len(cli.ok("list", "--json").json["jobs"]) == 4


def test_a_job_in_doubt_is_looked_for_by_the_same_create(cli, data, monkeypatch, clock):
    able = dataclasses.replace(FakeBackend.capabilities, price="unknown", resend_is_safe=False)
    monkeypatch.setattr(FakeBackend, "capabilities", able)
    words = ("create", data, "--yes", "--no-input", "--detach", "--set", "submit=lost_request")
    assert cli(*words).code == 4
    clock.advance(3600)
    ran = cli(*words)
    assert ran.code == 7
    assert "very same job" in ran.err
    assert "ftsdk resolve" in ran.err
    assert len(cli.ok("list", "--json", "--offline").json["jobs"]) == 1


@pytest.mark.parametrize("words", [("--yes",), ("--yes", "--no-input"), ()])
def test_a_free_job_that_could_not_be_sent_is_sent_by_the_same_create(
    cli, data, monkeypatch, words
):
    submit, errors = FakeBackend.submit, [Unavailable("refused", submitted="no", retryable=True)]

    def call(self, request):
        if errors:
            raise errors.pop()
        return submit(self, request)

    monkeypatch.setattr(FakeBackend, "submit", call)
    asked = ("create", data, "--detach", "--set", LONG)
    assert cli(*asked, *words, stdin="y\n").code == 4
    ran = cli.ok(*asked, *words, stdin="y\n")
    assert "sent now" in ran.err
    [job] = cli.ok("list", "--json", "--offline").json["jobs"]
    assert (job["status"], job["id"] in ran.out) == ("queued", True)


def test_what_was_planned_is_what_is_sent(cli, data, monkeypatch):
    """The file changes while the question is open: the rows that were shown are trained."""
    from ftsdk.cli.commands import create as module

    real = module._confirm

    def meanwhile(*args, **options):
        data.write_text(data.read_text().split("\n")[0] + "\n")
        return real(*args, **options)

    rows = len(data.read_text().strip().split("\n"))
    monkeypatch.setattr(module, "_confirm", meanwhile)
    ran = cli("create", data, "--yes", "--detach", "--json")
    if ran.code == 0:
        shown = cli.ok("show", ran.json["id"], "--json").json
        assert shown["dataset"]["rows"] == rows
    else:
        assert ran.code == 3


def test_planning_a_local_job_fetches_no_model(cli, data, monkeypatch):
    from ftsdk.backends.local.models import resolve

    def fetch(*_, **__):
        raise AssertionError("a plan downloads nothing")

    monkeypatch.setattr(resolve, "pull_built_in", fetch)
    words = ("--provider", "local", "--model", "smollm2-135m", "--set", "pull=true")
    out = cli.ok("plan", data, *words).out
    assert "create would pull it first: about 93 MB" in out


def test_the_dataset_keeps_its_name_when_rows_are_held_out(cli, data):
    cli.ok("create", data, "--yes", "-d", "--validation", "0.4")
    out = cli.ok("show").out
    assert f"data     {data.name}  sha256" in out
    assert "held out" in out


def test_create_with_the_key_of_a_refused_job_starts_it(cli, data, monkeypatch):
    errors = [AuthError("The key is wrong", submitted="no")]
    submit = FakeBackend.submit

    def once(self, request):
        if errors:
            raise errors.pop()
        return submit(self, request)

    monkeypatch.setattr(FakeBackend, "submit", once)
    words = ("create", data, "--yes", "--detach", "--key", "kk", "--set", LONG)
    assert cli(*words).code == 4
    ran = cli.ok(*words)
    assert "accepted as fake-" in ran.out
    assert "already exists" not in ran.out
    assert "already exists" in cli.ok(*words).out


def test_create_does_not_end_well_while_another_process_sends_the_job(cli, data, monkeypatch):
    words = ("create", data, "--yes", "--detach", "--key", "kk", "--set", LONG)
    monkeypatch.setattr(
        "ftsdk.jobs.submitter.Submitter._continue", lambda self, snapshot, **_: snapshot
    )
    error = cli.error(7, *words)
    assert (error["submitted"], "ftsdk watch ftj_" in error["hint"]) == ("no", True)


def test_a_full_disk_while_following_names_the_job(cli, data, monkeypatch):
    def full(*_, **__):
        raise StoreError("The journal cannot be used", hint="free some space")

    monkeypatch.setattr("ftsdk.cli.commands.create.follow_jobs", full)
    ran = cli("create", data, "--yes", "--set", LONG)
    assert ran.code == StoreError.exit_code
    assert "free some space; then `ftsdk watch ftj_" in ran.err
    assert "it was submitted" in ran.err


@pytest.fixture
def quotes(monkeypatch):
    """Return a list whose only element `fake` quotes, in dollars; the plan says at most $4."""
    able = dataclasses.replace(FakeBackend.capabilities, price="catalogue")
    monkeypatch.setattr(FakeBackend, "capabilities", able)
    estimated = Cost(basis="estimated", low=Decimal(2), high=Decimal(4), source="a test")
    monkeypatch.setattr(FakeBackend, "estimate", lambda *_: estimated)
    amounts: list[Decimal | None] = [None]

    def quote(self, request):
        basis = "unknown" if amounts[0] is None else "quoted"
        return Cost(basis=basis, low=amounts[0], high=amounts[0], source="asked the provider")

    monkeypatch.setattr(FakeBackend, "quote", quote)
    return amounts


@pytest.mark.parametrize(
    ("quoted", "words", "code"),
    [
        (None, (), 6),
        (None, ("--yes",), 0),
        ("4.00", (), 0),
        ("4.00", ("--yes",), 0),
        ("4.01", (), 6),
        ("4.01", ("--yes",), 6),
        ("4.01", ("--yes", "--max-cost", "5"), 0),
        ("5.01", ("--yes", "--max-cost", "5"), 6),
        (None, ("--max-cost", "5"), 6),
    ],
)
def test_what_was_agreed_to_is_the_cap(cli, data, quotes, quoted, words, code):
    quotes[0] = None if quoted is None else Decimal(quoted)
    ran = cli("create", data, "--detach", "--set", LONG, *words, stdin="y\n")
    assert ran.code == code, ran
    jobs = cli.ok("list", "--json", "--offline").json["jobs"]
    assert [job["status"] for job in jobs] == ["queued" if code == 0 else "failed"]


@pytest.fixture
def refusals(monkeypatch, quotes):
    """Return a list; `fake` refuses the connection of one create call for each element."""
    quotes[0] = Decimal(4)
    submit, refused = FakeBackend.submit, []

    def call(self, request):
        if refused:
            raise Unavailable(refused.pop(), submitted="no", retryable=True)
        return submit(self, request)

    monkeypatch.setattr(FakeBackend, "submit", call)
    return refused


@pytest.mark.parametrize("wait_s", [0, 86_400])
def test_the_same_create_sends_a_job_that_was_refused_the_connection(
    cli, data, refusals, clock, wait_s
):
    words = ("create", data, "--yes", "--no-input", "--detach", "--set", LONG)
    refusals.append("connection refused")
    assert cli(*words).code == 4
    [unsent] = cli.ok("list", "--json").json["jobs"]
    assert unsent["status"] == "created"
    clock.advance(wait_s)
    assert cli.ok(*words, "--json").json["id"] == unsent["id"]
    [sent] = cli.ok("list", "--json", "--offline").json["jobs"]
    assert sent["status"] == "queued"
    assert cli.ok(*words, "--json").json["id"] == unsent["id"]  # now it is at the provider
    assert len(cli.ok("list", "--json", "--offline").json["jobs"]) == 1


def test_a_job_refused_at_another_address_is_not_sent_instead(cli, data, refusals, monkeypatch):
    words = ("create", data, "--yes", "--no-input", "--detach", "--set", LONG)
    refusals.append("connection refused")
    assert cli(*words).code == 4
    [unsent] = cli.ok("list", "--json").json["jobs"]
    monkeypatch.setattr("ftsdk.session.Session.address_of", lambda *_: {"base_url": "http://b"})
    assert cli.ok(*words, "--json").json["id"] != unsent["id"]


def test_again_does_not_send_an_unsent_job_instead(cli, data, refusals):
    words = ("create", data, "--yes", "--no-input", "--detach", "--set", LONG)
    refusals.append("connection refused")
    assert cli(*words).code == 4
    cli.ok(*words, "--again")
    jobs = cli.ok("list", "--json", "--offline").json["jobs"]
    assert sorted(job["status"] for job in jobs) == ["created", "queued"]


def test_a_plan_multiplies_by_what_is_trained(cli, data):
    epochs = cli.ok("plan", data, "--epochs", "3", "--batch-size", "6").out
    assert "12 rows × 3 ·" in epochs
    steps = cli.ok("plan", data, "--epochs", "3", "--batch-size", "6", "--set", "max_steps=1").out
    assert "1 step ·" in steps
    assert "12 rows × 0.5 ·" in steps


@pytest.mark.parametrize(
    ("words", "cap"),
    [
        ((), "4"),
        (("--max-cost", "9"), "9"),
        (("--yes",), None),
        (("--max-cost", "9", "--yes"), "9"),
    ],
)
def test_the_confirmed_amount_is_the_cap_of_the_job(cli, data, quotes, words, cap):
    quotes[0] = Decimal(4)
    made = cli.ok("create", data, "--detach", "--set", LONG, *words, stdin="y\n")
    assert ("is cancelled there" in made.err) is False
    [job] = cli.ok("list", "--json", "--offline").json["jobs"]
    reserved = Reservations(Journal(default_home(os.environ))).get(job["id"])
    assert reserved.cap == (None if cap is None else Decimal(cap))


def test_sending_again_obeys_the_confirmed_amount(cli, data, quotes, monkeypatch):
    quotes[0] = Decimal(4)
    submit = FakeBackend.submit

    def lost(self, request):
        raise Unavailable("no answer", submitted="maybe")

    able = dataclasses.replace(FakeBackend.capabilities, resend_is_safe=False)
    monkeypatch.setattr(FakeBackend, "capabilities", able)
    monkeypatch.setattr(FakeBackend, "submit", lost)
    assert cli("create", data, "--detach", stdin="y\n").code == 4
    [job] = cli.ok("list", "--json", "--offline").json["jobs"]
    monkeypatch.setattr(FakeBackend, "submit", submit)
    quotes[0] = Decimal("4.01")
    error = cli.error(6, "resolve", job["id"], "--send-again", "--yes")
    assert "over the limit of $4.00" in error["what"]
    quotes[0] = Decimal("4.00")
    cli.ok("resolve", job["id"], "--send-again", "--yes")


def test_a_job_billed_by_the_hour_says_that_it_is_cancelled_at_the_amount(
    cli, data, quotes, monkeypatch
):
    quotes[0] = Decimal(4)
    monkeypatch.setattr(FakeBackend, "training_usd_per_hour", lambda *_: Decimal(2))
    asked = cli("create", data, "--detach", "--set", LONG, stdin="n\n")
    assert "Spend up to $4.00? The job is cancelled there." in asked.err


def test_waiting_for_a_provider_that_refuses_for_pace_is_said(cli, data, monkeypatch, clock):
    submit, refusals = FakeBackend.submit, [RateLimited("slow", submitted="no", retry_after_s=40)]

    def call(self, request):
        if refusals:
            raise refusals.pop()
        return submit(self, request)

    monkeypatch.setattr(FakeBackend, "submit", call)
    ran = cli.ok("create", data, "--yes", "--detach", "--set", LONG)
    assert "slow; job ftj_" in ran.err
    assert "is sent again in 40 s" in ran.err
    assert clock.slept == [40]


def test_interrupted_while_it_waits_to_be_sent_the_same_command_sends_it(
    cli, data, refusals, monkeypatch, clock
):
    def call(self, request):
        raise RateLimited("slow", submitted="no", retry_after_s=40)

    words = ("create", data, "--yes", "--detach", "--set", LONG)
    with monkeypatch.context() as patch:
        patch.setattr(FakeBackend, "submit", call)
        patch.setattr(clock, "sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        ran = cli(*words)
    assert ran.code == 130
    assert "The same command sends it" in ran.err
    [left] = cli.ok("list", "--json", "--offline").json["jobs"]
    assert cli.ok(*words, "--json").json["id"] == left["id"]
