"""Rows too long for the job are refused before a run starts; the plan counts with the model's tokenizer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.local.backend import LocalBackend
from ftsdk.errors import DatasetError
from tests.train import tiny

LONG = "red green blue " * 60
REVISION = "0123456789abcdef0123456789abcdef01234567"


def rows_with_long(*places: int) -> list[dict[str, Any]]:
    made = tiny.rows(12)
    for place in places:
        made[place - 1]["messages"][-1]["content"] = LONG
    return made


def plan(home: Path, model: str | Path, rows: Any, **more: Any) -> ftsdk.Plan:
    with ftsdk.Client(home=home) as client:
        return client.plan(rows, provider="local", model=str(model), **more)


def test_every_long_row_is_named_and_nothing_starts(tiny_model: Path, tmp_path: Path) -> None:
    asked = {"provider": "local", "model": str(tiny_model), "hyperparameters": {"max_length": 100}}
    with ftsdk.Client(home=tmp_path) as client, pytest.raises(DatasetError) as caught:
        client.create_job(rows_with_long(3, 7), **asked)
    report = caught.value.report
    assert [(f.code, f.line, f.severity) for f in report.faults] == [
        ("FT502", 3, "fault"),
        ("FT502", 7, "fault"),
    ]
    assert caught.value.submitted == "no"
    assert not (tmp_path / "runs").exists()


def test_validate_finds_the_rows_that_a_plan_refuses(tiny_model: Path, tmp_path: Path) -> None:
    """Nobody named a length: it is the default, or what the model has room for."""
    rows = rows_with_long()
    rows[4]["messages"][-1]["content"] = LONG * 20
    with pytest.raises(DatasetError) as caught:
        plan(tmp_path, tiny_model, rows)
    target: dict[str, Any] = {"provider": "local", "model": str(tiny_model)}
    with ftsdk.Client(home=tmp_path) as client:
        report = client.validate(rows, **target)
        asked = client.validate(rows_with_long(3), max_length=100, **target)
    assert [(f.code, f.line, f.severity) for f in report.faults] == [("FT502", 5, "fault")]
    assert caught.value.report is not None
    assert caught.value.report.faults == report.faults
    assert [f.line for f in asked.faults] == [3]


def test_long_validation_rows_are_refused_too(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        plan(
            tmp_path,
            tiny_model,
            rows_with_long(),
            validation=rows_with_long(2)[1:3],
            hyperparameters={"max_length": 100},
        )
    assert [(f.line, f.message[:11]) for f in caught.value.report.faults] == [(1, "validation:")]


def test_truncate_accepts_long_rows(tiny_model: Path, tmp_path: Path) -> None:
    made = plan(
        tmp_path,
        tiny_model,
        rows_with_long(3),
        hyperparameters={"max_length": 100},
        provider_options={"truncate": True},
    )
    assert made.rows == 12


def test_a_name_that_only_the_backend_resolves(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub id has its tokenizer in the hub's cache, where the rules cannot look."""
    from ftsdk.backends.local.models import hub

    def cached(name: str) -> Path | None:
        return tiny_model if name == "acme/tiny" else None

    monkeypatch.setattr(hub, "cached_snapshot", cached)
    with pytest.raises(DatasetError) as caught:
        plan(tmp_path, "acme/tiny", rows_with_long(5), hyperparameters={"max_length": 100})
    assert [f.line for f in caught.value.report.faults] == [5]


