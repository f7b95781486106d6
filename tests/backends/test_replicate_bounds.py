"""Replicate's options, logs, prices and lists, by function and by each side of each bound."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("replicate", reason="needs the extra `replicate`")

from ftsdk.backends.replicate import chat, cost, events, job_mapping, logs, request, trainer
from ftsdk.backends.replicate.backend import ReplicateBackend
from ftsdk.catalogue.load import shipped
from ftsdk.errors import Rejected, Unavailable, Unsupported
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

AT = "2026-11-30T12:00:00+00:00"
RESULT = {"output": {"version": "me/x:" + "a" * 64}}


def spec(adapter: Any = "lora", **options: Any) -> JobSpec:
    more = {} if adapter == "lora" else {"adapter": adapter}
    return JobSpec.build(
        provider="replicate", model="acme/trainer:1", seed=7, provider_options=options, **more
    )


# --- options ---


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({}, None),
        ({"destination": "me/model"}, None),
        ({"destination": "a" * 100 + "/" + "b" * 100}, None),
        ({"destination": "a" * 101 + "/b"}, "is not owner/name"),
        ({"destination": "me"}, "is not owner/name"),
        ({"destination": "me/model/x"}, "is not owner/name"),
        ({"destination": 5}, "is not owner/name"),
        ({"hardware": "gpu-h100"}, None),
        ({"hardware": 5}, "hardware must be one of Replicate's names"),
        ({"data_url": "https://x/y"}, None),
        ({"data_url": "http://x/y"}, "data_url must be an https:// URL"),
        ({"data_url": 5}, "data_url must be an https:// URL"),
        ({"input": {"a": 1}}, None),
        ({"input": [1]}, "input must be a table"),
        ({"seconds": [0, 0]}, None),
        ({"seconds": [1, 2.5]}, None),
        ({"seconds": [2, 1]}, "seconds must be two numbers"),
        ({"seconds": [-1, 1]}, "seconds must be two numbers"),
        ({"seconds": [1]}, "seconds must be two numbers"),
        ({"seconds": [1, 2, 3]}, "seconds must be two numbers"),
        ({"seconds": [True, 2]}, "seconds must be two numbers"),
        ({"seconds": 5}, "seconds must be two numbers"),
        ({"webhook": "https://x"}, None),
        ({"made_up": 1}, "provider_options.made_up is not known"),
        ({"trainer": "nobody"}, "trainer must be a table or one of"),
    ],
)
def test_each_fault_of_the_options_is_named(options: dict[str, Any], fault: str | None) -> None:
    _, found = trainer.options_of(spec(**options), {})
    assert len(found) == (fault is not None)
    assert fault is None or fault in found[0]


def test_options_stand_over_the_configured_ones() -> None:
    defaults = {"destination": "we/all", "hardware": "gpu-a", "trainer": "plain", "input": {"x": 1}}
    read, faults = trainer.options_of(spec(hardware="gpu-b", webhook="https://x"), defaults)
    assert faults == []
    assert (read.destination, read.hardware, read.input) == ("we/all", "gpu-b", {})
    assert (read.extra, read.seconds, read.create_destination) == (
        {"webhook": "https://x"},
        None,
        False,
    )
    created, _ = trainer.options_of(spec(create_destination=True, seconds=[1, 2]), defaults)
    assert (created.create_destination, created.seconds) == (True, (1.0, 2.0))
    assert not trainer.options_of(spec(create_destination="yes"), {})[0].create_destination


def test_what_is_sent_and_what_the_plan_says() -> None:
    own = {"rows": "chat", "data": "train_data", "inputs": {"epochs": "n", "rank": "r", "seed": "s"}, "fixed": {"mode": "sft"}}  # fmt: skip
    asked, faults = trainer.options_of(
        spec(trainer=own, input={"extra": 1}, destination="me/x"), {}
    )
    assert faults == []
    shown = [(f.name, f.asked, f.sent, f.sent_as) for f in request.planned(spec(), asked)]
    assert ("seed", 7, 7, "input.s") in shown
    assert ("rank", spec().adapter.rank, spec().adapter.rank, "input.r") in shown
    assert ("destination", "me/x", "me/x", "destination") in shown
    assert ("input.mode", "sft", "sft", "input.mode") in shown
    assert ("input.extra", 1, 1, "input.extra") in shown
    assert not any(name == "adapter" for name, *_ in shown)
    plain, _ = trainer.options_of(spec(trainer={**own, "inputs": {}}), {})
    names = [f.name for f in request.planned(spec(), plain)]
    assert "adapter" in names
    assert "seed" not in names


# --- logs and events ---


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (None, []),
        ("", []),
        (5, []),
        ("a", ["a"]),
        ("a\n", ["a"]),
        ("a\n\nb\n", ["a", "", "b"]),
        ("1/9 [\r2/9 [\r3/9 [\n", ["3/9 ["]),
        ("a\r\nb", ["a", "b"]),
    ],
)
def test_the_lines_of_a_log(text: Any, lines: list[str]) -> None:
    assert logs.log_lines({"logs": text}) == lines


@pytest.mark.parametrize(
    ("line", "how", "numbers"),
    [
        ("{'loss': 1.5, 'epoch': 0.5}", "huggingface", {"train_loss": 1.5, "epoch": 0.5}),
        ("{'eval_loss': '2e-1', 'made_up': 3}", "huggingface", {"validation_loss": 0.2}),
        ("{'epoch': 0.5}", "huggingface", {}),
        ("step 3 loss 1.5", r"step (?P<step>\d+) loss (?P<loss>\S+)", {"step": 3, "train_loss": 1.5}),
        ("step 3 loss nan", r"step (?P<step>\d+) loss (?P<loss>\S+)", {"step": 3}),
        ("step 3 loss x", r"step (?P<step>\d+) loss (?P<loss>\S+)", {"step": 3}),
        ("x" * 2000 + "loss 1", r"loss (?P<loss>\S+)", {}),
        ("x" * 1994 + "loss 1", r"loss (?P<loss>\S+)", {"train_loss": 1}),
        ("loss 1 raw 2 time 3", r"loss (?P<loss>\S+) raw (?P<raw>\S+) time (?P<time>\S+)", {"train_loss": 1}),
        ("nothing", r"loss (?P<loss>\S+)", {}),
    ],
)  # fmt: skip
def test_the_numbers_of_a_line(line: str, how: str, numbers: dict[str, float]) -> None:
    assert logs.numbers_in(line, how) == numbers


@pytest.mark.parametrize(
    ("text", "progress"),
    [
        ("", None),
        ("3/10 [", (0.3, 3, 10)),
        ("0/10 [", (0.0, 0, 10)),
        ("10/10 [", (1.0, 10, 10)),
        ("11/10 [", None),
        ("0/0 [", None),
        ("1/999999999 [", (1 / 999_999_999, 1, 999_999_999)),
        ("1/1000000000 [", None),
        ("3/10 [ 4/10 [", (0.4, 4, 10)),
        ("3/10 [" + "x" * 4000, None),
    ],
)
def test_the_newest_bar_is_the_progress(text: str, progress: Any) -> None:
    found = logs.progress_of({"logs": text})
    assert (None if found is None else (found.fraction, found.step, found.total_steps)) == progress


@pytest.mark.parametrize(
    ("lines", "points"),
    [
        (["{'loss': 3}", "{'loss': 2}"], [(1, 3, None), (2, 2, None)]),
        (["5/9 [", "{'loss': 3}", "{'loss': 2}"], [(5, 3, None), (6, 2, None)]),
        (["5/9 [", "{'loss': 3}", "{'eval_loss': 4}"], [(5, 3, 4)]),
        (["{'eval_loss': 4}"], [(1, None, 4)]),
        (["{'loss': 3, 'step': 7}", "{'loss': 2, 'step': 3}"], [(3, 2, None), (7, 3, None)]),
        (["5/9 [", "{'loss': 3}", "4/9 [", "{'loss': 2}"], [(5, 3, None), (6, 2, None)]),
        (["nothing"], []),
    ],
)
def test_the_curve_of_a_log(lines: list[str], points: list[Any]) -> None:
    found = events.metrics_of(lines, "huggingface")
    assert [(p.step, p.train_loss, p.validation_loss) for p in found] == points
    assert events.metrics_of(lines, None) == []


def test_the_events_of_a_training() -> None:
    data = {"id": "t1", "created_at": AT, "logs": "one\n\n{'loss': 1}\n", "status": "processing"}
    assert [e.message for e in events.events_of(data, None)] == ["starting", "one", "{'loss': 1}"]
    started = {**data, "started_at": "2026-11-30T12:01:00+00:00"}
    found = events.events_of(started, "huggingface")
    assert [(e.id, e.seq, e.kind, e.message) for e in found] == [
        ("t1:1", 1, "status", "starting"),
        ("t1:2", 2, "status", "processing"),
        ("t1:3", 3, "log", "one"),
        ("t1:4", 4, "metric", "{'loss': 1}"),
    ]
    assert [e.time.minute for e in found] == [0, 1, 1, 1]
    for word, kind in (("failed", "error"), ("succeeded", "status"), ("canceled", "status")):
        *_, last = events.events_of({**started, "status": word, "completed_at": AT}, None)
        assert (last.kind, last.message, last.time.minute) == (
            kind,
            word,
            1,
        )  # never before its start
    assert events.events_of({}, None)[0].time == dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


# --- jobs ---


@pytest.mark.parametrize(
    ("more", "tag"),
    [
        ({}, None),
        ({"input": None}, None),
        ({"input": {"a": 5}}, None),
        ({"input": {"a": "x", "train_data": "https://h/rows.jsonl?ftsdk=ft0123456789ab"}}, None),
    ],
)
def test_no_tag_is_made_up(more: dict[str, Any], tag: str | None) -> None:
    assert job_mapping.tag_in(more) == tag


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        ({"status": "succeeded", **RESULT}, JobStatus.SUCCEEDED, ""),
        ({"status": "succeeded"}, JobStatus.FINALIZING, ""),
        (
            {"status": "succeeded", "data_removed": True},
            JobStatus.SUCCEEDED,
            "Replicate has removed the training's result",
        ),
        ({"status": "failed", "error": "why"}, JobStatus.FAILED, "why"),
        ({"status": "failed"}, JobStatus.FAILED, "Replicate reports failed without a reason"),
        ({"status": "aborted"}, JobStatus.CANCELLED, "Replicate ended it before it started"),
    ],
)
def test_how_a_training_ended(data: dict[str, Any], status: JobStatus, message: str) -> None:
    text = "\n".join(f"line {n}" for n in range(12))
    job = job_mapping.remote_job({"id": "t1", "completed_at": AT, "logs": text, **data})
    assert (job.status, job.message) == (status, message)
    assert (job.finished_at is not None) == status.is_final
    assert (job.result_model is not None) == (data.get("output") is not None)
    tail = [f"line {n}" for n in range(2, 12)]
    failed = {"message": message, "log_tail": tail}
    assert job.error == (failed if status is JobStatus.FAILED else None)


@pytest.mark.parametrize(
    ("data", "complete"),
    [
        ({"status": "processing"}, True),
        ({"status": "succeeded", "metrics": {"predict_time": 1}, **RESULT}, True),
        ({"status": "succeeded", "metrics": {}, **RESULT}, False),
        ({"status": "succeeded", **RESULT}, False),
        ({"status": "failed", "metrics": {"predict_time": 1}, "logs": ""}, True),
        ({"status": "failed", "metrics": {"predict_time": 1}}, False),
        ({"status": "aborted"}, True),
        ({"status": "canceled"}, False),
    ],
)
def test_when_a_row_of_the_list_is_enough(data: dict[str, Any], complete: bool) -> None:
    assert job_mapping.is_complete(job_mapping.remote_job({"id": "t1", **data})) == complete


# --- lists ---


def listing(rows: list[dict[str, Any]]) -> tuple[ReplicateBackend, list[str]]:
    made, read = ReplicateBackend.__new__(ReplicateBackend), list[str]()
    made.transport = SimpleNamespace(pages=lambda _: iter(rows))
    made._job = job_mapping.remote_job

    def in_turn(unread: Any) -> Any:
        read.extend(unread)
        return iter(())

    made._read_in_turn = in_turn
    return made, read


@pytest.mark.parametrize("limit", [0, 1, 2, 3, None])
def test_a_list_has_each_training_once_and_no_more_than_asked(limit: int | None) -> None:
    rows: list[Any] = [{"id": "a"}, {"id": "a"}, {"id": None}, {"id": "b"}]
    made, _ = listing([{**row, "status": "processing"} for row in rows])
    found = [job.provider_job_id for job in made.list(limit=limit)]
    assert found == ["a", "b"][:limit]


def test_a_few_jobs_are_read_one_by_one_and_more_by_the_list() -> None:
    rows = [{"id": name, "status": "processing"} for name in ("a", "b", "c")]
    made, read = listing(rows)
    assert list(made.get_many(["a", "b"])) == []
    assert read == ["a", "b"]
    made, read = listing(rows)
    assert [job.provider_job_id for job in made.get_many(["c", "a", "x", "b"])] == ["c", "a", "b"]
    assert read == ["x"]
    made, read = listing([{"id": "a", "status": "succeeded", **RESULT}, *rows[1:]])
    assert [job.provider_job_id for job in made.get_many(["a", "b", "c"])] == ["b", "c"]
    assert read == ["a"]  # its cost is not in the list


# --- money ---


@pytest.mark.parametrize(
    ("data", "hardware", "usd"),
    [
        ({"model": "me/t", "metrics": {"predict_time": 3600}}, "gpu-h100", "5.49"),
        ({"model": "me/t", "metrics": {"predict_time": 3600}}, None, None),
        ({"model": "me/t", "metrics": {"predict_time": 3600}}, "gpu-nobody", None),
        ({"model": "nateraw/axolotl-trainer-llama-2-7b", "metrics": {"predict_time": 300}}, None, "2.34"),
        ({"model": None, "metrics": {"predict_time": 3600}}, "gpu-h100", "5.49"),
    ],
)  # fmt: skip
def test_the_bill_of_a_training(
    data: dict[str, Any], hardware: str | None, usd: str | None
) -> None:
    found = cost.billed(data, hardware, shipped())
    assert found is not None
    assert found.high == (None if usd is None else Decimal(usd))
    if usd is None:
        assert (
            found.source == "Replicate billed 3600 s; the hardware, and so the price, is not known"
        )
    else:
        assert found.as_of is not None
    assert cost.billed({**data, "metrics": {}}, hardware, shipped()) is None


# --- chat ---


class _Predictions:
    def __init__(self, *words: str) -> None:
        self.words, self.asked = list(words), list[str]()

    def get(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        return {"id": "abcdefgh12", "status": self.words.pop(0), "error": "why"}


def ended(*words: str) -> tuple[dict[str, Any], ManualClock, _Predictions]:
    serving, clock = object.__new__(chat.Predictions), ManualClock()
    serving._clock = clock
    first, *later = words
    serving._transport = predictions = _Predictions(*later)
    return serving._ended({"id": "abcdefgh12", "status": first}), clock, predictions


def test_a_prediction_is_polled_until_it_ends() -> None:
    found, clock, predictions = ended("starting", "processing", "processing", "succeeded")
    assert found["status"] == "succeeded"
    assert clock.slept == [0.5, 0.75, 1.125]
    assert predictions.asked == ["/v1/predictions/abcdefgh12"] * 3
    assert ended("succeeded")[1].slept == []
    for word in ("failed", "canceled", "aborted"):
        with pytest.raises(Rejected, match=f"The prediction {word}: why") as caught:
            ended("starting", word)
        assert caught.value.where == "Replicate, prediction abcdefgh12"


def test_a_prediction_is_waited_for_ten_minutes() -> None:
    with pytest.raises(Unavailable, match="still processing after ten minutes"):
        ended(*["processing"] * 200)


KNOWN: dict[str, Any] = {"max_new_tokens": {}, "temperature": {"minimum": 0.1}, "top_p": None}


@pytest.mark.parametrize(
    ("options", "known", "sent"),
    [
        ({"temperature": 0}, KNOWN, {"temperature": 0.1}),
        ({"temperature": 0.1}, KNOWN, {"temperature": 0.1}),
        ({"temperature": 0.2}, KNOWN, {"temperature": 0.2}),
        ({"top_p": 0}, KNOWN, {"top_p": 0}),
        ({"temperature": None}, KNOWN, {}),
        ({"made_up": 5}, KNOWN, {"made_up": 5}),
        ({"temperature": 0}, None, {"temperature": 0}),
        ({"max_tokens": 5}, {"max_new_tokens": {}}, {"max_new_tokens": 5}),
    ],
)
def test_options_have_the_versions_names(
    options: dict[str, Any], known: Any, sent: dict[str, Any]
) -> None:
    assert chat._options(options, known) == sent


def test_without_a_schema_the_first_name_of_an_option_is_sent() -> None:
    for ours, names in chat._SYNONYMS.items():
        assert chat._options({ours: 5}, None) == {names[0]: 5}


@pytest.mark.parametrize("level", range(5))
def test_the_schema_of_a_version(level: int) -> None:
    steps = ("openapi_schema", "components", "schemas", "Input", "properties")
    whole: Any = {"temperature": {}}
    for step in reversed(steps):
        whole = {step: whole}
    assert chat._properties(whole) == {"temperature": {}}
    broken: Any = 5
    for step in reversed(steps[: level + 1]):
        broken = {step: broken}
    assert chat._properties(broken) is None
    assert chat._properties({}) is None


def test_the_prompt_of_a_conversation() -> None:
    user, system = {"role": "user", "content": "u"}, {"role": "system", "content": "s"}
    with_system = chat._prompt({"system_prompt": "sys", "prompt": "text"}, [system, user])
    assert with_system["sys"] == "s"
    assert with_system["text"].strip()
    assert "sys" not in chat._prompt({"system_prompt": "sys"}, [user])
    assert list(chat._prompt({}, [system, user])) == ["prompt"]
    for wrong in ([], [system], [user, {"role": "assistant", "content": "a"}]):
        with pytest.raises(Unsupported, match="last message must be a user's"):
            chat._prompt({"system_prompt": "sys"}, wrong)
