"""Which rows go through a model together, what masks they get, and what a run says about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.train import architectures, tiny


def rule_of(kind: str, size: int) -> tuple[Any, int | None]:
    """A rule of transformers for one plain row, and the size that comes with it."""
    import torch
    from transformers import masking_utils

    if kind == "causal":
        return masking_utils.causal_mask_function, None
    if kind == "both ways":
        return masking_utils.bidirectional_mask_function, None
    if kind == "window":
        return masking_utils.sliding_window_causal_mask_function(size), size
    return masking_utils.chunked_causal_mask_function(size, torch.zeros(1, dtype=torch.int)), size


@pytest.mark.parametrize("kind", ["causal", "both ways", "window", "chunk"])
@pytest.mark.parametrize("size", [1, 8, 70])
def test_masks_are_those_of_transformers_for_a_row_alone(kind: str, size: int) -> None:
    """At each length around the size of the window or chunk, and around the 64 tokens looked at."""
    import torch
    from transformers.masking_utils import sdpa_mask

    from ftsdk.backends.local.compute.packed_attention import RowMasks

    rule, local_size = rule_of(kind, size)
    masks = RowMasks(rule, local_size, (1,))
    for length in (1, 2, size - 1 or 1, size, size + 1, 2 * size + 1, 63, 64, 65, 150):
        found = masks.of(length, torch.device("cpu"))
        expected = sdpa_mask(1, length, length, mask_function=rule, allow_is_causal_skip=False)[
            0, 0
        ]
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        assert (found is None) == torch.equal(expected, causal), length
        torch.testing.assert_close(causal if found is None else found, expected)


def test_a_rule_that_depends_on_more_than_places_is_not_taken() -> None:
    from ftsdk.backends.local.compute.packed_attention import row_masks, rows_of

    rule, _ = rule_of("causal", 0)
    with rows_of([3, 4]):
        assert row_masks(mask_function=rule, use_vmap=False).lengths == (3, 4)
        for more in ({"use_vmap": True}, {}):
            with pytest.raises(NotImplementedError, match="more than places"):
                row_masks(mask_function=rule, **more)


@pytest.mark.parametrize(
    ("lengths", "batch_size", "budget", "longest", "tokens"),
    [
        ([5, 40, 7], 8, 2048, 40, 320),
        ([5, 40, 7], 8, 100, 40, 100),
        ([5, 400], 8, 100, 400, 400),
        ([9], 1, 2048, 9, 9),
    ],
)
def test_the_fullest_batch_of_a_run(
    lengths: list[int], batch_size: int, budget: int, longest: int, tokens: int
) -> None:
    from ftsdk.backends.local.training.row_path import BatchSize

    size = BatchSize.of(lengths, batch_size, budget)
    assert (size.longest, size.tokens) == (longest, tokens)
    probe = size.probe()
    assert probe[0] == max(probe) == longest
    assert probe[-1] == min(32, longest)
    assert sum(probe) == max(tokens, longest + probe[-1])
    padded = size.padded_probe()
    assert len(padded) * padded[0] <= tokens or len(padded) == 2
    assert padded[0] == max(padded) <= longest
    assert padded[-1] == min(padded) < padded[0] or longest < 4


def read_events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "events.jsonl").read_bytes().splitlines()]


BY_RANK = (
    "its layers change the attention mask; padded, it might choose other tokens of a row, which it "
    "does by rank"
)


@pytest.mark.parametrize(
    ("name", "way", "reason"),
    [
        ("llama4_text", "flat", ""),
        ("mamba", "padded", "a state of the model crosses from one row to the next"),
        (
            "glm_moe_dsa",
            "row by row",
            BY_RANK,
        ),
    ],
)
def test_the_run_says_how_rows_go(
    name: str, way: str, reason: str, train: Any, tmp_path: Path
) -> None:
    from ftsdk.backends.local.runs.run_dir import RunDir

    model = architectures.write(name, tmp_path / "model")
    spec = tiny.spec(model, adapter=None, options={"dtype": "float32"})
    run = RunDir.create(tmp_path / "run", spec, train=tiny.rows(8))
    assert train(run.path) == 0, run.log_tail()
    warned = [e["message"] for e in read_events(run.path) if e["kind"] == "warning"]
    weights = json.loads((run.result_path / "ftsdk.json").read_bytes())["weights"]
    logged = [e["message"] for e in read_events(run.path) if e["kind"] == "log"]
    assert weights["flat_batches"] is (way == "flat")
    assert weights.get("row_by_row_because", "") == (reason if way == "row by row" else "")
    assert weights.get("padded_because", "") == (reason if way == "padded" else "")
    says = f"Rows go through the model one at a time: {reason}."
    assert warned == ([says] if way == "row by row" else [])
    says = f"Rows go through the model padded to the longest of their batch: {reason}."
    assert (says in logged) is (way == "padded")


@pytest.mark.parametrize(
    ("name", "max_length", "said"),
    [
        ("bert", 128, "This bert model looks at later tokens"),
        (
            "reformer",
            128,
            "A reformer model cannot be trained on text alone: If training, make sure",
        ),
        ("llama, dynamic rope", 128, "dynamic rotary frequencies depend on the longest row"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused_by_name(
    name: str, max_length: int, said: str, train: Any, tmp_path: Path
) -> None:
    from ftsdk.backends.local.runs.run_dir import RunDir

    model = architectures.write(name, tmp_path / "model")
    spec = tiny.spec(model, adapter=None, hyperparameters={"max_length": max_length})
    run = RunDir.create(tmp_path / "run", spec, train=tiny.rows(8))
    assert train(run.path) == 1
    outcome = json.loads((run.path / "outcome.json").read_bytes())
    assert said in outcome["message"]
    assert outcome["error"]["kind"] == "model_unsupported"
    assert outcome["error"]["hint"]


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("llama", []),
        ("mamba", []),
        ("glm_moe_dsa", ["rows of a glm_moe_dsa model may go through it one at a time"]),
        ("mixtral, output_router_logits", ["the config asks for the router's auxiliary loss"]),
    ],
)
def test_the_plan_names_what_is_not_as_usual(name: str, notes: list[str], tmp_path: Path) -> None:
    import ftsdk

    model = architectures.write(name, tmp_path / "model")
    with ftsdk.Client(home=tmp_path / "home") as client:
        made = client.plan(tiny.rows(8), provider="local", model=str(model), adapter=None)
    usual = ("base model", "memory: ", "the memory it takes is not known: ", "the time follows")
    said = [note for note in made.notes if not note.startswith(usual)]
    assert len(said) == len(notes)
    assert all(note.startswith(start) for note, start in zip(said, notes, strict=True))


def long_rows() -> list[dict[str, Any]]:
    made = tiny.rows(8)
    made[2]["messages"][0]["content"] = "red green " * 300
    return made


@pytest.mark.parametrize("name", ["gpt2", "llama, dynamic rope"])
def test_rows_beyond_the_positions_are_refused_in_the_plan(name: str, tmp_path: Path) -> None:
    import ftsdk

    model = architectures.write(name, tmp_path / "model")
    config = (model / "config.json").read_text()
    (model / "config.json").write_text(config.replace('embeddings": 16', 'embeddings": 512'))
    asked = {"provider": "local", "model": str(model), "hyperparameters": {"max_length": 4096}}
    with (
        ftsdk.Client(home=tmp_path / "home") as client,
        pytest.raises(ftsdk.DatasetError) as caught,
    ):
        client.plan(long_rows(), **asked)
    assert [(f.code, f.line) for f in caught.value.report.faults] == [("FT502", 3)]
    llama = architectures.write("llama", tmp_path / "llama")  # angles for any position
    with ftsdk.Client(home=tmp_path / "home") as client:
        assert client.plan(long_rows(), **{**asked, "model": str(llama)}).rows == 8


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({"rope_type": "dynamic", "original_max_position_embeddings": 64}, (512, None)),
        ({"rope_type": "longrope", "original_max_position_embeddings": 64}, (None, 64)),
        ({"rope_type": "yarn", "original_max_position_embeddings": 64}, (None, None)),
    ],
)
def test_where_rotary_frequencies_change(
    given: dict[str, Any], limits: tuple[int | None, int | None]
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    from ftsdk.backends.local.training.row_path import rope_limit

    small = architectures.tiny_config("llama", 320).to_dict()
    factors = {"factor": 4.0, "short_factor": [1.0] * 4, "long_factor": [3.0] * 4}
    if given["rope_type"] != "longrope":
        factors = {"factor": 4.0}
    rope = {"rope_theta": 10000.0, **given, **factors}
    network = LlamaForCausalLM(LlamaConfig(**{**small, "rope_parameters": rope}))
    assert (rope_limit(network, "dynamic"), rope_limit(network, "longrope")) == limits


@pytest.mark.parametrize("name", ["gpt2", "gptj", "mpt", "opt"])
def test_the_trainer_refuses_rows_beyond_the_positions(name: str, tmp_path: Path) -> None:
    """Reached only with `truncate`; on a GPU the device would report an assertion."""
    import torch
    from transformers import AutoModelForCausalLM

    from ftsdk.backends.local.training.outcome import Failed
    from ftsdk.backends.local.training.row_path import BatchSize, choose_row_path

    network = AutoModelForCausalLM.from_config(architectures.tiny_config(name, 320))
    cpu = torch.device("cpu")
    choose_row_path(network, cpu, BatchSize.of([512, 3], 4, 2048))
    with pytest.raises(Failed, match=r"up to 513 tokens long.* has 512 positions"):
        choose_row_path(network, cpu, BatchSize.of([513, 3], 4, 2048))


def test_checkpointing_that_a_model_cannot_do_is_refused_by_name(tmp_path: Path) -> None:
    from ftsdk.backends.local.compute.hardware import choose_hardware
    from ftsdk.backends.local.training.model import load_for_training
    from ftsdk.backends.local.training.outcome import Failed

    model = architectures.write("jetmoe", tmp_path)
    spec = tiny.spec(model, adapter=None, options={"gradient_checkpointing": True})
    with pytest.raises(Failed, match="jetmoe model cannot compute its activations again"):
        load_for_training(spec, choose_hardware("cpu", "float32", 1))


def test_the_run_says_that_the_router_has_no_loss(train: Any, tmp_path: Path) -> None:
    from ftsdk.backends.local.runs.run_dir import RunDir

    model = architectures.write("mixtral, output_router_logits", tmp_path / "model")
    spec = tiny.spec(model, adapter=None, options={"dtype": "float32"})
    run = RunDir.create(tmp_path / "run", spec, train=tiny.rows(8))
    assert train(run.path) == 0, run.log_tail()
    (warned,) = [e["message"] for e in read_events(run.path) if e["kind"] == "warning"]
    assert warned.startswith("The config asks for the router's auxiliary loss")