def test_the_plan_counts_exactly_and_its_time_is_from_an_earlier_run(
    tiny_model: Path, tmp_path: Path
) -> None:
    rows = tiny.rows(12)
    first = plan(tmp_path, tiny_model, rows, hyperparameters={"epochs": 2})
    assert first.tokens_basis == "exact"
    assert first.tokens == ftsdk.validate(rows, tokenizer=tiny_model).tokens.total
    assert first.duration_s is None
    run(tmp_path, "ftj_00000000000000000000000001", tiny_model, seconds=1.0)
    run(tmp_path, "ftj_00000000000000000000000002", tiny_model, seconds=4.0)
    run(tmp_path, "ftj_00000000000000000000000003", tiny_model, seconds=9.0, quantize="nf4")
    run(tmp_path, "ftj_00000000000000000000000004", tiny_model, seconds=2.0, outcome="failed")
    second = plan(tmp_path, tiny_model, rows, hyperparameters={"epochs": 2})
    assert second.tokens is not None
    expected = second.tokens * 2 / 250  # 1,000 tokens in 4 seconds
    assert second.duration_s == pytest.approx((expected * 0.7, expected * 1.6))
    steps = plan(tmp_path, tiny_model, rows, hyperparameters={"max_steps": 3, "batch_size": 8})
    assert steps.duration_s == pytest.approx((expected * 0.7, expected * 1.6))
    share = plan(tmp_path, tiny_model, rows, validation=0.25)
    assert share.tokens_basis == "estimated"
    assert share.tokens < second.tokens


def run(
    home: Path,
    name: str,
    model: Path,
    *,
    seconds: float,
    quantize: str | None = None,
    outcome: str = "succeeded",
) -> None:
    folder = home / "runs" / name
    folder.mkdir(parents=True)
    base_model = {"path": str(model), "name": str(model)}
    spec = {"job_id": name, "base_model": base_model, "adapter": {"quantize": quantize}}
    ended = {"outcome": outcome, "trained_tokens": 1000, "train_s": seconds}
    (folder / "spec.json").write_text(json.dumps(spec))
    (folder / "outcome.json").write_text(json.dumps(ended))


def test_rows_that_are_cut_are_a_notice_and_a_fault_where_nothing_is_left(
    tiny_model: Path, tmp_path: Path
) -> None:
    said = {"role": "assistant", "content": "red " * 300}
    long_answer = {"messages": [{"role": "user", "content": "say it"}, said]}
    asked = {"role": "user", "content": "red " * 300}
    long_question = {"messages": [asked, {"role": "assistant", "content": "yes"}]}
    more: dict[str, Any] = {
        "provider": "local", "model": str(tiny_model), "hyperparameters": {"max_length": 128},
        "provider_options": {"truncate": True},
    }  # fmt: skip
    with ftsdk.Client(home=tmp_path) as client:
        rows = [*tiny.rows(12), long_answer]
        (found,) = [n for n in client.plan(rows, **more).data if n.code == "FT502"]
        assert (found.rows, found.line) == (1, 13)
        assert "max_length is 128" in found.message
        with pytest.raises(DatasetError, match="no assistant token is left") as caught:
            client.plan([*rows, long_question], **more)
        assert [(f.code, f.line) for f in caught.value.report.faults] == [("FT501", 14)]
        assert "raise max_length" in caught.value.hint


def test_a_model_that_is_not_here_is_not_counted(tmp_path: Path) -> None:
    with ftsdk.Client(home=tmp_path) as client:
        backend = client.backend("local")
        assert isinstance(backend, LocalBackend)
        spec = ftsdk.JobSpec.build(provider="local", model="acme/absent")
        assert backend.tokenizer_for(spec) is None
        assert backend.max_length_for(spec) == 1024


def test_the_command_line_ends_with_3_and_names_them(tiny_model: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows_with_long(3, 7)))
    words = ["create", data, "--provider", "local", "--model", tiny_model, "--max-length", 100]
    done = subprocess.run(
        [sys.executable, "-m", "ftsdk", *map(str, words), "--yes", "--json"],
        env={**os.environ, "FTSDK_HOME": str(tmp_path / "home")},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    printed = json.loads(done.stdout)
    assert printed["error"]["submitted"] == "no"
    faults = [f for f in printed["report"]["faults"] if f["severity"] == "fault"]
    assert [fault["line"] for fault in faults] == [3, 7]
