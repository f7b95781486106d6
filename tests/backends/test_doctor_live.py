"""`ftsdk doctor --live` against the lab: sound, with a renamed field, a new status, a missing endpoint."""

from __future__ import annotations

import contextlib
import json
import os
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.base import Context
from ftsdk.backends.hosted.live.check import live_check
from ftsdk.backends.hosted.live.facts import unconfirmed_facts
from ftsdk.backends.hosted.live.plan import Evidence, tag_is_kept
from ftsdk.backends.hosted.live.shape import Difference, Field, Shape, differences
from ftsdk.backends.openai import live as openai_live
from ftsdk.backends.registry import load_backend
from ftsdk.backends.replicate import live as replicate_live
from ftsdk.catalogue.load import shipped
from ftsdk.testing.lab import Lab
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.testing.lab.openai.services import SERVICES
from ftsdk.types.chat import ChatRequest
from tests.backends.conftest import schema
from tests.backends.hosted_worlds import HOSTED
from tests.unit.cli.conftest import Cli

NAMES = sorted(HOSTED)
BATCH_TAG = "ft0123456789ab"
JOBS = {"openai": "/fine_tuning/jobs", "together": "/v1/fine-tunes", "replicate": "/v1/trainings"}
ONE_JOB = {name: f"{path}/[^/]+$" for name, path in JOBS.items()}
EVENTS = {"openai": "/events$", "together": "/events$", "replicate": "/v1/hardware$"}


