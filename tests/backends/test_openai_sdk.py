"""OpenAI's double through the official SDK: its client runs the whole flow, its types take every answer."""

from __future__ import annotations

import json
import re

import pytest

import ftsdk
from ftsdk.testing.conformance.world import chat_rows
from ftsdk.testing.lab import Reply, Request
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.util.clock import ManualClock

openai = pytest.importorskip("openai", reason="needs the extra `openai`")
MODEL = "gpt-4.1-mini-2025-04-14"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def double(clock):
    with OpenAIDouble(clock=clock) as one:
        yield one


@pytest.fixture
def sdk(double):
    client = openai.OpenAI(
        api_key=min(double.keys), base_url=double.base_url, max_retries=0,
        webhook_secret=double.webhook_secret,
    )  # fmt: skip
    yield client
    client.close()


def types() -> list[tuple[str, str, object]]:
    """Method, path and type of each answer, as the SDK names them."""
    from openai.types import FileObject, Model
    from openai.types.chat import ChatCompletion
    from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
    from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

    job = r"/v1/fine_tuning/jobs/[^/]+"
    return [
        ("POST", r"/v1/files", FileObject),
        ("GET", r"/v1/files/[^/]+", FileObject),
        ("POST", r"/v1/fine_tuning/jobs", FineTuningJob),
        ("GET", r"/v1/fine_tuning/jobs", list[FineTuningJob]),
        ("GET", job, FineTuningJob),
        ("POST", rf"{job}/cancel", FineTuningJob),
        ("GET", rf"{job}/events", list[FineTuningJobEvent]),
        ("GET", rf"{job}/checkpoints", list[FineTuningJobCheckpoint]),
        ("GET", r"/v1/models", list[Model]),
        ("GET", r"/v1/models/.+", Model),
        ("POST", r"/v1/chat/completions", ChatCompletion),
    ]


def test_the_sdk_sees_the_job_that_ftsdk_made_and_runs_one_of_its_own(
    sdk, double, clock, home, tmp_path
) -> None:
    with ftsdk.Client(home=home, env=double.variables(), clock=clock) as client:
        ours = client.create_job(chat_rows(), provider="openai", model=MODEL, name="bot")
        seen = sdk.fine_tuning.jobs.retrieve(ours.provider_job_id)
        assert (seen.id, seen.model, seen.status) == (
            ours.provider_job_id,
            MODEL,
            "validating_files",
        )
        rows = tmp_path / "rows.jsonl"
        rows.write_text("".join(json.dumps(row) + "\n" for row in chat_rows()))
        file = sdk.files.create(file=rows, purpose="fine-tune")
        clock.advance(5)
        assert sdk.files.wait_for_processing(file.id).status == "processed"
        theirs = sdk.fine_tuning.jobs.create(
            model=MODEL, training_file=file.id, metadata={"team": "cx"}
        )
        assert sdk.fine_tuning.jobs.pause(theirs.id).status == "paused"
        sdk.fine_tuning.jobs.resume(theirs.id)
        adopted = client.adopt_job("openai", theirs.id)
        clock.advance(60)
        done = sdk.fine_tuning.jobs.retrieve(theirs.id)
        assert (done.status, adopted.refresh().status) == ("succeeded", "succeeded")
        assert adopted.result().id == done.fine_tuned_model
        assert [one.id for one in sdk.fine_tuning.jobs.list()] == [theirs.id, ours.provider_job_id]
        assert sdk.fine_tuning.jobs.list_events(theirs.id).data[0].message
        assert sdk.fine_tuning.jobs.checkpoints.list(theirs.id).data
        assert sdk.files.content(done.result_files[0]).content
        answer = sdk.chat.completions.create(
            model=done.fine_tuned_model,
            messages=[{"role": "user", "content": "What does ticket number 3 ask for?"}],
        )
        assert answer.choices[0].message.content == "Ticket 3 asks for a refund."
        headers, body = double.webhook(theirs.id)
        sdk.webhooks.verify_signature(body, headers, tolerance=10**10)  # by the lab's clock
        assert json.loads(body)["type"] == "fine_tuning.job.succeeded"
        assert sdk.models.delete(done.fine_tuned_model).deleted


def test_every_answer_fits_the_sdks_own_type(double, clock, home) -> None:
    """Not `construct`, with which the SDK takes anything: each answer is validated.

    Only the word `paused` is left out: the service says it, and the SDK's list of words has it not.
    """
    from pydantic import TypeAdapter

    known = [(method, re.compile(path), TypeAdapter(kind)) for method, path, kind in types()]
    seen = set()

    def check(request: Request, reply: Reply) -> None:
        for method, path, kind in known:
            if request.method == method and path.fullmatch(request.path) and reply.status == 200:
                seen.add((method, path.pattern))
                body = json.loads(reply.payload())
                kind.validate_python(body["data"] if body.get("object") == "list" else body)
                return

    double.observers.append(check)
    with ftsdk.Client(home=home, env=double.variables(), clock=clock) as client:
        job = client.create_job(chat_rows(), provider="openai", model=MODEL, validation=0.2)
        clock.advance(60)
        job.refresh()
        assert job.events()
        assert job.metrics()
        assert job.checkpoints()
        job.result().chat("What does ticket number 3 ask for?")
        backend = client.backend("openai")
        assert backend.model_ends()
        assert list(backend.list())
        client.create_job(chat_rows(), provider="openai", model=MODEL, seed=1).cancel()
    assert double.violations == []
    assert seen == {(method, path.pattern) for method, path, _ in known}
