"""A capture keeps every answer that was paid for, asks nothing twice, and seals what it has."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from subprocess import PIPE
from typing import Any

import orjson
import pytest

import ftsdk
from ftsdk.artifacts.bundle import read_manifest, verify
from ftsdk.errors import BudgetError, StoreError, UnexpectedResponse, UsageError
from ftsdk.evaluation.answers import AnswerStore
from ftsdk.evaluation.captured import Captured
from ftsdk.migration.capture_all import AllCaptured, CapturingAll
from ftsdk.migration.forget import forget, forgettable
from ftsdk.migration.options import CaptureOptions
from ftsdk.store.reservations import Reservations
from ftsdk.testing.lab.timeline import Stage
from ftsdk.types.capture import Capture, CapturePlan
from ftsdk.util.clock import ManualClock
from tests.backends.metered import Metered

pytest.importorskip("openai", reason="needs the extra `openai`")
MODEL = "gpt-4.1-mini-2025-04-14"
ROWS = 8


@pytest.fixture
def double(clock: ManualClock) -> Iterator[Metered]:
    with Metered(clock=clock) as one:
        yield one


def client_in(home: Path, double: Metered, clock: ManualClock) -> ftsdk.Client:
    return ftsdk.Client(home=home, clock=clock, env=double.variables())


def rows_of(name: str, count: int = ROWS) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"{name}, question {i} about parcels of kind {i * i}"},
                {"role": "assistant", "content": f"answer {i}"},
            ]
        }
        for i in range(count)
    ]


@pytest.fixture
def tuned(tmp_path: Path, double: Metered, clock: ManualClock) -> str:
    """The name of a fine-tune that was made from elsewhere."""
    with client_in(tmp_path / "elsewhere", double, clock) as elsewhere:
        job = elsewhere.create_job(
            rows_of("trained", 12), provider="openai", model=MODEL, validation=rows_of("held out")
        )
        clock.advance(600)
        model = job.refresh().result().id
    double.requests.clear()
    return model


def questions(count: int = ROWS) -> list[str]:
    return [row["messages"][0]["content"] for row in rows_of("asked", count)]


def capture(
    home: Path, double: Metered, clock: ManualClock, model: str, rows: Any, **options: Any
) -> Capture:
    with client_in(home, double, clock) as client:
        return client.capture(model, rows, **options)


def expected(
    model: str, repeats: int, base: int = 1, count: int = ROWS
) -> Counter[tuple[str, str]]:
    found = Counter({(model, question): repeats for question in questions(count)})
    found.update({(MODEL, question): base for question in questions(count) if base})
    return found


# --- what is captured ---


@pytest.mark.parametrize("batch", [False, True], ids=["one by one", "batch"])
def test_every_row_is_asked_of_the_model_and_of_its_base(
    home: Path, double: Metered, clock: ManualClock, tuned: str, batch: bool
) -> None:
    found = capture(
        home, double, clock, tuned, rows_of("asked"), repeats=3, batch=batch, rights="own"
    )
    assert double.paid == expected(tuned, 3)
    assert found.counts == {"tuned": {"answered": 24}, "base": {"answered": 8}}
    assert found.rows == ROWS
    assert found.agreement == 1.0
    assert found.is_complete
    assert verify(found.folder) == []
    manifest = read_manifest(found.folder)
    assert manifest["use"] == "evaluation"
    assert manifest["decoding"] == {"temperature": 0, "max_tokens": 256}
    assert manifest["rights"] == {"origin": "own", "reason": ""}
    kept = Captured(found.folder)
    assert [case.reference["content"] for case in kept.cases().values() if case.reference] == [
        f"answer {i}" for i in range(ROWS)
    ]
    ways = {stored.via.partition(":")[0] for stored in kept.answers()}
    assert ways == ({"batch"} if batch else {"chat"})
    assert {stored.answer.model for stored in kept.answers("base")} == {MODEL}
    paths = {request.path for request in double.requests if request.method == "POST"}
    assert ("/v1/chat/completions" in paths) is not batch


def test_a_batch_costs_half(
    tmp_path: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    rows = rows_of("asked")
    full = capture(tmp_path / "a", double, clock, tuned, rows, batch=False)
    half = capture(tmp_path / "b", double, clock, tuned, rows, batch=True)
    assert full.spent_usd is not None
    assert half.spent_usd is not None
    assert full.spent_usd > 0
    assert half.spent_usd * 2 == pytest.approx(full.spent_usd, rel=Decimal("0.001"))


def test_a_second_capture_of_the_same_rows_is_free(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    rows = rows_of("asked")
    first = capture(home, double, clock, tuned, rows, repeats=2)
    double.requests.clear()
    plans: list[CapturePlan] = []
    again = capture(home, double, clock, tuned, rows, repeats=2, on_plan=plans.append)
    assert [r for r in double.requests if r.method == "POST"] == []
    assert (plans[0].to_ask, plans[0].stored, plans[0].cost.high) == (0, 24, Decimal(0))
    assert again.counts == first.counts
    assert double.paid == expected(tuned, 2)
    more = capture(home, double, clock, tuned, rows, repeats=3)
    assert more.counts["tuned"] == {"answered": 24}
    assert double.paid == expected(tuned, 3)


def test_two_models_share_no_answers(
    home: Path, double: Metered, clock: ManualClock, tuned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of("asked")
    capture(home, double, clock, tuned, rows, base=False)
    capture(home, double, clock, MODEL, rows, base=False, provider="openai")
    assert double.paid == expected(tuned, 1)
    assert {s.answer.model for s in Captured(home / "captures" / f"openai-{MODEL}").answers()} == {
        MODEL
    }


def test_an_error_is_no_answer(home: Path, double: Metered, clock: ManualClock, tuned: str) -> None:
    double.faults.add(
        "status", method="POST", path="chat/completions$", status=400, times=3,
        body={"error": {"message": "bad", "type": "invalid_request_error", "code": "bad_row"}},
    )  # fmt: skip
    rows = rows_of("asked")
    found = capture(home, double, clock, tuned, rows, base=False, concurrency=1)
    assert not found.is_complete
    assert sum(found.errors.values()) == 3
    assert found.counts == {"tuned": {"answered": 5, "error": 3}}
    assert len(list(Captured(found.folder).answers())) == 5
    again = capture(home, double, clock, tuned, rows, base=False)
    assert again.is_complete
    assert double.paid == expected(tuned, 1, base=0)


# --- what is left out ---


def test_rows_of_the_training_file_are_refused(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    rows = [*rows_of("asked"), *rows_of("trained", 3)]
    rows[9]["messages"][1]["content"] = "another answer"
    plans: list[CapturePlan] = []
    found = capture(home, double, clock, tuned, rows, on_plan=plans.append)
    assert [(one.line, one.likeness) for one in found.refused] == [
        (9, "same row"), (10, "same prompt"), (11, "same row"),
    ]  # fmt: skip
    assert found.refused == plans[0].refused
    assert found.checked_against == plans[0].checked_against
    assert len(found.checked_against) == 1
    assert double.paid == expected(tuned, 1)
    assert not any("trained" in case.messages[-1]["content"] for case in Captured(found.folder).cases().values())  # fmt: skip


def test_without_rows_the_validation_file_is_asked(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    found = capture(home, double, clock, tuned, None, base=False)
    assert found.rows == ROWS
    assert {question.partition(",")[0] for _, question in double.paid} == {"held out"}


def test_an_unknown_training_file_is_said(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    double.faults.add("status", method="GET", path="content$", status=404, times=None)
    found = capture(home, double, clock, tuned, rows_of("asked"), base=False)
    assert any("no training file is known" in note for note in found.notes)
    assert found.checked_against == ()


# --- traffic ---


def test_stored_chats_come_first_and_are_free(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    from openai import OpenAI

    with OpenAI(api_key=min(double.keys), base_url=double.variables()["OPENAI_BASE_URL"]) as sdk:
        for n in range(3):
            sdk.chat.completions.create(
                model=tuned, messages=[{"role": "user", "content": f"real {n}"}], store=True
            )
    double.paid.clear()
    found = capture(home, double, clock, tuned, None, base=False, training=None)
    assert found.traffic == 3
    lines = (found.folder / "traffic.jsonl").read_bytes().split(b"\n")[:-1]
    said = {orjson.loads(line)["messages"][-1]["content"] for line in lines}
    assert said == {"real 0", "real 1", "real 2"}
    assert not any("real" in question for _, question in double.paid)


# --- killed anywhere ---


class Killed(BaseException):
    """The process ends here."""


def kill_points(monkeypatch: pytest.MonkeyPatch, left: int | None) -> list[int]:
    """Die before write number `left`; None only counts. Writes are renames and appended lines."""
    count = [0]
    replace, write = os.replace, os.write

    def before() -> None:
        if left is not None and count[0] >= left:
            raise Killed
        count[0] += 1

    def replaced(*paths: Any) -> None:
        before()
        replace(*paths)

    def written(fd: int, data: Any) -> int:
        if b'"asking"' not in bytes(data[:12]):
            before()
        return write(fd, data)

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "write", written)
    return count


@pytest.mark.parametrize(
    "options",
    [
        {"batch": False, "concurrency": 1, "recoverable": True},
        {"batch": True},
    ],
    ids=["one by one", "batch"],
)
def test_killed_before_any_write_it_ends_and_pays_once(
    tmp_path: Path,
    double: Metered,
    clock: ManualClock,
    tuned: str,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
) -> None:
    rows = rows_of("asked", 3)

    def one(home: Path) -> Capture:
        return capture(home, double, clock, tuned, rows, repeats=2, **options)

    with monkeypatch.context() as patch:
        count = kill_points(patch, None)
        one(tmp_path / "counted")
        writes = count[0]
    assert writes > 10
    for left in range(writes):
        double.paid.clear()
        double.stored.clear()
        home = tmp_path / f"home {left}"
        with monkeypatch.context() as patch:
            kill_points(patch, left)
            with pytest.raises(Killed):
                one(home)
        found = one(home)
        assert found.is_complete, left
        assert found.counts == {"tuned": {"answered": 6}, "base": {"answered": 3}}, left
        assert double.paid == expected(tuned, 2, count=3), left
        assert verify(found.folder) == [], left
        assert booked(home, double, clock) == found.spent_usd, left
        shutil.rmtree(home)


def booked(home: Path, double: Metered, clock: ManualClock) -> Decimal:
    with client_in(home, double, clock) as client:
        return Reservations(client.journal).month(clock.now()).spent


def test_an_account_that_is_captured_and_killed_ends_and_pays_once(
    tmp_path: Path,
    double: Metered,
    clock: ManualClock,
    tuned: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Three fine-tunes, inventoried and captured. Short tier: every seventh write; long: every one."""
    with client_in(tmp_path / "elsewhere", double, clock) as elsewhere:
        for model in ("gpt-4o-mini-2024-07-18", "gpt-4.1-2025-04-14"):
            elsewhere.create_job(rows_of(f"trained on {model}", 12), provider="openai", model=model)
        clock.advance(600)
    rows = rows_of("asked", 2)
    options = CaptureOptions(repeats=2, batch=False, concurrency=1, recoverable=True)

    def all_of_it(home: Path) -> AllCaptured:
        with client_in(home, double, clock) as client:
            assert client.inventory("openai").is_complete
            return CapturingAll(client.session, "openai", rows, options=options).run()

    with monkeypatch.context() as patch:
        count = kill_points(patch, None)
        all_of_it(tmp_path / "counted")
        writes = count[0]
    double.paid.clear()
    assert writes > 50
    for left in range(0, writes, 1 if request.config.getoption("--long") else 7):
        double.paid.clear()
        double.stored.clear()
        home = tmp_path / f"home {left}"
        with monkeypatch.context() as patch:
            kill_points(patch, left)
            with pytest.raises(Killed):
                all_of_it(home)
        found = all_of_it(home)
        assert found.is_complete, left
        assert len(found.captures) == 3, left
        assert sum(double.paid.values()) == 3 * 2 * 3, left  # twice the model, once its base
        assert max(double.paid.values()) == 2, left
        for one in found.captures:
            assert verify(one.folder) == [], left
        shutil.rmtree(home)


