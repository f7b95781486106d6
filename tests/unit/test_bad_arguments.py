"""Every public entry point answers a wrong argument with an error of ours, never with another one.

Each entry point is called with each wrong value. An argument may accept a value, so nothing is said
about which ones raise; what is raised must be an `FtsdkError`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk import Dataset, Hyperparameters, JobSpec, LoRA
from ftsdk.backends.fake import FakeBackend
from ftsdk.client import Client
from ftsdk.errors import FtsdkError, SpecError, UsageError
from ftsdk.planning.arguments import CreateOptions, EstimateOptions, ValidateOptions
from ftsdk.session import SessionOptions
from tests.backends.hosted_worlds import ROWS


class NoEquality:
    """A value that raises when it is compared, as an array of numpy does."""

    __hash__ = None  # type: ignore[assignment]  # as of arrays

    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")


WRONG: dict[str, Any] = {
    "a whole number": 5, "a negative one": -1, "a fraction": 5.5, "not a number": float("nan"),
    "infinity": float("inf"), "a flag": True, "no text": "", "a lone surrogate": "x\ud800",
    "a NUL": "a\x00b", "a long text": "x" * 5000, "bytes": b"x", "an empty list": [],
    "an empty dict": {}, "a list": [5], "a dict with a number": {5: 5}, "a dict": {"a": "\ud800"},
    "a dict with a surrogate": {"\ud800": "a"}, "an object": object(), "no equality": NoEquality(),
    "a type": type, "a time": dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "a path": Path("/no/x"),
    "a folder": Path("/"), "a Decimal": Decimal("NaN"), "a tuple": ("a",), "three": ("a", "b", "c"),
    "a set": {"a"}, "a huge number": 10**400, "nested": [[["x"]]], "None": None, "dots": "../../x",
}  # fmt: skip


class Calls:
    """The entry points by name, on a client with one job."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.job = client.create_job(ROWS).wait()
        self.model = self.job.result()
        self.rows = Dataset.load(ROWS)

    def table(self) -> dict[str, Callable[[Any], Any]]:
        c, job, model, rows = self.client, self.job, self.model, self.rows
        calls: dict[str, Callable[[Any], Any]] = {
            "create_job": c.create_job, "plan": c.plan, "estimate": c.estimate,
            "validate": c.validate, "load": Dataset.load, "get_job": c.get_job,
            "rows": lambda v: c.create_job([v]),
            "messages": lambda v: c.create_job([{"messages": [v]}]),
            "adopt_job": lambda v: c.adopt_job("fake", v),
            "adopt_job, provider": lambda v: c.adopt_job(v, "x"), "reconcile": c.reconcile,
            "resolve": lambda v: c.resolve(v, give_up=True), "backend": c.backend,
            "backend, base_url": lambda v: c.backend("openai", base_url=v),
            "profile": Client, "chat": model.chat, "download": model.download, "wait": model.wait,
            "write_jsonl": rows.write_jsonl, "split": rows.split,
            "split, seed": lambda v: rows.split(0.5, seed=v),
            "split, group_by": lambda v: rows.split(0.5, group_by=v),
            "events": lambda v: job.events(after=v), "logs": lambda v: job.logs(tail=v),
            "wait, timeout": lambda v: c.get_job(job.id).wait(timeout=v),
            "deploy": lambda v: job.deploy(hours=v), "deploy, options": lambda v: job.deploy(options=v),
            "callable_result": lambda v: job.callable_result(timeout=v),
        }  # fmt: skip
        for name in CreateOptions.__annotations__:
            calls[f"create_job, {name}"] = lambda v, n=name: c.create_job(ROWS, **{n: v})  # type: ignore[misc]  # one default
        for name in EstimateOptions.__annotations__:
            calls[f"estimate, {name}"] = lambda v, n=name: c.estimate(ROWS, **{n: v})  # type: ignore[misc]  # as above
        for name in ValidateOptions.__annotations__:
            calls[f"validate, {name}"] = lambda v, n=name: c.validate(ROWS, **{n: v})  # type: ignore[misc]  # as above
        for name in ("status", "provider", "tag", "limit"):
            calls[f"list_jobs, {name}"] = lambda v, n=name: c.list_jobs(**{n: v})  # type: ignore[misc]  # as above
        for name in ("adopt", "give_up", "send_again"):
            calls[f"resolve, {name}"] = lambda v, n=name: c.resolve(job.id, **{n: v})  # type: ignore[misc]  # as above
        for name in SessionOptions.__annotations__:
            calls[f"Client, {name}"] = lambda v, n=name: Client(**{n: v}).list_jobs()  # type: ignore[misc]  # as above
        for name in ("model", "tokenizer", "provider", "max_length", "rows", "line", "limits"):
            calls[f"inspect, {name}"] = lambda v, n=name: rows.inspect(**{n: v})  # type: ignore[misc]  # as above
        for name in ("format", "name", "max_row_bytes"):
            calls[f"load, {name}"] = lambda v, n=name: list(Dataset.load(ROWS, **{n: v}))  # type: ignore[misc]  # as above
        for model_class in (LoRA, Hyperparameters, JobSpec):
            for name in model_class.model_fields:
                calls[f"{model_class.__name__}, {name}"] = (  # type: ignore[misc]  # as above
                    lambda v, n=name, m=model_class: m(**{n: v})
                )
        return calls


@pytest.fixture
def calls(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    folder = tmp_path / "work" / "inner"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)  # what a path such as ../../x may write
    return Calls(client)


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_an_error_of_ours(value: Any, calls: Calls) -> None:
    others = {}
    for name, call in calls.table().items():
        try:
            call(value)
        except FtsdkError:
            continue
        except Exception as error:  # what the test is about
            others[name] = repr(error)
    assert others == {}


def test_the_argument_is_named_and_its_value_is_not_shown(client: Client) -> None:
    for call, name in (
        (lambda: client.get_job(5), "job_id"),  # type: ignore[arg-type]  # the wrong type under test
        (lambda: client.create_job(ROWS, key=b"secret"), "key"),  # type: ignore[arg-type]  # as above
        (lambda: client.list_jobs(limit="secret"), "limit"),  # type: ignore[arg-type]  # as above
        (lambda: client.create_job(ROWS, tags=["secret"]), "tags"),  # type: ignore[arg-type]  # as above
    ):
        with pytest.raises(UsageError, match=name) as caught:
            call()
        assert "secret" not in str(caught.value)
    assert client.list_jobs() == []


@pytest.mark.parametrize(
    ("tags", "name"), [({"a": "x\ud800"}, None), ({"\ud800": "x"}, None), ({}, "\ud800")]
)
def test_text_that_cannot_be_stored_is_refused_before_anything_is_sent(
    tags: Any, name: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeBackend, "submit", lambda *_: pytest.fail("it was sent"))
    with pytest.raises(SpecError, match=r"cannot be stored|unicode"):
        client.create_job(ROWS, tags=tags, name=name)


def test_models_of_arguments_raise_the_same_error_as_a_job() -> None:
    with pytest.raises(SpecError, match="rank") as caught:
        LoRA(rank=0)
    assert caught.value.where == "the arguments of LoRA"
    with pytest.raises(SpecError, match="2 faults"):
        Hyperparameters(epochs=-1, batch_size=0)
    assert ftsdk.LoRA(rank=8).alpha == 16
