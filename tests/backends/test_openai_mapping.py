"""OpenAI's words in ours and ours in its, by function: bodies, events, bounds and schedules."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("openai")

from ftsdk.backends.hosted.error_facts import HTTPFacts
from ftsdk.backends.openai import OpenAIBackend, chat, job_mapping, metrics
from ftsdk.backends.openai.cost import billed, notes
from ftsdk.backends.openai.errors import closed_error
from ftsdk.backends.openai.files import Files
from ftsdk.backends.openai.job_mapping import TAG_KEY
from ftsdk.backends.openai.profiles import AZURE, CRUSOE, GENERIC, NEBIUS, OPENAI, Profile
from ftsdk.backends.openai.request import create_body, faults_of, plan_fields, suffix_for
from ftsdk.catalogue.load import shipped
from ftsdk.catalogue.retirement import ends_on
from ftsdk.errors import (
    NotFound,
    NotReady,
    ProviderClosed,
    Rejected,
    Unavailable,
    UnexpectedResponse,
    Unsupported,
)
from ftsdk.types.model import ModelHandle
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

TAG = "ft0123456789ab"
MINI = "gpt-4.1-mini-2025-04-14"


def spec(**given: Any) -> JobSpec:
    return JobSpec.build(**{"provider": "openai", "model": MINI, "seed": 7, **given})


# --- chat ---


class _Service:
    """A service whose answers a test gives; an error is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.profile = OPENAI
        self.clock = ManualClock()
        self.asked = 0

    def call_once(self, action: str, ask: Any) -> Any:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    read = call_once

    def unexpected(self, action: str, what: str) -> UnexpectedResponse:
        return UnexpectedResponse(what, where=action)


ANSWER = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": {"total_tokens": 3, "x": None}}  # fmt: skip
HANDLE = ModelHandle(kind="hosted", provider="openai", id="ft:m", base_model="m", callable_now=True, job_id="ftj_1")  # fmt: skip


def chatted(service: _Service, clock: ManualClock, handle: ModelHandle = HANDLE, **options: Any):
    return chat.chat_with(service, clock, handle, [{"role": "user", "content": "a"}], options)


@pytest.mark.parametrize("missing", range(6))
def test_a_new_model_is_asked_again_for_a_minute(missing: int) -> None:
    clock = ManualClock()
    service = _Service(*[NotFound("no such model")] * missing, ANSWER)
    assert chatted(service, clock).text == "hi"
    assert clock.slept == [2, 4, 8, 16, 30][:missing]
    assert service.asked == missing + 1


def test_a_model_that_stays_missing_is_not_ready() -> None:
    clock = ManualClock()
    service = _Service(*[NotFound("no such model")] * 6)
    with pytest.raises(NotReady, match="does not find this model") as caught:
        chatted(service, clock)
    assert clock.slept == [2, 4, 8, 16, 30]
    assert (caught.value.where, caught.value.job_id) == ("model ft:m; no such model", "ftj_1")


def test_a_model_that_is_not_callable_yet_is_asked_once() -> None:
    clock, service = ManualClock(), _Service(NotFound("no"), ANSWER)
    with pytest.raises(NotReady):
        chatted(service, clock, HANDLE.model_copy(update={"callable_now": False}))
    assert (clock.slept, service.asked) == ([], 1)


def test_what_cannot_be_called_by_its_name_is_not_asked() -> None:
    service = _Service(ANSWER)
    adapter = HANDLE.model_copy(update={"kind": "adapter"})
    with pytest.raises(NotReady, match="is an adapter"):
        chatted(service, ManualClock(), adapter)
    needs = ModelHandle(**{**HANDLE.model_dump(), "kind": "needs_deployment"})
    with pytest.raises(NotReady, match="it needs a deployment"):
        chatted(service, ManualClock(), needs)
    assert service.asked == 0
    assert chatted(service, ManualClock(), needs, deployment="mine").text == "hi"


