"""A chat template in place of the model's: what is counted is what is trained, and saved with the result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.local.local_model import LocalModel
from ftsdk.backends.local.models.chat_templates import KNOWN_TEMPLATES, template_text
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.render import render_rows
from tests.train import tiny
from tests.train.plain import facts_of, plain_loss

Train = Callable[..., int]
OWN = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model without a chat template."""
    folder = tiny.write_model(tmp_path_factory.mktemp("bare") / "bare")
    (folder / "chat_template.jinja").unlink()
    return folder


@pytest.fixture
def client(tmp_path: Path) -> Iterator[ftsdk.Client]:
    with ftsdk.Client(home=tmp_path / "home", env={}) as made:
        yield made


def tokens_in(tokenizer: Path) -> int:
    rows, faults = render_rows(tiny.rows(16), ChatTokenizer.from_folder(tokenizer))
    assert not faults
    return sum(len(row) for row in rows)


@pytest.mark.parametrize("given", ["text", "file", "known"])
def test_what_the_plan_counts_is_what_is_trained(
    given: str,
    bare: Path,
    client: ftsdk.Client,
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = tmp_path / "own.jinja"
    path.write_text(OWN)
    asked = {"text": OWN, "file": str(path), "known": "chatml"}[given]
    text = KNOWN_TEMPLATES["chatml"] if given == "known" else OWN
    options: dict[str, Any] = {
        "provider": "local", "model": str(bare), "epochs": 1, "adapter": {"rank": 4},
        "provider_options": {"chat_template": asked, "dtype": "float32"},
    }  # fmt: skip
    plan = client.plan(tiny.rows(16), **options)
    monkeypatch.setattr(RunDir, "start", lambda self: True)
    job = client.create_job(tiny.rows(16), validation=tiny.rows(4, seed=1), **options)
    path.unlink()  # the run does not need it any more
    run = RunDir(client.session.home / "runs" / job.id)
    assert run.spec.options.chat_template == text
    assert train(run.path) == 0, run.log_tail()
    facts = facts_of(run.result_path)
    assert facts["trained_tokens"] == plan.tokens == tokens_in(run.result_path)
    assert facts["chat_template_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert (run.result_path / "chat_template.jinja").read_text() == text
    assert AutoTokenizer.from_pretrained(run.result_path).chat_template == text
    base = AutoModelForCausalLM.from_pretrained(bare, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, run.result_path)
    found = plain_loss(loaded, run.result_path, run.path / "validation.jsonl")
    assert found == pytest.approx(facts["validation_loss"], rel=1e-4)
    model = LocalModel.load(run.result_path, device="cpu")
    assert model.tokenizer.template == text
    assert model.chat([{"role": "user", "content": "red"}], max_tokens=3).completion_tokens > 0


def test_a_template_replaces_that_of_the_model(tiny_model: Path, client: ftsdk.Client) -> None:
    options: dict[str, Any] = {"provider": "local", "model": str(tiny_model)}
    plain = client.plan(tiny.rows(16), **options)
    plan = client.plan(tiny.rows(16), provider_options={"chat_template": OWN}, **options)
    assert plain.tokens == tokens_in(tiny_model) != plan.tokens
    [field] = [field for field in plan.fields if field.name == "options.chat_template"]
    digest = hashlib.sha256(OWN.encode()).hexdigest()[:12]
    assert field.sent == f"{len(OWN)} characters, SHA-256 {digest}…"


def test_validation_and_inspection_use_the_configured_template(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.jinja").write_text(OWN)
    (tmp_path / "ftsdk.toml").write_text(
        f'provider = "local"\nmodel = {json.dumps(str(bare))}\n'
        '[provider_options]\nchat_template = "own.jinja"\n'
    )
    with ftsdk.Client(home=tmp_path / "home", env={}) as client:
        plan = client.plan(tiny.rows(16))
        report = client.validate(tiny.rows(16), tokens=True)
        seen = client.inspect(tiny.rows(16))
    assert report.tokens is not None
    assert report.tokens.total == plan.tokens
    assert seen.to_dict()["tokens"]["total"] == plan.tokens


def test_the_content_of_a_file_decides_whether_jobs_are_equal(
    tiny_model: Path, client: ftsdk.Client, tmp_path: Path
) -> None:
    from ftsdk.planning.prepare import prepare

    path = tmp_path / "own.jinja"
    prints = []
    for text in (OWN, OWN, OWN + "\n"):
        path.write_text(text)
        given = {"provider": "local", "model": str(tiny_model)}
        options = {**given, "provider_options": {"chat_template": str(path)}}
        prints.append(prepare(client.session, tiny.rows(8), options).fingerprint)  # type: ignore[arg-type]  # as a user gives them
    assert prints[0] == prints[1] != prints[2]


def test_what_is_no_template_is_refused(tiny_model: Path, client: ftsdk.Client) -> None:
    given: dict[str, Any] = {"provider": "local", "model": str(tiny_model)}
    with pytest.raises(ftsdk.Unsupported, match=r"'chat-ml' is no template.*chatml"):
        client.plan(tiny.rows(4), provider_options={"chat_template": "chat-ml"}, **given)


def test_tokens_that_the_tokenizer_spells_in_pieces_are_named(
    tiny_model: Path, client: ftsdk.Client
) -> None:
    given: dict[str, Any] = {"provider": "local", "model": str(tiny_model)}
    options: dict[str, Any] = {"chat_template": "gemma"}
    plan = client.plan(tiny.rows(4), provider_options=options, **given)
    [warning] = [one for one in plan.warnings if "spells in pieces" in one]
    assert "add_tokens=['<start_of_turn>', '<end_of_turn>'] makes each one token" in warning
    options["add_tokens"] = ["<start_of_turn>", "<end_of_turn>"]
    plan = client.plan(tiny.rows(4), provider_options=options, **given)
    assert not [one for one in plan.warnings if "spells in pieces" in one]


MESSAGES = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "hi"},
    {"role": "user", "content": "bye"},
]
RENDERED = {
    "chatml": "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\nhi<|im_end|>\n"
    "<|im_start|>user\nbye<|im_end|>\n<|im_start|>assistant\n",
    "llama-3": "<s><|start_header_id|>user<|end_header_id|>\n\nhello<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nhi<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nbye<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "gemma": "<s><start_of_turn>user\nhello<end_of_turn>\n<start_of_turn>model\nhi<end_of_turn>\n"
    "<start_of_turn>user\nbye<end_of_turn>\n<start_of_turn>model\n",
    "zephyr": "<|user|>\nhello</s>\n<|assistant|>\nhi</s>\n<|user|>\nbye</s>\n<|assistant|>\n",
}


@pytest.mark.parametrize("name", KNOWN_TEMPLATES)
def test_a_known_template_writes_what_its_models_read(name: str) -> None:
    tokenizer = ChatTokenizer(
        name="x", template=template_text(name), encode=lambda _: [], decode=lambda _: "",
        special_tokens={"bos_token": "<s>", "eos_token": "</s>"}, special_ids=frozenset(), eos_id=2,
    )  # fmt: skip
    text, _ = tokenizer.render(MESSAGES, add_generation_prompt=True)
    assert text == RENDERED[name]
