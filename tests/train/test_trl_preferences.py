"""The losses of dpo, kto and orpo are those of TRL's trainers on the same batch."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.train.test_preference_losses import (
    BETA,
    DPO,
    WEIGHTS,
    as_peft_has_it,
    examples_of,
    packed,
    prepared,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # TRL warns about itself and others
    pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed"),
]


@pytest.fixture(scope="module")
def texts() -> Any:
    """Rows that TRL's trainers are constructed with; the losses are of other batches."""
    from datasets import Dataset

    row = {"prompt": "one", "chosen": " cat", "rejected": " dog"}
    single = {"prompt": "one", "completion": " cat", "label": True}
    return {"pairs": Dataset.from_list([row] * 4), "labels": Dataset.from_list([single] * 4)}


def trainer_of(kind: Any, config: Any, folder: Path, model: Path, rows: Any, **given: Any) -> Any:
    """A trainer of TRL on the tiny model, with all weights trained and no dropout."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    arguments = config(
        output_dir=str(folder), report_to="none", use_cpu=True, beta=BETA, bf16=False,
        gradient_checkpointing=False, per_device_train_batch_size=4, **given,
    )  # fmt: skip
    return kind(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        args=arguments,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(model),
    )


def perturb(network: Any) -> None:
    import torch

    network.train()
    torch.manual_seed(4)
    for parameter in network.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)


def split(row: Any) -> tuple[list[int], list[int]]:
    """The ids of the prompt and those of the answer."""
    start = row.trained.index(1)
    return list(row.ids[:start]), list(row.ids[start:])


def ours(tiny_model: Path, folder: Path, method: str, options: dict[str, Any]) -> Iterator[Any]:
    """Yield the examples, then the loss and the metrics of the perturbed model on them."""
    from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits
    from tests.train.test_numbers import load

    model, spec = load(
        tiny_model, method=method, adapter=None, hyperparameters={"beta": BETA},
        options={"dtype": "float32", **options},
    )  # fmt: skip
    examples = examples_of(method, model.network.config.vocab_size)
    if method == "kto":  # TRL has another answer for every row
        examples = [one for one in examples if one.other is not None]
    objective, examples = prepared(model, spec, folder / "ours", examples)
    as_peft_has_it(model.owner)
    perturb(model.network)
    yield examples
    yield packed(model, objective, examples, MicroBatchLimits(2, 1000))[:2]


def compared(found: dict[str, float], theirs: Any, names: tuple[str, ...]) -> None:
    for name in names:
        assert found[name] == pytest.approx(float(theirs[name]), rel=1e-4, abs=1e-5), name


REWARDS = ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies")
LOG_PROBS = ("logps/chosen", "logps/rejected")


@pytest.mark.parametrize("name", DPO)
def test_dpo_is_that_of_trl(name: str, tiny_model: Path, tmp_path: Path, texts: Any) -> None:
    from trl import DPOConfig, DPOTrainer
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    given: dict[str, Any] = dict(DPO[name])
    alpha = given.pop("rpo_alpha", None)
    given["loss_type"] = [given.get("loss_type", "sigmoid"), *(["sft"] if alpha else [])]
    if alpha:
        given["loss_weights"] = [1.0, alpha]
    steps = ours(tiny_model, tmp_path, "dpo", DPO[name])
    pairs = next(steps)
    trainer = trainer_of(DPOTrainer, DPOConfig, tmp_path, tiny_model, texts["pairs"], **given)
    perturb(trainer.model)
    rows = []
    for pair in pairs:
        (prompt, chosen), (_, rejected) = split(pair.chosen), split(pair.rejected)
        rows.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
    expected = trainer.compute_loss(trainer.model, DataCollatorForPreference(0)(rows))
    loss, metrics = next(steps)
    assert loss == pytest.approx(float(expected.detach()), abs=1e-4)
    compared(metrics, {k: v[-1] for k, v in trainer._metrics["train"].items()}, REWARDS + LOG_PROBS)


@pytest.mark.parametrize("weights", [{}, WEIGHTS], ids=["plain", "weights"])
def test_kto_is_that_of_trl(
    weights: dict[str, float], tiny_model: Path, tmp_path: Path, texts: Any
) -> None:
    from trl import KTOConfig, KTOTrainer
    from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

    steps = ours(tiny_model, tmp_path, "kto", weights)
    examples = next(steps)
    trainer = trainer_of(
        KTOTrainer, KTOConfig, tmp_path, tiny_model, texts["labels"],
        train_sampling_strategy="sequential", **weights,
    )  # fmt: skip
    perturb(trainer.model)
    rows = []
    for one in examples:
        (prompt, answer), (_, other) = split(one.answer), split(one.other)
        rows.append(
            {
                "prompt_ids": prompt,
                "completion_ids": answer,
                "KL_completion_ids": other,
                "label": one.is_good,
            }
        )
    expected = trainer.compute_loss(trainer.model, DataCollatorForUnpairedPreference(0)(rows))
    loss, metrics = next(steps)
    assert loss == pytest.approx(float(expected.detach()), abs=1e-4)
    assert metrics["kl"] > 0.1
    assert metrics["kl"] == pytest.approx(trainer._metrics["train"]["kl"][-1], rel=1e-4)


def test_orpo_is_that_of_trl(tiny_model: Path, tmp_path: Path, texts: Any) -> None:
    import torch
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    steps = ours(tiny_model, tmp_path, "orpo", {})
    pairs = next(steps)
    trainer = trainer_of(ORPOTrainer, ORPOConfig, tmp_path, tiny_model, texts["pairs"])
    perturb(trainer.model)
    batch = {}
    for side in ("chosen", "rejected"):
        answers = [getattr(pair, side) for pair in pairs]
        longest = max(map(len, answers))
        ids = torch.zeros(len(answers), longest, dtype=torch.long)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for k, row in enumerate(answers):
            ids[k, : len(row)] = torch.tensor(list(row.ids))
            mask[k, : len(row)] = 1
            trained = torch.tensor(list(row.trained), dtype=torch.bool)
            labels[k, : len(row)][trained] = ids[k, : len(row)][trained]
        batch |= {
            f"{side}_input_ids": ids,
            f"{side}_attention_mask": mask,
            f"{side}_labels": labels,
        }
    expected, theirs = trainer.get_batch_loss_metrics(trainer.model, batch)
    loss, metrics = next(steps)
    assert loss == pytest.approx(float(expected.detach()), abs=1e-4)
    compared(metrics, theirs, (*REWARDS, *LOG_PROBS, "nll_loss", "log_odds_ratio"))
