"""An inventory fetches all that an account has, sends only GETs, and continues after any kill."""

from __future__ import annotations

import datetime as dt
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.artifacts import bundle as bundles
from ftsdk.artifacts.bundle import verify
from ftsdk.errors import (
    DatasetError,
    StoreError,
    Unavailable,
    UnknownBackend,
    Unsupported,
    UsageError,
)
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.testing.lab.openai.services import SERVICES
from ftsdk.util.clock import ManualClock
from tests.unit.cli.conftest import Cli

pytest.importorskip("openai", reason="needs the extra `openai`")
MODEL = "gpt-4.1-mini-2025-04-14"
OLD_FORM = {
    "messages": [
        {"role": "user", "content": "weather in Oslo?"},
        {
            "role": "assistant",
            "function_call": {"name": "weather", "arguments": '{"city": "Oslo"}'},
        },
    ],
    "functions": [{"name": "weather", "parameters": {"type": "object", "properties": {}}}],
}


@pytest.fixture
def double(clock: ManualClock) -> Iterator[OpenAIDouble]:
    with OpenAIDouble(clock=clock) as one:
        yield one


def client_in(home: Path, double: OpenAIDouble, clock: ManualClock) -> ftsdk.Client:
    return ftsdk.Client(home=home, clock=clock, env=double.variables())


def rows_of(number: int) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"set {number}, question {i}"},
                {"role": "assistant", "content": f"answer {i * number}"},
            ]
        }
        for i in range(12)
    ]


@pytest.fixture
def made(tmp_path: Path, double: OpenAIDouble, clock: ManualClock) -> list[str]:
    """The provider's ids of three jobs, made from elsewhere; two succeeded."""
    ids = []
    with client_in(tmp_path / "elsewhere", double, clock) as elsewhere:
        for number in range(1, 4):
            rows = [*rows_of(number), OLD_FORM] if number == 2 else rows_of(number)
            job = elsewhere.create_job(
                rows, provider="openai", model=MODEL, seed=number, validation=rows_of(9)
            )
            ids.append(str(job.provider_job_id))
        clock.advance(600)
    double.requests.clear()
    return ids


def test_all_that_an_account_has(
    home: Path, double: OpenAIDouble, clock: ManualClock, made: list[str]
) -> None:
    seen: list[str] = []
    with client_in(home, double, clock) as client:
        found = client.inventory("openai", on_progress=seen.append)
        journal = {str(job.provider_job_id): job for job in client.list_jobs()}
    assert {request.method for request in double.requests} == {"GET"}
    assert [job.provider_job_id for job in found.jobs] == made[::-1]
    assert set(journal) == set(made)
    assert {job.job_id for job in found.jobs} == {job.id for job in journal.values()}
    assert {one.base_model for one in found.models} == {MODEL}
    assert {job.result_model for job in found.jobs} == {one.id for one in found.models}
    roles = [one.role for one in found.files]
    assert (roles.count("training"), roles.count("validation"), roles.count("result")) == (3, 1, 3)
    validation = next(one for one in found.files if one.role == "validation")
    assert sorted(validation.jobs) == sorted(made)  # one file, named by three jobs, fetched once
    for one in found.files:
        assert one.path is not None
        assert one.sha256 is not None
        held = (found.folder / one.path).read_bytes()
        assert held == bytes(double.files[one.id]["content"])
        assert one.bytes == len(held)
    assert sorted(one.rows for one in found.files if one.role == "training") == [12, 12, 13]
    assert [one.findings.get("FT132") for one in found.files if one.rows == 13] == [1]
    assert found.is_complete
    assert verify(found.folder) == []
    record = json.loads((found.folder / found.jobs[0].record).read_bytes())
    assert record["raw"]["seed"] == 3
    assert record["raw"]["method"]["type"] == "supervised"
    assert [one["message"] for one in record["events"]]
    assert record["checkpoints"]
    assert record["metrics"]
    assert "models" in seen
    assert any(line.startswith("file 7 of 7: ") for line in seen)


