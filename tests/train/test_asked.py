"""What decides the memory of a job is the same for its plan and for its trainer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.base import SubmitRequest
from ftsdk.backends.local import backend as local
from ftsdk.backends.local.models.tokenizer_files import changed_tokenizer, token_ids
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.training.footprint.asked import Asked
from ftsdk.config import Config
from ftsdk.planning.prepare import prepare
from ftsdk.types.spec import LoRA
from tests.train import tiny
from tests.train.test_methods import labelled, pairs


def texts(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Documents of several lengths."""
    rows = tiny.rows(count, seed=seed)
    return [{"text": " ".join(m["content"] for m in row["messages"])} for row in rows]


JOBS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sft": (tiny.rows, {"max_steps": 3}),
    "full": (tiny.rows, {"adapter": None}),
    "dpo": (pairs, {"method": "dpo"}),
    "orpo": (pairs, {"method": "orpo", "gradient_accumulation_steps": 3}),
    "kto": (labelled, {"method": "kto", "max_length": 128}),
    "text": (texts, {}),
    "packed": (texts, {"provider_options": {"packing": True}, "max_length": 64}),
    "tokens": (
        tiny.rows,
        {
            "adapter": LoRA(trainable_token_indices=("<|im_start|>",)),
            "provider_options": {"add_tokens": ["<new>"], "neftune_alpha": 5.0},
        },
    ),
    "choices": (
        tiny.rows,
        {
            "provider_options": {
                "micro_batch_tokens": 500,
                "gradient_checkpointing": True,
                "optimizer": "adamw_8bit",
            }
        },
    ),
}


@pytest.fixture
def client(tmp_path: Path, tiny_model: Path) -> Any:
    data = {"provider": "local", "model": str(tiny_model)}
    client = ftsdk.Client(home=tmp_path / "home", config=Config(data=data, env={}), env={})
    yield client
    client.close()


def of_trainer(run: RunDir) -> Asked:
    """What a trainer asks for that begins this run."""
    from ftsdk.backends.local.training.footprint.settle import asked_of_run
    from ftsdk.backends.local.training.objectives.choose import objective_of
    from ftsdk.dataset.tokenize.chat_template import ChatTokenizer

    spec = run.spec
    folder = changed_tokenizer(
        spec.base_model.path, run.path / "made", template=None, add_tokens=spec.options.add_tokens
    )
    trained = () if spec.adapter is None else spec.adapter.trainable_token_indices
    tokens = token_ids(folder, trained, spec.options.add_tokens, where="")
    tokenizer = ChatTokenizer.from_folder(folder, now=spec.created_at)
    objective = objective_of(spec)
    train = objective.encode(run.path / spec.train, tokenizer)
    validation = []
    if spec.validation:
        validation = objective.encode(run.path / spec.validation, tokenizer)
    return asked_of_run(spec, objective, train, validation, tokens)


@pytest.mark.parametrize("validation", [False, True], ids=["", "validation"])
@pytest.mark.parametrize("name", list(JOBS))
def test_a_plan_and_its_trainer_ask_for_the_same(
    name: str,
    validation: bool,
    client: ftsdk.Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, options = JOBS[name]
    if validation:  # its rows are longer than those that are trained
        longer = [row for row in rows(40, seed=1) if len(str(row)) > len(str(rows(1)[0]))]
        options = {**options, "validation": longer}
    planned: list[Asked] = []
    monkeypatch.setattr(local, "with_memory", lambda plan, *given: planned.append(given[3]) or plan)
    made = prepare(client.session, rows(12), options)
    request = SubmitRequest("ftj_asked", "", "", made.spec, made.train, made.validation)
    spec = made.backend._run_spec(request)  # type: ignore[attr-defined]  # of local
    run = RunDir.create(
        tmp_path / "run",
        spec,
        train=list(made.train),
        validation=made.validation and list(made.validation),
    )
    trained = of_trainer(run)
    if name == "packed" and validation:  # each file is packed alone
        trained = dataclasses.replace(
            trained, data_tokens=planned[0].data_tokens, step_tokens=planned[0].step_tokens
        )
    assert planned == [trained]
    assert trained.longest > 10
    if made.spec.method in ("dpo", "orpo"):
        assert trained.example_tokens > trained.longest
