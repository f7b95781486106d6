"""Every architecture through `create_job`: its adapter is right, or a plan refuses it by name.

Five of them, trained in a process that the job starts; all with `--long`, the others trained in
processes that have the training stack already. The adapter is loaded by plain peft onto a plain
transformers model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.runs import run_dir
from ftsdk.client import Client
from ftsdk.config import Config
from ftsdk.errors import Unsupported
from tests.train import architectures, tiny
from tests.train.plain import facts_of, plain_loss

CI = ("llama", "qwen3_moe", "llama4_text", "mamba", "bert")
OF_ROWS = "llama, dynamic rope"
"""The trainer refuses it where rows are too long for it, which is not of the architecture."""
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:peft.*", "ignore::UserWarning")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Five architectures; all of them with `--long`."""
    if "architecture" in metafunc.fixturenames:
        chosen: Sequence[str] = CI
        if metafunc.config.getoption("--long"):  # only then is transformers imported here
            chosen = [name for name in architectures.names() if name != OF_ROWS]
        metafunc.parametrize("architecture", chosen)


def test_a_job_succeeds_and_equals_plain_transformers_or_is_refused(
    architecture: str,
    tmp_path: Path,
    home: Path,
    train: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The validation loss that the job reports is that of plain peft with the adapter."""
    import torch
    from peft import AutoPeftModelForCausalLM, get_peft_model_state_dict
    from safetensors.torch import load_file

    try:
        model = architectures.write(architecture, tmp_path / "base")
    except architectures.CannotBuild as error:
        pytest.skip(str(error))
    if architecture not in CI:
        monkeypatch.setattr(run_dir, "start_supervisor", lambda path, *_: train(path))
    client = Client(
        home=home, config=Config(data={"provider": "local", "model": str(model)}), env={}
    )
    options: dict[str, Any] = {
        "validation": tiny.rows(4, seed=1),
        "adapter": {"rank": 4},
        "hyperparameters": {"learning_rate": 1e-2, "max_steps": 3, "batch_size": 4},
        "provider_options": {"dtype": "float32", "device": "cpu", "threads": 1},
    }
    refusal = None
    try:
        plan = client.plan(tiny.rows(12), **options)
    except Unsupported as error:
        refusal = error
    if refusal is not None:
        assert str(model) in refusal.what
        assert refusal.hint
        assert client.list_jobs() == []
        return
    assert any(note.startswith("LoRA of rank 4 on ") for note in plan.notes)
    job = client.create_job(tiny.rows(12), **options)
    job.wait(timeout=240)
    result = job.result()
    assert result.path is not None
    facts = facts_of(result.path)
    assert f"LoRA of rank 4 on {facts['weights']['adapted']['summary']}" in plan.notes
    loaded = AutoPeftModelForCausalLM.from_pretrained(result.path, dtype=torch.float32)
    saved = load_file(result.path / "adapter_model.safetensors")
    weights = get_peft_model_state_dict(loaded)
    assert weights.keys() == saved.keys()
    assert any(float(saved[name].abs().max()) > 0 for name in saved if "lora_B" in name)
    loss = plain_loss(loaded.eval(), result.path, result.path.parent / "validation.jsonl")
    assert loss == pytest.approx(facts["validation_loss"], rel=1e-4)
