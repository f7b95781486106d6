"""Checks of the create call's body: everything asked for, unchanged, under its own name."""

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


def path_of(world: World, name: str) -> str:
    """Return where in the create body `name` is; the world must say so for what is declared."""
    assert name in world.sent_as, (
        f"the backend declares {name}: say in World.sent_as where in the create body it is"
    )
    return world.sent_as[name]


def sent(world: World, **changes: Any) -> Mapping[str, Any]:
    """Return the body of the create call for such a job. Skips where there is no double."""
    if world.double is None:
        pytest.skip("this world has no double")
    world.fresh(**changes)
    return world.double.sent()


def taken(able: Mapping[str, Range], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values the backend accepts, with one learning rate and for supervised tuning."""
    given = {
        name: value
        for name, value in values.items()
        if name in able and name != "beta" and able[name].fault(value) is None
    }
    if "learning_rate" in given:
        given.pop("learning_rate_multiplier", None)
    return given


class SendingChecks:
    """What the backend declares, compared with the body that was sent."""

    def test_every_declared_hyperparameter_is_sent(self, world: World) -> None:
        """Portkey sent the batch size as the rank; brainwires left out what it claimed to take."""
        able = world.backend.capabilities.hyperparameters
        given = taken(able, _VALUES)
        body = sent(world, hyperparameters={**world.hyperparameters, **given})
        for name, value in given.items():
            assert at(body, path_of(world, name)) == value, name

    def test_a_plan_shows_the_defaults_that_are_sent(self, world: World) -> None:
        """What the body leaves out is the service's own default."""
        body = sent(world)
        able = world.backend.capabilities.hyperparameters
        for field in world.backend.plan(world.spec()).fields:
            if field.name in able and field.name in world.sent_as:
                value_sent = at(body, world.sent_as[field.name])
                assert value_sent is None or value_sent == field.sent, field.name

    def test_each_unit_of_the_learning_rate_is_sent_as_itself(self, world: World) -> None:
        """Portkey sent a multiplier as an absolute rate."""
        able = world.backend.capabilities.hyperparameters
        units = [name for name in ("learning_rate", "learning_rate_multiplier") if name in able]
        if not units or world.double is None:
            pytest.skip("no learning rate, or no double")
        assert len({path_of(world, name) for name in units}) == len(units), "two units, one field"
        for name in units:
            body = sent(world, hyperparameters={**world.hyperparameters, name: _VALUES[name]})
            assert at(body, path_of(world, name)) == _VALUES[name], name

    def test_whole_numbers_are_sent(self, world: World) -> None:
        """Kiln sent only values that were `float`, so `1` never left."""
        given = taken(world.backend.capabilities.hyperparameters, _WHOLE)
        if not given:
            pytest.skip("it accepts no fraction that could be a whole number")
        body = sent(world, hyperparameters={**world.hyperparameters, **given})
        for name, value in given.items():
            assert at(body, path_of(world, name)) == value, name

    def test_beta_is_sent_with_its_method(self, world: World) -> None:
        if "beta" not in world.backend.capabilities.hyperparameters:
            pytest.skip("the backend does not declare beta")
        given = {**world.hyperparameters, "beta": _VALUES["beta"]}
        body = sent(world, method="dpo", hyperparameters=given)
        assert at(body, path_of(world, "beta")) == _VALUES["beta"]

    def test_every_declared_method_is_sent(self, world: World) -> None:
        """LiteLLM had no field for it; brainwires claimed DPO and sent none of it."""
        methods = sorted(world.backend.capabilities.methods)
        if len(methods) < 2:
            pytest.skip("there is one method")
        value_sent = [at(sent(world, method=one), path_of(world, "method")) for one in methods]
        assert all(value_sent)
        assert len({str(one) for one in value_sent}) == len(methods), value_sent

    def test_adapter_settings_are_sent_or_refused(self, world: World) -> None:
        """Brainwires dropped the adapter; Portkey changed its rank."""
        if "lora" not in world.backend.capabilities.adapters:
            pytest.skip("the backend does not declare lora")
        if world.double is None:
            pytest.skip("this world has no double")
        for name, adapter, value in (
            ("rank", LoRA(rank=8), 8), ("alpha", LoRA(alpha=24), 24),
            ("dropout", LoRA(dropout=0.0625), 0.0625),
            ("target_modules", LoRA(target_modules=("q_proj", "v_proj")), "q_proj"),
        ):  # fmt: skip
            if name in world.sent_as:
                value_sent = at(sent(world, adapter=adapter), world.sent_as[name])
                assert value_sent == value or (isinstance(value, str) and value in value_sent), name
                continue
            with world.watched() as seen, pytest.raises(Unsupported) as caught:
                world.backend.plan(world.spec(adapter=adapter))
            assert seen == []
            assert name in str(caught.value)

    def test_the_seed_is_sent_or_refused(self, world: World) -> None:
        if not world.backend.capabilities.takes_seed:
            with world.watched() as seen, pytest.raises(Unsupported, match="seed"):
                world.backend.plan(world.spec(seed=11))
            assert seen == []
            return
        assert at(sent(world, seed=11), path_of(world, "seed")) == 11

    def test_validation_rows_are_sent(self, world: World) -> None:
        """Kiln left them out on Fireworks without saying so."""
        if not world.backend.capabilities.takes_validation:
            pytest.skip("the client refuses validation rows for it")
        assert at(sent(world, validation=True), path_of(world, "validation"))

    def test_provider_options_are_sent_unchanged(self, world: World) -> None:
        if not world.untouched:
            pytest.skip("this world names no option of the provider")
        body = sent(world, provider_options={**world.provider_options, **world.untouched})
        assert {name: body.get(name) for name in world.untouched} == dict(world.untouched)

    def test_the_callers_objects_are_not_changed(self, world: World) -> None:
        """LiteLLM took keys out of the caller's dictionary."""
        options = copy.deepcopy({**world.provider_options, **world.untouched})
        request = world.request(provider_options=options)
        before = copy.deepcopy((options, request.spec.model_dump()))
        world.backend.plan(request.spec)
        world.backend.submit(request)
        world.backend.find(request)
        assert (options, request.spec.model_dump()) == before
