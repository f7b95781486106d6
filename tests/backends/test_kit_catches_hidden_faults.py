"""Faults that stay hidden on a young account, at the usual sizes, or until the provider is away.

Each is planted in a sound backend, and the check for it goes red. The faults of other tools are in
`test_kit_catches_faults.py`; these are of the same kinds, where two values agree by chance, a table is
compared with itself, or only the first page is read.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("together", reason="faults are planted in the backend for Together")
pytest.importorskip("openai", reason="faults are planted in the backend for OpenAI")

from ftsdk.backends.fake import FakeBackend
from ftsdk.backends.hosted import response_checks
from ftsdk.backends.openai import NebiusBackend, OpenAIBackend
from ftsdk.backends.openai.transport import Transport as OpenAITransport
from ftsdk.backends.together import TogetherBackend, job_mapping
from ftsdk.backends.together.files import Files
from ftsdk.errors import BackendError, FtsdkError, NotReady
from ftsdk.testing.conformance import BackendConformance, World
from ftsdk.testing.conformance import outages as outage_checks
from ftsdk.testing.conformance.world import LabDouble
from ftsdk.testing.lab import Fault, Reply
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.testing.lab.together.double import TogetherDouble
from ftsdk.types.chat import ChatRequest
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.job import RemoteJob
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock
from tests.backends import test_fake as fake_kit
from tests.backends import test_openai as openai_kit
from tests.backends.test_kit_catches_faults import RED, Known, Plant, body, own, words
from tests.backends.test_together_kit import KEY, START, STATUSES, world_of

FINAL_BILL = Cost(basis=CostBasis.BILLED, low=Decimal(4), high=Decimal(4), source="planted")
NEGATIVE = Cost(basis=CostBasis.QUOTED, low=Decimal(-4), high=Decimal(-4), source="planted")


# --- verbs with a fault -------------------------------------------------------------------------


def own_of(backend: Any, verb: str, change: Callable[..., Any]) -> Any:
    """A class of that backend whose verb returns `change(its result, self, *its arguments)`."""
    honest = getattr(backend, verb)

    def planted(self: Any, *args: Any, **facts: Any) -> Any:
        return change(honest(self, *args, **facts), self, *args)

    return type("Planted", (backend,), {verb: planted})


def changed(verb: str, change: Callable[..., Any]) -> Plant:
    """The verb returns something else: `change(its result, self, *its arguments)`."""
    return lambda _: own_of(TogetherBackend, verb, change)


def swallows(verb: str, instead: Callable[..., Any]) -> Plant:
    """The verb takes an outage for an answer."""
    honest = getattr(TogetherBackend, verb)

    def planted(self: Any, *args: Any, **facts: Any) -> Any:
        try:
            found = honest(self, *args, **facts)
            return list(found) if verb in ("list", "get_many") else found  # these read as they go
        except FtsdkError:
            return instead(self, *args)

    return own(**{verb: planted})


def while_running(**update: Any) -> Plant:
    """A job that runs already has what only an ended one has."""
    return changed(
        "get",
        lambda job, *_: (
            job if job.status is not JobStatus.RUNNING else job.model_copy(update=update)
        ),
    )


def first(count: int) -> Callable[..., Any]:
    return lambda found, *_: list(itertools.islice(found, count))


def find_on_the_first_page(self: Any, request: Any) -> list[RemoteJob]:
    return [job for job in self.list(limit=20) if job.tag == request.tag]


def chat_deploys(self: Any, handle: Any, messages: Any, options: Any) -> Any:
    if not handle.callable_now:
        self.deploy(handle)
    return TogetherBackend.chat(self, handle, messages, options)


def chat_without_options(self: Any, handle: Any, messages: Any, options: Any) -> Any:
    return TogetherBackend.chat(self, handle, messages, {})


def chat_with_the_last_turn(self: Any, handle: Any, messages: Any, options: Any) -> Any:
    return TogetherBackend.chat(self, handle, messages[-1:], options)


def raw_with_headers(job: RemoteJob, self: Any, *_: Any) -> RemoteJob:
    headers = {"authorization": f"Bearer {self.transport.key().reveal(self.base_url)}"}
    return job.model_copy(update={"raw": {**job.raw, "headers": headers}})


def the_rank_of_the_batch(made: dict[str, Any]) -> None:
    if isinstance(made["batch_size"], int):
        made["training_type"] = {**made["training_type"], "lora_r": made["batch_size"]}


def unmasked(patch: pytest.MonkeyPatch) -> type[TogetherBackend]:
    patch.setattr(response_checks, "mask_known", lambda content: content)
    return TogetherBackend


def upload_ten(patch: pytest.MonkeyPatch) -> type[TogetherBackend]:
    honest = Files.ready

    def ready(self: Any, rows: Any, **facts: Any) -> Any:
        few = type(rows).load([dict(row) for row in itertools.islice(rows, 10)])
        return honest(self, few, **facts)

    patch.setattr(Files, "ready", ready)
    return TogetherBackend


def no_timeout(patch: pytest.MonkeyPatch) -> type[TogetherBackend]:
    honest = TogetherBackend.__init__

    def init(self: Any, context: Any) -> None:
        honest(self, context)
        self.transport._context = type(context)(
            home=context.home, clock=context.clock, env=context.env, options={"timeout_s": 10_000}
        )

    patch.setattr(outage_checks, "_SHORT_PATIENCE_S", 3.0)
    return type("Planted", (TogetherBackend,), {"__init__": init})


def the_base_is(name: str) -> Plant:
    return changed("model", lambda handle, *_: handle.model_copy(update={"base_model": name}))


OUTAGE = "test_an_outage_is_raised_by_every_method"
LIST, FIND = "test_list_reads_every_page", "test_find_reads_every_page"
MANY, RUN = "test_get_many_reads_every_page", "test_a_run_is_read_to_its_last_page"
NOTHING_FINAL = "test_nothing_is_final_before_the_end"
ROWS, TIMEOUT = "test_every_row_is_uploaded", "test_a_silent_provider_blocks_nothing"
OPTION = "test_a_chat_option_is_sent_or_refused"

HIDDEN = (
    # Only the first page
    Known("list reads twenty", changed("list", first(20)), LIST, (3,)),
    Known("list reads twenty, in pages of 20", changed("list", first(20)), LIST, (20,)),
    Known("find looks at twenty", own(find=find_on_the_first_page), FIND, (20,)),
    Known("get_many reads twenty", own(get_many=lambda self, jobs: [one for one in self.list(limit=20) if one.provider_job_id in jobs]), MANY, (3,)),
    Known(
        "a limit is a page",
        own(list=lambda self, limit=None: TogetherBackend.list(self, limit=limit and min(limit, 20))),
        "test_a_limit_may_lie_on_any_page",
        (21,),
    ),
    *(Known(f"{part} stop at {most}", changed(part, first(most)), RUN, (part,))
      for part in ("events", "metrics", "checkpoints", "logs") for most in (3,)),
    *(Known(f"{part} stop at 20", changed(part, first(20)), RUN, (part,)) for part in ("events", "logs")),
    # An outage is an answer
    Known("an outage is no events", swallows("events", lambda *_: []), OUTAGE, ("events",)),
    Known("an outage is no metrics", swallows("metrics", lambda *_: []), OUTAGE, ("metrics",)),
    Known("an outage is no checkpoints", swallows("checkpoints", lambda *_: []), OUTAGE, ("checkpoints",)),
    Known("an outage is an empty log", swallows("logs", lambda *_: []), OUTAGE, ("logs",)),
    Known("an outage is cancelled", swallows("cancel", lambda *_: None), OUTAGE, ("cancel",)),
    Known("an outage is deleted", swallows("delete", lambda *_: None), OUTAGE, ("delete",)),
    Known(
        "an outage is no model yet",
        swallows("model", lambda self, *_: (_ for _ in ()).throw(self.not_ready("unknown"))),
        OUTAGE,
        ("model",),
    ),
    Known("an outage is undeployed", swallows("undeploy", lambda _, handle: handle), OUTAGE, ("undeploy",)),
    Known("an outage leaves jobs out", swallows("get_many", lambda *_: []), OUTAGE, ("get_many",)),
    # Secrets
    Known("raw has the request's headers", changed("get", raw_with_headers), "test_no_secret_in_records"),
    Known("raw repeats what the reply repeats", unmasked, "test_no_secret_in_records"),
    # Values that agree by chance
    Known("the rank is the batch size", body(the_rank_of_the_batch), "test_settings_keep_to_their_own_fields"),
    Known("the seed 0 is no seed", body(lambda made: made.get("random_seed") or made.pop("random_seed", None)),
          "test_the_seed_is_sent_or_refused"),
    Known("the training rows are the validation rows",
          body(lambda made: made.get("validation_file") and made.update(validation_file=made["training_file"])),
          "test_validation_rows_are_sent"),
    Known("ten rows are uploaded", upload_ten, ROWS, ("train",)),
    Known("ten pairs are uploaded", upload_ten, ROWS, ("pairs",)),
    Known("ten rows of validation are uploaded", upload_ten, ROWS, ("validation",)),
    # Before the end
    Known("a running job has an end", while_running(finished_at=START + dt.timedelta(seconds=3)), NOTHING_FINAL),
    Known("a running job is billed", while_running(cost=FINAL_BILL), NOTHING_FINAL),
    Known("a running job has a model", while_running(result_model="my-model"), NOTHING_FINAL),
    Known("a cost is negative", changed("get", lambda job, *_: job.model_copy(update={"cost": NEGATIVE})), NOTHING_FINAL),
    Known("a cost in the list is negative",
          changed("list", lambda jobs, *_: [job.model_copy(update={"cost": NEGATIVE}) for job in jobs]), NOTHING_FINAL),
    Known("every status but two has an end",
          changed("get", lambda job, *_: job if job.raw_status in ("pending", "queued") else
                  job.model_copy(update={"finished_at": START + dt.timedelta(days=1)})),
          "test_every_status_has_a_right_record"),
    Known("asked to stop is stopped", words(cancel_requested=JobStatus.CANCELLED), "test_a_final_status_is_the_last"),
    # Results
    Known("chat deploys", own(chat=chat_deploys), "test_chat_starts_nothing"),
    *(Known(f"chat drops {name}", own(chat=chat_without_options), OPTION, (name,))
      for name in ("max_tokens", "temperature", "seed", "top_p")),
    Known("chat sends the last turn", own(chat=chat_with_the_last_turn), "test_chat_sends_the_whole_conversation"),
    Known("another base model", the_base_is("meta-llama/Llama-3"), "test_a_result_names_its_base_model"),
    Known("the usual base model", the_base_is("Qwen/Qwen3.5-9B"), "test_another_base_model_is_named_as_well"),
    # Silence
    Known("no timeout on the create call", no_timeout, TIMEOUT, ("create",)),
    Known("no timeout on reads", no_timeout, TIMEOUT, ("get",)),
    Known("no timeout on uploads", no_timeout, TIMEOUT, ("upload",)),
)  # fmt: skip


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.mark.parametrize("known", HIDDEN, ids=lambda one: one.summary)
def test_the_kit_goes_red(known: Known, clock, tmp_path, monkeypatch) -> None:
    with TogetherDouble(clock=clock, keys=[KEY]) as double:
        world = world_of(double, tmp_path / "sound")
        getattr(BackendConformance(), known.check)(world, *known.given)  # it is green without it
        world.backend.close()

        world = world_of(double, tmp_path / "planted", known.plant(monkeypatch))
        with pytest.raises(RED):
            getattr(BackendConformance(), known.check)(world, *known.given)
        world.backend.close()


# --- pages, where the provider has them ---------------------------------------------------------


@pytest.fixture
def paged_world(clock, tmp_path):
    """A world of Nebius, whose lists come in pages and cannot be filtered by a tag."""
    facts = {"model": "meta-llama/Llama-3.1-8B-Instruct"}
    with OpenAIDouble(clock=clock, keys=[openai_kit.KEY], service="nebius") as double:
        yield lambda name: openai_kit.world_of(NebiusBackend, double, tmp_path / name, **facts)


def read_one_page(patch: pytest.MonkeyPatch, action: str) -> None:
    """Lists whose action ends so are read to the end of their first page."""
    honest = OpenAITransport.pages

    def pages(self: Any, asked: str, *args: Any, **facts: Any) -> Any:
        found = honest(self, asked, *args, **facts)
        return itertools.islice(found, 1) if asked.endswith(action) else found

    patch.setattr(OpenAITransport, "pages", pages)


@pytest.mark.parametrize(
    ("action", "check", "given"),
    [
        ("/jobs", LIST, 3),
        ("/jobs", LIST, 20),
        ("/jobs", FIND, 3),
        ("/jobs", FIND, 20),
        ("/jobs", "test_a_limit_may_lie_on_any_page", 7),
        ("/events", RUN, "events"),
        ("/events", RUN, "logs"),
        ("/checkpoints", RUN, "checkpoints"),
    ],
)
def test_one_page_is_not_enough(action, check, given, paged_world, monkeypatch) -> None:
    sound = paged_world("sound")
    getattr(BackendConformance(), check)(sound, given)
    sound.backend.close()
    read_one_page(monkeypatch, action)
    planted = paged_world("planted")
    with pytest.raises(RED):
        getattr(BackendConformance(), check)(planted, given)
    planted.backend.close()


# --- the fake, which has no double ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "change", "check", "given"),
    [
        ("list", first(20), LIST, (3,)),
        ("find", lambda *_: [], FIND, (3,)),
        ("events", first(9), RUN, ("events",)),
        ("checkpoints", first(1), RUN, ("checkpoints",)),
        ("get", lambda job, *_: job.model_copy(update={"finished_at": START}), NOTHING_FINAL, ()),
        ("get", lambda job, *_: job.model_copy(update={"cost": FINAL_BILL}), NOTHING_FINAL, ()),
        ("get", lambda job, *_: job.model_copy(update={"cost": NEGATIVE}), NOTHING_FINAL, ()),
        (
            "model",
            lambda model, *_: model.model_copy(update={"base_model": "other"}),
            "test_a_result_names_its_base_model",
            (),
        ),
    ],
)
def test_the_fake_goes_red(verb, change, check, given, tmp_path) -> None:
    sound = fake_kit.world_of(tmp_path / "sound")
    getattr(BackendConformance(), check)(sound, *given)
    planted = own_of(FakeBackend, verb, change)
    with pytest.raises(RED):
        getattr(BackendConformance(), check)(fake_kit.world_of(tmp_path / "p", planted), *given)


# --- batches and stored chats ---------------------------------------------------------------------


def batch_again(self: Any, handle: Any, requests: Any, *, tag: str) -> Any:
    requests = list(requests)
    try:
        return OpenAIBackend.batch(self, handle, requests, tag=tag)
    except FtsdkError:
        return OpenAIBackend.batch(self, handle, requests, tag=tag)


def batch_without_tag(self: Any, handle: Any, requests: Any, *, tag: str) -> Any:
    return dataclasses.replace(OpenAIBackend.batch(self, handle, requests, tag="ftsdk"), tag=tag)


def batch_without_options(self: Any, handle: Any, requests: Any, *, tag: str) -> Any:
    plain = [ChatRequest(one.id, one.messages) for one in requests]
    return OpenAIBackend.batch(self, handle, plain, tag=tag)


def batch_unchecked(self: Any, handle: Any, requests: Any, *, tag: str) -> Any:
    once = {one.id[:64]: ChatRequest(one.id[:64], one.messages) for one in requests}
    return OpenAIBackend.batch(self, handle, once.values(), tag=tag)


def batch_was_not_sent(self: Any, handle: Any, requests: Any, *, tag: str) -> Any:
    try:
        return OpenAIBackend.batch(self, handle, requests, tag=tag)
    except FtsdkError as error:
        error.submitted = "no"
        raise


def find_on_a_page_of_batches(self: Any, tag: str) -> Any:
    listing = self.transport.pages(
        "GET /batches", lambda client, query: client.batches.with_raw_response.list(**query)
    )
    return [self.get_batch(raw["id"]) for raw in next(listing)
            if raw["metadata"]["ftsdk_tag"] == tag][::-1]  # fmt: skip


def chats_of_a_page(self: Any, **facts: Any) -> Any:
    listing = self.transport.pages(
        "GET /chat/completions",
        lambda client, query: client.chat.completions.with_raw_response.list(**query),
    )
    return itertools.islice(OpenAIBackend.stored_chats(self, **facts), len(next(listing)))


def outcomes_swapped(self: Any, batch_id: str) -> Any:
    found = list(OpenAIBackend.batch_outcomes(self, batch_id))
    return [
        dataclasses.replace(one, answer=other.answer)
        for one, other in zip(found, found[1:] + found[:1], strict=True)
    ]


def outcomes_early(self: Any, batch_id: str) -> Any:
    try:
        return OpenAIBackend.batch_outcomes(self, batch_id)
    except NotReady:
        return []


def instead_of_an_error(verb: str, value: Any) -> dict[str, Any]:
    """The verb takes an outage for an answer."""
    honest = getattr(OpenAIBackend, verb)

    def planted(self: Any, *args: Any, **facts: Any) -> Any:
        try:
            return honest(self, *args, **facts)
        except BackendError:
            return value

    return {verb: planted}


def changed_result(verb: str, change: Callable[..., Any]) -> dict[str, Any]:
    honest = getattr(OpenAIBackend, verb)

    def planted(self: Any, *args: Any, **facts: Any) -> Any:
        return change(honest(self, *args, **facts))

    return {verb: planted}


LOST = "test_a_batch_is_created_once_and_found_again"
TAGGED = "test_a_batch_is_found_on_every_page"
OUTCOMES = "test_every_outcome_of_a_batch_is_its_own_requests"
AWAY = "test_an_outage_is_no_batch"
STORED = "test_stored_chats_are_read_to_the_last_page"
CHATS: dict[str, tuple[dict[str, Any], str, tuple[Any, ...]]] = {
    "a lost batch is sent again": ({"batch": batch_again}, LOST, (0,)),
    "a lost batch was not sent": ({"batch": batch_was_not_sent}, LOST, (1,)),
    "the tag stays here": ({"batch": batch_without_tag}, LOST, (2,)),
    "a refused batch is sent again": ({"batch": batch_again}, "test_a_refused_batch_was_not_submitted", ()),
    "ids are made to fit": ({"batch": batch_unchecked}, "test_a_batch_that_cannot_be_right_is_refused_before_it_is_sent", ()),
    "find reads one page of 3": ({"find_batches": find_on_a_page_of_batches}, TAGGED, (3,)),
    "find reads one page of 20": ({"find_batches": find_on_a_page_of_batches}, TAGGED, (20,)),
    "find gives the newest first": (changed_result("find_batches", lambda found: found[::-1]), TAGGED, (3,)),
    "find gives any batch": ({"find_batches": lambda self, tag: self._batches.find("twice-3")}, TAGGED, (3,)),
    "an outcome is dropped": (changed_result("batch_outcomes", lambda found: list(found)[:-1]), OUTCOMES, ()),
    "an outcome comes twice": (changed_result("batch_outcomes", lambda found: [*(all_ := list(found)), all_[0]]), OUTCOMES, ()),
    "outcomes are by position": ({"batch_outcomes": outcomes_swapped}, OUTCOMES, ()),
    "a batch drops its options": ({"batch": batch_without_options}, OUTCOMES, ()),
    "no outcomes before the end": ({"batch_outcomes": outcomes_early}, "test_a_batch_has_no_outcomes_before_its_end", ()),
    "a cancel cancels nothing": ({"cancel_batch": lambda self, batch_id: None},
                                 "test_a_cancelled_batch_ends_and_has_what_was_done", ()),
    "what was done is dropped": (changed_result("batch_outcomes", lambda found: list(found)[1:]),
                                 "test_a_cancelled_batch_ends_and_has_what_was_done", ()),
    "an outage is no batch found": (instead_of_an_error("find_batches", []), AWAY, ("find_batches",)),
    "an outage is no batch": (instead_of_an_error("get_batch", None), AWAY, ("get_batch",)),
    "an outage is no outcome": (instead_of_an_error("batch_outcomes", []), AWAY, ("batch_outcomes",)),
    "an outage is cancelled": (instead_of_an_error("cancel_batch", None), AWAY, ("cancel_batch",)),
    "stored chats stop at 3": ({"stored_chats": chats_of_a_page}, STORED, (3,)),
    "stored chats stop at 20": ({"stored_chats": chats_of_a_page}, STORED, (20,)),
    "stored chats come oldest first": (changed_result("stored_chats", lambda found: list(found)[::-1]), STORED, (3,)),
    "stored chats of every model": ({"stored_chats": lambda self, model=None, **facts: OpenAIBackend.stored_chats(self, **facts)}, STORED, (20,)),
    "a limit is a page": ({"stored_chats": lambda self, limit=None, **facts: OpenAIBackend.stored_chats(self, limit=limit and 3, **facts)}, STORED, (3,)),
}  # fmt: skip


@pytest.mark.parametrize("summary", CHATS)
def test_batches_and_stored_chats_go_red(summary: str, clock, tmp_path) -> None:
    verbs, check, given = CHATS[summary]
    with OpenAIDouble(clock=clock, keys=[openai_kit.KEY]) as double:
        sound = openai_kit.world_of(OpenAIBackend, double, tmp_path / "sound")
        getattr(BackendConformance(), check)(sound, *given)
        sound.backend.close()
    with OpenAIDouble(clock=clock, keys=[openai_kit.KEY]) as double:
        cls = type("Planted", (OpenAIBackend,), verbs)
        planted = openai_kit.world_of(cls, double, tmp_path / "planted")
        with pytest.raises(RED):
            getattr(BackendConformance(), check)(planted, *given)
        planted.backend.close()


# --- what the world says ------------------------------------------------------------------------


@pytest.fixture
def double(clock):
    with TogetherDouble(clock=clock, keys=[KEY]) as double:
        yield double


def refused(check: str, world: World) -> str:
    """Run the check, which must fail; return why."""
    with pytest.raises(AssertionError) as caught:
        getattr(BackendConformance(), check)(world)
    world.backend.close()
    return str(caught.value)


def test_the_backends_own_table_is_not_expected_of_it(double, tmp_path) -> None:
    check = "test_the_expected_statuses_are_not_the_backends_table"
    world = world_of(double, tmp_path)
    getattr(BackendConformance(), check)(world)
    world.statuses = job_mapping.STATUSES
    assert "job_mapping.STATUSES" in refused(check, world)


def test_a_copy_of_a_wrong_table_does_not_help(double, tmp_path, monkeypatch) -> None:
    wrong = {**STATUSES, "stopping": JobStatus.CANCELLED}
    monkeypatch.setattr(job_mapping, "STATUSES", wrong)
    world = world_of(double, tmp_path)
    world.statuses = dict(wrong)
    BackendConformance().test_every_known_status_is_mapped(world)  # it agrees with itself
    assert "stopping" in refused("test_a_status_on_its_way_is_not_final", world)


# --- a provider that calls its fields otherwise --------------------------------------------------


class Renaming(TogetherDouble):
    """Together, if it said `state` for `status`."""

    def _handle(self, request: Any) -> Any:
        reply = super()._handle(request)
        if "/fine-tunes" in request.path and isinstance(reply.body, dict):
            reply.body.update(_renamed(reply.body, "status", "state"))
            reply.body.pop("status", None)
            reply.body["data"] = [
                _renamed(one, "status", "state") if isinstance(one, dict) else one
                for one in reply.body.get("data") or []
            ]
        return reply


def _renamed(facts: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return {new if name == old else name: value for name, value in facts.items()}


class ReadsState(TogetherBackend):
    """The same provider's backend, and a correct one."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        honest = self.transport.json_of

        def json_of(reply: Any, action: str) -> dict[str, Any]:
            found = _renamed(honest(reply, action), "state", "status")
            rows = found.get("data")
            if isinstance(rows, list):
                found["data"] = [
                    _renamed(one, "state", "status") if isinstance(one, dict) else one
                    for one in rows
                ]
            return found

        self.transport.json_of = json_of  # type: ignore[method-assign]  # that is the provider