def test_an_answer_is_read_with_its_counts() -> None:
    answer = chatted(_Service(ANSWER), ManualClock())
    assert (answer.usage, answer.finish_reason) == ({"total_tokens": 3}, "stop")
    assert answer.message == {"content": "hi"}
    empty = {"choices": [{"message": {"content": None}}]}
    assert chatted(_Service(empty), ManualClock()).text == ""
    for wrong in ({}, {"choices": []}, {"choices": [None]}, {"choices": [{}]}, {"choices": {}}):
        with pytest.raises(UnexpectedResponse, match="it has no message"):
            chatted(_Service(wrong), ManualClock())


# --- the body ---


@pytest.mark.parametrize(
    ("profile", "given", "body"),
    [
        (
            OPENAI,
            {"hyperparameters": {"epochs": 3.0, "batch_size": 4}, "name": "a b"},
            {
                "model": MINI, "training_file": "file-1", "seed": 7, "suffix": "a-b",
                "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": 4}}},
                "metadata": {"ftsdk": TAG},
            },
        ),
        (
            OPENAI,
            {"method": "dpo"},
            {
                "model": MINI, "training_file": "file-1", "seed": 7, "method": {"type": "dpo"},
                "metadata": {"ftsdk": TAG},
            },
        ),
        (
            OPENAI,
            {"provider_options": {"metadata": {"team": "x"}, "suffix": "s", "extra": 1}},
            {
                "model": MINI, "training_file": "file-1", "seed": 7, "suffix": "s",
                "method": {"type": "supervised"}, "metadata": {"team": "x", "ftsdk": TAG}, "extra": 1,
            },
        ),
        (
            AZURE,
            {"name": "n" * 60},
            {
                "model": MINI, "training_file": "file-1", "seed": 7, "trainingType": "GlobalStandard",
                "method": {"type": "supervised"}, "suffix": "n" * 25 + "-" + TAG,
                "metadata": {"ftsdk": TAG},
            },
        ),
    ],
)  # fmt: skip
def test_the_body_of_a_create_call(
    profile: Profile, given: dict[str, Any], body: dict[str, Any]
) -> None:
    made = create_body(profile, spec(**given), TAG, "file-1", None)
    key = next(iter(set(made["metadata"]) - {"team"}))
    made["metadata"]["ftsdk"] = made["metadata"].pop(key)
    assert made == body
    whole = create_body(profile, spec(**given), TAG, "file-1", "file-2")
    assert whole["validation_file"] == "file-2"


@pytest.mark.parametrize(
    ("adapter", "sent"),
    [
        ({"rank": 16, "alpha": 8, "dropout": 0.1}, {"lora": True, "lora_r": 16, "lora_alpha": 8, "lora_dropout": 0.1}),
        (None, {"lora": False}),
    ],
)  # fmt: skip
def test_a_service_that_takes_the_adapter_gets_it(adapter: Any, sent: dict[str, Any]) -> None:
    asked = spec(adapter=adapter, provider_options={"hyperparameters": {"packing": True}})
    body = create_body(NEBIUS, asked, TAG, "file-1", None)
    assert body["hyperparameters"] == {"packing": True, **sent}
    assert "method" not in body
    theirs = spec(adapter=adapter, provider_options={"hyperparameters": {"lora": "theirs"}})
    assert create_body(NEBIUS, theirs, TAG, "f", None)["hyperparameters"]["lora"] == "theirs"


