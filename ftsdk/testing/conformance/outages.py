"""Checks of a provider that is away or silent, and of what its replies may carry into our records."""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from ftsdk.backends.base import SubmitRequest
from ftsdk.errors import BackendError, FtsdkError, Unavailable
from ftsdk.testing.conformance.faults import double_of
from ftsdk.testing.conformance.world import World, numbered_rows
from ftsdk.types.model import ModelHandle

_PATIENCE_S = 90.0
_SHORT_PATIENCE_S = 30.0
_HELLO = [{"role": "user", "content": "hello"}]

_Act = Callable[[World, str, ModelHandle], Any]
_ACTS: Mapping[str, tuple[str | None, _Act]] = {
    "get": (None, lambda world, job, _: world.backend.get(job)),
    "get_many": (None, lambda world, job, _: list(world.backend.get_many([job, job + "0"]))),
    "list": (None, lambda world, _job, _: list(world.backend.list())),
    "find": (None, lambda world, _job, _: world.backend.find(world.first()[0])),
    "model": (None, lambda world, job, _: world.backend.model(job)),
    "events": ("has_events", lambda world, job, _: world.backend.events(job)),
    "metrics": ("has_metrics", lambda world, job, _: world.backend.metrics(job)),
    "checkpoints": ("has_checkpoints", lambda world, job, _: world.backend.checkpoints(job)),
    "logs": ("has_logs", lambda world, job, _: world.backend.logs(job)),
    "cancel": ("can_cancel", lambda world, _job, _: world.backend.cancel(_open_job(world))),
    "pause": ("can_pause", lambda world, _job, _: world.backend.pause(_open_job(world))),
    "resume": ("can_resume", lambda world, _job, _: world.backend.resume(_open_job(world))),
    "delete": ("can_delete", lambda world, job, _: world.backend.delete(job)),
    "chat": ("can_chat", lambda world, _job, model: world.backend.chat(model, _HELLO, {})),
    "download": (
        "can_download",
        lambda world, _job, model: world.backend.download(model, world.home / "away"),
    ),
    "deploy": ("can_deploy", lambda world, _job, model: world.backend.deploy(model)),
    "undeploy": ("can_deploy", lambda world, _job, model: world.backend.undeploy(model)),
    "account_models": ("lists_models", lambda world, _job, _: world.backend.account_models()),
    "model_ends": ("reports_model_ends", lambda world, _job, _: world.backend.model_ends()),
    "stored_chats": ("has_stored_chats", lambda world, _job, _: list(world.backend.stored_chats())),
    "read_file": ("can_read_files", lambda world, _job, _: list(world.backend.read_file("file-1"))),
}
"""Every method that asks the provider, except the create call: its claim, and how it is called."""
_GIVE_RECORDS = ("get", "list", "model", "events", "metrics", "checkpoints", "logs")


def _open_job(world: World) -> str:
    """Return a job that the acts of this check are tried on; it was made before the outage."""
    return world.crowd(1)[0][1].provider_job_id


class OutageChecks:
    """Nothing that asks the provider takes silence for an answer."""

    @pytest.mark.parametrize("method", _ACTS)
    def test_an_outage_is_raised_by_every_method(self, world: World, method: str) -> None:
        """An empty list of events and a job that was cancelled are answers; the provider gave none."""
        double = double_of(world)
        claim, act = _ACTS[method]
        if claim is not None and not getattr(world.backend.capabilities, claim):
            pytest.skip(f"the backend does not declare {claim}")
        identity = world.finished()
        handle = world.backend.model(identity)
        _open_job(world)
        if (
            method == "chat"
            and not handle.callable_now
            and not world.backend.capabilities.can_deploy
        ):
            pytest.skip("no result of this backend can be called here")
        with double.down(), pytest.raises(BackendError) as caught:
            act(world, identity, handle)
        assert isinstance(caught.value, Unavailable), caught.value

    @pytest.mark.parametrize("call", ["upload", "create", "get"])
    def test_a_silent_provider_blocks_nothing(self, world: World, call: str) -> None:
        """Without a timeout in the client, one hanging connection stops a program for ever."""
        double = double_of(world)
        _, job = world.first()
        request = world.request()
        backend = (world.impatient or world.make)(world.home)
        patience = _PATIENCE_S if world.impatient is None else _SHORT_PATIENCE_S
        try:
            if call == "get":
                double.spoil("hang", "GET")
                _within(patience, lambda: backend.get(job.provider_job_id))
                return
            if call == "upload":
                for method in _sending_methods(world):
                    double.spoil("hang", method)  # the first such request; new rows are uploaded
                    _within(patience, lambda: backend.submit(_with_new_rows(world)))
                    double.behave()
                return
            double.spoil("hang", *double.create)
            error = _within(patience, lambda: backend.submit(request))
            assert isinstance(error, FtsdkError), "the create call got no answer, and succeeded"
            assert error.submitted == "maybe"
        finally:
            double.behave()
            backend.close()

    def test_no_secret_in_records(self, world: World) -> None:
        """`raw` is written to the journal: neither our key nor a reply that repeats it goes there."""
        double_of(world)
        if not world.secrets:
            pytest.skip("this world has no secrets")
        identity = world.finished()
        handle = world.backend.model(identity)
        for secret in world.secrets:
            shown = {}
            with _repeating(world, f"Bearer {secret}"):
                shown["submit"] = _text(world.fresh())
                shown["find"] = _text(world.backend.find(world.first()[0]))
                for name in _GIVE_RECORDS:
                    claim, act = _ACTS[name]
                    if claim is None or getattr(world.backend.capabilities, claim):
                        shown[name] = _text(act(world, identity, handle))
                if handle.callable_now:
                    shown["chat"] = _text(handle.chat("hello", max_tokens=8))
            assert [name for name, text in shown.items() if secret in text] == []


def _with_new_rows(world: World) -> SubmitRequest:
    """Return a submission of rows that were never uploaded."""
    return world.request(rows=numbered_rows(world.rows, len(world.rows), secrets.token_hex(4)))


def _sending_methods(world: World) -> list[str]:
    """Return the methods, but for reads, of the requests before the create call."""
    assert world.double is not None
    with world.watched() as seen:
        world.backend.submit(_with_new_rows(world))
    create, path = world.double.create
    return sorted(
        {
            method
            for method, asked in seen
            if method not in ("GET", "HEAD") and not (method == create and re.search(path, asked))
        }
    )


@contextlib.contextmanager
def _repeating(world: World, text: str) -> Iterator[None]:
    """Make every object in the double's replies repeat `text`."""
    double = double_of(world)
    double.spoil("plant", field="echoed_header", value=text, times=None)
    try:
        yield
    finally:
        double.behave()


def _text(found: Any) -> str:
    """Return everything in a record, or in a list of records."""
    items = found if isinstance(found, list) else [found]
    return "\n".join(
        one.model_dump_json() if hasattr(one, "model_dump_json") else str(one) for one in items
    )


def _within(seconds: float, act: Callable[[], Any]) -> BaseException | None:
    """Run `act` in a thread and return what it raised. Fails when it has not ended in time."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001  # handed to the check
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        pytest.fail(f"after {seconds:g} s it still waits for a reply: the client has no timeout")
    return raised[0] if raised else None
