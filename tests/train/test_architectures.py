"""Every causal architecture of the installed transformers, as a tiny model with random weights.

Eight of them, and one config of each kind that changes what happens between tokens; all with
`--long`.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.models.row_paths import measured_paths
from tests.train import architectures, row_paths


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Eight architectures and the variants; all architectures with `--long`."""
    if "architecture" in metafunc.fixturenames:
        everything = metafunc.config.getoption("--long")
        short = (*architectures.CI, *architectures.VARIANTS)
        metafunc.parametrize("architecture", architectures.names() if everything else short)


def test_a_step_equals_plain_transformers_or_is_refused(architecture: str, tmp_path: Path) -> None:
    """Loss and gradients of our path are those of each row alone; the path is the recorded one."""
    found = row_paths.measure(architecture, tmp_path)
    assert found.equal, found
    assert found.path == "flat" or found.reason
    release, recorded = measured_paths()
    if release == version("transformers"):
        expected = recorded[architecture]
        assert (found.path, found.reason) == (expected.path, expected.reason)
        assert found.fixed_positions is expected.fixed_positions


def test_the_record_has_every_architecture(pytestconfig: pytest.Config) -> None:
    release, recorded = measured_paths()
    if release == version("transformers"):
        assert sorted(recorded) == architectures.names()
    paths = [entry.path for entry in recorded.values()]
    assert paths.count("flat") > 100
    assert paths.count("padded") > 50
    assert paths.count("row by row") < 10  # rows that choose tokens by rank, and longrope
    assert paths.count("not measured") < 10
    assert all(entry.reason for entry in recorded.values() if entry.path != "flat")


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("llama4_text", 0.01),
        ("llama4_text, longer than floor_scale", 0.01),
        ("mistral", 0.01),
        ("phi3, longrope", 0.1),
        ("mamba", 0.01),
        ("falcon, alibi", 0.001),
    ],
)
def test_the_comparison_sees_rows_that_should_not_go_flat(
    name: str, least: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: every model goes flat, and a row's mask is just causal."""
    import torch

    from ftsdk.backends.local.compute.packed_attention import RowMasks
    from ftsdk.backends.local.training import forward, model, row_path

    def flat(network: Any, *_: Any) -> row_path.RowPath:
        try:
            forward.set_flat(network)
        except NotImplementedError:
            monkeypatch.setattr(forward, "is_flat", lambda _network: True)
        return row_path.RowPath("flat")

    def causal(self: RowMasks, length: int, device: torch.device) -> None:
        return None

    monkeypatch.setattr(model, "choose_row_path", flat)
    monkeypatch.setattr(RowMasks, "of", causal)
    assert row_paths.measure(name, tmp_path).gradient_error > least


@pytest.mark.parametrize(("name", "least"), [("phi3, longrope", 0.1), ("deepseek_v32", 0.01)])
def test_the_comparison_sees_rows_that_should_not_be_padded(
    name: str, least: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: every model is padded."""
    from ftsdk.backends.local.training import model, row_path

    monkeypatch.setattr(model, "choose_row_path", lambda *_: row_path.RowPath("padded", "planted"))
    assert row_paths.measure(name, tmp_path).gradient_error > least
