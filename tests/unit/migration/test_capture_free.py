"""A capture of a model that costs nothing: its base is asked beside it, and nothing is booked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ftsdk.client import Client
from ftsdk.errors import NotReady, UnknownJob
from ftsdk.evaluation.captured import Captured
from ftsdk.spending.switch import forbid_spending
from ftsdk.util.clock import ManualClock


@pytest.fixture
def asked() -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": f"question {i} of {i * i}"}]} for i in range(4)
    ]


def test_model_and_base_answer(
    client: Client,
    clock: ManualClock,
    rows: Callable[[int], list[dict[str, Any]]],
    asked: list[dict[str, Any]],
) -> None:
    job = client.create_job(rows(12))
    with pytest.raises(NotReady):
        client.capture(job.id, asked)
    job.wait()
    with forbid_spending():
        found = client.capture(job.id, [*asked, *rows(2)], repeats=2)
    assert found.counts == {"tuned": {"answered": 8}, "base": {"answered": 4}}
    assert Counter(one.likeness for one in found.refused) == {"same row": 2}
    assert found.spent_usd == 0
    kept = Captured(found.folder)
    tuned = {one.answer.text for one in kept.answers()}
    base = {one.answer.text for one in kept.answers("base")}
    assert len(base) == 4
    assert not tuned & base
    assert client.capture(job.result(), asked, repeats=2).counts == found.counts


def test_two_jobs_share_no_answers_and_one_base(
    client: Client, rows: Callable[[int], list[dict[str, Any]]], asked: list[dict[str, Any]]
) -> None:
    first, second = (client.create_job(rows(12), key=key) for key in ("one", "two"))
    for job in (first, second):
        job.wait()
        client.capture(job.id, asked)
    folders = list((client.home / "answers").iterdir())
    assert len(folders) == 3


def test_an_unknown_job(client: Client, asked: list[dict[str, Any]]) -> None:
    with pytest.raises(UnknownJob):
        client.capture("ftj_01KB2T5C9GQ8Z2M4V7X1N6D3EF", asked)
