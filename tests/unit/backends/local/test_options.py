"""What `provider_options` of `local` may hold, and that nothing starts on a value that makes no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.base import Context
from ftsdk.backends.local import LocalBackend
from ftsdk.backends.local.options import HYPERPARAMETERS, LocalOptions, complete
from ftsdk.backends.local.runs.crash_report import HINT_MEMORY
from ftsdk.errors import SpecError, Unsupported
from ftsdk.types.spec import JobSpec


def spec_with(**options: Any) -> JobSpec:
    return JobSpec.build(provider="local", model="a-model", provider_options=options)


@pytest.fixture
def local(tmp_path: Path) -> LocalBackend:
    return LocalBackend(Context(home=tmp_path))


@pytest.mark.parametrize(
    "options",
    [
        {"device": "gpu"},
        {"dtype": "float16"},
        {"threads": 0},
        {"threads": True},
        {"checkpoint_every_s": 0},
        {"keep_checkpoints": "two"},
        {"eval_every_steps": -1},
        {"cancel_grace_s": -1},
        {"truncate": "perhaps"},
    ],
)
def test_a_bad_value_is_refused_by_name(local: LocalBackend, options: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        local.max_length_for(spec_with(**options))
    assert next(iter(options)) in caught.value.what


def test_an_unknown_option_is_refused_with_those_there_are(local: LocalBackend) -> None:
    with pytest.raises(Unsupported, match="checkpoint_evry") as caught:
        local.max_length_for(spec_with(checkpoint_evry=3))
    assert "checkpoint_every_steps" in caught.value.hint


def test_what_a_mend_advises_is_there() -> None:
    assert "the option gradient_checkpointing" in HINT_MEMORY
    assert LocalOptions(gradient_checkpointing=True).gradient_checkpointing


def test_asking_for_steps_turns_the_clock_off() -> None:
    told = complete({"options": {"checkpoint_every_steps": 50}})["options"]
    assert (told["checkpoint_every_steps"], told["checkpoint_every_s"]) == (50, None)
    assert complete({})["options"]["checkpoint_every_s"] == 120
    both = {"checkpoint_every_steps": 50, "checkpoint_every_s": 9}
    assert complete({"options": both})["options"]["checkpoint_every_s"] == 9


def test_what_is_left_open_is_what_the_record_says() -> None:
    told = complete({"hyperparameters": {"epochs": None, "learning_rate": 1e-3}})["hyperparameters"]
    assert told["learning_rate"] == 1e-3
    assert told["epochs"] == HYPERPARAMETERS["epochs"].default
    assert set(told) == set(LocalBackend.capabilities.hyperparameters)
