"""A trained model answers, one by one and in batches, and stops where it was trained to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.errors import NotFound, Unsupported, UsageError
from ftsdk.types.chat import ChatRequest
from tests.train import architectures, tiny

QUESTION = [{"role": "user", "content": "cat dog"}]


@pytest.fixture(scope="module", params=["lora", "full"])
def result(
    request: Any, tiny_model: Path, train: Callable[..., int], tmp_path_factory: Any
) -> Path:
    """A model that has memorized one answer."""
    rows = [
        {"messages": [*QUESTION, {"role": "assistant", "content": "dog cat sun"}]},
        {
            "messages": [
                {"role": "user", "content": "one two three"},
                {"role": "assistant", "content": "rain"},
            ]
        },
    ]
    adapter = {"dropout": 0.0, "rank": 16, "alpha": 32} if request.param == "lora" else None
    spec = tiny.spec(
        tiny_model,
        hyperparameters={"max_steps": 90, "learning_rate": 8e-3},
        options={"dtype": "float32", "checkpoint_every_steps": 100},
        adapter=adapter,
    )
    run = RunDir.create(tmp_path_factory.mktemp("infer") / "run", spec, train=rows * 4)
    assert train(run.path) == 0, run.log_tail()
    return run.result_path


def test_it_answers_what_it_learned_and_stops(result: Path) -> None:
    from ftsdk.backends.local.inference import load_model

    model = load_model(result, device="cpu")
    answer = model.chat(QUESTION)
    assert answer.text == "dog cat sun"
    assert answer.finish_reason == "stop"
    assert answer.usage["total_tokens"] == answer.prompt_tokens + answer.completion_tokens
    assert load_model(result, device="cpu") is model


def test_a_batch_gives_the_answers_of_single_calls(result: Path) -> None:
    from ftsdk.backends.local.inference import load_model

    model = load_model(result, device="cpu")
    asked = [QUESTION, [{"role": "user", "content": "one two three"}]] * 3
    seen: list[tuple[int, int]] = []
    many = model.chat_many(asked, batch_size=4, on_progress=lambda *n: seen.append(n))
    assert [a.text for a in many] == ["dog cat sun", "rain"] * 3
    assert many == [model.chat(messages) for messages in asked]
    assert seen == [(4, 6), (6, 6)]


def requests(*conversations: list[dict[str, str]], **options: Any) -> list[ChatRequest]:
    return [
        ChatRequest(str(number), tuple(messages), {"max_tokens": 8, "device": "cpu", **options})
        for number, messages in enumerate(conversations)
    ]


def test_many_requests_are_answered_in_batches(
    result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftsdk.backends.local import inference
    from ftsdk.backends.local.local_model import LocalModel

    sizes: list[int] = []
    original = LocalModel.chat_many

    def counted(self: LocalModel, conversations: Any, **options: Any) -> Any:
        sizes.append(len(conversations))
        return original(self, conversations, **options)

    monkeypatch.setattr(LocalModel, "chat_many", counted)
    other = [{"role": "user", "content": "one two three"}]
    asked = requests(*[QUESTION, other] * 3)
    reported: list[str] = []
    outcomes = inference.chat_many(
        result, iter(asked), at_once=4, on_outcome=lambda one: reported.append(one.id)
    )
    assert [next(outcomes).answer.text for _ in range(4)] == ["dog cat sun", "rain"] * 2
    assert (sizes, reported) == ([4], list("0123"))
    assert [one.answer.text for one in outcomes] == ["dog cat sun", "rain"]
    assert sizes == [4, 2]


def test_a_conversation_that_is_too_long_does_not_spoil_its_batch(result: Path) -> None:
    from ftsdk.backends.local import inference

    long = [{"role": "user", "content": "red " * 600}]
    [one, two, three] = inference.chat_many(result, requests(QUESTION, long, QUESTION), at_once=8)
    assert one.answer.text == three.answer.text == "dog cat sun"
    assert isinstance(two.error, UsageError)


def test_sampled_answers_are_asked_one_by_one_so_that_a_seed_repeats_them(result: Path) -> None:
    from ftsdk.backends.local import inference

    asked = requests(QUESTION, QUESTION, temperature=5.0, seed=4)
    [one, two] = inference.chat_many(result, asked, at_once=8)
    assert one.answer.text == two.answer.text


def test_an_unknown_option_ends_many_requests_by_name(result: Path) -> None:
    from ftsdk.backends.local import inference

    with pytest.raises(Unsupported, match="top_k"):
        list(inference.chat_many(result, requests(QUESTION, QUESTION, top_k=3), at_once=8))


def test_a_cut_answer_says_so(result: Path) -> None:
    from ftsdk.backends.local.inference import load_model

    answer = load_model(result, device="cpu").chat(QUESTION, max_tokens=2)
    assert answer.finish_reason == "length"
    assert answer.completion_tokens == 2


def test_text_is_streamed_in_pieces(result: Path) -> None:
    from ftsdk.backends.local.inference import load_model

    pieces: list[str] = []
    answer = load_model(result, device="cpu").chat(QUESTION, on_text=pieces.append)
    assert "".join(pieces) == answer.text
    assert len(pieces) > 1


def test_a_seed_repeats_and_keeps_the_random_state(result: Path) -> None:
    import torch

    from ftsdk.backends.local.inference import load_model

    model = load_model(result, device="cpu")
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    options = {"temperature": 5.0, "max_tokens": 12}
    one, two = (model.chat(QUESTION, seed=4, **options) for _ in range(2))
    assert one == two
    assert torch.equal(before, torch.random.get_rng_state())
    others = {model.chat(QUESTION, seed=seed, **options).text for seed in range(5)}
    assert len(others) > 1


def test_bad_conversations_are_refused(result: Path) -> None:
    from ftsdk.backends.local.inference import load_model

    model = load_model(result, device="cpu")
    with pytest.raises(UsageError, match="nothing to answer"):
        model.chat([])
    with pytest.raises(UsageError, match="takes 512"):
        model.chat([{"role": "user", "content": "red " * 600}])


def test_a_base_model_that_was_removed_is_named(result: Path, tmp_path: Path) -> None:
    from ftsdk.backends.local.local_model import LocalModel

    if not (result / "adapter_config.json").is_file():
        pytest.skip("full weights need no base")
    facts = json.loads((result / "ftsdk.json").read_bytes())
    facts["base_model"]["path"] = str(tmp_path / "gone")
    moved = tmp_path / "result"
    moved.mkdir()
    for path in result.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    (moved / "ftsdk.json").write_text(json.dumps(facts))
    with pytest.raises(NotFound, match="tiny"):
        LocalModel.load(moved)
    with pytest.raises(NotFound):
        LocalModel.load(tmp_path)


def test_importing_the_backend_loads_no_torch() -> None:
    code = "import sys, ftsdk.backends.local.backend; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"


def test_chat_as_the_backend_calls_it(result: Path) -> None:
    from ftsdk.backends.local.inference import chat

    answer = chat(result, QUESTION, {"max_tokens": 20, "temperature": None, "device": "cpu"})
    assert answer.text == "dog cat sun"
    assert answer.message == {"role": "assistant", "content": "dog cat sun"}
    assert answer.finish_reason == "stop"
    base = chat(result, QUESTION, {"max_tokens": 20, "device": "cpu"}, tuned=False)
    assert base.text != answer.text
    with pytest.raises(UsageError, match="top_k"):
        chat(result, QUESTION, {"top_k": 1})


@pytest.mark.parametrize(
    "name", ["llama", "mamba", "rwkv", "phi3, longrope", "mixtral, output_router_logits"]
)
def test_many_answers_are_those_of_each_alone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Padding changes the answers of models whose state or frequencies ignore the mask."""
    from ftsdk.backends.local import local_model
    from ftsdk.backends.local.compute.hardware import choose_hardware

    monkeypatch.setattr(
        local_model, "choose_hardware", lambda device: choose_hardware(device, "float32", 1)
    )
    folder = architectures.write(name, tmp_path)
    config = (folder / "config.json").read_text()
    changed = config.replace('embeddings": 16', 'embeddings": 64')  # between the two prompts
    (folder / "config.json").write_text(changed)
    model = local_model.LocalModel.load(folder, device="cpu")
    asked = [[{"role": "user", "content": "red " * count}] for count in (1, 40, 9, 1, 3)]
    alone = [model.chat(messages, max_tokens=6) for messages in asked]
    assert model.chat_many(asked, max_tokens=6) == alone
    # Prompts between those that were tried are not tried again; models that batches change always are.
    tried = list(model.batched)
    assert len(tried) == (name not in ("rwkv", "phi3, longrope"))
    assert model.chat_many(asked[1:3], max_tokens=6) == alone[1:3]
    assert model.batched == tried
    if name in ("rwkv", "phi3, longrope"):  # planted: every batch is padded
        monkeypatch.setattr(local_model.LocalModel, "_may_batch", lambda *_: True)
        assert model.chat_many(asked, max_tokens=6) != alone