@pytest.mark.parametrize(
    ("profile", "name", "suffix"),
    [
        (OPENAI, None, None),
        (OPENAI, "", None),
        (OPENAI, "--", None),
        (OPENAI, "é a\n!b", "a-b"),
        (OPENAI, "x" * 64, "x" * 64),
        (OPENAI, "x" * 65, "x" * 64),
        (AZURE, None, TAG),
        (AZURE, "x" * 25, "x" * 25 + "-" + TAG),
        (AZURE, "x" * 26, "x" * 25 + "-" + TAG),
    ],
)
def test_the_suffix(profile: Profile, name: str | None, suffix: str | None) -> None:
    assert suffix_for(profile, spec(name=name), TAG) == suffix
    assert suffix_for(replace(profile, takes_suffix=False), spec(name=name), TAG) is None
    assert suffix is None or len(suffix) <= profile.longest_suffix


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, None),
        ({"hyperparameters": {"epochs": 2.5}}, "hyperparameter epochs=2.5 must be a whole number"),
        ({"hyperparameters": {"epochs": 2.0}}, None),
        ({"hyperparameters": {"beta": 0.1}}, "hyperparameter beta=0.1 is for method 'dpo' alone"),
        ({"hyperparameters": {"beta": 0.1}, "method": "dpo"}, None),
        ({"provider_options": {"seed": 1}}, "provider_options.seed (give it as the job's own argument)"),
        ({"provider_options": {"suffix": "a"}}, None),
        ({"provider_options": {"suffix": "a"}, "name": "b"}, "provider_options.suffix beside name"),
        ({"provider_options": {"metadata": 1}}, "provider_options.metadata that is no table"),
        ({"provider_options": {"metadata": {str(n): "x" for n in range(15)}}}, None),
        ({"provider_options": {"metadata": {str(n): "x" for n in range(16)}}}, "more than 15 entries"),
        ({"provider_options": {"hyperparameters": 1}}, "provider_options.hyperparameters that is no"),
        ({"provider_options": {"hyperparameters": {"a": 1}}}, "provider_options.hyperparameters.a"),
        ({"adapter": {"rank": 16}}, None),  # our default asks for nothing
        ({"adapter": {"rank": 17}}, "adapter rank=17 (OpenAI chooses it itself)"),
        ({"adapter": {"alpha": 3}}, "adapter alpha=3"),
        ({"adapter": {"dropout": 0.5}}, "adapter dropout=0.5"),
        ({"adapter": None}, None),
    ],
)  # fmt: skip
def test_each_fault_of_a_request_is_named(given: dict[str, Any], fault: str | None) -> None:
    found = faults_of(OPENAI, spec(**given))
    assert len(found) == (fault is not None)
    assert fault is None or found[0].startswith(fault) or fault in found[0]


def test_our_own_metadata_cannot_be_given() -> None:
    key = next(iter(create_body(OPENAI, spec(), TAG, "f", None)["metadata"]))
    (fault,) = faults_of(OPENAI, spec(provider_options={"metadata": {key: "x"}}))
    assert fault == f"provider_options.metadata with {key} or more than 15 entries"


def test_a_plan_lists_what_is_sent() -> None:
    shown = list(plan_fields(OPENAI, spec(name="a b", provider_options={"extra": 1})))
    assert [(f.name, f.asked, f.sent) for f in shown if f.name != "tag"] == [
        ("method", "sft", "supervised"),
        ("seed", 7, 7),
        ("name", "a b", "a-b"),
        ("adapter", "lora", "the service's own"),
        ("extra", 1, 1),
    ]
    assert [f.name for f in plan_fields(NEBIUS, spec()) if f.name in ("adapter", "tag")] == ["tag"]
    azure = {f.name: f for f in plan_fields(AZURE, spec())}
    assert (azure["trainingType"].asked, azure["trainingType"].sent) == (None, "GlobalStandard")


@pytest.mark.parametrize(
    ("profile", "pause", "resume", "delete", "chat_works"),
    [
        (OPENAI, True, True, True, True),
        (AZURE, True, True, True, False),
        (NEBIUS, False, False, False, True),
        (CRUSOE, False, False, False, False),
        (GENERIC, True, True, True, True),
    ],
)
def test_what_each_service_can_do(
    profile: Profile, pause: bool, resume: bool, delete: bool, chat_works: bool
) -> None:
    able = profile.capabilities
    found = (able.can_pause, able.can_resume, able.can_delete, able.can_chat)
    assert found == (pause, resume, delete, chat_works)


# --- files ---