@pytest.fixture
def at(monkeypatch, tmp_path, clock):
    """Makes a command line whose provider is a double, with the double and a finished job."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("ftsdk.session.SystemClock", lambda: clock)
    with contextlib.ExitStack() as stack:

        def made(provider: str, *, job: bool = True) -> tuple[Cli, Any]:
            pytest.importorskip(provider)
            double = stack.enter_context(Lab(provider, clock=clock))[provider]
            for name, value in double.variables().items():
                monkeypatch.setenv(name, value)
            if job:
                client = ftsdk.Client(clock=clock)
                HOSTED[provider].new(client, name="quarterly-review").wait()
                if provider == "openai":
                    _chat(client, clock)
                client.close()
            double.requests.clear()
            return Cli(), double

        yield made


def _chat(client: ftsdk.Client, clock: Any) -> None:
    """Leave a stored chat with a tuned model, and a batch of it that has ended."""
    (job,) = client.list_jobs()
    handle, backend = job.result(), client.session.backend("openai")
    messages = ({"role": "user", "content": "where is parcel 3?"},)
    backend.chat(handle, messages, {"store": True, "metadata": {"from": "shipping"}})
    backend.batch(handle, [ChatRequest("r1", messages)], tag=BATCH_TAG)
    clock.advance(60)


def asked(cli: Cli, provider: str) -> dict[str, Any]:
    """The report, as JSON."""
    document: dict[str, Any] = cli("doctor", "--live", "--provider", provider, "--json").json
    return document


def read(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in document["reads"] if one["name"] == name]
    return found


def fact(document: dict[str, Any], name: str) -> tuple[str, str]:
    (found,) = [one for one in document["facts"] if one["fact"] == name]
    return found["verdict"], found["found"]


# --- a sound provider ---------------------------------------------------------------------------


@pytest.mark.parametrize("provider", NAMES)
def test_a_sound_provider_is_as_expected(at, provider) -> None:
    cli, double = at(provider)
    document = asked(cli, provider)
    assert {method for method, _ in ((one.method, one.path) for one in double.requests)} == {"GET"}
    assert document["requests"] == len(double.requests)
    for one in document["reads"]:
        assert (one["name"], one["outcome"]) == (one["name"], "as expected")
        assert one["differences"] == [], one["name"]
    assert double.violations == []
    assert fact(document, "capabilities.find_by")[0] == "confirmed"
    assert document["ok"] is True
    ran = cli.ok("doctor", "--live", "--provider", provider)
    assert "refuted" not in ran.out
    assert "Everything that was seen is as ftsdk expects it." in ran.out


@pytest.mark.parametrize("service", sorted(set(SERVICES) - {"openai"}))
def test_services_of_openais_shape_are_as_expected(tmp_path, clock, service) -> None:
    pytest.importorskip("openai")
    with OpenAIDouble(clock=clock, service=service) as double:
        env = double.variables()
        client = ftsdk.Client(home=tmp_path, env=env, clock=clock)
        HOSTED["openai"].new(
            client, provider=service, adapter=None if service == "nebius" else ftsdk.LoRA()
        ).wait()
        double.requests.clear()
        backend = client.session.backend(service)
        found = live_check(backend, {})
        client.close()
    assert {one.method for one in double.requests} == {"GET"}
    assert [one.read.name for one in found.reads if one.is_fault] == []
    assert {one.outcome for one in found.reads} <= {"as expected", "not asked"}
    assert not [d for one in found.reads for d in one.differences]
    verdicts = {fact.name: verdict for fact, (verdict, _) in found.facts}
    assert verdicts["capabilities.find_by"] == "confirmed"


def test_azures_list_of_models_decides_its_facts(tmp_path, clock, monkeypatch) -> None:
    pytest.importorskip("openai")

    def verdicts() -> list[str]:
        found = live_check(client.session.backend("azure"), {})
        by_name = {fact.name: verdict for fact, (verdict, _) in found.facts}
        return [by_name[f"capabilities.{name}"] for name in ("lists_models", "reports_model_ends")]

    with OpenAIDouble(clock=clock, service="azure") as double:
        client = ftsdk.Client(home=tmp_path, env=double.variables(), clock=clock)
        HOSTED["openai"].new(client, provider="azure").wait()
        assert verdicts() == ["confirmed", "confirmed"]
        honest = double._models

        def without_days() -> Any:
            return {
                name: {key: value for key, value in one.items() if key != "deprecation"}
                for name, one in honest().items()
            }

        monkeypatch.setattr(double, "_models", without_days)
        assert verdicts() == ["confirmed", "refuted"]
        double.deleted_models.update(name for name in honest() if ".ft-" in name)
        assert verdicts() == ["not seen", "not seen"]
        client.close()


def test_an_empty_account_confirms_nothing(at) -> None:
    cli, _ = at("together", job=False)
    document = asked(cli, "together")
    assert {read(document, name)["outcome"] for name in ("jobs", "files")} == {"empty"}
    assert {read(document, name)["outcome"] for name in ("job", "events")} == {"not asked"}
    assert fact(document, "capabilities.find_by") == ("not seen", "")
    # The secret distinguishes the accounts of keys; nothing else is kept, and no journal begun.
    assert {one.name for one in Path(os.environ["FTSDK_HOME"]).iterdir()} <= {"account.secret"}


# --- a provider that has changed ----------------------------------------------------------------


@pytest.mark.parametrize("provider", NAMES)
def test_a_renamed_field_is_named(at, provider) -> None:
    cli, double = at(provider)
    double.faults.add(
        "rename", method="GET", path=ONE_JOB[provider], field="status", value="state", times=None
    )
    ran = cli("doctor", "--live", "--provider", provider)
    assert ran.code == 1
    assert "status is missing, state is new: renamed?" in ran.out
    found = read(asked(cli, provider), "job")
    assert found["outcome"] == "differs"
    assert {"field": "status", "what": "renamed", "detail": "state"} in found["differences"]


@pytest.mark.parametrize("provider", NAMES)
def test_a_new_status_is_named(at, provider) -> None:
    cli, double = at(provider)
    jobs = double.trainings if provider == "replicate" else double.jobs
    next(iter(jobs.values())).forced = "compacting"
    ran = cli("doctor", "--live", "--provider", provider)
    assert ran.code == 1
    assert "status is compacting, which ftsdk does not know" in ran.out
    document = asked(cli, provider)
    for name in ("jobs", "job"):
        expected = {"field": "status", "what": "unknown value", "detail": "compacting"}
        assert read(document, name)["differences"] == [expected]


@pytest.mark.parametrize("provider", NAMES)
def test_a_missing_endpoint_is_named(at, provider) -> None:
    cli, double = at(provider)
    double.faults.add("status", method="GET", path=EVENTS[provider], status=404, times=None)
    ran = cli("doctor", "--live", "--provider", provider)
    assert ran.code == 1
    assert "HTTP 404: the endpoint is missing" in ran.out
    name = "hardware" if provider == "replicate" else "events"
    assert read(asked(cli, provider), name)["outcome"] == "missing"


def test_a_missing_endpoint_that_is_optional_is_no_fault(at) -> None:
    cli, double = at("together")
    double.faults.add(
        "status", method="GET", path="/inference-instance-types$", status=404, times=None
    )
    ran = cli.ok("doctor", "--live", "--provider", "together")
    (line,) = [line for line in ran.out.split("\n") if "machines" in line]
    assert line.split() == ["·", "machines", "GET", "/v2/public/inference-instance-types", "HTTP",
                            "404:", "not", "seen,", "and", "optional"]  # fmt: skip
    document = asked(cli, "together")
    assert document["ok"] is True
    assert read(document, "machines")["outcome"] == "missing"
    assert read(document, "machines")["status_code"] == 404


def test_a_trainer_that_is_gone_refutes_its_fact_and_is_no_fault_of_the_read(at) -> None:
    cli, double = at("replicate")
    note = "catalogue.models.nateraw/axolotl-trainer-llama-2-7b.note"
    assert fact(asked(cli, "replicate"), note) == ("not seen", "")
    double.faults.add("status", method="GET", path="/axolotl[^/]*$", status=404, times=None)
    ran = cli("doctor", "--live", "--provider", "replicate")
    assert ran.code == 1
    assert ran.out.split("\n\n")[-1].startswith("1 fact refuted. Please send the report")
    assert fact(asked(cli, "replicate"), note) == (
        "refuted",
        "Replicate no longer has this trainer",
    )


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_only_openai_itself_must_list_its_models(tmp_path, clock, service) -> None:
    pytest.importorskip("openai")
    with OpenAIDouble(clock=clock, service=service) as double:
        client = ftsdk.Client(home=tmp_path, env=double.variables(), clock=clock)
        double.faults.add("status", method="GET", path="/models$", status=404, times=None)
        found = live_check(client.session.backend(service), {})
        client.close()
    (models,) = [one for one in found.reads if one.read.name == "models"]
    assert models.outcome == "missing"
    assert models.is_fault is (service == "openai")
    assert found.ok is (service != "openai")


def test_a_list_under_another_name_is_still_compared(at) -> None:
    cli, double = at("openai")
    double.faults.add(
        "rename", method="GET", path=r"/jobs$", field="data", value="jobs", times=None
    )
    found = read(asked(cli, "openai"), "jobs")
    assert found["objects"] == 1
    assert found["differences"] == [{"field": "data", "what": "renamed", "detail": "jobs"}]


def test_a_new_field_is_news_and_no_fault(at) -> None:
    cli, double = at("openai")
    double.faults.add(
        "set", method="GET", path=ONE_JOB["openai"], field="carbon", value=3, times=None
    )
    ran = cli.ok("doctor", "--live", "--provider", "openai")
    assert "as expected, 1 new field" in ran.out
    assert "  job         carbon is new\n" in ran.out


def test_a_part_that_does_not_answer_is_said(at) -> None:
    cli, double = at("openai")
    double.faults.add("status", method="GET", path="/events$", status=500, times=None)
    document = asked(cli, "openai")
    assert read(document, "events")["outcome"] == "no answer"
    assert read(document, "events")["status_code"] == 500
    assert read(document, "checkpoints")["outcome"] == "as expected"


# --- batches and stored chats -------------------------------------------------------------------


def test_batches_and_stored_chats_are_compared_and_decide_their_facts(at) -> None:
    cli, double = at("openai")
    document = asked(cli, "openai")
    for name in ("batches", "stored chats", "messages"):
        found = read(document, name)
        assert (found["outcome"], found["objects"]) == ("as expected", 1), name
    assert fact(document, "capabilities.can_batch")[0] == "confirmed"
    assert fact(document, "capabilities.has_stored_chats") == ("confirmed", "1 stored chat")
    next(iter(double.batches.values())).forced = "compacting"
    assert read(asked(cli, "openai"), "batches")["differences"] == [
        {"field": "status", "what": "unknown value", "detail": "compacting"}
    ]


def test_an_account_without_batches_and_chats_confirms_nothing(at) -> None:
    cli, double = at("openai")
    double.batches.clear()
    double.stored.clear()
    document = asked(cli, "openai")
    assert read(document, "batches")["outcome"] == "empty"
    assert read(document, "messages")["outcome"] == "not asked"
    assert fact(document, "capabilities.can_batch") == ("not seen", "")
    assert fact(document, "capabilities.has_stored_chats") == ("not seen", "")


def test_a_refused_batch_and_a_stored_answer_refute(at) -> None:
    cli, double = at("openai")
    (batch,) = double.batches.values()
    fault = {"code": "model_not_found", "message": "no", "line": 1, "param": None}
    batch.forced, batch.errors = "failed", [fault]
    (kept,) = double.stored.values()
    kept["messages"] = [*kept["messages"], kept["completion"]["choices"][0]["message"]]
    document = asked(cli, "openai")
    assert fact(document, "capabilities.can_batch")[0] == "refuted"
    assert fact(document, "capabilities.has_stored_chats")[0] == "refuted"


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_without_the_right_to_read_chats_reads_the_rest(at, status) -> None:
    cli, double = at("openai")
    for path in ("/batches$", "/chat/completions$"):
        double.faults.add("status", method="GET", path=path, status=status, times=None)
    document = asked(cli, "openai")
    for name in ("batches", "stored chats"):
        assert (read(document, name)["outcome"], read(document, name)["status_code"]) == (
            "no answer",
            status,
        )
    assert document["ok"] is True


# --- what the report never has ------------------------------------------------------------------


@pytest.mark.parametrize("provider", NAMES)
def test_the_report_can_be_sent(at, provider) -> None:
    """No key, no prompt, no file name, no id, no tag, no name of a job, no address."""
    cli, double = at(provider)
    key = os.environ[HOSTED[provider].key]
    for facts in (
        {"behaviour": "plant", "field": key, "value": "where is parcel 3?"},
        {"behaviour": "set", "field": "status", "value": f"Bearer {key}"},
        {"behaviour": "set", "field": "status", "value": "where is parcel 3"},
        {"behaviour": "plant", "field": "my secret.jsonl", "value": key},
    ):
        double.faults.clear()
        double.faults.add(method="GET", times=None, path=ONE_JOB[provider], **facts)
        cli("doctor", "--live", "--provider", provider)
        text = Path(f"ftsdk-live-{provider}.json").read_text()
        assert read(json.loads(text), "job")["differences"]
        jobs = double.trainings if provider == "replicate" else double.jobs
        secrets = [
            key,
            "parcel",
            "shipping",
            ".jsonl",
            "quarterly",
            double.origin,
            *jobs,
            *double.files,
        ]
        secrets += [one.snapshot.tag for one in ftsdk.Client().list_jobs()]
        secrets += [BATCH_TAG, *double.batches, *double.stored] if provider == "openai" else []
        assert [one for one in secrets if one in text] == []


def test_the_report_goes_where_it_is_told(at) -> None:
    cli, _ = at("openai")
    ran = cli.ok("doctor", "--live", "--provider", "openai", "--report", "sent.json")
    assert "in sent.json" in ran.out
    assert json.loads(Path("sent.json").read_text()) == asked(cli, "openai")
    assert not Path("ftsdk-live-openai.json").exists()


# --- what cannot be asked -----------------------------------------------------------------------


def test_without_a_key_nothing_is_asked(at, monkeypatch) -> None:
    cli, double = at("openai")
    monkeypatch.delenv("OPENAI_API_KEY")
    error = cli.error(2, "doctor", "--live", "--provider", "openai")
    assert "OPENAI_API_KEY" in str(error)
    assert not double.requests
    assert not list(Path().glob("ftsdk-live-*"))


def test_a_refused_key_and_an_outage_are_errors(at, monkeypatch) -> None:
    cli, double = at("openai")
    with double.down():
        assert cli.error(4, "doctor", "--live", "--provider", "openai")["code"] == "unavailable"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-key-0123456789")
    assert cli.error(4, "doctor", "--live", "--provider", "openai")["code"] == "auth"
    assert not list(Path().glob("ftsdk-live-*"))


def test_this_machine_is_not_asked() -> None:
    assert "on this machine" in Cli().error(2, "doctor", "--live", "--provider", "fake")["what"]


@pytest.mark.parametrize("option", ["--provider", "--report"])
def test_its_options_need_live(option) -> None:
    assert "--live" in Cli().error(2, "doctor", option, "openai")["hint"]


# --- facts --------------------------------------------------------------------------------------


def figures_in(value: Any) -> int:
    """How many figures of the catalogue's file are not confirmed, or say so in their note."""
    if isinstance(value, dict):
        own = value.get("confirmed") is False or "UNCONFIRMED" in str(value.get("note", ""))
        return own + sum(figures_in(inner) for inner in value.values())
    return sum(figures_in(inner) for inner in value) if isinstance(value, list) else 0


