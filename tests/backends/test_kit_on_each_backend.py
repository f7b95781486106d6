"""The same faults, planted in every hosted backend that has them: the kit goes red on each.

That the worlds are green without a fault is what the kit's own runs show.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

pytest.importorskip("openai")
pytest.importorskip("together")
pytest.importorskip("httpx")

from ftsdk.backends.openai import AzureBackend, CrusoeBackend, NebiusBackend, OpenAIBackend
from ftsdk.backends.replicate import ReplicateBackend
from ftsdk.backends.together import TogetherBackend
from ftsdk.errors import FtsdkError
from ftsdk.testing.conformance import BackendConformance
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.testing.lab.replicate.double import ReplicateDouble
from ftsdk.testing.lab.together.double import TogetherDouble
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.util.clock import ManualClock
from tests.backends import test_openai, test_replicate_kit, test_together_kit
from tests.backends.test_kit_catches_faults import RED

START = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
BILL = Cost(basis=CostBasis.BILLED, low=Decimal(4), high=Decimal(4), source="planted")
LESS = Cost(basis=CostBasis.QUOTED, low=Decimal(-4), high=Decimal(4), source="planted")


def openai_shaped(cls: Any, service: str, **facts: Any) -> Any:
    double = OpenAIDouble(clock=ManualClock(START), keys=[test_openai.KEY], service=service)
    return cls, double, lambda home, planted: test_openai.world_of(planted, double, home, **facts)


def together() -> Any:
    double = TogetherDouble(clock=ManualClock(START), keys=[test_together_kit.KEY])
    return TogetherBackend, double, lambda home, cls: test_together_kit.world_of(double, home, cls)


def replicate() -> Any:
    double = ReplicateDouble(clock=ManualClock(START), keys=[test_replicate_kit.KEY])
    return (
        ReplicateBackend,
        double,
        lambda home, cls: test_replicate_kit.world_of(double, home, cls),
    )


BACKENDS: dict[str, Callable[[], Any]] = {
    "openai": lambda: openai_shaped(OpenAIBackend, "openai"),
    "azure": lambda: openai_shaped(AzureBackend, "azure"),
    "nebius": lambda: openai_shaped(
        NebiusBackend, "nebius", model="meta-llama/Llama-3.1-8B-Instruct"
    ),
    "crusoe": lambda: openai_shaped(CrusoeBackend, "crusoe", model="Qwen/Qwen3-8B"),
    "together": together,
    "replicate": replicate,
}


# --- the faults: a verb, and what it returns instead -------------------------------------------


def first(count: int) -> Callable[..., Any]:
    return lambda call, *_: list(itertools.islice(call(), count))


def swallow(instead: Any) -> Callable[..., Any]:
    def fault(call: Any, *_: Any) -> Any:
        try:
            return call()
        except FtsdkError:
            return instead

    return fault


def while_open(**update: Any) -> Callable[..., Any]:
    def fault(call: Any, *_: Any) -> Any:
        job = call()
        return job if job.status.is_final else job.model_copy(update=update)

    return fault


def always(**update: Any) -> Callable[..., Any]:
    return lambda call, *_: call().model_copy(update=update)


def find_among_twenty(call: Any, self: Any, request: Any) -> Any:
    return [job for job in self.list(limit=20) if job.tag == request.tag]


def ten_rows(call: Any, self: Any, request: Any) -> Any:
    few = type(request.train).load([dict(row) for row in itertools.islice(request.train, 10)])
    return call(dataclasses.replace(request, train=few))


def headers_in_raw(call: Any, self: Any, *_: Any) -> Any:
    job = call()
    key = self.transport.key().reveal(self.base_url)
    return job.model_copy(update={"raw": {**job.raw, "headers": {"authorization": key}}})


def without_options(call: Any, self: Any, handle: Any, messages: Any, options: Any) -> Any:
    return call(handle, messages, {})


OUTAGE = "test_an_outage_is_raised_by_every_method"
NOTHING_FINAL = "test_nothing_is_final_before_the_end"
FAULTS = {
    "list reads twenty": ("list", first(20), "test_list_reads_every_page", (3,)),
    "find looks at twenty": ("find", find_among_twenty, "test_find_reads_every_page", (20,)),
    "events stop at three": ("events", first(3), "test_a_run_is_read_to_its_last_page", ("events",)),
    "logs stop at three": ("logs", first(3), "test_a_run_is_read_to_its_last_page", ("logs",)),
    "an outage is no events": ("events", swallow([]), OUTAGE, ("events",)),
    "an outage is cancelled": ("cancel", swallow(None), OUTAGE, ("cancel",)),
    "an outage is a model": ("model", swallow(None), OUTAGE, ("model",)),
    "an open job has an end": ("get", while_open(finished_at=START), NOTHING_FINAL, ()),
    "an open job is billed": ("get", while_open(cost=BILL), NOTHING_FINAL, ()),
    "an open job has a result": ("get", while_open(result_model="m"), NOTHING_FINAL, ()),
    "a cost is negative": ("get", always(cost=LESS), NOTHING_FINAL, ()),
    "ten rows are uploaded": ("submit", ten_rows, "test_every_row_is_uploaded", ("train",)),
    "the key is in raw": ("get", headers_in_raw, "test_no_secret_in_records", ()),
    "another base model": ("model", always(base_model="x"), "test_a_result_names_its_base_model", ()),
    "chat drops its options": ("chat", without_options, "test_a_chat_option_is_sent_or_refused", ("max_tokens",)),
}  # fmt: skip


def planted_in(cls: Any, verb: str, fault: Callable[..., Any]) -> Any:
    """A class of the backend with the fault; `fault(call, self, *arguments)` replaces the verb."""
    honest = getattr(cls, verb)

    def method(self: Any, *args: Any, **facts: Any) -> Any:
        def call(*others: Any) -> Any:
            return honest(self, *(others or args), **facts)

        return fault(call, self, *args)

    return type("Planted", (cls,), {verb: method})


@pytest.mark.parametrize("name", sorted(BACKENDS))
@pytest.mark.parametrize("summary", FAULTS)
def test_the_kit_goes_red(name: str, summary: str, tmp_path) -> None:
    verb, fault, check, given = FAULTS[summary]
    cls, double, world_of = BACKENDS[name]()
    with double:
        world = world_of(tmp_path, planted_in(cls, verb, fault))
        with pytest.raises(RED):
            getattr(BackendConformance(), check)(world, *given)
        world.backend.close()
