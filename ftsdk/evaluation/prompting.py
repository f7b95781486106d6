"""What a prompt asks in each case: its examples are given, or retrieved from training rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ftsdk.dataset import Dataset
from ftsdk.dataset.row import Row
from ftsdk.dataset.rules.token_counts import counter_for
from ftsdk.errors import UsageError
from ftsdk.evaluation.asked_rows import AskedRows
from ftsdk.evaluation.cases import Case
from ftsdk.evaluation.models import Model
from ftsdk.evaluation.participants import Prompt
from ftsdk.evaluation.retrieval import ExampleIndex
from ftsdk.evaluation.slices import value_of

Messages = tuple[Mapping[str, Any], ...]


class Prompting:
    """The messages of each case. `note` says how many examples were found, and what was passed over.

    Without `asked` no row is known to be of the same group as a question.
    """

    def __init__(
        self,
        prompt: Prompt,
        model: Model,
        asked: AskedRows | None,
        cluster: str | None,
        trained_on: Iterable[Dataset],
    ) -> None:
        self._prompt, self._cluster = prompt, cluster
        self._groups: Mapping[bytes, str | None] = (
            {}
            if cluster is None or asked is None
            else {
                case.digest: value_of(row, cluster)
                for case, row in zip(asked.cases, asked.rows, strict=True)
            }
        )
        self._index = self._indexed(model, trained_on) if prompt.retrieves else None

    def _group(self, row: Row) -> str | None:
        return None if self._cluster is None else value_of(row, self._cluster)

    def _indexed(self, model: Model, trained_on: Iterable[Dataset]) -> ExampleIndex:
        given = self._prompt.training
        sources = list(trained_on) if given is None else [Dataset.load(given)]
        if not sources:
            raise UsageError(
                "Nothing says which rows the examples come from",
                where=f"a prompt with {self._prompt.retrieves} examples",
                hint="give training rows: Prompt(…, training='train.jsonl'), or "
                "`ftsdk evaluate … --examples-from train.jsonl`",
            )
        return ExampleIndex(
            (row for source in sources for row in source),
            group_of=self._group,
            count=_counter_of(model),
            most_tokens=self._prompt.example_tokens,
        )

    def messages_for(self, case: Case) -> Messages:
        """Return what is asked in a case."""
        if self._index is None:
            return self._prompt.messages_for(case)
        found = self._index.nearest(case, self._prompt.retrieves, self._groups.get(case.digest))
        shown = [dict(message) for one in found for message in one.messages]
        return self._prompt.messages_for(case, shown)

    @property
    def note(self) -> str:
        """What was found, for the report; empty for examples that are given."""
        if self._index is None:
            return ""
        return self._index.passed.note(self._prompt.retrieves, len(self._index))


def _counter_of(model: Model) -> Callable[[Sequence[Mapping[str, Any]]], int] | None:
    limits = model.backend.limits_for(model.handle.base_model)
    counting = counter_for(None, model=model.handle.base_model, limits=limits, wanted=True)
    if counting is None:
        return None
    counter = counting.counter

    def count(messages: Sequence[Mapping[str, Any]]) -> int:
        return int(counter.count({"messages": [dict(one) for one in messages]})[0])

    return count