@pytest.mark.parametrize(
    "provider", ["openai", "azure", "nebius", "crusoe", "together", "replicate"]
)
def test_every_unconfirmed_fact_is_listed(tmp_path, provider) -> None:
    pytest.importorskip("openai")
    cls = load_backend(provider)
    toml = tomllib.loads((Path(ftsdk.__file__).parent / "catalogue" / "catalogue.toml").read_text())
    facts = unconfirmed_facts(provider, cls.capabilities, shipped())
    in_record = [one for one in facts if one.name.startswith("capabilities.")]
    assert len(facts) - len(in_record) == figures_in(toml["providers"][provider])
    assert len({one.name for one in facts}) == len(facts)
    assert all(one.says and one.subject for one in facts)

    url = "https://tuning.example.com/v1"
    plan = cls(Context(home=tmp_path, base_url=url)).live_plan()
    assert {one.name for one in in_record} <= set(plan.checks), "a claim that nothing looks for"
    assert all(name.removeprefix("capabilities.") in dir(cls.capabilities) or name.startswith("catalogue.")
               for name in plan.checks)  # fmt: skip


def test_a_tag_that_was_dropped_refutes() -> None:
    tag = "ft0123456789ab"
    check = tag_is_kept("jobs", lambda job: str(job.get("suffix") or ""))
    seen = Evidence({"a": tag, "b": tag})
    assert check(seen) == ("not seen", "")
    seen.answers["jobs"] = [{"id": "of somebody else", "suffix": "x"}]
    assert check(seen) == ("not seen", "")
    seen.answers["jobs"].append({"id": "a", "suffix": f"name-{tag}"})
    assert check(seen) == ("confirmed", "1 job with a tag")
    seen.answers["jobs"].append({"id": "b", "suffix": None})
    assert check(seen) == ("refuted", "1 job of this machine without a tag")


