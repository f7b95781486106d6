"""Rows that are filled up to the longest of their batch: their layout, and what may not be padded."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import pytest

from tests.train import architectures
from tests.train.test_numbers import gradients, load, randomize_adapters, rendered


def row(length: int) -> Any:
    from ftsdk.dataset.tokenize.render import Rendered

    return Rendered(array("i", range(10, 10 + length)), b"\x00" + b"\x01" * (length - 1))


def test_a_padded_batch_has_a_line_for_each_row() -> None:
    import torch

    from ftsdk.backends.local.training.batches import PackedBatch

    batch = PackedBatch.of([row(4), row(2)], torch.device("cpu"), padded=True)
    assert batch.ids.tolist() == [[10, 11, 12, 13], [10, 11, 0, 0]]
    assert batch.positions.tolist() == [[0, 1, 2, 3]] * 2
    assert batch.loss_positions.tolist() == [0, 1, 2, 4]
    assert batch.targets.tolist() == [11, 12, 13, 11]
    assert batch.lengths == (4, 2)


@pytest.mark.parametrize("padded", [False, True])
def test_a_batch_has_the_tokens_of_its_rows(padded: bool) -> None:
    """Against plain lists: rows of one token, rows without loss, and a first token that is marked."""
    import random

    import torch

    from ftsdk.backends.local.training.batches import PackedBatch
    from ftsdk.dataset.tokenize.render import Rendered

    source = random.Random(1)
    rows = []
    for length in (1, 7, 70, 2, 1, 12):
        ids = array("i", [source.choice((0, 3, 65_536, 151_000)) for _ in range(length)])
        rows.append(Rendered(ids, bytes(source.randrange(2) for _ in range(length))))
    rows.append(Rendered(array("i", [5, 6, 7]), bytes(3)))
    batch = PackedBatch.of(rows, torch.device("cpu"), padded=padded)
    places, targets, start = [], [], 0
    width = max(map(len, rows))
    for one in rows:
        for k in range(1, len(one)):
            if one.trained[k]:
                places.append(start + k - 1)
                targets.append(one.ids[k])
        start += width if padded else len(one)
    assert batch.loss_positions.tolist() == places
    assert batch.targets.tolist() == targets
    assert sum(one.trained_count for one in rows) == len(targets)
    assert {one.dtype for one in (batch.ids, batch.positions, batch.targets)} == {torch.int64}
    flat = [k for one in rows for k in range(len(one))]
    assert batch.positions.tolist() == ([list(range(width))] * len(rows) if padded else [flat])
    lines = [[*one.ids, *[0] * (width - len(one))] for one in rows]
    assert batch.ids.tolist() == (lines if padded else [[k for one in rows for k in one.ids]])


def test_padding_counts_in_the_tokens_of_a_batch() -> None:
    from ftsdk.backends.local.training.batches import micro_batches

    rows = [row(n) for n in (2, 9, 2, 30, 2)]

    def lengths(**how: Any) -> list[list[int]]:
        return [[len(one) for one in micro] for micro in micro_batches(rows, 4, 20, **how)]

    assert lengths() == [[30], [9, 2, 2, 2]]
    assert lengths(padded=True) == [[30], [9, 2], [2, 2]]
    for micro in micro_batches([row(n) for n in range(2, 40)], 8, 64, padded=True):
        assert len(micro) * len(micro[0]) <= 64 or len(micro) == 1
        assert len(micro) <= 8


def test_both_answers_of_padded_pairs_count_as_long_as_the_longest(tmp_path: Path) -> None:
    from ftsdk.backends.local.options import RunHyperparameters, RunOptions
    from ftsdk.backends.local.training.objectives.dpo import DirectPreference
    from ftsdk.backends.local.training.objectives.objective import MicroBatchLimits
    from ftsdk.backends.local.training.objectives.pairs import Pair

    objective = DirectPreference(RunHyperparameters(), RunOptions())
    pairs = [Pair(row(a), row(b)) for a, b in ((9, 2), (3, 3), (2, 8), (10, 10), (2, 2))]
    found = list(objective.micro_batches(pairs, MicroBatchLimits(8, 40, padded=True)))
    assert [[(len(p.chosen), len(p.rejected)) for p in micro] for micro in found] == [
        [(10, 10), (9, 2)],
        [(2, 8), (3, 3)],
        [(2, 2)],
    ]


@pytest.mark.parametrize("name", ["falcon", "mamba", "qwen3_5_text", "bart"])
def test_padding_does_not_change_the_gradient(name: str, tmp_path: Path) -> None:
    """Rows of very different lengths in one batch, against each row alone."""
    import torch

    model, _ = load(architectures.write(name, tmp_path / "model"))
    assert model.path.padded
    randomize_adapters(model.owner)
    rows = rendered([40, 3, 17, 9], model.network.config.vocab_size)
    together = model.loss_sum(model.batch(rows))
    together.backward()
    fast = gradients(model.owner)
    alone = torch.stack([model.loss_sum(model.batch([one])) for one in rows]).sum()
    alone.backward()
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    for weight, slow in gradients(model.owner).items():
        torch.testing.assert_close(fast[weight], slow, rtol=1e-3, atol=1e-5, msg=weight)


def falcon() -> Any:
    """A model that has only its own attention, so that its rows cannot go flat."""
    return architectures.build("falcon", 320)


def chosen(network: Any) -> str:
    import torch

    from ftsdk.backends.local.training.row_path import BatchSize, choose_row_path

    found = choose_row_path(network, torch.device("cpu"), BatchSize.of([40, 9], 4, 2048))
    assert found.together or found.reason.startswith("it has only its own attention; padded, ")
    return found.reason.partition("; padded, ")[2]


def test_a_model_that_mixes_rows_is_not_padded() -> None:
    """Planted: a layer that adds the mean over the rows; one that adds the mean over later tokens."""
    assert chosen(falcon()) == ""

    def batch_mean(_module: Any, _inputs: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        mixed = states + 0.1 * (states - states.mean(0, keepdim=True))
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

    network = falcon()
    network.transformer.h[0].register_forward_hook(batch_mean)
    assert chosen(network) == "a row depends on others or on its padding"


def test_a_model_that_counts_tokens_is_not_padded() -> None:
    """Planted: statistics that a layer keeps of the tokens it sees, as capacity and balance are."""
    import torch

    network = falcon()
    layer = network.transformer.h[0]
    layer.register_buffer("seen", torch.zeros(()))

    def count(module: Any, inputs: Any, _output: Any) -> None:
        module.seen += inputs[0].shape[1]

    layer.register_forward_hook(count)
    assert chosen(network) == "the model would learn from the padding"


def test_a_model_that_chooses_tokens_by_rank_is_padded_where_it_takes_all(tmp_path: Path) -> None:
    import torch

    from ftsdk.backends.local.training.row_path import BatchSize, choose_row_path

    cpu = torch.device("cpu")
    paths = []
    for longest in (8, 40):  # it chooses the best 8
        network = architectures.build("glm_moe_dsa", 320)
        paths.append(choose_row_path(network, cpu, BatchSize.of([longest, 5], 4, 2048)))
    assert [path.way for path in paths] == ["padded", "row by row"]
    assert paths[1].reason.endswith("it might choose other tokens of a row, which it does by rank")
