"""Checks with network faults: after a failed create call, the error says what is known."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest

from ftsdk.errors import BackendError, FtsdkError, RateLimited, Unavailable
from ftsdk.testing.conformance.world import ProviderDouble, World
from ftsdk.types.status import JobStatus

_LOST: tuple[tuple[str, dict[str, Any]], ...] = (
    ("close", {"acted": True}),
    ("reset", {"acted": True}),
    ("cut", {}),
    ("html", {"acted": True}),
    ("empty", {"acted": True}),
    ("status", {"acted": True, "status": 500}),
    ("status", {"acted": True, "status": 503, "retry_after": "1"}),
    ("status", {"acted": True, "status": 408}),
    ("status", {"acted": True, "status": 409}),
    ("status", {"acted": True, "status": 429, "retry_after": "1"}),
    ("drop", {"field": "the id"}),
    ("set", {"field": "the id", "value": ""}),
    ("rename", {"field": "the id", "value": "identifier"}),
)
_ID = "the id"
"""Replaced by the provider's name of that field."""
_NEVER: tuple[tuple[str, dict[str, Any]], ...] = (
    ("close", {}),
    ("reset", {}),
    ("status", {"status": 502}),
    ("status", {"status": 504}),
    ("status", {"status": 425}),
)
_REFUSED = (400, 401, 403, 413, 422)


def double_of(world: World) -> ProviderDouble:
    """Return the double; skip where there is none."""
    if world.double is None:
        pytest.skip("this world has no double")
    world.double.behave()
    return world.double


def spoiled(world: World, behaviour: Any, facts: dict[str, Any]) -> tuple[FtsdkError, int, Any]:
    """Submit with a failing create call; return the error, the creates that arrived, and the
    request.
    """
    double = double_of(world)
    method, path = double.create
    request = world.request()
    before = double.creates()
    if facts.get("field") == _ID:
        facts = {**facts, "field": double.id_field}
    double.spoil(behaviour, method, path, **facts)
    try:
        with pytest.raises(FtsdkError) as caught:
            world.backend.submit(request)
    finally:
        double.behave()
    return caught.value, double.creates() - before, request


