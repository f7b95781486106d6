"""Each fault that was found in other tools, planted in a backend: the kit goes red.

Kiln, LiteLLM, Portkey, DSPy, TensorZero and brainwires-finetune, as they were read in November 2026.
Their other faults are not a backend's: a job saved after it was sent (tests/faults), rows checked
without their number (tests/unit/dataset), a blocked event loop (tests/contract/test_async_parity),
a trainer that does not fit its libraries (tests/train/test_local_kit).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from ftsdk.backends.capabilities import Range
from ftsdk.util.clock import ManualClock

pytest.importorskip("together", reason="the faults are planted in the backend for Together")

from ftsdk.backends.together import TogetherBackend, job_mapping
from ftsdk.backends.together import request as request_body
from ftsdk.errors import BackendError, FtsdkError, NotFound, Unsupported
from ftsdk.testing.conformance import BackendConformance
from ftsdk.testing.lab.together.double import TogetherDouble
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.job import RemoteJob
from ftsdk.types.status import JobStatus
from tests.backends.test_together_kit import KEY, START, world_of

Plant = Callable[[pytest.MonkeyPatch], type[TogetherBackend]]


def words(**summary: JobStatus) -> Plant:
    """Other meanings for the provider's words."""

    def plant(patch: pytest.MonkeyPatch) -> type[TogetherBackend]:
        patch.setattr(job_mapping, "STATUSES", {**job_mapping.STATUSES, **summary})
        return TogetherBackend

    return plant


def unknown_word(meaning: Callable[[str], JobStatus]) -> Plant:
    """What becomes of a word that no table has."""

    def plant(patch: pytest.MonkeyPatch) -> type[TogetherBackend]:
        known = job_mapping.STATUSES
        patch.setattr(job_mapping, "status_of", lambda word: known.get(word) or meaning(word))
        return TogetherBackend

    return plant


def body(change: Callable[[dict[str, Any]], object]) -> Plant:
    """Another body of the create call; the plan stays as it is."""

    def plant(patch: pytest.MonkeyPatch) -> type[TogetherBackend]:
        honest = request_body.body_of

        def spoiled(*args: Any, **facts: Any) -> dict[str, Any]:
            made = honest(*args, **facts)
            change(made)
            return made

        patch.setattr(request_body, "body_of", spoiled)
        return TogetherBackend

    return plant


def own(**verbs: Any) -> Plant:
    """Other verbs, or another record."""
    return lambda _: type("Planted", (TogetherBackend,), verbs)


def raises(error: Exception) -> None:
    raise error


# --- verbs with a fault -------------------------------------------------------------------------


def get_tells_unknown(self: Any, identity: str) -> RemoteJob:
    try:
        return TogetherBackend.get(self, identity)
    except BackendError as error:
        return RemoteJob(
            provider_job_id=identity, status=JobStatus.UNKNOWN, raw_status="", message=str(error)
        )


def get_deploys(self: Any, identity: str) -> RemoteJob:
    job = TogetherBackend.get(self, identity)
    if job.status is JobStatus.SUCCEEDED:
        self.deploy(self.model(identity))
    return job


def get_at(time: Callable[[Any], dt.datetime]) -> Any:
    def get(self: Any, identity: str) -> RemoteJob:
        job = TogetherBackend.get(self, identity)
        return job.model_copy(update={"created_at": time(self)})

    return get


def get_once(self: Any, identity: str) -> RemoteJob:
    self.transport.retries = lambda ask: ask()
    return TogetherBackend.get(self, identity)


def find_in_memory(self: Any, request: Any) -> list[RemoteJob]:
    return [self.get(one) for one in getattr(self, "mine", {}).get(request.tag, [])]


def submit_remembers(self: Any, request: Any) -> RemoteJob:
    job = TogetherBackend.submit(self, request)
    self.mine = {**getattr(self, "mine", {}), request.tag: [job.provider_job_id]}
    return job


def find_takes_any_error_for_none(self: Any, request: Any) -> list[RemoteJob]:
    try:
        return TogetherBackend.find(self, request)
    except BackendError:
        return []


def create_with_the_multiplier_as_rate(self: Any, request: Any, ready: Any) -> RemoteJob:
    asked, quoted = request.spec.hyperparameters.learning_rate_multiplier, ready[1]
    made = ready[0] if asked is None else {**ready[0], "learning_rate": asked}
    return TogetherBackend._created(self, request, (made, quoted))


def submit_twice(self: Any, request: Any) -> RemoteJob:
    try:
        return TogetherBackend.submit(self, request)
    except BackendError:
        return TogetherBackend.submit(self, request)


def submit_names_a_model(self: Any, request: Any) -> RemoteJob:
    job = TogetherBackend.submit(self, request)
    return job.model_copy(update={"result_model": request.spec.name or "my-model"})


def submit_takes_options_away(self: Any, request: Any) -> RemoteJob:
    request.spec.provider_options.clear()
    return TogetherBackend.submit(self, request)


def cancel_deletes(self: Any, identity: str) -> None:
    self.transport.send("DELETE", f"/v1/fine-tunes/{identity}")


