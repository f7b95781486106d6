"""Who is compared: models of any provider, prompts, captured answers, and functions.

Each gives the outcome of every case and repeat. What a model is asked comes from the store of answers, or
is asked and stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from ftsdk.errors import FtsdkError, UsageError
from ftsdk.evaluation.answers import AnswerStore
from ftsdk.evaluation.ask import Lane
from ftsdk.evaluation.asked_rows import AskedRows
from ftsdk.evaluation.captured import Captured
from ftsdk.evaluation.cases import Case
from ftsdk.evaluation.models import Model, model_of
from ftsdk.evaluation.retrieval import EXAMPLE_TOKENS
from ftsdk.evaluation.wanted import wanted_of
from ftsdk.session import Session
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.chat import ChatOutcome
from ftsdk.types.model import ModelHandle
from ftsdk.util.spilled import Spilled

BASE = "base"
"""Names the untuned base of the first model that has one."""


@dataclass(frozen=True)
class Prompt:
    """A model with a system message, and with examples before each question.

    `model` is a handle, a job's id, or a name at `provider`. `examples` are rows in the chat format that come
    before each question. Or it is a number N: then each question gets the N rows of `training` that are most
    similar to it, the most similar last, with at most `example_tokens` tokens in all. Rows that may give the
    answer away (equal or nearly equal to the question, or of its group) are never shown. `training` is a file
    or rows; by default, what the first tuned model of the evaluation was trained on.
    """

    system: str | None = None
    model: str | ModelHandle = ""
    provider: str | None = None
    examples: Sequence[Mapping[str, Any]] | int = ()
    name: str = ""
    training: Any = None
    example_tokens: int = EXAMPLE_TOKENS

    @property
    def retrieves(self) -> int:
        """How many examples are chosen for each question; 0 where they are given, or none are."""
        return self.examples if isinstance(self.examples, int) else 0

    @property
    def given_examples(self) -> Sequence[Mapping[str, Any]]:
        """The examples that are the same before each question."""
        return () if isinstance(self.examples, int) else self.examples

    def messages_for(
        self, case: Case, nearest: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[Mapping[str, Any], ...]:
        """Return what is asked: the system message, the examples, and the case without its own.

        `nearest` are the messages of the examples that were chosen for this case.
        """
        own = [one for one in case.messages if one.get("role") not in ("system", "developer")]
        start = [{"role": "system", "content": self.system}] if self.system else []
        if not self.system:
            start = [
                dict(one) for one in case.messages if one.get("role") in ("system", "developer")
            ]
        shown = [
            {name: value for name, value in message.items() if name != "weight"}
            for row in self.given_examples
            for message in row["messages"]
            if message.get("role") not in ("system", "developer")
        ]
        return (*start, *shown, *nearest, *own)


@dataclass(frozen=True)
class Named:
    """A model with the name that the report has for it. `model` is a handle, a job's id, or a name."""

    model: str | ModelHandle
    name: str


Answers = Callable[[Sequence[Mapping[str, Any]]], "str | ChatAnswer"]
"""A function that answers a conversation."""
GivenModel = str | ModelHandle | Named | Prompt | Captured | Answers
Resolved = tuple[GivenModel, Model | None, Prompt | None]
"""What was given, the model that is asked for it, and with which prompt."""


