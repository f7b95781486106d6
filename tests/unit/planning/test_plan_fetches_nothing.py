"""A plan of a local job shows the size of its base model; only a create downloads it."""

from __future__ import annotations

import pytest

from ftsdk.backends.base import Context
from ftsdk.backends.local.backend import LocalBackend
from ftsdk.backends.local.models import hub, resolve
from ftsdk.backends.local.models.hub import HubFiles
from ftsdk.client import Client
from ftsdk.config import Config
from ftsdk.errors import Unavailable, UnknownModel
from ftsdk.types.spec import JobSpec

BUILT_IN = "smollm2-135m"


class Fetched(Exception):
    """Raised when something is downloaded."""


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch):
    def fetch(*_, **__):
        raise Fetched

    monkeypatch.setattr(resolve, "pull_built_in", fetch)
    monkeypatch.setattr(resolve, "pull_from_hub", fetch)
    monkeypatch.setattr(hub, "cached_snapshot", lambda _: None)


def client_of(home, model):
    data = {"provider": "local", "model": model, "provider_options": {"pull": True}}
    return Client(home=home, config=Config(data=data), env={})


def test_a_plan_says_what_would_be_pulled(home, rows):
    plan = client_of(home, BUILT_IN).plan(rows(5))
    assert any("is not here yet; create would pull it first: about 93 MB" in n for n in plan.notes)
    assert plan.cost.high == 0


def test_only_the_size_of_a_hub_model_is_requested(home, rows, monkeypatch):
    files = HubFiles("org/tiny", "org/tiny", "abc", None, (("model.safetensors", 7_000_000),))
    monkeypatch.setattr(hub, "look_up", lambda _: files)
    plan = client_of(home, "org/tiny").plan(rows(5))
    assert any("pull it first: about 7 MB" in note for note in plan.notes)

    def away(_):
        raise Unavailable("no network")

    monkeypatch.setattr(hub, "look_up", away)
    plan = client_of(home, "org/tiny").plan(rows(5))
    assert any("its size is not known" in note for note in plan.notes)


def test_an_unknown_model_name_is_still_refused(home):
    backend = LocalBackend(Context(home=home))
    spec = JobSpec.build(provider="local", model="smolm", provider_options={"pull": True})
    with pytest.raises(UnknownModel):
        backend.plan(spec)


def test_without_pull_a_missing_model_is_reported(home, rows):
    data = {"provider": "local", "model": BUILT_IN}
    client = Client(home=home, config=Config(data=data), env={})
    with pytest.raises(Unavailable, match="not on this machine yet"):
        client.plan(rows(5))


def test_a_create_fetches_it_before_the_rows_are_checked(home, rows):
    with pytest.raises(Fetched):
        client_of(home, BUILT_IN).create_job(rows(5))
    client = client_of(home, BUILT_IN)
    assert client.list_jobs() == []


def test_comparing_fetches_nothing(home, rows):
    from ftsdk.planning.estimate import compare

    found = compare(client_of(home, BUILT_IN).session, rows(5), places=[f"local:{BUILT_IN}"])
    assert found.options[0].is_open
