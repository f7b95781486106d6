"""Secrets and personal data leave the machine only when acknowledged, and the journal says so."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.fake import FakeBackend
from ftsdk.errors import DatasetError

ROWS = [
    {"messages": [{"role": "user", "content": f"mail {i}: anna.lee{i}@mail.example.com"}, {"role": "assistant", "content": f"thank you, number {i}"}]}
    for i in range(3)
] + [{"messages": [{"role": "user", "content": "my card is 4111 1111 1111 1111"}, {"role": "assistant", "content": "never send that"}]}]  # fmt: skip


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