class Participant(Protocol):
    """One side of a comparison."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    @property
    def repeats(self) -> int:
        """How many answers it has to each case."""

    def outcomes(self, case: Case) -> Sequence[ChatOutcome]:
        """Return what became of each repeat of a case."""


@dataclass
class AskedModel:
    """A model that is asked, or a prompt for one. Its answers are in the store, and read from there."""

    name: str
    model: Model
    lane: Lane
    store: AnswerStore
    repeats: int
    rows: AskedRows
    is_prompt: bool = False

    def outcomes(self, case: Case) -> Sequence[ChatOutcome]:
        """Return the stored answers of a case, and the errors of what has none."""
        return [outcome for outcome, _ in self.priced(case)]

    def priced(self, case: Case) -> list[tuple[ChatOutcome, Decimal | None]]:
        """Return the outcomes of a case, each with what it cost in US dollars; None if not known."""
        first, many = self.rows.number_of(case), len(self.rows.distinct)
        return [
            self._outcome(self.lane.wanted.key(first + one * many)) for one in range(self.repeats)
        ]

    def _outcome(self, key: str) -> tuple[ChatOutcome, Decimal | None]:
        stored = self.store.get(key)
        if stored is not None:
            return ChatOutcome(key, stored.answer, attempts=stored.attempts), stored.usd
        return ChatOutcome(key, error=self.lane.errors.get(key) or _unanswered()), Decimal(0)

    def want(
        self,
        decoding: Mapping[str, Any],
        messages_for: Callable[[Case], tuple[Mapping[str, Any], ...]] | None = None,
    ) -> None:
        """Note what is to be asked: the messages of each case, or what `messages_for` makes of it."""
        cases, made = self.rows.distinct, None
        if messages_for is not None:  # it may search for examples: once for each case
            made = Spilled(map(messages_for, cases), folder=self.store.folder)
        self.lane.wanted = wanted_of(
            self.lane.source,
            cases,
            decoding,
            self.repeats,
            None if made is None else made.__getitem__,
        )


def _unanswered() -> FtsdkError:
    return FtsdkError("no answer yet")


class CapturedModel:
    """The answers of a capture, by case. They are read from the bundle."""

    def __init__(self, captured: Captured) -> None:
        model = "model" if captured.who == "tuned" else "base_model"
        self.model = captured.manifest.get(model)
        self.name = f"captured {self.model}"
        self.decoding: Any = captured.manifest.get("decoding")
        self._answers = captured.by_case()

    @property
    def repeats(self) -> int:
        """The most answers that it has to one case."""
        return self._answers.repeats

    def outcomes(self, case: Case) -> Sequence[ChatOutcome]:
        """Return the captured answers; an error where the capture does not have the case."""
        missing = UsageError(
            "The capture has no answer to this row",
            where=f"row {case.line}",
            hint="capture the same rows, or evaluate on those that were captured",
        )
        found = [
            ChatOutcome(one.key, one.answer, attempts=one.attempts)
            for one in self._answers.of(case.digest)
        ]
        return found or [ChatOutcome(case.id, error=missing)]


class FunctionModel:
    """A user's function as a model; each case is asked once for each repeat."""

    def __init__(self, function: Answers, repeats: int, folder: Path | None = None) -> None:
        self.name = getattr(function, "__name__", "") or "function"
        self.repeats = repeats
        self._function = function
        self._kept: Spilled[list[ChatOutcome]] = Spilled(folder=folder)
        self._places: dict[bytes, int] = {}

    def outcomes(self, case: Case) -> Sequence[ChatOutcome]:
        """Return what the function answers; what it raises is an error of this case."""
        place = self._places.get(case.digest)
        if place is None:
            place = self._places[case.digest] = len(self._kept)
            self._kept.append([self._ask(case) for _ in range(self.repeats)])
        return self._kept[place]

    def _ask(self, case: Case) -> ChatOutcome:
        try:
            found = self._function([dict(one) for one in case.messages])
        except Exception as error:  # noqa: BLE001  # the function is the user's; the row is an error
            why = f"{self.name} raised {type(error).__name__}: {error}"
            return ChatOutcome(case.id, error=FtsdkError(why, where=f"row {case.line}"))
        if isinstance(found, str):
            message = {"role": "assistant", "content": found}
            found = ChatAnswer(text=found, message=message, finish_reason="stop")
        return ChatOutcome(case.id, found)


def resolved(
    session: Session, given: Sequence[GivenModel], provider: str | None
) -> Iterator[Resolved]:
    """Yield each model that is given with what is asked for it; None for what is not asked.

    Raises `UsageError` for `base` without a model that has one.
    """
    found: list[Resolved] = []
    for one in given:
        if isinstance(one, Prompt):
            found.append((one, model_of(session, one.model, one.provider or provider), one))
        elif isinstance(one, Named):
            found.append((one, model_of(session, one.model, provider), None))
        elif isinstance(one, ModelHandle) or (isinstance(one, str) and one != BASE):
            found.append((one, model_of(session, one, provider), None))
        else:
            found.append((one, None, None))
    bases = (model.base() for _, model, prompt in found if model is not None and prompt is None)
    base = next((one for one in bases if one is not None), None)
    for one, model, prompt in found:
        if one == BASE and base is None:
            raise UsageError(
                "No model has a base that can be asked",
                where="the model 'base'",
                hint="give a fine-tune as another model, or name the base model",
            )
        yield one, base if one == BASE else model, prompt
