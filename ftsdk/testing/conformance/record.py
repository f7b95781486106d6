"""Checks of capabilities and plans: no key, no network, nothing sent."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import pytest

from ftsdk.backends.base import Backend
from ftsdk.backends.capabilities import Capabilities, FindBy, Range
from ftsdk.backends.registry import backend_names, load_backend
from ftsdk.errors import FtsdkError, SpecError, Unsupported
from ftsdk.testing.conformance.world import World
from ftsdk.types.chat import ChatRequest
from ftsdk.types.cost import CostBasis
from ftsdk.types.model import ModelHandle, ModelKind
from ftsdk.types.spec import METHODS, PAIR_METHODS, Hyperparameters, LoRA

_METHODS: Mapping[str, tuple[str, ...]] = {
    "can_cancel": ("cancel",),
    "can_pause": ("pause",),
    "can_resume": ("resume",),
    "can_delete": ("delete",),
    "can_deploy": ("deploy", "undeploy"),
    "can_download": ("download",),
    "can_chat": ("chat",),
    "can_chat_many": ("chat_many",),
    "can_batch": ("batch", "find_batches", "get_batch", "batch_outcomes", "cancel_batch"),
    "can_read_files": ("read_file", "job_files"),
    "has_stored_chats": ("stored_chats",),
    "has_events": ("events",),
    "has_metrics": ("metrics",),
    "has_checkpoints": ("checkpoints",),
    "has_logs": ("logs",),
    "lists_models": ("account_models",),
    "reports_model_ends": ("model_ends",),
}
_ADAPTERS: Mapping[str, Any] = {"lora": LoRA(), "nf4": LoRA(quantize="nf4"), "full": None}
_OUT = {"low": -1.0, "high": 1.0}


_NEEDED_BY: Mapping[str, Mapping[str, Any]] = {
    "min_lr_ratio": {"schedule": "cosine_with_min_lr"},
    "schedule_cycles": {"schedule": "cosine_with_restarts"},
    "decay_ratio": {"schedule": "warmup_stable_decay"},
}
"""What a job must also have for a hyperparameter to have a meaning."""


def example(name: str, allowed: Range) -> Any:
    """Return a value within the range, of the right type, and not the default."""
    if allowed.choices:
        return next(one for one in reversed(allowed.choices) if one != allowed.default)
    whole = name in (
        "epochs",
        "max_steps",
        "batch_size",
        "max_length",
        "gradient_accumulation_steps",
        "warmup_steps",
        "schedule_cycles",
    )
    low = 1 if allowed.low is None else allowed.low
    value: float = max(low, 2 if whole else low + 0.1)
    if value == allowed.default:
        value += 1 if whole else 0.05
    if allowed.high is not None:
        value = min(value, allowed.high)
    return int(value) if whole else value


def refused(world: World, **changes: Any) -> Unsupported:
    """Return the refusal of such a job, which must come before anything is sent."""
    with world.watched() as seen, pytest.raises(Unsupported) as caught:
        world.backend.plan(world.spec(**changes))
    assert seen == [], "something was sent before the refusal"
    assert caught.value.submitted in (None, "no")
    return caught.value


class RecordChecks:
    """What a backend declares, and whether it complies."""

    # --- capabilities ---

    def test_name_is_lower_case_letters(self, world: World) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9_-]{0,30}", world.backend.name)

    def test_it_is_found_by_its_entry_point(self, world: World) -> None:
        if not world.is_registered:
            pytest.skip("this backend is not registered")
        assert world.backend.name in backend_names()
        assert load_backend(world.backend.name) is type(world.backend)

    def test_capabilities_are_frozen(self, world: World) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            world.backend.capabilities.poll_s = 0.1  # type: ignore[misc]  # that is the check

    def test_methods_adapters_and_formats_are_known(self, world: World) -> None:
        able = world.backend.capabilities
        assert able.methods
        assert able.methods <= set(METHODS)
        assert able.adapters
        assert able.adapters <= {"lora", "nf4", "full"}
        assert able.formats
        assert able.formats <= {"chat", "preference", "text", "tokens"}
        if able.formats_by_method:
            assert set(able.formats_by_method) == able.methods
            assert frozenset().union(*able.formats_by_method.values()) == able.formats
        assert bool(PAIR_METHODS & able.methods) <= ("preference" in able.formats)

    def test_hyperparameters_are_known_fields(self, world: World) -> None:
        assert set(world.backend.capabilities.hyperparameters) <= set(Hyperparameters.model_fields)

    def test_ranges_are_consistent(self, world: World) -> None:
        for name, allowed in world.backend.capabilities.hyperparameters.items():
            if allowed.low is not None and allowed.high is not None:
                assert allowed.low <= allowed.high, name
            assert allowed.fault(example(name, allowed)) is None, name
            if isinstance(allowed.default, int | float):
                assert allowed.fault(allowed.default) is None, name

    def test_limits_are_positive(self, world: World) -> None:
        able = world.backend.capabilities
        assert able.poll_s > 0
        assert able.min_rows >= 1
        assert able.max_rows is None or able.max_rows >= able.min_rows
        assert able.max_file_bytes is None or able.max_file_bytes > 0

    def test_a_lost_create_can_be_found_or_repeated(self, world: World) -> None:
        able = world.backend.capabilities
        assert able.find_by is not FindBy.NONE or able.resend_is_safe or able.note

    def test_key_variables_are_variable_names(self, world: World) -> None:
        for name in world.backend.capabilities.key_variables:
            assert re.fullmatch(r"[A-Z][A-Z0-9_]*", name)

    def test_every_flag_of_a_method_has_its_check(self) -> None:
        flags = {
            field.name
            for field in dataclasses.fields(Capabilities)
            if field.name.startswith(("can_", "has_", "lists_", "reports_"))
        }
        assert flags == set(_METHODS)

    @pytest.mark.parametrize("claim", sorted(_METHODS))
    def test_flags_match_the_methods(self, world: World, claim: str) -> None:
        handle = ModelHandle(
            kind=ModelKind.HOSTED, provider=world.backend.name, id="m", base_model=world.model
        )
        messages = [{"role": "user", "content": "x"}]
        requests = [ChatRequest("r1", tuple(messages))]
        arguments: dict[str, tuple[Any, ...]] = {
            "account_models": (),
            "batch": (handle, requests),
            "chat": (handle, messages, {}),
            "chat_many": (handle, requests),
            "deploy": (handle,),
            "download": (handle, world.home / "nowhere"),
            "model_ends": (),
            "stored_chats": (),
            "undeploy": (handle,),
        }
        for method in _METHODS[claim]:
            own = getattr(type(world.backend), method) is not getattr(Backend, method)
            if getattr(world.backend.capabilities, claim):
                assert own, f"{claim} is declared, but {method} is not implemented"
                continue
            named = {"tag": "t"} if method == "batch" else {}
            with world.watched() as seen, pytest.raises(FtsdkError) as caught:
                getattr(world.backend, method)(*arguments.get(method, (world.unknown_id,)), **named)
            assert isinstance(caught.value, Unsupported), f"{method} works without {claim}"
            assert [one for one in seen if one[0] != "GET"] == []

    def test_construction_sends_nothing(self, world: World) -> None:
        with world.watched() as seen:
            world.restarted()
        assert seen == []

    # --- plans ---

    def test_a_plan_sends_nothing_and_names_what_is_planned(self, world: World) -> None:
        with world.watched() as seen:
            plan = world.backend.plan(world.spec())
        assert [one for one in seen if one[0] != "GET"] == []
        assert (plan.provider, plan.model) == (world.backend.name, world.model)

    def test_a_plan_shows_every_hyperparameter_as_sent(self, world: World) -> None:
        for name, allowed in world.backend.capabilities.hyperparameters.items():
            value = example(name, allowed)
            given = {**world.hyperparameters, **_NEEDED_BY.get(name, {}), name: value}
            if name == "learning_rate":
                given.pop("learning_rate_multiplier", None)
            if name == "learning_rate_multiplier":
                given.pop("learning_rate", None)
            method = "dpo" if name == "beta" else "sft"
            plan = world.backend.plan(world.spec(hyperparameters=given, method=method))
            found = [field for field in plan.fields if field.name == name]
            assert len(found) == 1, name
            assert found[0].asked == value, name
            assert found[0].sent == value, name

    def test_whole_numbers_are_not_dropped(self, world: World) -> None:
        """Kiln sent only values that were `float`, so `1` never left."""
        for name in ("learning_rate", "learning_rate_multiplier"):
            allowed = world.backend.capabilities.hyperparameters.get(name)
            if allowed is None or allowed.fault(1) is not None:
                continue
            plan = world.backend.plan(world.spec(hyperparameters={name: 1}))
            assert plan.sent()[name] == 1

    def test_an_unknown_hyperparameter_is_refused_by_name(self, world: World) -> None:
        able = world.backend.capabilities.hyperparameters
        others = {
            "learning_rate": 1e-4, "learning_rate_multiplier": 2.0, "beta": 0.1, "max_steps": 3,
            "gradient_accumulation_steps": 2, "max_length": 64, "warmup_ratio": 0.1,
            "schedule": "linear", "weight_decay": 0.1, "max_grad_norm": 1.0, "batch_size": 2,
            "warmup_steps": 3, "min_lr_ratio": 0.1, "schedule_cycles": 2, "decay_ratio": 0.2,
        }  # fmt: skip
        left = {name: value for name, value in others.items() if name not in able}
        if not left:
            pytest.skip("it accepts every hyperparameter")
        for name, value in left.items():
            error = refused(world, hyperparameters={**_NEEDED_BY.get(name, {}), name: value})
            words = name.replace("_", " ")
            assert name in str(error) or words in str(error), name

    def test_a_value_out_of_range_is_refused_by_name(self, world: World) -> None:
        tried = 0
        for name, allowed in world.backend.capabilities.hyperparameters.items():
            if allowed.high is None or allowed.choices:
                continue
            whole = isinstance(example(name, allowed), int)
            value = int(allowed.high) + 1 if whole else allowed.high * 2 + 1
            try:
                method = "dpo" if name == "beta" else "sft"
                error = refused(world, hyperparameters={name: value}, method=method)
            except SpecError:
                continue  # no job can have such a value
            assert name in str(error)
            tried += 1
        if not tried:
            pytest.skip("no hyperparameter has an upper limit")

    def test_an_unsupported_method_is_refused(self, world: World) -> None:
        left = set(METHODS) - world.backend.capabilities.methods
        if not left:
            pytest.skip("it has every method")
        assert min(left) in str(refused(world, method=min(left)))

    def test_an_unsupported_adapter_is_refused(self, world: World) -> None:
        left = set(_ADAPTERS) - world.backend.capabilities.adapters
        if not left:
            pytest.skip("it has every kind of training")
        for kind in left:
            assert kind in str(refused(world, adapter=_ADAPTERS[kind]))

    def test_all_refusals_come_at_once(self, world: World) -> None:
        able = world.backend.capabilities
        wrong = {
            name: value
            for name, value in (("max_grad_norm", 1.0), ("weight_decay", 0.1), ("max_length", 64),
                                ("learning_rate_multiplier", 2.0), ("warmup_ratio", 0.1))
            if name not in able.hyperparameters
        }  # fmt: skip
        if len(wrong) < 2:
            pytest.skip("it refuses fewer than two of these")
        text = str(refused(world, hyperparameters=wrong))
        assert all(name in text for name in wrong)

    def test_units_of_the_learning_rate_are_not_exchanged(self, world: World) -> None:
        """Portkey sent a multiplier as an absolute rate: a harmless 2 became a rate of 2.0."""
        able = world.backend.capabilities.hyperparameters
        for name, other in (
            ("learning_rate", "learning_rate_multiplier"),
            ("learning_rate_multiplier", "learning_rate"),
        ):
            if name in able:
                sent = world.backend.plan(world.spec(hyperparameters={name: 0.75})).sent()
                assert sent[name] == 0.75
                assert sent.get(other) != 0.75

    def test_an_estimate_never_raises_and_is_a_range(self, world: World) -> None:
        request = world.request()
        cost = world.backend.estimate(request.spec, request.train)
        assert cost.basis in set(CostBasis)
        for amount in (cost.low, cost.high, cost.storage_usd, cost.hosting_usd_per_hour):
            assert amount is None or amount >= 0
        if cost.low is not None and cost.high is not None:
            assert cost.low <= cost.high
        else:
            assert cost.basis is CostBasis.UNKNOWN

    def test_an_unknown_price_is_not_invented(self, world: World) -> None:
        """Brainwires used a default for every model it did not know."""
        request = world.request()
        spec = world.spec(model="nobody/knows-this-model")
        cost = world.backend.estimate(spec, request.train)
        if world.backend.capabilities.price == "free":
            assert cost.high == 0
        else:
            assert cost.basis is CostBasis.UNKNOWN
            assert cost.high is None

    def test_an_estimate_without_rows_does_not_raise(self, world: World) -> None:
        world.backend.estimate(world.spec())
