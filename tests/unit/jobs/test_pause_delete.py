"""Pausing and deleting a job, in Python and on the command line."""

from __future__ import annotations

import pytest

import ftsdk
from ftsdk.errors import NotReady, Unsupported, UsageError
from ftsdk.testing.conformance.world import chat_rows
from ftsdk.testing.lab.openai.double import OpenAIDouble

pytest.importorskip("openai")
MODEL = "gpt-4.1-mini-2025-04-14"


@pytest.fixture
def hosted(clock, tmp_path):
    with OpenAIDouble(clock=clock) as double:
        made = ftsdk.Client(home=tmp_path / "hosted", clock=clock, env=double.variables())
        yield made
        made.close()


def test_a_job_is_paused_and_resumed(hosted, clock):
    job = hosted.create_job(chat_rows(), provider="openai", model=MODEL)
    clock.advance(3)
    assert job.pause().status == "paused"
    clock.advance(60)
    assert job.refresh().status == "paused"
    assert job.resume().status == "running"
    clock.advance(60)
    assert job.refresh().status == "succeeded"
    assert job.pause().status == "succeeded"


def test_a_result_is_deleted_once_the_job_has_ended(hosted, clock):
    job = hosted.create_job(chat_rows(), provider="openai", model=MODEL)
    with pytest.raises(UsageError):
        job.delete()
    clock.advance(60)
    assert job.delete().status == "succeeded"
    with pytest.raises(NotReady):
        job.result().chat("hello")
    assert hosted.get_job(job.id).status == "succeeded"


def test_a_backend_that_cannot_says_so(hosted, monkeypatch):
    job = hosted.create_job(chat_rows(), provider="openai", model=MODEL)
    backend = hosted.backend("openai")
    monkeypatch.setattr(
        backend, "capabilities", ftsdk.backends.Capabilities(
            methods=frozenset({"sft"}), adapters=frozenset({"lora"}), formats=frozenset({"chat"})
        ),
    )  # fmt: skip
    for verb in (job.pause, job.delete):
        with pytest.raises(Unsupported):
            verb()