@pytest.mark.parametrize(
    ("identity", "fits"),
    [("ab", False), ("abc", True), ("a" * 256, True), ("a" * 257, False), ("a/b", False), (5, False), (None, False)],
)  # fmt: skip
def test_the_id_of_a_file(tmp_path: Path, identity: Any, fits: bool) -> None:
    files = Files(_Service(), SimpleNamespace(home=tmp_path, clock=ManualClock()))
    if fits:
        assert files._id_of({"id": identity}, "POST /files") == identity
    else:
        with pytest.raises(UnexpectedResponse, match="no usable id"):
            files._id_of({"id": identity}, "POST /files")


@pytest.mark.parametrize(
    ("size", "takes_parts", "way"),
    [(10, True, "one"), (11, True, "parts"), (11, False, "one")],
)
def test_a_file_above_the_size_of_one_call_goes_up_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, takes_parts: bool, way: str
) -> None:
    service = _Service()
    service.profile = replace(OPENAI, one_call_bytes=10, takes_parts=takes_parts)
    files = Files(service, SimpleNamespace(home=tmp_path, clock=ManualClock()))
    monkeypatch.setattr(files, "_in_one", lambda *_: "one")
    monkeypatch.setattr(files, "_by_parts", lambda *_: "parts")
    assert files._sent(tmp_path, "name", size) == way


@pytest.mark.parametrize("retryable", [True, False])
def test_a_lost_upload_is_searched_for_and_a_refused_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retryable: bool
) -> None:
    files = Files(_Service(), SimpleNamespace(home=tmp_path, clock=ManualClock()))
    error = Unavailable("cut", retryable=retryable)
    monkeypatch.setattr(files, "_in_one", lambda *_: (_ for _ in ()).throw(error))
    monkeypatch.setattr(files, "_found", lambda *_: "file-9")
    if retryable:
        assert files._sent(tmp_path, "name", 1) == "file-9"
    else:
        with pytest.raises(Unavailable):
            files._sent(tmp_path, "name", 1)
    monkeypatch.setattr(files, "_found", lambda *_: None)
    with pytest.raises(Unavailable):
        files._sent(tmp_path, "name", 1)


@pytest.mark.parametrize(
    ("item", "found"),
    [
        ({}, True),
        ({"filename": "other"}, False),
        ({"bytes": 4}, False),
        ({"status": "error"}, False),
        ({"status": "deleted"}, False),
        ({"id": None}, False),
    ],
)
def test_a_file_is_ours_by_name_and_size(tmp_path: Path, item: dict[str, Any], found: bool) -> None:
    ours = {"id": "file-1", "filename": "name", "bytes": 5, "status": "processed", **item}
    service = _Service({"data": [None, ours]}, {"data": None})
    files = Files(service, SimpleNamespace(home=tmp_path, clock=ManualClock()))
    assert files._found("name", 5) == ("file-1" if found else None)
    assert files._found("name", 5) is None


@pytest.mark.parametrize(
    ("reply", "there"),
    [
        ({"status": "processed"}, True),
        ({"status": None}, True),
        ({"status": "error"}, False),
        ({"status": "deleted"}, False),
        (NotFound("gone"), False),
    ],
)
def test_a_file_that_was_uploaded_before_is_looked_at(
    tmp_path: Path, reply: Any, there: bool
) -> None:
    files = Files(_Service(reply), SimpleNamespace(home=tmp_path, clock=ManualClock()))
    assert files._has("file-1") == there


def test_a_file_is_polled_until_it_is_processed(tmp_path: Path) -> None:
    clock = ManualClock()
    words = ["uploaded", "pending", "running", "processing", "notRunning", "processed"]
    service = _Service(*[{"status": word} for word in words])
    files = Files(service, SimpleNamespace(home=tmp_path, clock=clock))
    assert files._processed("file-1") == "file-1"
    assert clock.slept == [0.5, 1, 2, 4, 8]
    clock = ManualClock()
    endless = _Service(*[{"status": "pending"}] * 1000)
    with pytest.raises(Unavailable, match="half an hour") as caught:
        Files(endless, SimpleNamespace(home=tmp_path, clock=clock))._processed("file-1")
    assert clock.slept[:6] == [0.5, 1, 2, 4, 8, 10]
    assert set(clock.slept[5:]) == {10}
    assert 1800 <= sum(clock.slept) <= 1815
    assert caught.value.where == "file file-1, status pending"