def test_the_author_names_the_providers_fields(clock, tmp_path) -> None:
    check = "test_a_missing_status_is_unknown"
    with Renaming(clock=clock, keys=[KEY]) as double:
        world = world_of(double, tmp_path, ReadsState)
        assert isinstance(world.double, LabDouble)
        world.double.status_field = "state"
        getattr(BackendConformance(), check)(world)
        BackendConformance().test_succeeded_means_that_the_model_exists(world)
        world.double.status_field = "status"  # as if nobody had said so: the message does
        assert "status_field" in refused(check, world)


def test_the_doubles_fields_may_lie_inside_another(double) -> None:
    reply = Reply(200, {"job": {"id": "a", "state": "egg"}, "id": "request"})
    assert Fault("drop", field="job.id").reply(reply).body == {
        "job": {"state": "egg"},
        "id": "request",
    }
    assert Fault("set", field="job.state", value="x").reply(reply).body["job"]["state"] == "x"
    assert reply.body["job"] == {"id": "a", "state": "egg"}  # the double's own is as it was


def test_every_module_of_the_kit_explains_its_assertions() -> None:
    names = [name for name in sys.modules if name.startswith("ftsdk.testing.conformance.")]
    assert {"answers", "course", "faults", "jobs", "outages", "pages", "record", "sending"} <= {
        name.rpartition(".")[2] for name in names
    }
