"""Results with adapters of several kinds on one base, made without training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

KINDS: dict[str, dict[str, Any]] = {
    "lora": {"r": 4, "lora_alpha": 8},
    "rslora": {"r": 8, "lora_alpha": 8, "use_rslora": True},
    "dora": {"r": 4, "lora_alpha": 4, "use_dora": True},
    "head": {"r": 4, "lora_alpha": 8, "modules_to_save": ["lm_head"]},
}


def write_result(base: Path, folder: Path, kind: str, *, seed: int, dtype: str = "float32") -> Path:
    """Write a result whose adapter changes the answers; its weights are random."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    targets = ["q_proj", "v_proj"] if kind == "rslora" else "all-linear"
    config = LoraConfig(target_modules=targets, task_type="CAUSAL_LM", **KINDS[kind])
    owner = get_peft_model(network, config)
    with torch.no_grad():
        for name, parameter in owner.named_parameters():
            if ".lora_B." in name:
                parameter.copy_(0.2 * torch.randn_like(parameter))
            elif "magnitude" in name:
                parameter.mul_(1 + 0.3 * torch.rand_like(parameter))
            elif "modules_to_save" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    owner.save_pretrained(folder)
    for path in base.glob("*token*"):
        shutil.copy(path, folder)
    shutil.copy(base / "chat_template.jinja", folder)
    facts = {"base_model": {"path": str(base), "name": "tiny"}, "dtype": dtype, "adapter": {}}
    (folder / "ftsdk.json").write_text(json.dumps(facts))
    return folder