# --- events ---

AT = dt.datetime(2026, 11, 30, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("raw", "kind", "data"),
    [
        (
            {"message": "Step 3/10: training loss=0.50, validation loss=0.25"},
            "metric",
            {"step": 3, "total_steps": 10, "train_loss": 0.5, "valid_loss": 0.25},
        ),
        ({"message": "Step 3: training loss=0.50"}, "metric", {"step": 3, "train_loss": 0.5}),
        (
            {"message": "Step 3: training loss=9", "data": {"step": 4, "train_loss": 1}},
            "metric",
            {"step": 4, "train_loss": 1},
        ),
        ({"message": "x", "type": "metrics", "data": {"step": 4}}, "metric", {"step": 4}),
        ({"message": "created", "level": "error"}, "error", {}),
        ({"message": "created", "level": "warn"}, "warning", {}),
        ({"message": "created", "level": "warning", "data": 5}, "warning", {}),
        ({"message": "Created fine-tuning job", "level": "info"}, "status", {}),
        ({"message": "Moderation passed"}, "status", {}),
        ({"message": "something else"}, "log", {}),
        ({"message": None}, "log", {}),
    ],
)
def test_the_kind_and_the_numbers_of_an_event(
    raw: dict[str, Any], kind: str, data: dict[str, Any]
) -> None:
    event = metrics.event({"id": "e1", "created_at": AT.timestamp(), **raw}, 5)
    assert (event.id, event.seq, event.kind, event.time) == ("e1", 5, kind, AT)
    assert dict(event.data) == data


def test_an_event_without_a_time_is_as_old_as_can_be() -> None:
    assert metrics.event({"id": "e1"}, 1).time == dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("value", "number"),
    [("1.5", 1.5), (2, 2.0), ("x", None), ("", None), ("nan", None), ("inf", None), (None, None)],
)
def test_only_finite_numbers_are_numbers(value: Any, number: float | None) -> None:
    assert metrics.number(value) == number


def test_a_checkpoint_needs_an_id_and_a_step() -> None:
    raw = {"id": "c1", "step_number": 5, "metrics": {"step": 9, "train_loss": 1.5, "full_valid_loss": 2.5}, "fine_tuned_model_checkpoint": "ft:x"}  # fmt: skip
    found = metrics.checkpoint(raw)
    assert found is not None
    assert (found.step, found.train_loss, found.validation_loss) == (5, 1.5, 2.5)
    assert found.model_id == "ft:x"
    by_metrics = metrics.checkpoint({"id": "c1", "metrics": {"step": 9}})
    assert by_metrics is not None
    assert (by_metrics.step, by_metrics.train_loss, by_metrics.model_id) == (9, None, None)
    for wrong in (
        {"id": "c1"},
        {"step_number": 5},
        {"id": 5, "step_number": 5},
        {"id": "c", "step_number": -1},
    ):
        assert metrics.checkpoint(wrong) is None


@pytest.mark.parametrize(
    ("messages", "tokens"),
    [
        ([], None),
        (["Training tokens billed: 1,234,567"], 1_234_567),
        (["Job done", "Training tokens billed: 0", "Training tokens billed: 5"], 0),
        (["tokens billed"], None),
    ],
)
def test_the_tokens_that_an_event_reports(messages: list[str], tokens: int | None) -> None:
    assert metrics.billed_tokens(messages) == tokens


# --- money and dates ---