def test_a_filter_that_is_not_applied_refutes(at, clock, tmp_path) -> None:
    cli, double = at("openai")
    client = ftsdk.Client(clock=clock)
    HOSTED["openai"].new(client, key="second").wait()
    client.close()
    assert fact(asked(cli, "openai"), "capabilities.find_by")[0] == "confirmed"
    honest = double.list_jobs
    double.list_jobs = lambda request: honest(_without_filter(request))
    assert fact(asked(cli, "openai"), "capabilities.find_by") == (
        "refuted",
        "the filter was not applied",
    )
    assert cli("doctor", "--live", "--provider", "openai").code == 1


def _without_filter(request: Any) -> Any:
    kept = {name: value for name, value in request.query.items() if not name.startswith("metadata")}
    return type(request)(**{**vars(request), "query": kept})


def test_togethers_own_answers_refute_and_confirm(at) -> None:
    cli, double = at("together")
    note = "catalogue.models.Qwen3-8B.note"
    assert fact(asked(cli, "together"), note) == (
        "confirmed",
        "it is not in the list of tunable models",
    )
    assert fact(asked(cli, "together"), "capabilities.price") == ("confirmed", "1 bill in one unit")
    job = next(iter(double.jobs.values()))
    job.price_usd = 123_456_789.0
    assert fact(asked(cli, "together"), "capabilities.price") == (
        "refuted",
        "1 of 1 bill fit no unit",
    )
    double.faults.add(
        "set", method="GET", path="/supported$", field="models", value=["Qwen/Qwen3-8B"], times=None
    )
    assert fact(asked(cli, "together"), note) == ("refuted", "it is in the list of tunable models")
    assert cli("doctor", "--live", "--provider", "together").code == 1