def cancel_forgets(self: Any, identity: str) -> None:
    TogetherBackend.cancel(self, identity)
    self.get = lambda _: raises(NotFound("no id any more"))


def model_of_anything(self: Any, identity: str) -> Any:
    data = self.transport.get(f"/v1/fine-tunes/{identity}")
    return job_mapping.result_handle({"model_output_name": "x", **data}, hosting=None).bound_to(
        self
    )


def model_is_callable(self: Any, identity: str) -> Any:
    return TogetherBackend.model(self, identity).model_copy(update={"callable_now": True})


def priced_anyway(self: Any, spec: Any, train: Any = None) -> Cost:
    return Cost(basis=CostBasis.ESTIMATED, low=Decimal(3), high=Decimal(3), source="default")


def plan_keeps_quiet(self: Any, spec: Any, train: Any = None) -> Any:
    kept = spec.hyperparameters.given()
    known = {name: kept[name] for name in kept if name in self.capabilities.hyperparameters}
    return TogetherBackend.plan(self, spec.model_copy(update={"hyperparameters": type(
        spec.hyperparameters)(**known)}), train)  # fmt: skip


def take_the_batch_size_for_the_rank(made: dict[str, Any]) -> None:
    if isinstance(made["batch_size"], int):
        made["training_type"] = {**made["training_type"], "lora_r": made["batch_size"]}
        made["batch_size"] = "max"


def leave_out_the_validation(made: dict[str, Any]) -> None:
    made.pop("validation_file", None)
    made.pop("n_evals", None)


def drop_whole_numbers(made: dict[str, Any]) -> None:
    for name in ("weight_decay", "max_grad_norm", "warmup_ratio"):
        if float(made[name]).is_integer():
            made.pop(name)


ABLE = TogetherBackend.capabilities
MULTIPLIES = replace(
    ABLE,
    hyperparameters={**ABLE.hyperparameters, "learning_rate_multiplier": Range(low=0)},
)


@dataclass(frozen=True)
class Known:
    """One fault, the check that is for it, and what the check is given beside the world."""

    summary: str
    plant: Plant
    check: str
    given: tuple[Any, ...] = ()


RED = (AssertionError, pytest.fail.Exception, FtsdkError, KeyError)
FAILED, QUEUED = JobStatus.FAILED, JobStatus.QUEUED
STATUS = "test_every_known_status_is_mapped"
INVENTED = "test_an_unknown_status_is_not_final_and_raises_nothing"
COULD_NOT = "test_an_unreachable_provider_is_an_error_not_a_status"
TWO_PHASES = "test_cancelling_is_not_a_failure"
LOST = "test_after_a_lost_reply_the_job_is_found"
CLAIMS = "test_flags_match_the_methods"
ADAPTER = "test_adapter_settings_are_sent_or_refused"

