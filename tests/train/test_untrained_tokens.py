"""Special tokens that a base model never trained are said in the plan, before what else it leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra `local`")

from safetensors.torch import load_file, save_file  # noqa: E402

import ftsdk  # noqa: E402
from ftsdk.dataset import inspect  # noqa: E402
from ftsdk.dataset.tokenize.embedding_rows import untrained_tokens  # noqa: E402
from tests.train import tiny  # noqa: E402

NAME = "model.embed_tokens.weight"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.write_model(tmp_path / "model")


def change(model: Path, rows: dict[int, float], dtype: torch.dtype = torch.float32) -> None:
    """Write constant rows into the embedding."""
    (path,) = model.glob("*.safetensors")
    weights = load_file(path)
    for row, value in rows.items():
        weights[NAME][row] = value
    save_file({name: w.to(dtype) for name, w in weights.items()}, path, metadata={"format": "pt"})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rows_of_zeros_and_equal_rows_were_never_trained(model: Path, dtype: torch.dtype) -> None:
    assert untrained_tokens(model, range(1, 300)) == []  # row 0 is the padding
    change(model, {1: 0.0, 7: 1e-30, 20: 0.5, 21: 0.5, 30: 0.25}, dtype)
    assert untrained_tokens(model, [1, 2, 7, 20, 21, 30, 100_000]) == [1, 7, 20, 21]
    assert untrained_tokens(model / "nowhere", [1]) == []


def test_a_plan_says_it_first_and_only_where_an_adapter_is_trained(
    model: Path, tmp_path: Path
) -> None:
    rows = [*tiny.rows(12), *tiny.rows(1)]
    with ftsdk.Client(home=tmp_path) as client:
        given = {"provider": "local", "model": str(model)}
        assert "FT512" not in [n.code for n in client.plan(rows, **given).data]
        change(model, {1: 0.0})
        found = client.plan(rows, **given).data
        assert found[0].code == "FT512"
        assert "'<|im_start|>'" in found[0].message
        assert len(found) > 1
        whole = client.plan(rows, adapter=None, **given).data
        assert "FT512" not in [n.code for n in whole]


def test_an_inspection_says_it_too(model: Path) -> None:
    change(model, {1: 0.0, 2: 0.0})
    (found,) = [f for f in inspect(tiny.rows(3), model=str(model)).findings if f.code == "FT512"]
    assert "'<|im_start|>', '<|im_end|>'" in found.message
    assert found.line == 0
