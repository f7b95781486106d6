"""Settings of an old job are taken over, chosen where they do not convert, or named as lost."""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.backends.fake import FakeBackend
from ftsdk.backends.openai import AzureBackend
from ftsdk.backends.together.backend import TogetherBackend
from ftsdk.errors import UsageError
from ftsdk.migration.migrate_options import Target, migration_options_of, targets_of
from ftsdk.migration.old_model import OldModel
from ftsdk.migration.settings import LORA_RATE, settings_of

OLD = OldModel(
    provider="openai",
    name="ft:gpt-4.1-mini:acme::1",
    base_model="gpt-4.1-mini",
    hyperparameters={"epochs": 3, "batch_size": 2, "learning_rate_multiplier": 1.8},
    seed=7,
)


def changes(able: Any, **asked: Any) -> tuple[dict[str, str], dict[str, Any]]:
    found, new = settings_of(OLD, able, asked, None)
    return {one.name: one.change for one in found}, new


def test_a_multiplier_is_never_turned_into_a_rate() -> None:
    found, new = changes(TogetherBackend.capabilities)
    assert found["learning_rate_multiplier"] == "dropped"
    assert found["learning_rate"] == "chosen"
    assert found["batch_size"] == "chosen"
    assert new == {"epochs": 3, "learning_rate": LORA_RATE}


def test_the_same_kind_of_service_takes_everything_over() -> None:
    found, new = changes(AzureBackend.capabilities)
    assert set(found.values()) == {"same"}
    assert new == dict(OLD.hyperparameters)


def test_what_the_caller_gives_takes_precedence() -> None:
    found, new = changes(TogetherBackend.capabilities, epochs=1, learning_rate=1e-4)
    assert found["epochs"] == "set"
    assert found["learning_rate"] == "set"
    assert new == {"epochs": 1, "learning_rate": 1e-4}


def test_a_value_out_of_range_is_chosen_again() -> None:
    big = OldModel("openai", "a", "b", hyperparameters={"epochs": 5000})
    found, new = settings_of(big, FakeBackend.capabilities, {}, None)
    assert found[0].change == "chosen"
    assert "at most 1000" in found[0].why
    assert "epochs" not in new


def test_every_setting_is_shown_with_its_unit() -> None:
    found, _ = settings_of(OLD, TogetherBackend.capabilities, {}, 3)
    shown = {one.name: (one.old, one.new) for one in found}
    assert shown["epochs"] == ("3 times over the rows", "3 times over the rows")
    assert shown["learning_rate"] == ("–", "0.0002 absolute")
    assert shown["seed"] == ("7", "3")


def test_targets_are_read_and_named_once() -> None:
    found = targets_of(["together:Qwen/Qwen3-8B, local", "local"])
    assert found == (Target("together", "Qwen/Qwen3-8B"), Target("local"))
    for wrong in ("together:", ":model", "a,,b"):
        with pytest.raises(UsageError, match="A target is given as"):
            targets_of(wrong)


def test_a_migration_without_a_place_to_go_is_refused() -> None:
    with pytest.raises(UsageError, match="Nothing says where to go"):
        migration_options_of("openai", {})
    with pytest.raises(UsageError, match="cannot be named"):
        migration_options_of("openai", {"to": "local", "name": "../elsewhere"})
    with pytest.raises(UsageError, match="margin"):
        migration_options_of("openai", {"to": "local", "margin": 3})
