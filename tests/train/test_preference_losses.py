"""Losses, gradients and metrics of dpo, orpo and kto equal those of plain code on the same rows."""

from __future__ import annotations

import random
from array import array
from pathlib import Path
from typing import Any

import pytest

from tests.train import preference_formulas as plain
from tests.train.test_numbers import gradients, load, randomize_adapters

BETA = 0.3
DPO: dict[str, dict[str, Any]] = {
    "sigmoid": {},
    "hinge": {"loss_type": "hinge"},
    "ipo": {"loss_type": "ipo"},
    "robust": {"loss_type": "robust", "label_smoothing": 0.2},
    "rpo": {"rpo_alpha": 0.7},
}
METHODS = [
    *(("dpo", name) for name in DPO),
    ("orpo", ""), ("kto", ""), ("kto", "weights"), ("kto", "drifted"),
]  # fmt: skip
SEEDS = {"drifted": 11}
"""A seed of rows to which the changed model gives more than before, so that the KL estimate counts."""
WEIGHTS = {"desirable_weight": 1.3, "undesirable_weight": 0.4}


def options_of(method: str, name: str) -> dict[str, Any]:
    return DPO[name] if method == "dpo" else WEIGHTS if name == "weights" else {}


def answers(prompt: int, lengths: list[int], vocabulary: int, source: random.Random) -> list[Any]:
    """Answers of these lengths to one prompt of random tokens."""
    from ftsdk.dataset.tokenize.render import Rendered

    def some(count: int) -> list[int]:
        return [source.randrange(3, vocabulary) for _ in range(count)]

    asked = some(prompt)
    return [Rendered(array("i", [*asked, *some(n)]), bytes(prompt) + b"\x01" * n) for n in lengths]


def examples_of(method: str, vocabulary: int, *, seed: int = 5) -> list[Any]:
    """Six examples of several lengths; one of kto has no other answer."""
    from ftsdk.backends.local.training.objectives.kto import Labelled
    from ftsdk.backends.local.training.objectives.pairs import Pair

    source = random.Random(seed)
    found: list[Any] = []
    for k, lengths in enumerate([(4, 9), (11, 2), (6, 6), (1, 3), (8, 5), (3, 12)]):
        one, two = answers(5 + 3 * k, list(lengths), vocabulary, source)
        if method == "kto":
            found.append(Labelled(one, k in (0, 2, 3, 5), None if k == 4 else two))
        else:
            found.append(Pair(one, two))
    return found


def prepared(model: Any, spec: Any, folder: Path, examples: list[Any]) -> tuple[Any, list[Any]]:
    """The objective of the spec, and the examples with what the untrained model says."""
    from ftsdk.backends.local.training.objectives.choose import objective_of
    from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits, Untrained

    folder.mkdir(exist_ok=True)
    for name in ("train.jsonl", "spec.json"):
        (folder / name).write_text("{}")
    limits = MicroBatchLimits(3, 80).along(model.path)
    objective = objective_of(spec)
    untrained = Untrained(folder / "train.jsonl", model, limits, lambda: None, lambda _: None)
    return objective, objective.prepare(examples, untrained)


def packed(model: Any, objective: Any, examples: list[Any], limits: Any) -> tuple[float, Any, Any]:
    """Loss, metrics and gradients of one step over the examples, as the loop computes them."""
    from ftsdk.backends.local.training.loop import Sums

    total = Sums()
    common = objective.begin(model, examples, limits)
    for micro in objective.micro_batches(examples, limits):
        share = objective.loss_of(model, micro, common)
        share.loss.backward()
        total.add(share)
    return total.loss, total.metrics, gradients(model.owner)


def plain_loss(owner: Any, method: str, examples: list[Any], options: dict[str, Any]) -> Any:
    if method == "dpo":
        return plain.dpo(owner, examples, BETA, options)
    if method == "orpo":
        return plain.orpo(owner, examples, BETA)
    return plain.kto(owner, examples, BETA, options)


def as_peft_has_it(owner: Any) -> None:
    """Let the layers compute with peft's own code, which can turn the adapter off."""
    from peft.tuners.lora.layer import Linear

    for module in owner.modules():
        if isinstance(module, Linear):
            module.__dict__.pop("forward", None)