@pytest.mark.parametrize(
    ("raw", "tokens", "usd"),
    [
        ({"model": MINI}, 1_000_000, 5),
        ({"model": MINI}, None, None),
        ({"model": MINI}, 0, None),
        ({"model": None}, 10, None),
        ({}, 10, None),
        ({"model": "gpt-9"}, 10, None),
    ],
)
def test_the_bill_of_a_job(raw: dict[str, Any], tokens: int | None, usd: int | None) -> None:
    cost = billed(raw, tokens, "openai", shipped())
    if usd is None:
        assert cost is None
        return
    assert cost is not None
    assert (cost.low, cost.high, cost.basis, cost.assumptions) == (usd, usd, "billed", ())
    assert cost.source.startswith("1,000,000 billed tokens × ")


@pytest.mark.parametrize(
    ("status", "code", "message", "closed"),
    [
        (400, None, "Fine-tuning is winding down", True),
        (403, None, "Fine-tuning is not available to new users", True),
        (404, None, "fine tuning is deprecated", True),
        (410, None, "You are no longer allowed to use fine-tuning", True),
        (401, None, "Fine-tuning is winding down", False),
        (429, None, "Fine-tuning is winding down", False),
        (500, None, "Fine-tuning is winding down", False),
        (400, None, "The model is wrong", False),
        (500, "fine_tuning_disabled", "x", True),
        (400, "fine_tuning_not_available", "x", True),
        (400, "other", "x", False),
    ],
)
def test_a_closed_service_is_recognized(
    status: int, code: str | None, message: str, closed: bool
) -> None:
    facts = HTTPFacts(status, message, code=code or "", headers={"x-request-id": "req_1"})
    error = closed_error("OpenAI", "POST /x")(facts)
    assert isinstance(error, ProviderClosed) == closed
    if error is not None:
        assert error.where == f"OpenAI, POST /x, HTTP {status}, request req_1"


def test_what_a_plan_says_beside_its_fields() -> None:
    today = dt.date(2026, 11, 30)
    for profile, word in ((AZURE, "its own deployment"), (CRUSOE, "an adapter to download")):
        remarks, _ = notes(profile, None, spec(), today, shipped())
        assert any(word in remark for remark in remarks) == (profile.result != "hosted")
    assert notes(OPENAI, None, spec(), today, shipped()) == ([], [])
    assert notes(OPENAI, "openai", spec(), today, shipped())[1] != []


# --- jobs ---


