"""The losses of preference methods as their papers have them, one answer at a time.

Written with plain transformers logits: no packing, no chunks, the base model by turning the adapter
off. The trainer's own losses and gradients are compared with these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def answer(network: Any, row: Any) -> Any:
    """The log-probabilities of the row's trained tokens, in nats; [trained]."""
    import torch

    ids = torch.tensor([list(row.ids)])
    scores = torch.log_softmax(network(input_ids=ids, use_cache=False).logits[0].float(), dim=-1)
    wanted = [k for k in range(1, len(row)) if row.trained[k]]
    return torch.stack([scores[k - 1, row.ids[k]] for k in wanted])


def references(owner: Any, rows: Sequence[Any]) -> list[float]:
    """The log-probability of each answer by the base model below the adapter."""
    import torch

    with torch.no_grad(), owner.disable_adapter():
        return [float(answer(owner, row).sum()) for row in rows]


def dpo(owner: Any, pairs: Sequence[Any], beta: float, options: Mapping[str, Any]) -> Any:
    """The mean loss of the pairs (Rafailov et al. 2023; Azar et al. 2023; Chowdhury et al. 2024)."""
    import torch

    kind, wrong = options.get("loss_type", "sigmoid"), options.get("label_smoothing", 0.0)
    losses, entropies = [], []
    for pair in pairs:
        chosen, rejected = answer(owner, pair.chosen), answer(owner, pair.rejected)
        before = references(owner, [pair.chosen, pair.rejected])
        entropies.append(-chosen)
        gains = [chosen.sum() - before[0], rejected.sum() - before[1]]
        if kind == "ipo":
            advantage = gains[0] / len(chosen) - gains[1] / len(rejected)
            losses.append((advantage - 1 / (2 * beta)) ** 2)
            continue
        advantage = gains[0] - gains[1]
        right = torch.sigmoid(beta * advantage)
        if kind == "hinge":
            losses.append(torch.clamp(1 - beta * advantage, min=0))
        elif kind == "robust":
            noisy = -(1 - wrong) * torch.log(right) + wrong * torch.log(1 - right)
            losses.append(noisy / (1 - 2 * wrong))
        else:
            losses.append(-torch.log(right))
    loss = torch.stack(losses).mean()
    return loss + options.get("rpo_alpha", 0.0) * torch.cat(entropies).mean()


def orpo(owner: Any, pairs: Sequence[Any], beta: float) -> Any:
    """The mean loss of the pairs (Hong et al. 2024, equations 4 to 7)."""
    import torch

    from ftsdk.dataset.tokenize.render import Rendered

    entropies, ratios = [], []
    for pair in pairs:
        whole = Rendered(pair.chosen.ids, b"\x01" * len(pair.chosen))
        entropies.append(-answer(owner, whole))
        likely = [torch.exp(answer(owner, row).mean()) for row in (pair.chosen, pair.rejected)]
        odds = [p / (1 - p) for p in likely]
        ratios.append(torch.log(torch.sigmoid(torch.log(odds[0] / odds[1]))))
    return torch.cat(entropies).mean() - beta * torch.stack(ratios).mean()


def kto(owner: Any, rows: Sequence[Any], beta: float, options: Mapping[str, Any]) -> Any:
    """The mean loss of the rows (Ethayarajh et al. 2024, equations 6 to 8)."""
    import torch

    others = [one.other for one in rows if one.other is not None]
    with torch.no_grad():
        now = [float(answer(owner, row).sum()) for row in others]
    drift = [a - b for a, b in zip(now, references(owner, others), strict=True)]
    divergence = max(0.0, math.fsum(drift) / len(drift)) if drift else 0.0
    losses = []
    for one in rows:
        [before] = references(owner, [one.answer])
        gain = answer(owner, one.answer).sum() - before
        sign, name = (1, "desirable_weight") if one.is_good else (-1, "undesirable_weight")
        value = torch.sigmoid(beta * sign * (gain - divergence))
        losses.append(options.get(name, 1.0) * (1 - value))
    return torch.stack(losses).mean()
