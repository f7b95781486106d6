"""Names of base models: suggestions, built-ins and hub ids."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsdk.backends.local.models import hub
from ftsdk.backends.local.models.resolve import is_pulled, known_models, resolve_model
from ftsdk.errors import (
    Unavailable,
    UnknownModel,
)
from tests.unit.backends.local.models.model_files import (
    BUILT_IN,
)


@pytest.mark.parametrize(
    "wrong", ["smolm2-135m", "SmolLM2-135M-Instruct", "smollm2", "SMOLLM2-135M"]
)
def test_a_wrong_name_gets_a_suggestion(wrong: str, home: Path) -> None:
    with pytest.raises(UnknownModel, match=f"did you mean {BUILT_IN}"):
        resolve_model(wrong, home=home)
    assert not is_pulled(wrong, home=home)


def test_the_hub_id_of_a_built_in_names_the_built_in(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "cached_snapshot", lambda name: None)
    with pytest.raises(Unavailable, match=f"or use the built-in {BUILT_IN}"):
        resolve_model("HuggingFaceTB/SmolLM2-135M-Instruct", home=home)


def test_a_name_similar_to_none_lists_the_built_ins(home: Path) -> None:
    with pytest.raises(UnknownModel, match=BUILT_IN) as caught:
        resolve_model("q", home=home)
    assert "did you mean" not in caught.value.hint


def test_a_built_in_that_is_not_here_says_how_to_get_it(home: Path) -> None:
    assert [known.name for known in known_models()] == [BUILT_IN]
    assert not is_pulled(BUILT_IN, home=home)
    with pytest.raises(Unavailable) as caught:
        resolve_model(BUILT_IN, home=home)
    assert caught.value.hint == f"run `ftsdk models pull {BUILT_IN}`"
    assert not home.exists()


@pytest.mark.parametrize(
    ("name", "is_id"),
    [
        ("org/name", True),
        ("org/na.me-1_x@v1.0", True),
        ("org/name@refs/pr/3", True),
        ("name", False),
        ("../name", False),
        ("org/../name", False),
        ("a/b/c", False),
        ("/abs/name", False),
        ("org/name\n", False),
    ],
)
def test_the_shape_of_a_hub_id(name: str, is_id: bool) -> None:
    assert hub.is_hub_id(name) is is_id