# --- the services that speak OpenAI's API ---


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_an_inventory_of_each_service(tmp_path: Path, clock: ManualClock, service: str) -> None:
    adapter = None if service == "nebius" else ftsdk.LoRA()
    with OpenAIDouble(clock=clock, service=service) as double:
        with client_in(tmp_path / "elsewhere", double, clock) as elsewhere:
            elsewhere.create_job(
                rows_of(1), provider=service, model=MODEL, adapter=adapter, validation=rows_of(2)
            )
            clock.advance(600)
        (job,) = double.jobs.values()
        double.requests.clear()
        with client_in(tmp_path / "home", double, clock) as client:
            found = client.inventory(service)
        assert {request.method for request in double.requests} == {"GET"}
        assert found.is_complete
        assert {one.role for one in found.files} == {"training", "validation", "result"}
        for one in found.files:
            content = (found.folder / str(one.path)).read_bytes()
            assert content == bytes(double.files[one.id]["content"])
        assert [one.rows for one in found.files if one.role != "result"] == [12, 12]
        assert [(one.id, one.base_model) for one in found.models] == [(job.model_id, MODEL)]
        assert verify(found.folder) == []


def test_a_fine_tune_at_azure_ends_on_its_own_day(tmp_path: Path, clock: ManualClock) -> None:
    """The base ends a year before it: that day is nobody's here."""
    with OpenAIDouble(clock=clock, service="azure") as double:
        with client_in(tmp_path, double, clock) as client:
            client.create_job(rows_of(1), provider="azure", model=MODEL)
            clock.advance(600)
            found = client.inventory("azure")
            ends = client.session.backend("azure").model_ends()
        assert [one.ends_on for one in found.models] == [dt.date(2027, 10, 14)]
        assert set(ends) == {one.id for one in found.models}


def test_a_service_without_a_backend_says_what_to_do_instead(home: Path) -> None:
    with ftsdk.Client(home=home) as client:
        with pytest.raises(Unsupported, match="501") as caught:
            client.inventory("fireworks")
        assert "firectl" in caught.value.hint
        with pytest.raises(UnknownBackend):
            client.inventory("nosuch")
    assert not (home / "inventories").exists()


# --- rows in the form before tools ---


@pytest.fixture
def old_rows(double: OpenAIDouble, made: list[str]) -> dict[str, Any]:
    """The training file of the second job, whose last row has functions."""
    return double.files[double.jobs[made[1]].request["training_file"]]


def of(found: ftsdk.Inventory, file: dict[str, Any]) -> Any:
    return next(one for one in found.files if one.id == file["id"])


def test_functions_of_before_are_converted_beside_the_file(
    home: Path, double: OpenAIDouble, clock: ManualClock, old_rows: dict[str, Any]
) -> None:
    found = _take(home, double, clock)
    one = of(found, old_rows)
    assert one.converted == f"files/{one.id}.tools.jsonl"
    assert one.not_converted == ()
    copy = (found.folder / one.converted).read_bytes()
    assert len(copy.split(b"\n")) == 14
    assert copy.split(b"\n")[:12] == old_rows["content"].split(b"\n")[:12]
    row = json.loads(copy.split(b"\n")[12])
    assert "functions" not in row
    assert row["tools"] == [{"type": "function", "function": OLD_FORM["functions"][0]}]
    (call,) = row["messages"][1]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert (found.folder / one.path).read_bytes() == bytes(old_rows["content"])
    assert [other.converted for other in found.files if other.id != one.id] == [None] * 6
    assert verify(found.folder) == []
    (found.folder / one.converted).write_text("changed")
    assert verify(found.folder) == [f"{one.converted}: it was changed"]
    again = _take(home, double, clock)
    assert (again.folder / one.converted).read_bytes() == copy
    assert verify(again.folder) == []


def test_what_cannot_be_converted_is_named(
    home: Path, double: OpenAIDouble, clock: ManualClock, old_rows: dict[str, Any]
) -> None:
    alone = {
        "messages": [*OLD_FORM["messages"], {"role": "function", "name": "other", "content": "5"}]
    }
    old_rows["content"] += json.dumps(alone).encode() + b"\n"
    found = _take(home, double, clock)
    one = of(found, old_rows)
    assert one.converted is not None
    (line,) = one.not_converted
    assert line.startswith("line 14, messages[2].name: not converted to tools")
    assert json.loads((found.folder / one.converted).read_bytes().split(b"\n")[13]) == alone