class _Jobs:
    """The calls of a service, each with the answer that a test gives."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.asked = answers, list[str]()
        self.profile = OPENAI

    def call_once(self, action: str, ask: Any) -> Any:
        self.asked.append(action)
        answer = self.answers[action.rsplit("/", 1)[-1]]
        if isinstance(answer, Exception):
            raise answer
        return answer

    read = call_once


class _Backend(OpenAIBackend):
    last_catalogue = shipped()
    dated_as = None


def service(profile: Profile, **answers: Any) -> _Backend:
    made = _Backend.__new__(_Backend)
    made.service, made.capabilities = profile, profile.capabilities
    made.transport = _Jobs(**answers)
    return made


def raw(status: str, **more: Any) -> dict[str, Any]:
    base = {"object": "fine_tuning.job", "model": MINI, "created_at": AT.timestamp()}
    made = {"fine_tuned_model": "ft:x"} if status == "succeeded" else {}
    return {**base, **made, "id": "ftjob-abc", "status": status, **more}


@pytest.mark.parametrize(
    ("profile", "more", "ours"),
    [
        (OPENAI, {"metadata": {TAG_KEY: TAG}}, True),
        (OPENAI, {"metadata": {TAG_KEY: "ftother"}}, False),
        (OPENAI, {"metadata": {}}, True),  # it repeats nothing
        (OPENAI, {"suffix": "other"}, True),
        (AZURE, {"suffix": f"x-{TAG}"}, True),
        (AZURE, {"suffix": "x-other"}, False),
        (AZURE, {"user_provided_suffix": "x-other"}, False),
        (AZURE, {}, True),
        (AZURE, {"metadata": {TAG_KEY: "ftother"}, "suffix": TAG}, False),
    ],
)
def test_the_created_job_is_ours(profile: Profile, more: dict[str, Any], ours: bool) -> None:
    job = job_mapping.remote_job(raw("queued", **more), profile, action="POST")
    asked = SimpleNamespace(tag=TAG)
    assert service(profile)._is_ours(job, asked) == ours


@pytest.mark.parametrize(
    ("profile", "status", "tokens"),
    [
        (AZURE, "succeeded", 5000),
        (AZURE, "cancelled", 5000),
        (AZURE, "failed", None),
        (AZURE, "running", None),
        (OPENAI, "succeeded", None),
    ],
)
def test_tokens_that_only_an_event_reports(
    profile: Profile, status: str, tokens: int | None
) -> None:
    made = service(profile)
    events_read = []

    def raw_events(identity: str) -> list[dict[str, str]]:
        events_read.append(identity)
        return [{"message": "Training tokens billed: 5,000"}]

    made.run_events = SimpleNamespace(raw_events=raw_events)
    job = made._job(raw(status), "GET", asked_for="ftjob-abc")
    assert job.trained_tokens == tokens
    assert events_read == (["ftjob-abc"] if tokens else [])
    listed = made._job(raw(status), "GET")  # a list reads no events
    assert (listed.trained_tokens, len(events_read)) == (None, 1 if tokens else 0)
    counted = made._job(raw(status, trained_tokens=7), "GET", asked_for="ftjob-abc")
    assert counted.trained_tokens == (7 if counted.status.is_final else counted.trained_tokens)
    assert len(events_read) == (1 if tokens else 0)


def test_what_a_service_cannot_do_is_not_asked_of_it() -> None:
    made = service(NEBIUS)
    for act in (made.pause, made.resume):
        with pytest.raises(Unsupported):
            act("ftjob-abc")
    with pytest.raises(Unsupported):
        made.delete("ftjob-abc")
    assert made.transport.asked == []
    with pytest.raises(NotFound, match="no job with such an id"):
        service(OPENAI).pause("../x")


def test_pause_cancel_and_resume_ask_once() -> None:
    made = service(OPENAI, pause={}, cancel={}, resume=raw("running"))
    made.pause("ftjob-abc")
    made.cancel("ftjob-abc")
    assert made.resume("ftjob-abc").status is JobStatus.RUNNING
    assert made.transport.asked == [
        f"POST /fine_tuning/jobs/ID/{action}" for action in ("pause", "cancel", "resume")
    ]


@pytest.mark.parametrize(
    ("action", "status", "is_well"),
    [
        ("pause", "paused", True),
        ("pause", "succeeded", True),
        ("pause", "running", False),
        ("cancel", "cancelled", True),
        ("cancel", "failed", True),
        ("cancel", "running", False),
        ("resume", "running", True),
        ("resume", "succeeded", False),
        ("resume", "paused", False),
    ],
)
def test_a_refused_act_is_well_where_the_job_is_there_already(
    action: str, status: str, is_well: bool
) -> None:
    made = service(OPENAI, **{action: Rejected("no"), "ID": raw(status)})
    if is_well:
        getattr(made, action)("ftjob-abc")
    else:
        with pytest.raises(Rejected):
            getattr(made, action)("ftjob-abc")


@pytest.mark.parametrize("limit", [0, 1, 2, 3, None])
def test_a_list_ends_at_its_limit(limit: int | None) -> None:
    made = service(OPENAI)
    made._raw_jobs = lambda: iter([raw("running", id=f"ftjob-{n}aa") for n in range(3)])
    assert len(list(made.list(limit=limit))) == min(3, 3 if limit is None else limit)


def test_an_end_date_is_that_of_the_provider_at_this_address() -> None:
    made = service(OPENAI)
    assert made._ends_on(MINI) is None
    made.dated_as = "openai"
    assert made._ends_on(MINI) == ends_on("openai", MINI, catalogue=shipped())
    assert made._ends_on(MINI) is not None