class FaultChecks:
    """The create call is made once, reads are retried, and no secret leaks."""

    @pytest.mark.parametrize(
        ("behaviour", "facts"), _LOST, ids=lambda one: one if isinstance(one, str) else str(one)
    )
    def test_after_a_lost_reply_the_job_is_found(
        self, world: World, behaviour: str, facts: dict[str, Any]
    ) -> None:
        error, creates, request = spoiled(world, behaviour, facts)
        assert error.submitted == "maybe"
        assert creates == 1, "the create call was sent again"
        assert len(world.backend.find(request)) == 1

    @pytest.mark.parametrize(
        ("behaviour", "facts"), _NEVER, ids=lambda one: one if isinstance(one, str) else str(one)
    )
    def test_after_a_lost_request_no_job_is_found(
        self, world: World, behaviour: str, facts: dict[str, Any]
    ) -> None:
        error, creates, request = spoiled(world, behaviour, facts)
        assert error.submitted == "maybe"
        assert creates == 1
        assert world.backend.find(request) == []

    @pytest.mark.parametrize("status", _REFUSED)
    def test_a_refusal_is_definite(self, world: World, status: int) -> None:
        error, creates, _ = spoiled(world, "status", {"status": status})
        assert error.submitted == "no"
        assert not error.retryable
        assert creates == 1

    def test_an_unreachable_provider_received_nothing(self, world: World) -> None:
        double = double_of(world)
        request = world.request()
        before = double.jobs()
        with double.down(), pytest.raises(FtsdkError) as caught:
            world.backend.submit(request)
        assert caught.value.submitted == "no"
        assert caught.value.retryable
        assert double.jobs() == before

    def test_a_redirect_is_not_followed(self, world: World) -> None:
        error, creates, _ = spoiled(
            world, "redirect", {"value": "http://127.0.0.1:9/stolen", "acted": False}
        )
        assert error.submitted == "maybe"
        assert creates == 1

    # --- reads ---

    def test_a_read_recovers(self, world: World) -> None:
        double = double_of(world)
        _, job = world.first()
        for behaviour, facts in (
            ("status", {"status": 503}), ("close", {}), ("reset", {}), ("cut", {}),
            ("status", {"status": 429, "retry_after": "0"}), ("html", {}),
        ):  # fmt: skip
            double.spoil(behaviour, "GET", None, **facts)  # type: ignore[arg-type]  # values of Behaviour
            job_now = world.backend.get(job.provider_job_id)
            assert job_now.provider_job_id == job.provider_job_id
        double.behave()

    def test_a_read_waits_at_most_two_minutes(self, world: World) -> None:
        double = double_of(world)
        _, job = world.first()
        before = world.clock.monotonic()
        double.spoil("status", "GET", None, status=429, retry_after="86400", times=None)
        with pytest.raises(RateLimited):
            world.backend.get(job.provider_job_id)
        double.behave()
        assert world.clock.monotonic() - before < 120

    def test_an_unreachable_provider_is_an_error_not_a_status(self, world: World) -> None:
        """Kiln made `unknown` of every exception; DSPy took any for "does not exist"."""
        double = double_of(world)
        request, job = world.first()
        with double.down():
            with pytest.raises(Unavailable):
                world.backend.get(job.provider_job_id)
            with pytest.raises(BackendError):
                world.backend.find(request)
            with pytest.raises(BackendError):
                list(world.backend.list())
        assert world.backend.get(job.provider_job_id).status.is_remote

    def test_a_reply_about_another_job_is_refused(self, world: World) -> None:
        double = double_of(world)
        _, job = world.first()
        double.spoil("drop", "GET", None, field=double.id_field, times=None)
        with pytest.raises(BackendError):
            world.backend.get(job.provider_job_id)
        double.behave()

    def test_a_repeated_page_yields_no_job_twice(self, world: World) -> None:
        double = double_of(world)
        world.first()
        double.spoil("repeat", "GET", None, times=None)
        identities = [one.provider_job_id for one in world.backend.list()]
        double.behave()
        assert len(identities) == len(set(identities))

    def test_a_missing_status_is_unknown(self, world: World) -> None:
        double = double_of(world)
        _, job = world.first()
        field = double.status_field
        double.spoil("drop", "GET", None, field=field, times=None)
        job_now = world.backend.get(job.provider_job_id)
        double.behave()
        assert job_now.status is JobStatus.UNKNOWN, (
            f"without `{field}` the status is {job_now.status}; where the provider calls the field "
            "otherwise, say so: LabDouble(…, status_field=…)"
        )
        assert not job_now.status.is_final

    # --- secrets ---

    def test_no_secret_in_errors_causes_frames_or_logs(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        double = double_of(world)
        if not world.secrets:
            pytest.skip("this world has no secrets")
        _, job = world.first()
        echo = {"error": {"message": f"bad key {world.secrets[0]}", "code": world.secrets[0]}}
        shown: list[str] = []
        asks: tuple[Callable[[], object], ...] = (
            lambda: world.backend.get(job.provider_job_id),
            lambda: world.backend.submit(world.request()),
        )
        with caplog.at_level("DEBUG"):
            for behaviour, facts in (
                ("status", {"status": 401, "body": echo}), ("status", {"status": 500, "body": echo}),
                ("close", {}), ("html", {}), ("cut", {}),
                ("redirect", {"value": f"http://127.0.0.1:9/?token={world.secrets[0]}"}),
            ):  # fmt: skip
                for ask in asks:
                    double.spoil(behaviour, times=6, **facts)  # type: ignore[arg-type]  # as above
                    try:
                        ask()
                    except FtsdkError as error:
                        shown += _frames(error)
                        shown += [str(error), repr(error), str(error.to_dict())]
                        shown.append(repr(error.__reduce__()))  # what a pickle would carry
                    double.behave()
        shown += [record.getMessage() for record in caplog.records]
        whole = "\n".join(shown)
        assert shown
        for secret in world.secrets:
            leaks = [line.strip()[:200] for line in whole.split("\n") if secret in line]
            assert leaks == []


def _frames(error: BaseException) -> list[str]:
    """Return the traceback with all locals, causes included, without the frames of this check."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    one: traceback.TracebackException | None = shown
    while one is not None:
        one.stack = traceback.StackSummary.from_list(
            [frame for frame in one.stack if frame.filename != __file__]
        )
        one = one.__cause__ or one.__context__
    return list(shown.format())
