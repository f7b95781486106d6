"""Loss per token as a metric: compared where the logits are ours and the tokens are the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.answer_losses import AnswerLoss
from ftsdk.backends.fake import FakeBackend
from ftsdk.client import Client
from ftsdk.errors import UsageError
from ftsdk.types.evaluation import Verdict

pytest.importorskip("scipy", reason="needs the extra `eval`")
TOKENIZERS: dict[tuple[str, bool], str] = {}


def row(number: int, answer: str = "yes") -> dict[str, Any]:
    asked = f"what of parcel {number * 3}, which was sent {number * number + 7} days ago?"
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    }


TEST = [row(number, f"answer {number}") for number in range(40)]
TRAIN = [
    {"messages": [{"role": "user", "content": f"training {i} {i * i}"}, {"role": "assistant", "content": f"said {i}"}]}
    for i in range(20)
]  # fmt: skip


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the fake provider logits: a tuned model loses 0.1 nats a token, its base 1.0."""
    TOKENIZERS.clear()

    def tokenizer_of(self: Any, handle: ftsdk.ModelHandle, *, base: bool = False) -> str:
        return TOKENIZERS.get((handle.id, base), "one")

    def answer_losses(
        self: Any, handle: ftsdk.ModelHandle, rows: Iterable[dict[str, Any]], *, base: bool = False
    ) -> Iterator[AnswerLoss | None]:
        for number, _ in enumerate(rows):
            per_token = (1.0 if base else 0.1) + number / 1000
            yield None if number == 7 else AnswerLoss(per_token, 10 if number else 50)

    monkeypatch.setattr(FakeBackend, "tokenizer_of", tokenizer_of, raising=False)
    monkeypatch.setattr(FakeBackend, "answer_losses", answer_losses, raising=False)


def job(client: Client) -> ftsdk.FineTuneJob:
    return client.create_job(TRAIN).wait()


@pytest.mark.usefixtures("losses")
def test_a_lower_loss_is_better(client: Client) -> None:
    found = client.evaluate(TEST, ["base", job(client).id], metrics=["loss"])
    one = found.compare()
    assert one.verdict is Verdict.BETTER
    assert one.n == 39  # a row that neither can read is not compared
    base, tuned = found.models
    assert found.compare().delta == pytest.approx(
        sum(math.exp(-0.1 - i / 1000) - math.exp(-1 - i / 1000) for i in range(40) if i != 7) / 39
    )
    summary = tuned.summaries["loss"]
    tokens = 50 + 38 * 10
    expected = (50 * 0.1 + 10 * sum(0.1 + i / 1000 for i in range(1, 40) if i != 7)) / tokens
    assert summary["loss_per_token"] == pytest.approx(expected)
    assert summary["perplexity"] == pytest.approx(math.exp(expected))
    assert summary["tokens"] == tokens
    assert base.summaries["loss"]["loss_per_token"] > summary["loss_per_token"]


@pytest.mark.usefixtures("losses")
def test_the_loss_beside_another_metric(client: Client) -> None:
    found = client.evaluate(TEST, ["base", job(client).id], metrics=["exact", "loss"], repeats=2)
    assert list(found.candidates[0].gate.metrics) == ["exact", "loss"]
    assert found.compare(metric="loss").n == 39


@pytest.mark.usefixtures("losses")
def test_models_of_different_tokenizers_are_refused_by_name(client: Client) -> None:
    first, second = job(client), client.create_job(TRAIN, key="other").wait()
    TOKENIZERS[second.result().id, False] = "another"
    with pytest.raises(UsageError, match="between different tokenizers") as caught:
        client.evaluate(TEST, [first.id, second.id], metrics=["loss"])
    assert first.id in caught.value.what
    assert second.id in caught.value.what
    assert client.evaluate(TEST, [first.id, second.id], metrics=["exact"]).rows == 40


def late(_: Sequence[Mapping[str, Any]]) -> str:
    return "late"


@pytest.mark.usefixtures("losses")
def test_what_has_no_logits_here_is_refused_by_name(client: Client) -> None:
    made = job(client)
    with pytest.raises(UsageError, match="The loss of late cannot be computed"):
        client.evaluate(TEST, [late, made.id], metrics=["loss"])
    prompt = ftsdk.Prompt("Say it.", made.result(), name="prompted")
    with pytest.raises(UsageError, match="The loss of prompted cannot be computed"):
        client.evaluate(TEST, [prompt, made.id], metrics=["loss"])


@pytest.mark.usefixtures("losses")
def test_captured_answers_have_no_loss(client: Client) -> None:
    made = job(client)
    captured = client.capture(made.id, TEST)
    with pytest.raises(UsageError, match=r"The loss of captured .* its logits are not here"):
        client.evaluate(TEST, [ftsdk.Captured(captured.folder), made.id], metrics=["loss"])