@pytest.mark.parametrize(("method", "name"), METHODS, ids=lambda one: one or "plain")
def test_loss_and_gradients_equal_one_answer_at_a_time(
    method: str, name: str, tiny_model: Path, tmp_path: Path
) -> None:
    import torch

    from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits

    given = options_of(method, name)
    model, spec = load(
        tiny_model,
        method=method,
        hyperparameters={"beta": BETA},
        options={"dtype": "float32", **given},
    )
    vocabulary = model.network.config.vocab_size
    examples = examples_of(method, vocabulary, seed=SEEDS.get(name, 5))
    objective, examples = prepared(model, spec, tmp_path / "run", examples)
    randomize_adapters(model.owner)
    found = [
        packed(model, objective, examples, MicroBatchLimits(*limits))
        for limits in ((6, 1000), (2, 1000), (6, 41), (1, 1000))
    ]
    as_peft_has_it(model.owner)
    model.network.set_attn_implementation("eager")
    expected = plain_loss(model.owner, method, examples, given)
    expected.backward()
    slow = gradients(model.owner)
    if method == "kto":
        assert (found[0][1]["kl"] > 0.5) is (name == "drifted")
    for loss, metrics, fast in found:
        assert loss == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-6)
        assert metrics == pytest.approx(found[0][1], rel=1e-4, abs=1e-5)
        assert fast.keys() == slow.keys()
        for weight in fast:
            torch.testing.assert_close(fast[weight], slow[weight], rtol=1e-3, atol=1e-5, msg=weight)