@pytest.mark.parametrize(
    ("dollars", "verdict"),
    [
        ("2.00", ("confirmed", "billed $2.00 to $2.00 per 1M tokens")),
        ("4.12", ("confirmed", "billed $4.12 to $4.12 per 1M tokens")),
        ("4.13", ("refuted", "billed $4.13 to $4.13 per 1M tokens")),
        ("1.49", ("refuted", "billed $1.49 to $1.49 per 1M tokens")),
        ("1.50", ("confirmed", "billed $1.50 to $1.50 per 1M tokens")),
    ],
)
def test_a_bill_confirms_or_refutes_a_rate(tmp_path, dollars, verdict) -> None:
    pytest.importorskip("together")
    check = load_backend("together")(Context(home=tmp_path)).live_plan().checks
    job = {
        "id": "ft-1", "status": "completed", "model": "Qwen/Qwen3.6-27B", "token_count": 10_000_000,
        "total_price": int(Decimal(dollars) * 10_000), "training_type": {"type": "Lora"},
        "training_method": {"method": "sft"},
    }  # fmt: skip
    seen = Evidence(answers={"job": [job]})
    assert check["catalogue.rates.17b-to-69b.1"](seen) == verdict
    assert check["catalogue.rates.17b-to-69b.2"](seen) == ("not seen", "")  # that is of DPO
    assert check["catalogue.rates.70b-to-100b.1"](seen) == ("not seen", "")  # of other models
    unknown = Evidence(answers={"job": [{**job, "model": "nobody/knows"}, {"id": "ft-2"}]})
    assert check["catalogue.rates.17b-to-69b.1"](unknown) == ("not seen", "")
    least = {**job, "token_count": 1_000_000, "total_price": 4_000}
    assert check["catalogue.rates.17b-to-69b.1"](Evidence(answers={"job": [least]})) == (
        "not seen", "",
    )  # fmt: skip


