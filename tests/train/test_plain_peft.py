"""An adapter that was trained here works where ftsdk is not: plain peft gives the same answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local import local_model
from ftsdk.backends.local.compute.hardware import Hardware, choose_hardware
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.dataset.tokenize.render import render_prompt
from tests.train import tiny

TOKENS = 12
# Runs with `python -I`: neither the folder nor the variables of the caller are seen. Where ftsdk is installed
# beside peft, the guard takes it away.
STRANGER = """
import json, sys

class WithoutFtsdk:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ftsdk":
            raise ModuleNotFoundError("ftsdk is not installed here")

sys.meta_path.insert(0, WithoutFtsdk())
try:
    import ftsdk
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("ftsdk can be imported")

import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoModelForCausalLM

given = json.load(sys.stdin)
torch.set_num_threads(1)
base = AutoModelForCausalLM.from_pretrained(given["base"], dtype=torch.float32)
ids = torch.tensor([given["prompt"]])
with torch.inference_mode():
    untuned = base(ids).logits[0, -1].tolist()
if given["base_of_config"]:
    model = AutoPeftModelForCausalLM.from_pretrained(given["adapter"], dtype=torch.float32)
else:
    model = PeftModel.from_pretrained(base, given["adapter"])
model.eval()
with torch.inference_mode():
    logits = model(ids).logits[0, -1].tolist()
    out = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=given["tokens"],
        min_new_tokens=given["tokens"], do_sample=False, pad_token_id=0,
    )
assert not any(name.partition(".")[0] == "ftsdk" for name in sys.modules)
print(json.dumps({"untuned": untuned, "logits": logits, "answer": out[0, ids.shape[1]:].tolist()}))
"""


@pytest.fixture(scope="module")
def result(
    train: Callable[..., int], tmp_path_factory: pytest.TempPathFactory, tiny_model: Path
) -> Path:
    """The folder of a trained adapter."""
    folder = tmp_path_factory.mktemp("run")
    settings: dict[str, Any] = {
        "base_model": {"published_as": str(tiny_model)},  # as for a model that is a folder
        "options": {"dtype": "float32"},
        "hyperparameters": {"learning_rate": 2e-2, "max_steps": 6},
    }
    run = RunDir.create(
        folder / "run", tiny.spec(tiny_model, **settings), train=tiny.rows(16), validation=None
    )
    assert train(run.path) == 0
    return run.result_path


def asked_of_a_stranger(folder: Path, **given: Any) -> dict[str, Any]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("FTSDK")}
    done = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER],
        input=json.dumps({"tokens": TOKENS, **given}), cwd=folder, env={**env, "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def asked_here(folder: Path, prompt: list[int]) -> dict[str, Any]:
    import torch
    from transformers import GenerationConfig

    model = local_model.LocalModel.load(folder)
    ids = torch.tensor([prompt])
    settings = GenerationConfig(  # type: ignore[no-untyped-call]  # theirs
        max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False, pad_token_id=0
    )
    with torch.inference_mode():
        logits = model.network(ids).logits[0, -1].tolist()
        out = model.network.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings
        )
    return {"logits": logits, "answer": out[0, len(prompt) :].tolist()}


@pytest.mark.parametrize("base_of_config", [False, True], ids=["base by path", "base of config"])
def test_plain_peft_gives_the_same_answer_from_another_folder(
    result: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    base_of_config: bool,
) -> None:
    def in_float32(device: str) -> Hardware:
        return choose_hardware(device, "float32", threads=1)

    monkeypatch.setattr(local_model, "choose_hardware", in_float32)
    tokenizer = local_model.ChatTokenizer.from_folder(tiny_model)
    prompt = render_prompt([{"role": "user", "content": "red green cat"}], tokenizer)
    here = asked_here(result, prompt)
    elsewhere = shutil.copytree(result, tmp_path / "elsewhere" / "adapter")
    base = tiny_model if base_of_config else shutil.copytree(tiny_model, tmp_path / "base")
    there = asked_of_a_stranger(
        tmp_path / "elsewhere", base=str(base), adapter=str(elsewhere), prompt=prompt,
        base_of_config=base_of_config,
    )  # fmt: skip
    assert there["answer"] == here["answer"]
    assert there["logits"] == pytest.approx(here["logits"], abs=1e-4)
    assert there["untuned"] != pytest.approx(here["logits"], abs=0.1)  # the adapter does something