@pytest.mark.parametrize("method", ["dpo", "orpo", "kto"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied head", "own head"])
def test_full_fine_tuning_has_the_gradients_of_plain_code(
    method: str, tied: bool, tmp_path: Path
) -> None:
    """The output head is trained too, so its logits are computed again in the backward pass."""
    import contextlib

    import torch

    from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits
    from tests.train import tiny

    folder = tiny.write_model(tmp_path / "model", tie_word_embeddings=tied)
    full = {"adapter": None, "method": method, "hyperparameters": {"beta": BETA}}
    model, spec = load(folder, **full)
    start, _ = load(folder, **full)
    examples = examples_of(method, model.network.config.vocab_size)
    objective, examples = prepared(model, spec, tmp_path / "run", examples)
    torch.manual_seed(2)
    for parameter in model.network.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    loss, _, fast = packed(model, objective, examples, MicroBatchLimits(2, 1000))
    for network in (model.network, start.network):
        network.set_attn_implementation("eager")

    class Owner:
        """The trained network, and the one at the start where peft would turn an adapter off."""

        def __init__(self) -> None:
            self.now = model.network

        def __call__(self, **inputs: Any) -> Any:
            return self.now(**inputs)

        @contextlib.contextmanager
        def disable_adapter(self) -> Any:
            self.now = start.network
            yield
            self.now = model.network

    expected = plain_loss(Owner(), method, examples, {})
    expected.backward()
    slow = gradients(model.network)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert fast.keys() == slow.keys()
    for weight in fast:
        torch.testing.assert_close(fast[weight], slow[weight], rtol=2e-3, atol=2e-5, msg=weight)


def test_the_metrics_are_means_over_the_pairs(tiny_model: Path, tmp_path: Path) -> None:
    import torch

    from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits

    model, spec = load(tiny_model, method="dpo", hyperparameters={"beta": BETA})
    examples = examples_of("dpo", model.network.config.vocab_size)
    objective, examples = prepared(model, spec, tmp_path / "run", examples)
    randomize_adapters(model.owner)
    _, metrics, _ = packed(model, objective, examples, MicroBatchLimits(2, 1000))
    as_peft_has_it(model.owner)
    model.network.set_attn_implementation("eager")
    with torch.no_grad():
        now = [
            [float(plain.answer(model.owner, row).sum()) for row in (p.chosen, p.rejected)]
            for p in examples
        ]
    before = [plain.references(model.owner, [p.chosen, p.rejected]) for p in examples]
    rewards = [
        [BETA * (a - b) for a, b in zip(x, y, strict=True)]
        for x, y in zip(now, before, strict=True)
    ]
    count = len(examples)
    assert metrics == pytest.approx(
        {
            "rewards/chosen": sum(r[0] for r in rewards) / count,
            "rewards/rejected": sum(r[1] for r in rewards) / count,
            "rewards/margins": sum(r[0] - r[1] for r in rewards) / count,
            "rewards/accuracies": sum(r[0] > r[1] for r in rewards) / count,
            "logps/chosen": sum(n[0] for n in now) / count,
            "logps/rejected": sum(n[1] for n in now) / count,
        },
        rel=1e-4,
        abs=1e-5,
    )


def test_an_untrained_model_has_the_loss_of_a_coin(tiny_model: Path, tmp_path: Path) -> None:
    import math

    from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits

    model, spec = load(tiny_model, method="dpo")
    examples = examples_of("dpo", model.network.config.vocab_size)
    objective, examples = prepared(model, spec, tmp_path / "run", examples)
    loss, metrics, _ = packed(model, objective, examples, MicroBatchLimits(4, 1000))
    assert loss == pytest.approx(math.log(2), abs=1e-5)
    assert metrics["rewards/margins"] == pytest.approx(0, abs=1e-4)


def test_the_reference_is_read_again_bit_for_bit(tiny_model: Path, tmp_path: Path) -> None:
    """Also when the model has changed by then; a damaged or foreign file is computed again."""
    model, spec = load(tiny_model, method="dpo")
    examples = examples_of("dpo", model.network.config.vocab_size)
    folder = tmp_path / "run"
    first = [p.reference for p in prepared(model, spec, folder, examples)[1]]
    path = folder / "reference-train.f32"
    written = path.read_bytes()
    randomize_adapters(model.owner)
    assert [p.reference for p in prepared(model, spec, folder, examples)[1]] == first
    for damaged in (written[:-1], written[:-2] + b"\x07" + written[-1:], b"", b"null\n"):
        path.write_bytes(damaged)
        again = [p.reference for p in prepared(model, spec, folder, examples)[1]]
        assert again != first
        assert path.read_bytes() != damaged
    path.write_bytes(written)
    other = [p.reference for p in prepared(model, spec, folder, examples[:-1])[1]]
    assert other != first[:-1]


def test_log1mexp_has_a_gradient_near_zero() -> None:
    import torch

    from ftsdk.backends.local.training.objectives.orpo import log1mexp

    values = torch.tensor([-1e-6, -0.1, -0.7, -5.0, -80.0], requires_grad=True)
    log1mexp(values).sum().backward()
    exact = values.detach().double()
    torch.testing.assert_close(
        log1mexp(values).detach().double(), torch.log1p(-torch.exp(exact)), rtol=1e-5, atol=1e-7
    )
    assert values.grad is not None
    assert bool(values.grad.isfinite().all())


@pytest.mark.parametrize("method", ["dpo", "orpo", "kto"])
@pytest.mark.parametrize(("name", "way"), [("gemma2", "flat"), ("falcon", "padded")])
def test_other_models_have_the_losses_of_plain_code(
    name: str, way: str, method: str, tmp_path: Path
) -> None:
    """Gemma 2 caps attention scores and logits; the rows of a Falcon are padded."""
    from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits
    from tests.train import architectures

    folder = architectures.write(name, tmp_path / "model")
    model, spec = load(folder, method=method, hyperparameters={"beta": BETA})
    assert model.path.way == way
    examples = examples_of(method, model.network.config.vocab_size)[:4]
    objective, examples = prepared(model, spec, tmp_path / "run", examples)
    randomize_adapters(model.owner)
    found = [
        packed(model, objective, examples, MicroBatchLimits(most, 90).along(model.path))
        for most in (6, 1)
    ]
    as_peft_has_it(model.owner)
    model.network.set_attn_implementation("eager")
    expected = plain_loss(model.owner, method, examples, {})
    expected.backward()
    slow = gradients(model.owner)
    for loss, _, fast in found:
        assert loss == pytest.approx(float(expected.detach()), rel=1e-4)
        for weight in fast:
            torch_close(fast[weight], slow[weight], weight)


def torch_close(found: Any, expected: Any, name: str) -> None:
    import torch

    torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-5, msg=name)
