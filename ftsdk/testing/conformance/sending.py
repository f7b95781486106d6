"""Checks of what a create call carries: all that was asked, as it was asked, and under its name."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from ftsdk.backends.capabilities import Range
from ftsdk.errors import Unsupported
from ftsdk.testing.conformance.world import World, at
from ftsdk.types.spec import LoRA

_VALUES: Mapping[str, Any] = {
    "epochs": 2, "max_steps": 30, "batch_size": 8, "gradient_accumulation_steps": 4,
    "max_length": 4096, "learning_rate": 3e-4, "learning_rate_multiplier": 2.5,
    "warmup_ratio": 0.25, "schedule": "linear", "weight_decay": 0.125, "max_grad_norm": 0.5,
    "beta": 0.375,
}  # fmt: skip
_WHOLE: Mapping[str, Any] = {
    "learning_rate_multiplier": 3, "warmup_ratio": 1, "weight_decay": 1, "max_grad_norm": 2,
}  # fmt: skip


def place_of(world: World, name: str) -> str:
    """Where in the create body it arrives; what the record claims, the world must be able to tell."""
    assert name in world.sent_as, (
        f"the record claims {name}: say in World.sent_as where in the create body it arrives"
    )
    return world.sent_as[name]


def sent(world: World, **changes: Any) -> Mapping[str, Any]:
    """The body of the create call for such a job. Skips where nothing can be looked at."""
    if world.wire is None:
        pytest.skip("no wire to look at")
    world.fresh(**changes)
    return world.wire.sent()


def taken(able: Mapping[str, Range], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the record takes, with one learning rate and for supervised tuning."""
    given = {
        name: value
        for name, value in values.items()
        if name in able and name != "beta" and able[name].fault(value) is None
    }
    if "learning_rate" in given:
        given.pop("learning_rate_multiplier", None)
    return given


class SendingChecks:
    """What the record claims is held against the body that was sent."""

    def test_every_hyperparameter_of_the_record_arrives(self, world: World) -> None:
        """Portkey sent the batch size as the rank; brainwires left out what it claimed to take."""
        able = world.backend.capabilities.hyperparameters
        given = taken(able, _VALUES)
        body = sent(world, hyperparameters={**world.hyperparameters, **given})
        for name, value in given.items():
            assert at(body, place_of(world, name)) == value, name

    def test_a_plan_tells_the_defaults_that_are_sent(self, world: World) -> None:
        """What the body leaves out is the service's own default."""
        body = sent(world)
        able = world.backend.capabilities.hyperparameters
        for field in world.backend.plan(world.spec()).fields:
            if field.name in able and field.name in world.sent_as:
                told = at(body, world.sent_as[field.name])
                assert told is None or told == field.sent, field.name

    def test_every_unit_of_the_learning_rate_arrives_as_itself(self, world: World) -> None:
        """Portkey sent a multiplier as an absolute rate."""
        able = world.backend.capabilities.hyperparameters
        units = [name for name in ("learning_rate", "learning_rate_multiplier") if name in able]
        if not units or world.wire is None:
            pytest.skip("no learning rate, or no wire to look at")
        assert len({place_of(world, name) for name in units}) == len(units), "two units, one place"
        for name in units:
            body = sent(world, hyperparameters={**world.hyperparameters, name: _VALUES[name]})
            assert at(body, place_of(world, name)) == _VALUES[name], name

    def test_whole_numbers_arrive(self, world: World) -> None:
        """Kiln sent only values that were `float`, so `1` never left."""
        given = taken(world.backend.capabilities.hyperparameters, _WHOLE)
        if not given:
            pytest.skip("the record takes no fraction that could be a whole number")
        body = sent(world, hyperparameters={**world.hyperparameters, **given})
        for name, value in given.items():
            assert at(body, place_of(world, name)) == value, name

    def test_beta_arrives_with_its_method(self, world: World) -> None:
        if "beta" not in world.backend.capabilities.hyperparameters:
            pytest.skip("the record does not claim beta")
        given = {**world.hyperparameters, "beta": _VALUES["beta"]}
        body = sent(world, method="dpo", hyperparameters=given)
        assert at(body, place_of(world, "beta")) == _VALUES["beta"]

    def test_every_method_of_the_record_arrives(self, world: World) -> None:
        """LiteLLM had no field for it; brainwires claimed DPO and sent none of it."""
        methods = sorted(world.backend.capabilities.methods)
        if len(methods) < 2:
            pytest.skip("there is one method")
        told = [at(sent(world, method=one), place_of(world, "method")) for one in methods]
        assert all(told)
        assert len({str(one) for one in told}) == len(methods), told

    def test_what_is_asked_of_the_adapter_arrives_or_is_refused(self, world: World) -> None:
        """Brainwires dropped the adapter; Portkey changed its rank."""
        if "lora" not in world.backend.capabilities.adapters:
            pytest.skip("the record does not claim lora")
        if world.wire is None:
            pytest.skip("no wire to look at")
        for name, adapter, value in (
            ("rank", LoRA(rank=8), 8), ("alpha", LoRA(alpha=24), 24),
            ("dropout", LoRA(dropout=0.0625), 0.0625),
            ("target_modules", LoRA(target_modules=("q_proj", "v_proj")), "q_proj"),
        ):  # fmt: skip
            if name in world.sent_as:
                told = at(sent(world, adapter=adapter), world.sent_as[name])
                assert told == value or (isinstance(value, str) and value in told), name
                continue
            with world.watched() as seen, pytest.raises(Unsupported) as caught:
                world.backend.plan(world.spec(adapter=adapter))
            assert seen == []
            assert name in str(caught.value)

    def test_the_seed_arrives_or_is_refused(self, world: World) -> None:
        if not world.backend.capabilities.takes_seed:
            with world.watched() as seen, pytest.raises(Unsupported, match="seed"):
                world.backend.plan(world.spec(seed=11))
            assert seen == []
            return
        assert at(sent(world, seed=11), place_of(world, "seed")) == 11

    def test_validation_rows_arrive(self, world: World) -> None:
        """Kiln left them out on Fireworks without a word."""
        if not world.backend.capabilities.takes_validation:
            pytest.skip("the client refuses validation rows for it")
        assert at(sent(world, validation=True), place_of(world, "validation"))

    def test_options_of_the_provider_go_through_untouched(self, world: World) -> None:
        if not world.untouched:
            pytest.skip("this world names no option of the provider")
        body = sent(world, provider_options={**world.provider_options, **world.untouched})
        assert {name: body.get(name) for name in world.untouched} == dict(world.untouched)

    def test_the_callers_objects_stay_as_they_are(self, world: World) -> None:
        """LiteLLM took keys out of the caller's dictionary."""
        options = copy.deepcopy({**world.provider_options, **world.untouched})
        request = world.request(provider_options=options)
        before = copy.deepcopy((options, request.spec.model_dump()))
        world.backend.plan(request.spec)
        world.backend.submit(request)
        world.backend.find(request)
        assert (options, request.spec.model_dump()) == before
