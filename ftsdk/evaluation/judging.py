"""Let a model judge the candidates' answers beside the reference's: asked, stored and paid as any other.

Each verdict is an answer in the store, so it is paid once. Equal answers are a tie without asking.
Controls come first: a judge that fails them is paid for nothing else.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from ftsdk.catalogue.inference_cost import chat_price
from ftsdk.dataset.row import Row
from ftsdk.errors import FtsdkError, UsageError
from ftsdk.evaluation.answer_pairs import AnswerPair
from ftsdk.evaluation.answers import AnswerStore, key_of
from ftsdk.evaluation.ask import Lane
from ftsdk.evaluation.cases import Case
from ftsdk.evaluation.chat_cost import estimate_chats
from ftsdk.evaluation.metrics.judge import (
    Judge,
    Opinion,
    Preference,
    Usage,
    scores_of,
    summary_of,
)
from ftsdk.evaluation.models import Model, model_of, place_of
from ftsdk.evaluation.options import GivenJudge
from ftsdk.evaluation.pairs import MOST_ERRORS, Pairs
from ftsdk.evaluation.statistics.agreement import cohens_kappa
from ftsdk.evaluation.wanted import Wanted, WantedAnswers
from ftsdk.session import Session
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.chat import ChatRequest
from ftsdk.types.cost import Cost, CostBasis, sum_known
from ftsdk.types.model import ModelHandle

METRIC = "judge"


@dataclass(frozen=True)
class Judged:
    """What the judge says of one candidate: an opinion for each row, None where it gave none.

    `missing` are the rows on which one of the models has no answer; nobody can compare them.
    """

    opinions: tuple[Opinion | None, ...]
    missing: frozenset[int]
    usage: Usage

    @property
    def unanswered(self) -> list[int]:
        """The rows that the judge should have compared and did not."""
        return [
            place
            for place, one in enumerate(self.opinions)
            if one is None and place not in self.missing
        ]

    @property
    def fault(self) -> str:
        """Why the opinions cannot be compared; empty where they can."""
        asked, lost = len(self.opinions) - len(self.missing), len(self.unanswered)
        if lost <= MOST_ERRORS * asked:
            return ""
        return f"the judge gave no answer on {lost} of {asked} rows; ask it again first"

    def pairs(self) -> Pairs:
        """Return the opinions as scores: 1 for each answer that is as good as the other or better."""
        rows = [place for place, one in enumerate(self.opinions) if one is not None]
        found = [one for one in self.opinions if one is not None]
        reference, candidate = scores_of(found)
        unscored = tuple(place for place, one in enumerate(self.opinions) if one is None)
        return Pairs(tuple(rows), tuple(reference), tuple(candidate), unscored=unscored)

    def summary(self, primary: Pairs) -> dict[str, Any]:
        """Return what a report shows; `kappa_with_metric` is the agreement with the primary metric."""
        found = {place: one for place, one in enumerate(self.opinions) if one is not None}
        metric = dict(zip(primary.rows, zip(primary.reference, primary.candidate, strict=True), strict=True))  # fmt: skip
        both = [place for place in found if place in metric]
        return {
            **summary_of(list(found.values()), self.usage),
            "unanswered": len(self.unanswered),
            "kappa_with_metric": cohens_kappa(
                [found[place].preference for place in both],
                [_preferred(*metric[place]) for place in both],
            ),
        }


def _preferred(reference: float, candidate: float) -> Preference:
    if reference == candidate:
        return Preference.TIE
    return Preference.CANDIDATE if candidate > reference else Preference.REFERENCE


@dataclass
class Judging:
    """A judge with its lane and store. Build it by `judging_of`."""

    name: str
    model: Model
    lane: Lane
    judge: Judge
    store: AnswerStore | None = None

    def controls(self, cases: Sequence[Case], rows: Sequence[Row]) -> list[AnswerPair]:
        """Return the pairs with a known result."""
        found, usable = [], enumerate(rows)
        place, last = 0, None
        for row, first, second in self.judge.controls(rows):
            if row is not last:  # the rows of the controls are in the order of the data
                place, last = next(at for at, one in usable if one == row), row
            found.append(AnswerPair(cases[place], row, first, second))
        return found

    def want(self, pairs: Sequence[AnswerPair | None], *, equal_too: bool = False) -> None:
        """Note what is to be asked: each pair in both orders, equal answers only with `equal_too`.

        The pairs are read again when their requests are sent.
        """
        places, numbers = array("Q"), array("B")

        def keys() -> Iterator[str]:
            known: set[bytes] = set()
            for place, pair in enumerate(pairs):
                for number, plain in enumerate(self._requests(pair, equal_too=equal_too)):
                    key = key_of(self.lane.source, plain, 0)
                    digest = bytes.fromhex(key)
                    if digest not in known:
                        known.add(digest)
                        places.append(place)
                        numbers.append(number)
                        yield key

        def make(at: int) -> Wanted:
            pair = pairs[places[at]]
            assert pair is not None  # noqa: S101  # only pairs have a request
            plain = self._requests(pair, equal_too=equal_too)[numbers[at]]
            request = ChatRequest(wanted.key(at), plain.messages, plain.options)
            # The verdict is no answer to the row: an estimate must not count its reference.
            return Wanted(replace(pair.case, reference=None), 0, request)

        wanted = self.lane.wanted = WantedAnswers(keys(), make)

    def _requests(self, pair: AnswerPair | None, *, equal_too: bool) -> list[ChatRequest]:
        """Return what the judge is asked about a pair."""
        if pair is None or (pair.reference == pair.candidate and not equal_too):
            return []
        recorder = _Recorder()
        judge = replace(self.judge, model=recorder, usage=Usage())
        judge.compare(pair.row, pair.reference, pair.candidate)
        return recorder.requests

    def check(self, rows: Sequence[Row]) -> None:
        """Read the answers to the controls. Raises `UsageError` where too many go wrong or are missing."""
        try:
            replace(self.judge, model=self._stored(), usage=Usage()).check(rows)
        except _NoVerdictError as error:
            why = error.__cause__
            raise UsageError(
                f"The judge did not answer its controls: {why.what}"
                if isinstance(why, FtsdkError)
                else "The judge did not answer its controls",
                where=self.name,
                hint="run it again later, or name another judge",
            ) from error

    def opinions(self, pairs: Sequence[AnswerPair | None]) -> Judged:
        """Return the opinion on each pair; None for a row on which a model has no answer."""
        judge = replace(self.judge, model=self._stored(), usage=Usage(usd=Decimal(0)))
        opinions: list[Opinion | None] = []
        missing = set()
        for place, pair in enumerate(pairs):
            if pair is None:
                missing.add(place)
                opinions.append(None)
            elif pair.reference == pair.candidate:
                opinions.append(Opinion(Preference.TIE, said_tie=True))
            else:
                opinions.append(_opinion(judge, pair))
        judge.usage.usd = self._stored_cost()
        return Judged(tuple(opinions), frozenset(missing), judge.usage)

    def _stored(self) -> _StoredModel:
        assert self.store is not None  # noqa: S101  # set before anything is asked
        return _StoredModel(self.lane, self.store)

    def _stored_cost(self) -> Decimal | None:
        """Return what the wanted answers have cost; None where a price is not known."""
        assert self.store is not None  # noqa: S101  # set before anything is asked
        found = map(self.store.get, self.lane.wanted.keys())
        return sum_known(one.usd for one in found if one is not None)

    def estimate(
        self, shortest: Sequence[AnswerPair | None], longest: Sequence[AnswerPair | None]
    ) -> tuple[int, Cost]:
        """Return how many requests are still to be asked, at most, and their cost.

        Both are the same pairs: with answers as long as the references, and as long as allowed.
        """
        assert self.store is not None  # noqa: S101  # set before anything is asked
        limits = self.model.backend.limits_for(self.model.handle.base_model)
        costs, count = [], 0
        for pairs in (shortest, longest):
            self.want(pairs)
            count = max(count, len(self.lane.missing_keys(self.store)))
            missing = self.lane.missing(self.store)
            costs.append(estimate_chats(self.lane, missing, limits, batch=False, may_chat=True))
        low, high = costs
        if low.low is None or high.high is None:
            return count, high
        return count, Cost(
            basis=CostBasis.ESTIMATED, low=low.low, high=high.high, source=high.source
        )


def judging_of(session: Session, given: GivenJudge, provider: str | None) -> Judging:
    """Return the judge that is given: a handle, a job's id, `PROVIDER:MODEL`, or a `Judge` of one.

    Raises `UsageError` for a `Judge` of anything else, whose answers could not be stored.
    """
    judge = given if isinstance(given, Judge) else Judge(given)
    named = judge.model
    if not isinstance(named, str | ModelHandle):
        raise UsageError(
            f"The judge is a {type(named).__name__}, which cannot be asked through the store",
            where="judge=",
            hint="give a handle, a job's id, or PROVIDER:MODEL",
        )
    place, name = place_of(named) if isinstance(named, str) else ("", named)
    model = model_of(session, name, place or provider)
    source = model.source
    price = chat_price(source.provider, source.model, session.catalogue)
    lane = Lane("", model.backend, model.handle, source, price)
    return Judging(model.name, model, lane, judge)


def _opinion(judge: Judge, pair: AnswerPair) -> Opinion | None:
    try:
        return judge.compare(pair.row, pair.reference, pair.candidate)
    except _NoVerdictError:
        return None


class _NoVerdictError(Exception):
    """The judge has no answer to a request; its cause is the error of the request."""


class _Recorder:
    """Notes what would be asked."""

    def __init__(self) -> None:
        self.requests: list[ChatRequest] = []

    def chat(self, messages: Sequence[Mapping[str, Any]], /, **options: Any) -> ChatAnswer:
        """Note a request."""
        self.requests.append(ChatRequest("", tuple(messages), options))
        return ChatAnswer(text="", message={"role": "assistant", "content": ""})


@dataclass
class _StoredModel:
    """Answers from the store."""

    lane: Lane
    store: AnswerStore

    def chat(self, messages: Sequence[Mapping[str, Any]], /, **options: Any) -> ChatAnswer:
        """Return the stored answer. Raises `_NoVerdictError` where there is none."""
        key = key_of(self.lane.source, ChatRequest("", tuple(messages), options), 0)
        stored = self.store.get(key)
        if stored is None:
            raise _NoVerdictError from self.lane.errors.get(key)
        return stored.answer