KNOWN = (
    # A.1 Kiln
    Known("Kiln: cancelled is failed", words(cancelled=FAILED), TWO_PHASES),
    Known("Kiln: asked to cancel is failed", words(cancel_requested=FAILED), STATUS),
    Known("Kiln: any exception is the status unknown", own(get=get_tells_unknown), COULD_NOT),
    Known("Kiln: a read deploys", own(get=get_deploys), "test_reads_only_read"),
    Known(
        "Kiln: validation rows are left out",
        body(leave_out_the_validation),
        "test_validation_rows_are_sent",
    ),
    Known(
        "Kiln: whole numbers are dropped", body(drop_whole_numbers), "test_whole_numbers_are_sent"
    ),
    Known(
        "Kiln: the job is known to the process alone",
        own(find=find_in_memory, submit=submit_remembers),
        "test_a_new_process_finds_the_job",
    ),
    Known("Kiln: no cancel", own(cancel=lambda *_: None), TWO_PHASES),
    # A.2 LiteLLM
    Known("LiteLLM: other words are queued", unknown_word(lambda _: QUEUED), INVENTED),
    Known("LiteLLM: finalizing is queued", words(compressing=QUEUED), STATUS),
    Known(
        "LiteLLM: cancel is refused where create is not",
        own(cancel=lambda *_: raises(Unsupported("not for this provider"))),
        TWO_PHASES,
    ),
    Known(
        "LiteLLM: the display name is the model",
        own(submit=submit_names_a_model),
        "test_an_accepted_job_has_no_result",
    ),
    Known(
        "LiteLLM: no method is sent",
        body(
            lambda made: made.update(training_method={"method": "sft", "train_on_inputs": "auto"})
        ),
        "test_every_declared_method_is_sent",
    ),
    Known(
        "LiteLLM: the caller's dictionary is emptied",
        own(submit=submit_takes_options_away),
        "test_the_callers_objects_are_not_changed",
    ),
    # A.3 Portkey
    Known(
        "Portkey: the batch size is the rank",
        body(take_the_batch_size_for_the_rank),
        "test_every_declared_hyperparameter_is_sent",
    ),
    Known(
        "Portkey: a multiplier is sent as the rate",
        own(capabilities=MULTIPLIES, _created=create_with_the_multiplier_as_rate),
        "test_each_unit_of_the_learning_rate_is_sent_as_itself",
    ),
    Known(
        "Portkey: cancelling deletes",
        own(cancel=cancel_deletes),
        "test_a_cancelled_job_stays_listed",
    ),
    Known("Portkey: stopping is stopped", words(cancel_requested=JobStatus.CANCELLED), STATUS),
    Known(
        "Portkey: milliseconds for seconds",
        own(get=get_at(lambda _: dt.datetime(9999, 1, 1, tzinfo=dt.UTC))),
        "test_times_are_the_providers_own",
    ),
    Known(
        "Portkey: events are another object",
        own(events=lambda *_, **__: []),
        "test_events_are_ordered_and_unique",
    ),
    Known(
        "Portkey: a create is repeated", own(submit=submit_twice), LOST, ("close", {"acted": True})
    ),
    Known(
        "Portkey: nothing marks the job",
        body(lambda made: made.update(suffix="nightly")),
        "test_a_job_is_found_by_its_tag",
    ),
    # A.4 DSPy
    Known("DSPy: any error is 'no such job'", own(find=find_takes_any_error_for_none), COULD_NOT),
    Known(
        "DSPy: a cancelled job has no id",
        own(cancel=cancel_forgets),
        "test_cancelling_twice_is_harmless",
    ),
    Known(
        "DSPy: a failure is a result",
        own(model=model_of_anything),
        "test_a_failed_job_has_a_reason",
    ),
    Known("DSPy: the status is always none", words(running=JobStatus.UNKNOWN), STATUS),
    Known(
        "DSPy: another word throws",
        unknown_word(lambda word: raises(KeyError(word))),  # type: ignore[arg-type, return-value]
        INVENTED,
    ),
    Known(
        "DSPy: no seed is sent",
        body(lambda made: made.pop("random_seed")),
        "test_the_seed_is_sent_or_refused",
    ),
    # A.5 TensorZero
    Known(
        "TensorZero: another word does not parse",
        unknown_word(lambda word: raises(BackendError(word))),  # type: ignore[arg-type, return-value]
        INVENTED,
    ),
    Known("TensorZero: three statuses", words(uploading=JobStatus.RUNNING), STATUS),
    Known(
        "TensorZero: a model that cannot be called yet",
        own(model=model_is_callable),
        "test_callable_now_is_true_only_when_a_call_works",
    ),
    # A.6 brainwires-finetune
    Known(
        "brainwires: the adapter is dropped",
        body(lambda made: made.update(training_type={"type": "Full"})),
        ADAPTER,
    ),
    Known("brainwires: a user's error is pending", words(user_error=QUEUED), STATUS),
    Known(
        "brainwires: created just now",
        own(get=get_at(lambda self: self.clock.now())),
        "test_times_are_the_providers_own",
    ),
    Known(
        "brainwires: a default price",
        own(estimate=priced_anyway),
        "test_an_unknown_price_is_not_invented",
    ),
    Known("brainwires: one bad answer ends it", own(get=get_once), "test_a_read_recovers"),
    Known(
        "brainwires: a field that must be there is not",
        body(lambda made: made.pop("training_file")),
        "test_submit_is_one_create_call",
    ),
    # Capabilities and requests, compared in both directions
    Known(
        "a claim without a verb",
        own(capabilities=replace(ABLE, can_pause=True)),
        CLAIMS,
        ("can_pause",),
    ),
    Known(
        "a verb without its claim",
        own(capabilities=replace(ABLE, has_events=False)),
        CLAIMS,
        ("has_events",),
    ),
    Known(
        "a claim with an empty verb",
        own(checkpoints=lambda *_: []),
        "test_checkpoints_are_by_step",
    ),
    Known(
        "deploying without its claim",
        own(capabilities=replace(ABLE, can_deploy=False)),
        CLAIMS,
        ("can_deploy",),
    ),
    Known(
        "a hyperparameter is claimed and never sent",
        body(lambda made: made.pop("max_seq_length", None)),
        "test_every_declared_hyperparameter_is_sent",
    ),
    Known(
        "another default is sent than the plan shows",
        body(lambda made: made.update(learning_rate=5e-4)),
        "test_a_plan_shows_the_defaults_that_are_sent",
    ),
    Known(
        "what is not taken is dropped without a word",
        own(plan=plan_keeps_quiet),
        "test_an_unknown_hyperparameter_is_refused_by_name",
    ),
    Known(
        "an option of the provider is lost",
        body(lambda made: made.pop("wandb_project_name", None)),
        "test_provider_options_are_sent_unchanged",
    ),
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.mark.parametrize("known", KNOWN, ids=lambda one: one.summary)
def test_the_kit_goes_red(known: Known, clock, tmp_path, monkeypatch) -> None:
    with TogetherDouble(clock=clock, keys=[KEY]) as double:
        world = world_of(double, tmp_path / "sound")
        getattr(BackendConformance(), known.check)(world, *known.given)  # it is green without it
        world.backend.close()

        world = world_of(double, tmp_path / "planted", known.plant(monkeypatch))
        with pytest.raises(RED):
            getattr(BackendConformance(), known.check)(world, *known.given)
        world.backend.close()