def test_killed_without_recovery_it_says_what_may_be_paid_twice(
    home: Path, double: Metered, clock: ManualClock, tuned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of("asked", 3)
    add = AnswerStore.add

    def killed(self: AnswerStore, *answers: Any) -> int:
        if len(self) == 1:
            raise Killed
        return add(self, *answers)

    monkeypatch.setattr(AnswerStore, "add", killed)
    with pytest.raises(Killed):
        capture(home, double, clock, tuned, rows, base=False, batch=False, concurrency=1)
    monkeypatch.undo()
    found = capture(home, double, clock, tuned, rows, base=False, batch=False, concurrency=1)
    assert found.is_complete
    assert any("may have been paid for" in note for note in found.notes)
    assert double.paid.total() == 4  # the answer that was under way was asked again


_TWO = """
import sys, threading
import ftsdk
import ftsdk.migration.capture
ftsdk.migration.capture._PAUSES = (0.2, 0.2)
print("ready", flush=True); sys.stdin.readline()
rows = __import__("json").loads(sys.argv[2])
found = ftsdk.capture(sys.argv[1], rows, repeats=2, batch=sys.argv[3] == "batch")
print(dict(found.counts["tuned"]))
"""


@pytest.mark.parametrize("how", ["chat", "batch"])
def test_two_processes_at_once_pay_once(home: Path, how: str) -> None:
    with Metered(stages=[Stage("succeeded", 0.0)]) as double:  # the clock is real: no time to train
        double.batch_validation_s = double.batch_s = 0.2
        env = {**os.environ, **double.variables(), "FTSDK_HOME": str(home)}
        with ftsdk.Client(home=home.parent / "elsewhere", env=double.variables()) as elsewhere:
            job = elsewhere.create_job(rows_of("trained", 12), provider="openai", model=MODEL)
            model = job.wait().result().id
        double.paid.clear()
        rows = orjson.dumps(rows_of("asked")).decode()
        command = [sys.executable, "-c", _TWO, model, rows, how]
        both = [
            subprocess.Popen(command, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
            for _ in range(2)
        ]
        for one in both:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in both:
            assert one.stdin is not None
            one.stdin.write("\n")
            one.stdin.flush()
        said = [one.communicate(timeout=300) for one in both]
        assert [out.strip() for out, _ in said] == ["{'answered': 16}"] * 2, said
        assert double.paid == expected(model, 2)


# --- batches that go wrong ---


def test_a_model_that_is_refused_in_batches_is_asked_one_by_one(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    double.batch_refuses = [tuned]
    found = capture(home, double, clock, tuned, rows_of("asked", 60), base=False)
    assert found.is_complete
    assert {one.via for one in Captured(found.folder).answers()} == {"chat"}
    assert any("no further batch" in note for note in found.notes)
    assert double.paid == expected(tuned, 1, base=0, count=60)


def test_with_batches_only_the_rest_is_named(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    double.batch_refuses = [tuned]
    found = capture(home, double, clock, tuned, rows_of("asked"), base=False, batch=True)
    assert not found.is_complete
    assert found.errors == {"no answer yet": 8}
    assert double.paid.total() == 0


def test_an_expired_batch_gives_what_was_done_and_the_rest_is_asked(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    rows = rows_of("asked", 60)
    capture(home, double, clock, tuned, rows[:2], base=False, batch=True)
    double.batch_s, double.batch_expires_s = 4_000.0, 2_000.0
    found = capture(home, double, clock, tuned, rows, base=False)
    assert found.is_complete
    vias = Counter(one.via.partition(":")[0] for one in Captured(found.folder).answers())
    assert vias["batch"] > 20
    assert double.paid == expected(tuned, 1, base=0, count=60)


def test_a_batch_whose_reply_was_lost_is_found(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    double.faults.add("close", method="POST", path="batches$", times=2, acted=True)
    found = capture(home, double, clock, tuned, rows_of("asked"), base=False, batch=True)
    assert found.is_complete
    assert double.paid == expected(tuned, 1, base=0)
    assert len(double.batches) == 2


def test_a_line_that_cannot_be_read_keeps_no_other_answer_back(
    home: Path, double: Metered, clock: ManualClock, tuned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = double._written

    def cut(batch: Any, kind: str, lines: list[dict[str, Any]]) -> str | None:
        file_id = honest(batch, kind, lines)
        if kind == "output" and len(lines) > 1:
            file = double.files[str(file_id)]
            file["whole"], file["content"] = file["content"], file["content"][:-20]
        return file_id

    monkeypatch.setattr(double, "_written", cut)
    with pytest.raises(UnexpectedResponse, match="line 7 of file-"):
        capture(home, double, clock, tuned, rows_of("asked"), base=False, batch=True)
    assert double.paid == expected(tuned, 1, base=0)
    (log,) = (home / "answers").glob("*/answers.jsonl")
    assert log.read_bytes().count(b'"answer":') == ROWS - 1
    for file in double.files.values():
        file["content"] = file.get("whole", file["content"])
    found = capture(home, double, clock, tuned, rows_of("asked"), base=False, batch=True)
    assert found.is_complete
    assert double.paid == expected(tuned, 1, base=0)


def test_a_batch_that_stays_unreadable_ends_and_is_said(
    home: Path, double: Metered, clock: ManualClock, tuned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = double._written

    def cut(batch: Any, kind: str, lines: list[dict[str, Any]]) -> str | None:
        file_id = honest(batch, kind, lines)
        if kind == "output" and len(lines) == ROWS - 1:
            double.files[str(file_id)]["content"] = double.files[str(file_id)]["content"][:-20]
        return file_id

    monkeypatch.setattr(double, "_written", cut)
    rows, tries = rows_of("asked"), 0
    while True:
        tries += 1
        assert tries < 10
        with contextlib.suppress(UnexpectedResponse):
            found = capture(home, double, clock, tuned, rows, base=False, batch=True)
            break
    assert found.is_complete
    with client_in(home, double, clock) as client:
        assert Reservations(client.journal).month(clock.now()).spent == found.spent_usd
    assert any("is asked again, though it was paid for" in note for note in found.notes)
    assert double.paid.total() == ROWS + 1


def test_too_many_tokens_for_one_batch_makes_smaller_ones(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    double.batch_token_limit = 1_000
    found = capture(home, double, clock, tuned, rows_of("asked", 60), base=False, batch=True)
    assert found.is_complete, found
    assert double.paid == expected(tuned, 1, base=0, count=60)
    assert len(double.batches) > 3


# --- money ---


def test_over_the_budget_nothing_is_asked(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    with pytest.raises(BudgetError):
        capture(home, double, clock, tuned, rows_of("asked"), budget="0.0001")
    assert double.paid.total() == 0


def test_the_cost_is_booked_and_nothing_stays_reserved(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    with client_in(home, double, clock) as client:
        found = client.capture(tuned, rows_of("asked"), repeats=2, batch=False)
        month = Reservations(client.journal).month(clock.now())
    assert month.spent == found.spent_usd
    assert month.reserved == 0


# --- bundles ---


def test_a_bundle_from_another_machine_verifies_and_its_answers_are_free(
    tmp_path: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    rows = rows_of("asked")
    first = capture(tmp_path / "here", double, clock, tuned, rows, repeats=2)
    moved = tmp_path / "usb" / "bundle"
    shutil.copytree(first.folder, moved)
    assert verify(moved) == []
    double.paid.clear()
    again = capture(tmp_path / "there", double, clock, tuned, rows, repeats=2, into=moved)
    assert double.paid.total() == 0
    assert again.counts == first.counts
    assert {one.via for one in Captured(moved).answers()} == {"bundle"}


def test_a_changed_byte_is_named_and_not_captured_over(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    rows = rows_of("asked")
    found = capture(home, double, clock, tuned, rows)
    path = found.folder / "answers.jsonl"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert verify(found.folder) == ["answers.jsonl: it was changed"]
    with pytest.raises(StoreError, match=r"answers\.jsonl: it was changed"):
        Captured(found.folder)
    with pytest.raises(StoreError, match=r"answers\.jsonl: it was changed"):
        capture(home, double, clock, tuned, rows)


def test_more_rows_are_added_to_a_bundle(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    capture(home, double, clock, tuned, rows_of("earlier", 2))
    found = capture(home, double, clock, tuned, rows_of("asked"))
    assert found.rows == ROWS + 2
    assert found.counts["tuned"] == {"answered": ROWS + 2}
    assert set(double.paid.values()) == {1}


def test_other_chat_options_need_another_bundle(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    rows = rows_of("asked", 2)
    capture(home, double, clock, tuned, rows)
    with pytest.raises(UsageError, match="other chat options"):
        capture(home, double, clock, tuned, rows, options={"max_tokens": 5})
    other = capture(
        home, double, clock, tuned, rows, options={"max_tokens": 5}, into=home / "other"
    )
    assert other.decoding == {"temperature": 0, "max_tokens": 5}


def test_a_bundle_is_private_and_has_no_key(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    capture(home, double, clock, tuned, rows_of("asked"), batch=True)
    key = min(double.keys).encode()
    folders = [home / "captures", home / "answers"]
    for path in [found for folder in folders for found in folder.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
        assert path.is_dir() or key not in path.read_bytes()


def test_secrets_and_personal_data_are_counted(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    rows = rows_of("asked", 3)
    rows[1]["messages"][0]["content"] += " write to jane.doe@acme-parcels.de"
    found = capture(home, double, clock, tuned, rows, base=False)
    assert sum(found.findings.values()) >= 1


# --- rights ---


def test_rights_are_asked_once_and_kept(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    rows = rows_of("asked", 2)
    assert capture(home, double, clock, tuned, rows).rights.origin == "unknown"
    given = capture(home, double, clock, tuned, rows, rights="cleared: counsel, 1 December")
    assert given.rights.reason == "counsel, 1 December"
    assert capture(home, double, clock, tuned, rows).rights == given.rights
    with pytest.raises(UsageError, match="rights are given as 'cleared'"):
        capture(home, double, clock, tuned, rows, rights="cleared")


@pytest.mark.parametrize(
    ("rights", "allowed"),
    [("own", False), ("unknown", False), ("internal-classifier", True), ("cleared: yes", True)],
)
def test_training_on_captured_answers_needs_a_right(
    home: Path, double: Metered, clock: ManualClock, tuned: str, rights: str, allowed: bool
) -> None:
    found = capture(home, double, clock, tuned, rows_of("asked", 2), rights=rights)
    captured = Captured(found.folder)
    with client_in(home, double, clock) as client:
        if allowed:
            rows = list(captured.rows())
            assert [row["messages"][-1]["role"] for row in rows] == ["assistant"] * 2
            assert client.plan(rows * 5, provider="openai", model=MODEL).rows == 10
            return
        with pytest.raises(UsageError, match="needs a cleared right"):
            list(captured.rows())
        with pytest.raises(UsageError, match="needs a cleared right"):
            client.plan(found.folder / "cases.jsonl", provider="openai", model=MODEL)


# --- every model of an account, and forgetting ---


def test_all_models_are_captured_the_first_to_end_first(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    with client_in(home.parent / "elsewhere", double, clock) as elsewhere:
        job = elsewhere.create_job(
            rows_of("other", 12), provider="openai", model="gpt-4o-mini-2024-07-18"
        )
        clock.advance(600)
        second = job.refresh().result().id
    double.paid.clear()
    double.shutdowns = {second: "2026-12-24", tuned: "2027-01-14"}
    with client_in(home, double, clock) as client:
        work = CapturingAll(
            client.session, "openai", rows_of("asked"), into=home / "all",
            options=CaptureOptions(budget=Decimal(1)),
        )  # fmt: skip
        assert [name for name, _ in work.models] == [second, tuned]
        planned = work.plan()
        assert double.paid.total() == 0
        listed = double.count("GET", "/chat/completions$")
        found = work.run()
        assert double.count("GET", "/chat/completions$") == listed == 2  # the traffic of each, once
    assert [one.model for one in found.captures] == [second, tuned]
    assert found.is_complete
    assert planned.high is not None
    spent = sum((one.spent_usd or Decimal(0) for one in found.captures), Decimal(0))
    assert 0 < spent <= planned.high


def test_one_budget_for_all_names_the_models_that_are_left(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    with client_in(home.parent / "elsewhere", double, clock) as elsewhere:
        elsewhere.create_job(rows_of("other", 12), provider="openai", model=MODEL)
        clock.advance(600)
    with client_in(home, double, clock) as client:
        options = CaptureOptions(batch=False, base=False, options={"max_tokens": 5})
        once = CapturingAll(client.session, "openai", rows_of("asked"), options=options).plan()
        high = once.plans[0].cost.high
        assert high is not None
        work = CapturingAll(
            client.session, "openai", rows_of("asked"),
            options=dataclasses.replace(options, budget=high),
        )  # fmt: skip
        found = work.run()
    assert len(found.captures) == 1
    assert [type(error) for _, error in found.failed] == [BudgetError]


def test_a_model_is_forgotten_with_its_answers_and_bundles(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    rows = rows_of("asked", 2)
    found = capture(home, double, clock, tuned, rows)
    with client_in(home, double, clock) as client:
        there = forgettable(client.session, tuned)
        assert {one.folder for one in there} == {found.folder, *(home / "answers").iterdir()}
        for one in there:
            forget(one)
        assert not found.folder.exists()
        with pytest.raises(UsageError, match="Nothing was captured"):
            forgettable(client.session, tuned)


def test_a_training_file_that_an_evaluation_fetched_is_forgotten_too(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    pytest.importorskip("scipy", reason="needs the extra `eval`")
    with client_in(home, double, clock) as client:
        client.evaluate(rows_of("asked", 12), [tuned, lambda _: "x"], metrics="exact")
        assert any(b"trained, question" in p.read_bytes() for p in home.rglob("*.jsonl"))
        for one in forgettable(client.session, tuned):
            forget(one)
    kept = [path for path in (home / "answers").rglob("*") if path.is_file()]
    assert not [path for path in kept if b"trained, question" in path.read_bytes()]


def test_forgetting_removes_no_other_files(
    home: Path, double: Metered, clock: ManualClock, tuned: str
) -> None:
    found = capture(home, double, clock, tuned, rows_of("asked", 2))
    (found.folder / "notes.txt").write_text("mine")
    with client_in(home, double, clock) as client:
        with pytest.raises(UsageError, match=r"notes\.txt"):
            forgettable(client.session, str(found.folder))
        with pytest.raises(UsageError, match="Nothing was captured"):
            forgettable(client.session, str(home))
