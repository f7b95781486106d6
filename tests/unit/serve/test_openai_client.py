"""The official client, with another address and key, runs its whole flow against our server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

starlette = pytest.importorskip("starlette", reason="needs ftsdk[serve]; not installed: starlette")
uvicorn = pytest.importorskip("uvicorn", reason="needs ftsdk[serve]; not installed: uvicorn")
openai = pytest.importorskip("openai", reason="needs ftsdk[openai]; not installed: openai")
pytest.importorskip("python_multipart", reason="needs ftsdk[serve]")

import ftsdk  # noqa: E402  # after the skips
from ftsdk.cli.serve_address import serve_address  # noqa: E402  # as above
from ftsdk.config import Config  # noqa: E402  # as above
from ftsdk.serve.app import serve_app  # noqa: E402  # as above
from ftsdk.serve.settings import ServeSettings  # noqa: E402  # as above

TOKEN = "a-token-of-this-test"
ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"say {n}"},
            {"role": "assistant", "content": f"{n}!"},
        ]
    }
    for n in range(12)
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server over the fake backend."""
    home = tmp_path_factory.mktemp("served")
    config = Config(data={"provider": "fake", "model": "fake-1"})
    client = ftsdk.AsyncClient(home=home / "home", env={}, config=config)
    listener = serve_address("127.0.0.1").listen(0)
    port = listener.getsockname()[1]
    settings = ServeSettings(TOKEN, home / "serve", port=port, aliases={"ft:old:model": "support"})
    app = serve_app(client, settings)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive(), "the server does not end"


@pytest.fixture(scope="module")
def official(address: str) -> Iterator[Any]:
    """The official client."""
    with openai.OpenAI(base_url=f"{address}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def job(official: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished job, created by the official client."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with path.open("rb") as rows:
        file = official.files.create(file=rows, purpose="fine-tune")
    assert official.files.wait_for_processing(file.id).status == "processed"
    created = official.fine_tuning.jobs.create(
        model="fake-1",
        training_file=file.id,
        suffix="support",
        seed=3,
        metadata={"team": "a"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
    )
    assert created.training_file == file.id
    end = time.monotonic() + 60
    while (found := official.fine_tuning.jobs.retrieve(created.id)).status != "succeeded":
        assert found.status in ("queued", "validating_files", "running"), found
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def test_files_are_kept_listed_read_and_deleted(official: Any) -> None:
    body = json.dumps(ROWS[0]).encode() + b"\n"
    file = official.files.create(file=("rows.jsonl", body), purpose="fine-tune")
    assert file.bytes == len(body)
    assert official.files.content(file.id).read() == body
    assert file.id in [one.id for one in official.files.list()]
    assert official.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        official.files.retrieve(file.id)


def test_a_job_has_its_settings_events_and_model(official: Any, job: Any) -> None:
    assert (job.model, job.seed, job.metadata) == ("fake-1", 3, {"team": "a"})
    assert job.method.supervised.hyperparameters.n_epochs == 2
    assert job.fine_tuned_model.startswith("ft:fake-1:ftsdk:support:ftj_")
    listed = official.fine_tuning.jobs.list(limit=1, metadata={"team": "a"})
    assert [one.id for one in listed.data] == [job.id]
    assert list(official.fine_tuning.jobs.list(metadata={"team": "b"})) == []
    assert list(official.fine_tuning.jobs.list(metadata={"team": "a", "more": "b"})) == []
    with pytest.raises(openai.BadRequestError, match="metadata"):
        official.fine_tuning.jobs.list(extra_query={"metadata": "team"})
    events = list(official.fine_tuning.jobs.list_events(job.id, limit=2))
    assert len(events) > 2, "the pages were not followed"
    assert len({event.id for event in events}) == len(events)
    list(official.fine_tuning.jobs.checkpoints.list(job.id))
    assert job.fine_tuned_model in [one.id for one in official.models.list()]


@pytest.mark.parametrize("name", ["its own", "the job's", "an alias"])
def test_a_model_answers_by_each_of_its_names(name: str, official: Any, job: Any) -> None:
    model = {"its own": job.fine_tuned_model, "the job's": job.id, "an alias": "ft:old:model"}[name]
    answer = official.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "say 7"}], temperature=0
    )
    assert answer.choices[0].message.content == "7!"
    assert answer.usage.total_tokens > 0
    assert answer.model == model
    assert official.models.retrieve(model).id == model


def test_an_answer_streams_with_its_usage(official: Any, job: Any) -> None:
    stream = official.chat.completions.create(
        model=job.id,
        messages=[{"role": "user", "content": "say 5"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "5!"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


def test_what_cannot_be_done_is_said_with_the_right_status(official: Any, job: Any) -> None:
    say = [{"role": "user", "content": "x"}]
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-9'") as missing:
        official.chat.completions.create(model="gpt-9", messages=say)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="messages"):
        official.chat.completions.create(model=job.id, messages=[])
    with pytest.raises(openai.NotFoundError, match="no file"):
        official.fine_tuning.jobs.create(model="fake-1", training_file="file-none")
    with pytest.raises(openai.BadRequestError, match="integrations") as refused:
        official.fine_tuning.jobs.create(
            model="fake-1",
            training_file=job.training_file,
            integrations=[{"type": "wandb", "wandb": {"project": "p"}}],
        )
    assert refused.value.param == "integrations"
    wrong = openai.OpenAI(base_url=official.base_url, api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        wrong.models.list()


def test_a_job_is_cancelled(official: Any, job: Any) -> None:
    """The same rows and settings would be the same job; another seed makes another one."""
    created = official.fine_tuning.jobs.create(
        model="fake-1", training_file=job.training_file, seed=4
    )
    assert created.id != job.id
    cancelled = official.fine_tuning.jobs.cancel(created.id)
    assert cancelled.status in ("cancelled", "running", "succeeded")


def test_pages_of_jobs_follow_one_another(official: Any, job: Any) -> None:
    make = official.fine_tuning.jobs.create
    made = [make(model="fake-1", training_file=job.training_file, seed=n).id for n in range(10, 13)]
    first = official.fine_tuning.jobs.list(limit=2)
    assert ([one.id for one in first.data], first.has_more) == (made[:0:-1], True)
    second = official.fine_tuning.jobs.list(limit=1, after=made[1])
    assert [one.id for one in second.data] == made[:1]
    found = [one.id for one in official.fine_tuning.jobs.list(limit=1)]
    assert (len(found), len(set(found)), found[-1]) == (len(found), len(found), job.id)
    with pytest.raises(openai.NotFoundError, match="No job ftj_0"):
        official.fine_tuning.jobs.list(after="ftj_0")


def test_faulty_rows_are_refused_with_their_lines(official: Any, tmp_path: Path) -> None:
    file = official.files.create(file=("bad.jsonl", b'{"messages": []}\n'), purpose="fine-tune")
    with pytest.raises(openai.BadRequestError) as refused:
        official.fine_tuning.jobs.create(model="fake-1", training_file=file.id)
    assert refused.value.code == "invalid_training_file"
