"""What single training methods take here: their options, defaults and rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.base import Context
from ftsdk.backends.local import LocalBackend
from ftsdk.backends.local.method_options import MethodOptions, method_faults
from ftsdk.backends.local.options import RunHyperparameters
from ftsdk.errors import Unsupported
from ftsdk.types.spec import METHODS, Hyperparameters, JobSpec


@pytest.fixture
def local(tmp_path: Path) -> LocalBackend:
    return LocalBackend(Context(home=tmp_path))


def job(method: str, hyperparameters: dict[str, Any] | None = None, **options: Any) -> JobSpec:
    return JobSpec.build(
        provider="local",
        model="a-model",
        method=method,
        hyperparameters=hyperparameters or {},
        provider_options=options,
    )


WRONG: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("sft", {"beta": 0.1}, {}, "beta=0.1"),
    ("sft", {}, {"loss_type": "ipo"}, "loss_type='ipo' is for method 'dpo'"),
    ("orpo", {}, {"rpo_alpha": 0.5}, "rpo_alpha=0.5 is for method 'dpo'"),
    ("dpo", {}, {"packing": True}, "packing=True is for method 'sft'"),
    ("dpo", {}, {"desirable_weight": 2.0}, "desirable_weight=2.0 is for method 'kto'"),
    ("dpo", {}, {"label_smoothing": 0.1}, "label_smoothing=0.1 is for loss_type='robust'"),
]


@pytest.mark.parametrize(("method", "hyperparameters", "options", "said"), WRONG)
def test_a_setting_of_another_method_is_refused_by_name(
    local: LocalBackend, method: str, hyperparameters: Any, options: Any, said: str
) -> None:
    with pytest.raises(Unsupported) as caught:
        local.check(job(method, hyperparameters, **options))
    assert said in caught.value.what


def test_every_option_belongs_to_one_method() -> None:
    changed = {
        "loss_type": "robust", "label_smoothing": 0.1, "rpo_alpha": 1.0, "desirable_weight": 2.0,
        "undesirable_weight": 2.0, "packing": True,
    }  # fmt: skip
    assert set(changed) == set(MethodOptions.model_fields)
    for name, value in changed.items():
        options = MethodOptions.model_validate({"loss_type": "robust", name: value})
        fits = [m for m in METHODS if not any(name in s for s in method_faults(m, None, options))]
        assert len(fits) == 1, name


def test_each_method_has_its_own_defaults() -> None:
    def complete(method: Any, **given: Any) -> RunHyperparameters:
        return RunHyperparameters.of(Hyperparameters(**given), method)

    assert complete("sft") == RunHyperparameters()
    assert complete("sft").beta is None
    for method in ("dpo", "kto", "orpo"):
        assert (complete(method).learning_rate, complete(method).beta) == (2e-5, 0.1)
        assert complete(method, beta=0.4, learning_rate=1e-3).beta == 0.4
        assert complete(method, learning_rate=1e-3).learning_rate == 1e-3


def test_the_record_has_the_rows_of_each_method() -> None:
    able = LocalBackend.capabilities
    assert set(able.formats_by_method) == able.methods == set(METHODS)
    assert able.formats_by_method["dpo"] == {"preference"}
    assert able.formats_by_method["sft"] == {"chat", "text"}
