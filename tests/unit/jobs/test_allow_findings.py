"""Secrets and personal data leave the machine only when acknowledged, and the journal says so."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.fake import FakeBackend
from ftsdk.errors import DatasetError, UsageError

ROWS = [
    {"messages": [{"role": "user", "content": f"mail {i}: anna.lee{i}@mail.parcel-desk.net"}, {"role": "assistant", "content": f"thank you, number {i}"}]}
    for i in range(3)
] + [{"messages": [{"role": "user", "content": "my card is 4111 1111 1111 1145"}, {"role": "assistant", "content": "never send that"}]}]  # fmt: skip


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake backend, declared as one that uploads rows."""
    able = dataclasses.replace(FakeBackend.capabilities, key_variables=("FAKE_API_KEY",))
    monkeypatch.setattr(FakeBackend, "capabilities", able)


def create(client: ftsdk.Client, **more: Any) -> ftsdk.FineTuneJob:
    return client.create_job(ROWS, provider="fake", model="fake-small", **more)


def test_rows_that_stay_on_this_machine_need_no_acknowledgement(tmp_path: Path) -> None:
    job = create(ftsdk.Client(home=tmp_path))
    assert "findings_allowed" not in job.snapshot.dataset


@pytest.mark.usefixtures("away")
def test_an_upload_waits_for_every_kind_to_be_acknowledged(tmp_path: Path) -> None:
    client = ftsdk.Client(home=tmp_path)
    for allowed in (False, (), {"FT402"}):
        with pytest.raises(DatasetError, match=r"3 × FT406") as caught:
            create(client, allow_findings=allowed)
        assert caught.value.submitted == "no"
        assert caught.value.report.findings
        assert "allow_findings=" in caught.value.hint
    assert client.list_jobs() == []
    client.plan(ROWS, provider="fake", model="fake-small")  # planning sends nothing
    job = create(client, allow_findings={"FT402", "FT406"})
    assert ftsdk.Client(home=tmp_path).get_job(job.id).snapshot.dataset["findings_allowed"] == {
        "FT402": 1,
        "FT406": 3,
    }
    assert create(client, allow_findings=True, key="k").snapshot.dataset["findings_allowed"] == {
        "FT402": 1,
        "FT406": 3,
    }


@pytest.mark.usefixtures("away")
def test_held_out_rows_leave_the_machine_as_well(tmp_path: Path) -> None:
    client = ftsdk.Client(home=tmp_path)
    clean = [
        {"messages": [{"role": "user", "content": f"number {i}"}, {"role": "assistant", "content": f"answer {i}"}]}
        for i in range(4)
    ]  # fmt: skip
    asked = {"provider": "fake", "model": "fake-small", "validation": ROWS}
    with pytest.raises(DatasetError, match=r"1 × FT402, 3 × FT406") as caught:
        client.create_job(clean, **asked)
    assert caught.value.report.findings[0].message.startswith("validation: ")
    job = client.create_job(clean, **asked, allow_findings=True)
    assert job.snapshot.dataset["findings_allowed"] == {"FT402": 1, "FT406": 3}


@pytest.mark.usefixtures("away")
def test_values_are_acknowledged_by_pattern(tmp_path: Path) -> None:
    client = ftsdk.Client(home=tmp_path)
    with pytest.raises(DatasetError, match=r"1 × FT402"):
        create(client, allow_findings=["FT406:*@mail.parcel-desk.net"])
    with pytest.raises(DatasetError, match=r"2 × FT406"):
        create(client, allow_findings=["FT402", "FT406:ANNA.LEE1@*"])
    job = create(client, allow_findings=["FT402", "FT406:*@mail.parcel-desk.net"])
    assert job.snapshot.dataset["findings_allowed"] == {"FT402": 1}
    for wrong in ("FT999", "FT406:", "*@mail.parcel-desk.net"):
        with pytest.raises(UsageError, match="no finding that can be acknowledged"):
            create(client, allow_findings=[wrong])


@pytest.mark.usefixtures("away")
def test_a_value_beside_an_acknowledged_one_is_found(tmp_path: Path) -> None:
    both = {"messages": [{"role": "user", "content": "to a@ours.net and b@theirs.net"},
                         {"role": "assistant", "content": "sent"}]}  # fmt: skip
    found = ftsdk.validate([both], allow_findings=["FT406:*@ours.net"])
    (notice,) = [f for f in found.notices if f.code == "FT406"]
    assert "(b@th…)" in notice.message
    assert "FT406" not in ftsdk.validate([both], allow_findings=["FT406:*.net"]).counts
