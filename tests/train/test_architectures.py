"""Every causal architecture of the installed transformers, as a tiny model with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train import architectures


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Eight architectures; all of them with `--long`."""
    if "model_type" in metafunc.fixturenames:
        everything = metafunc.config.getoption("--long")
        chosen = architectures.names() if everything else architectures.CI
        metafunc.parametrize("model_type", chosen)


def test_a_tiny_model_is_written_and_loads(model_type: str, tmp_path: Path) -> None:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    try:
        architectures.write(model_type, tmp_path)
    except architectures.CannotBuild as error:
        pytest.skip(str(error))
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.architectures == [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type]]
    weights = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    assert 0 < weights < 40_000_000
    assert (tmp_path / "chat_template.jinja").is_file()