def test_the_command_says_what_was_converted_and_what_was_not(
    double: OpenAIDouble, clock: ManualClock, old_rows: dict[str, Any],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    alone = {"messages": [{"role": "user", "content": "x"}, {"role": "function", "content": "5"}]}
    old_rows["content"] += json.dumps(alone).encode() + b"\n"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ftsdk.session.SystemClock", lambda: clock)
    for name, value in double.variables().items():
        monkeypatch.setenv(name, value)
    ran = Cli().ok("inventory", "openai", "--into", "bundle")
    one = old_rows["id"]
    assert f"2 with functions in the old form, with tools in files/{one}.tools.jsonl" in ran.out
    assert f"not converted  {one}, line 14, messages[1]" in ran.out
    (shown,) = [
        file
        for file in Cli().ok("inventory", "openai", "--into", "bundle", "--json").json["files"]
        if file["converted"]
    ]
    assert (shown["id"], len(shown["not_converted"])) == (one, 1)


def test_a_file_that_cannot_be_converted_at_all_is_named(
    home: Path, double: OpenAIDouble, clock: ManualClock, old_rows: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def broken(*_: Any) -> Any:
        raise DatasetError("a record is too long")

    monkeypatch.setattr("ftsdk.dataset.validation.fix.fix", broken)
    found = _take(home, double, clock)
    assert (of(found, old_rows).converted, of(found, old_rows).not_converted) == (
        None,
        ("a record is too long",),
    )
    assert verify(found.folder) == []


def test_a_bundle_is_private(
    home: Path, double: OpenAIDouble, clock: ManualClock, made: list[str]
) -> None:
    with client_in(home, double, clock) as client:
        folder = client.inventory("openai").folder
    for path in [folder, *folder.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    key = min(double.keys).encode()
    assert not [path for path in folder.rglob("*") if path.is_file() and key in path.read_bytes()]


def test_a_second_inventory_fetches_no_file_again(
    home: Path, double: OpenAIDouble, clock: ManualClock, made: list[str]
) -> None:
    with client_in(home, double, clock) as client:
        first = client.inventory("openai")
        double.requests.clear()
        again = client.inventory("openai")
    assert (
        double.count("GET", "content$") == 3
    )  # the curve of each job is read from its result file
    assert again.files == first.files
    assert verify(again.folder) == []


class Killed(BaseException):
    """The process ends here."""


def test_killed_before_any_write_it_continues(
    tmp_path: Path,
    double: OpenAIDouble,
    clock: ManualClock,
    made: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = _take(tmp_path / "whole", double, clock)
    replace, writes = os.replace, 0

    def count(*paths: Any) -> None:
        nonlocal writes
        writes += 1
        replace(*paths)

    monkeypatch.setattr(os, "replace", count)
    _take(tmp_path / "counted", double, clock)
    assert writes > 10
    for last in range(writes):
        left = last

        def kill(*paths: Any) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            replace(*paths)

        monkeypatch.setattr(os, "replace", kill)
        with pytest.raises(Killed):
            _take(tmp_path / f"home {last}", double, clock)
        monkeypatch.setattr(os, "replace", replace)
        double.requests.clear()
        found = _take(tmp_path / f"home {last}", double, clock)
        assert verify(found.folder) == []
        assert [one.sha256 for one in found.files] == [one.sha256 for one in whole.files]
        held = {one.id for one in found.files if one.role != "result"}
        fetched = [r.path for r in double.requests if r.path.endswith("/content")]
        again = [path for path in fetched if any(f"/{name}/" in path for name in held)]
        assert len(again) == len(set(again)), "a file was fetched twice"


def _take(home: Path, double: OpenAIDouble, clock: ManualClock) -> ftsdk.Inventory:
    with client_in(home, double, clock) as client:
        return client.inventory("openai")


def test_what_is_missing_is_named(
    home: Path, double: OpenAIDouble, clock: ManualClock, made: list[str]
) -> None:
    training = double.jobs[made[0]].request["training_file"]
    other = double.jobs[made[2]].request["training_file"]
    del double.files[training]
    double.faults.add("status", method="GET", path=f"{other}/content$", status=503, times=None)
    with client_in(home, double, clock) as client:
        found = client.inventory("openai")
        assert {one.id: one.missing for one in found.missing} == {
            training: "gone",
            other: "unavailable",
        }
        assert not found.is_complete
        double.faults.clear()
        again = client.inventory("openai")
    assert [one.id for one in again.missing] == [training]
    assert again.is_complete
    assert verify(again.folder) == []


def test_a_part_that_cannot_be_read_is_named(
    home: Path, double: OpenAIDouble, clock: ManualClock, made: list[str]
) -> None:
    path = f"{made[1]}/checkpoints$"
    double.faults.add("status", method="GET", path=path, status=500, times=None)
    with client_in(home, double, clock) as client:
        found = client.inventory("openai")
        assert any(f"checkpoints of {made[1]}" in line for line in found.not_read)
        assert not found.is_complete
    assert len(found.jobs) == 3


def test_without_a_list_of_jobs_nothing_is_sealed(
    home: Path, double: OpenAIDouble, clock: ManualClock, made: list[str]
) -> None:
    double.faults.add("status", method="GET", path="fine_tuning/jobs$", status=500, times=None)
    with client_in(home, double, clock) as client:
        with pytest.raises(Unavailable):
            client.inventory("openai")
        (folder,) = (home / "inventories").iterdir()
        with pytest.raises(StoreError, match="manifest"):
            verify(folder)


def test_a_cut_file_is_fetched_again(
    home: Path, double: OpenAIDouble, clock: ManualClock, made: list[str]
) -> None:
    training = double.jobs[made[0]].request["training_file"]
    double.faults.add("cut", method="GET", path=f"{training}/content$", times=1)
    with client_in(home, double, clock) as client:
        first = client.inventory("openai")
        if (
            first.missing
        ):  # the cut came too late for a retry: it is not in the bundle, and is named
            assert [one.missing for one in first.missing] == ["unavailable"]
        found = client.inventory("openai")
    (file,) = [one for one in found.files if one.id == training]
    assert file.path is not None
    assert (found.folder / file.path).read_bytes() == bytes(double.files[training]["content"])


@pytest.mark.parametrize("what", ["changed", "missing", "more", "manifest"])
def test_a_changed_bundle_is_named(
    home: Path, double: OpenAIDouble, clock: ManualClock, made: list[str], what: str
) -> None:
    found = _take(home, double, clock)
    path = found.folder / str(found.files[0].path)
    if what == "changed":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif what == "missing":
        path.unlink()
    elif what == "more":
        path = found.folder / "files" / "other.jsonl"
        path.write_text("{}\n")
    else:
        path = found.folder / bundles.MANIFEST
        path.write_text(path.read_text().replace("succeeded", "cancelled", 1))
    (line,) = verify(found.folder)
    assert line.startswith(path.relative_to(found.folder).as_posix())


def test_a_changed_file_is_fetched_again(
    home: Path, double: OpenAIDouble, clock: ManualClock, made: list[str]
) -> None:
    found = _take(home, double, clock)
    path = found.folder / str(found.files[0].path)
    path.write_text("changed")
    assert _take(home, double, clock).files == found.files
    assert verify(found.folder) == []


def test_other_folders_are_refused(
    tmp_path: Path, home: Path, double: OpenAIDouble, clock: ManualClock, made: list[str]
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_text("dear")
    with client_in(home, double, clock) as client:
        with pytest.raises(UsageError, match="files that are not of a bundle"):
            client.inventory("openai", tmp_path / "letters")
        client.inventory("openai", tmp_path / "mine")
    double.keys.add("another-key")
    other = {**double.variables(), "OPENAI_API_KEY": "another-key"}
    with (
        ftsdk.Client(home=home, clock=clock, env=other) as client,
        pytest.raises(UsageError, match="bundle of something else"),
    ):
        client.inventory("openai", tmp_path / "mine")
    with (
        ftsdk.Client(home=home, clock=clock) as client,
        pytest.raises(Unsupported, match="does not let"),
    ):
        client.inventory("fake")