# --- shapes -------------------------------------------------------------------------------------

SHAPE = Shape(
    {
        "id": Field("text"),
        "status": Field("text", words=frozenset({"queued", "running"})),
        "at": Field("time", nullable=True),
        "count": Field("count", optional=True),
        "inside": Field("object", optional=True, inner={"n": Field("number")}),
    },
    frozenset({"object"}),
)
RIGHT = {"id": "a", "status": "Queued", "at": None, "object": "job"}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"at": 1_700_000_000}, []),
        ({"at": "2026-11-30T00:00:00Z"}, []),
        ({"at": "yesterday"}, [Difference("at", "kind", "a text, not a time")]),
        ({"id": None}, [Difference("id", "kind", "null, not a text")]),
        ({"id": 7}, [Difference("id", "kind", "a number, not a text")]),
        ({"status": "done"}, [Difference("status", "unknown value", "done")]),
        (
            {"status": "sk-123"},
            [Difference("status", "unknown value", "(a value that is not shown)")],
        ),
        ({"count": -1}, [Difference("count", "kind", "a number, not a whole number")]),
        ({"count": True}, [Difference("count", "kind", "true or false, not a whole number")]),
        (
            {"inside": {"n": "x", "other": 1}},
            [Difference("inside.n", "kind", "a text, not a number")],
        ),
        ({"inside": {}}, [Difference("inside.n", "missing")]),
        ({"fresh": 1}, [Difference("fresh", "new")]),
        ({"a b@c": 1}, [Difference("(a name that is not shown)", "new")]),
    ],
)
def test_differences(change, found) -> None:
    assert differences(SHAPE, {**RIGHT, **change}) == found


