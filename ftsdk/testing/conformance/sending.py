"""Checks of the create call's body: everything asked for, unchanged, under its own name."""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ftsdk.backends.capabilities import Range
from ftsdk.errors import Unsupported
from ftsdk.testing.conformance.record import example
from ftsdk.testing.conformance.world import World, at, numbered_rows
from ftsdk.types.spec import LoRA

_VALUES: Mapping[str, Any] = {
    "epochs": 2, "max_steps": 30, "batch_size": 24, "gradient_accumulation_steps": 4,
    "max_length": 4096, "learning_rate": 3e-4, "learning_rate_multiplier": 2.5,
    "warmup_ratio": 0.25, "schedule": "linear", "weight_decay": 0.125, "max_grad_norm": 0.5,
    "beta": 0.375,
}  # fmt: skip
"""No two are equal, and none is a setting of the adapter or a seed: a value in the wrong field is
noticed."""
_ADAPTER: Mapping[str, Any] = {
    "rank": 40, "alpha": 56, "dropout": 0.0625, "target_modules": ("q_proj", "v_proj"),
}  # fmt: skip
_SEED = 1109
_WHOLE: Mapping[str, Any] = {
    "learning_rate_multiplier": 3, "warmup_ratio": 1, "weight_decay": 5, "max_grad_norm": 2,
}  # fmt: skip
_MANY_ROWS = 150


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
    """Return the values the backend accepts, with one learning rate and for supervised tuning.

    A value that is the backend's default is replaced: whether it was sent could not be seen.
    """
    given = {
        name: example(name, able[name]) if value == able[name].default else value
        for name, value in values.items()
        if name in able and name != "beta" and able[name].fault(value) is None
    }
    if "learning_rate" in given:
        given.pop("learning_rate_multiplier", None)
    return given


def _assert_arrived(body: Mapping[str, Any], path: str, name: str, value: Any) -> None:
    """Assert that the value is at its path; one of several module names is enough."""
    value_sent = at(body, path)
    if isinstance(value, tuple):
        assert value[0] in value_sent, name
    else:
        assert value_sent == value, name


def _leaves(value: Any) -> Iterator[Any]:
    """Yield every value inside a body that is neither an object nor a list."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


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
        for name, value in _ADAPTER.items():
            adapter = LoRA(**{name: value})
            if name in world.sent_as:
                _assert_arrived(sent(world, adapter=adapter), path_of(world, name), name, value)
                continue
            with world.watched() as seen, pytest.raises(Unsupported) as caught:
                world.backend.plan(world.spec(adapter=adapter))
            assert seen == []
            assert name in str(caught.value)

    def test_the_seed_is_sent_or_refused(self, world: World) -> None:
        if not world.backend.capabilities.takes_seed:
            with world.watched() as seen, pytest.raises(Unsupported, match="seed"):
                world.backend.plan(world.spec(seed=_SEED))
            assert seen == []
            return
        for seed in (_SEED, 0):
            assert at(sent(world, seed=seed), path_of(world, "seed")) == seed

    def test_validation_rows_are_sent(self, world: World) -> None:
        """Kiln left them out on Fireworks without saying so."""
        if not world.backend.capabilities.takes_validation:
            pytest.skip("the client refuses validation rows for it")
        body = sent(world, validation=True)
        value_sent = at(body, path_of(world, "validation"))
        assert value_sent
        assert list(_leaves(body)).count(value_sent) == 1, (
            "the training rows are the validation rows"
        )

    def test_settings_keep_to_their_own_fields(self, world: World) -> None:
        """Portkey sent the batch size as the rank, which is not seen where both are 8."""
        able = world.backend.capabilities
        given = taken(able.hyperparameters, _VALUES)
        changes: dict[str, Any] = {"hyperparameters": {**world.hyperparameters, **given}}
        if able.takes_seed:
            changes["seed"] = given["seed"] = _SEED
        settings = {name: value for name, value in _ADAPTER.items() if name in world.sent_as}
        if "lora" in able.adapters and settings:
            changes["adapter"] = LoRA(**settings)
            given |= settings
        body = sent(world, **changes)
        for name, value in given.items():
            _assert_arrived(body, path_of(world, name), name, value)

    @pytest.mark.parametrize("what", ["train", "validation", "pairs"])
    def test_every_row_is_uploaded(self, world: World, what: str) -> None:
        """Ten rows of ten thousand make a job that looks the same in every other way."""
        able = world.backend.capabilities
        if world.double is None:
            pytest.skip("this world has no double")
        if (what == "validation" and not able.takes_validation) or (
            what == "pairs" and "dpo" not in able.methods
        ):
            pytest.skip(f"the backend takes no {what} rows")
        mark = f"{what}-{secrets.token_hex(4)}"  # new bytes, so that nothing is uploaded already
        rows = numbered_rows(world.pairs if what == "pairs" else world.rows, _MANY_ROWS, mark)
        changes: dict[str, Any] = {"method": "dpo" if what == "pairs" else "sft"}
        changes["validation" if what == "validation" else "rows"] = rows
        with world.watched_bodies() as seen:
            world.fresh(**changes)
        arrived = b"\n".join(body for _, _, body in seen)
        texts = json.dumps(rows[0]).count(f"{mark}-0.")
        missing = [
            at for at in range(_MANY_ROWS) if arrived.count(f"{mark}-{at}.".encode()) < texts
        ]
        assert missing == [], f"{len(missing)} of {_MANY_ROWS} rows did not arrive whole"

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
