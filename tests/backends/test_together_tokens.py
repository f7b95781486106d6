"""Tokenised rows at Together: uploaded as the Parquet that it reads, whatever file they came in."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.errors import DatasetError
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

pytest.importorskip("together", reason="needs the extra `together`")

from ftsdk.testing.lab.together.double import TogetherDouble
from tests.backends.hosted_worlds import HOSTED

pa = pytest.importorskip("pyarrow", reason="needs the extra `data`")
pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra `data`")

ROWS = [
    {
        "input_ids": [1, 5 + i, 6, 7],
        "attention_mask": [1, 1, 1, 1],
        "labels": [-100, -100, 6, 7],
    }
    for i in range(20)
]
TOKENS = 80


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def double(clock):
    with TogetherDouble(clock=clock) as one:
        yield one
        assert one.violations == []


@pytest.fixture
def client(double, clock, home):
    with ftsdk.Client(home=home, env=double.variables(), clock=clock) as one:
        yield one


def create(client, rows: Any, **given: Any) -> ftsdk.FineTuneJob:
    return HOSTED["together"].new(client, rows=rows, **given)


def as_parquet(folder: Path) -> Path:
    path = folder / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


def as_lines(folder: Path) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.mark.parametrize(
    "source", [as_parquet, as_lines, lambda _: ROWS], ids=["parquet", "jsonl", "rows"]
)
def test_they_are_uploaded_as_parquet_and_trained_on(
    client, double, clock, tmp_path, source
) -> None:
    job = create(client, source(tmp_path))
    (file,) = double.files.values()
    assert file["filename"].endswith(".parquet")
    assert file["file_type"] == "parquet"
    assert pq.read_table(io.BytesIO(file["content"])).to_pylist() == ROWS
    clock.advance(60)
    assert job.refresh().status is JobStatus.SUCCEEDED
    assert job.snapshot.trained_tokens == TOKENS + 1  # the double rounds up


def test_validation_rows_too_and_the_same_rows_go_up_once(client, double) -> None:
    create(client, ROWS, validation=0.25)
    create(client, ROWS, validation=0.25, hyperparameters={"epochs": 2})
    train, held = (
        pq.read_table(io.BytesIO(f["content"])).to_pylist() for f in double.files.values()
    )
    assert sorted(map(str, train + held)) == sorted(map(str, ROWS))
    assert double.count("PUT", "/storage/") == 2


def test_what_they_cost_goes_by_their_own_tokens(client, tmp_path) -> None:
    found = client.estimate(
        as_parquet(tmp_path), provider="together", model=HOSTED["together"].job["model"], epochs=1
    )
    assert any(f"{TOKENS} tokens" in said for said in found.assumptions), found.assumptions


def test_a_row_of_other_lengths_is_refused_here_and_there(client, double, tmp_path) -> None:
    bad = [*ROWS, {**ROWS[0], "labels": [6, 7]}]
    with pytest.raises(DatasetError) as caught:
        create(client, bad)
    assert [(f.code, f.line) for f in caught.value.report.faults] == [("FT142", 21)]
    assert double.files == {}
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.Table.from_pylist(bad), path)
    identity = client.backend("together").transport.upload(path)
    double.clock.advance(5)
    reply = client.backend("together").transport.get(f"/v1/files/{identity}")
    assert reply["processing_status"] == "INVALID_FORMAT"
    assert reply["validation_report"]["error"].startswith("Error in line 21: columns of different")