def test_a_missing_field_may_have_a_new_name() -> None:
    lost = {name: value for name, value in RIGHT.items() if name != "status"}
    assert differences(SHAPE, lost) == [Difference("status", "missing")]
    assert differences(SHAPE, {**lost, "state": "queued"}) == [
        Difference("status", "renamed", "state")
    ]
    assert differences(SHAPE, {**lost, "state": "odd"}) == [
        Difference("status", "renamed", "state")
    ]
    two = differences(SHAPE, {**lost, "state": "queued", "phase": "x"})
    assert two == [Difference("status", "renamed", "state"), Difference("phase", "new")]
    number = differences(SHAPE, {**lost, "state": 3})
    assert number == [Difference("status", "missing"), Difference("state", "new")]
    assert differences(SHAPE, [1]) == [Difference("the reply", "kind", "a list, not an object")]


@pytest.mark.parametrize(
    ("provider", "read_name", "schema_name"),
    [
        ("openai", "job", "FineTuningJob"),
        ("openai", "events", "FineTuningJobEvent"),
        ("openai", "checkpoints", "FineTuningJobCheckpoint"),
        ("openai", "files", "OpenAIFile"),
        ("openai", "models", "Model"),
        ("together", "job", "FinetuneResponse"),
        ("together", "jobs", "FinetuneResponseTruncated"),
        ("together", "events", "FineTuneEvent"),
        ("together", "checkpoints", "FineTuneCheckpoint"),
        ("together", "limits", "FineTuneModelLimits"),
    ],
)
def test_what_must_be_there_is_in_the_published_schema(
    tmp_path, provider, read_name, schema_name
) -> None:
    """And every field of the schema is known, so that only a really new one is reported."""
    pytest.importorskip(provider)
    published = schema(provider)
    if published is None:
        pytest.skip("no schema beside the repository")
    fields = set(published.document["components"]["schemas"][schema_name]["properties"])
    backend = load_backend(provider)(Context(home=tmp_path))
    (shape,) = [one.shape for one in backend.live_plan().reads if one.name == read_name]
    required = {name for name, field in shape.fields.items() if not field.optional}
    assert required - fields == set()
    assert fields - set(shape.fields) - shape.others == set()


@pytest.mark.parametrize(
    ("shape", "reply", "found"),
    [
        (openai_live._MODEL, {"id": "m"}, []),
        (openai_live._MODEL, {"id": "m", "shutdown_date": None}, []),
        (openai_live._MODEL, {"id": "m", "shutdown_date": 5}, ["shutdown_date"]),
        (openai_live._MODEL, {"id": None}, ["id"]),
        (replicate_live._MODEL, {"owner": "o", "name": "n"}, []),
        (replicate_live._MODEL, {"owner": "o", "name": "n", "latest_version": None}, []),
        (
            replicate_live._MODEL,
            {"owner": "o", "name": "n", "latest_version": 5},
            ["latest_version"],
        ),
        (replicate_live._MODEL, {"owner": "o"}, ["name"]),
    ],
)
def test_a_field_that_may_be_missing_or_null(shape, reply, found):
    assert [one.field for one in differences(shape, reply)] == found
