"""What it will cost to ask the candidates, before there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import fmean
from typing import Any

from ftsdk.catalogue.hosting_cost import Serving, hosting_cost
from ftsdk.catalogue.inference_cost import ChatPrice, chat_price
from ftsdk.dataset.rules.token_counts import counter_for
from ftsdk.evaluation.answers import Source
from ftsdk.evaluation.ask import Lane
from ftsdk.evaluation.cases import Case
from ftsdk.evaluation.chat_cost import estimate_chats, sum_costs, tokens_of
from ftsdk.evaluation.models import Model, named_handle
from ftsdk.evaluation.participants import Prompt
from ftsdk.evaluation.prompting import Prompting
from ftsdk.evaluation.wanted import wanted_of
from ftsdk.migration.old_model import OldModel
from ftsdk.session import Session
from ftsdk.types.cost import Cost
from ftsdk.types.migration import CandidatePlan
from ftsdk.util.spilled import Spilled

_ZERO = Decimal(0)


def asking_cost(
    session: Session,
    candidates: Sequence[CandidatePlan],
    asked: Mapping[str, AskedPrompt],
    cases: Sequence[Case],
    decoding: Mapping[str, Any],
    repeats: int,
) -> Cost:
    """Return what the tokens of all candidates' answers will cost; deployments are not part of it.

    `asked` has what the prompts among them ask, by name.
    """
    costs = [
        _one(session, one, asked.get(one.name), cases, decoding, repeats)
        for one in candidates
        if one.can_run and session.backend(one.provider).capabilities.can_chat_many
    ]
    return sum_costs(costs) if costs else Cost(low=_ZERO, high=_ZERO)


def mean_request(
    session: Session, old: OldModel, cases: Sequence[Case], asked: AskedPrompt | None = None
) -> tuple[float, float]:
    """Return the mean tokens of a request and of its right answer, counted for the old model.

    With `asked` it is the request of that prompt.
    """
    backend = session.backend(old.provider)
    limits = backend.limits_for(old.base_model)
    counting = counter_for(None, model=old.base_model or "", limits=limits, wanted=True)
    source = Source(old.provider, old.name, None, None, None, None)
    messages_for = None if asked is None else asked.messages.__getitem__
    wanted = wanted_of(source, cases, {}, 1, messages_for)
    counts = [tokens_of(one, counting) for one in wanted] or [(0, 0)]
    return fmean(one[0] for one in counts), fmean(one[1] for one in counts)


@dataclass(frozen=True)
class AskedPrompt:
    """What a prompt asks in each case, with its system message and its examples; in a file."""

    messages: Sequence[Sequence[Mapping[str, Any]]]


def asked_prompt(
    session: Session, plan: CandidatePlan, prompt: Prompt, cases: Sequence[Case]
) -> AskedPrompt:
    """Return what a prompt asks, before any group of rows is known."""
    backend = session.backend(plan.provider)
    model = Model(named_handle(backend, plan.model, plan.model), backend)
    prompting = Prompting(prompt, model, None, None, ())
    return AskedPrompt(Spilled(map(prompting.messages_for, cases), folder=session.home))


def _one(
    session: Session,
    plan: CandidatePlan,
    asked: AskedPrompt | None,
    cases: Sequence[Case],
    decoding: Mapping[str, Any],
    repeats: int,
) -> Cost:
    backend = session.backend(plan.provider)
    price = _price(session, plan)
    handle = named_handle(backend, plan.model, plan.model)
    source = Source(plan.provider, plan.model, None, backend.base_url, None, None)
    lane = Lane(plan.name, backend, handle, source, price)
    messages_for = None if asked is None else asked.messages.__getitem__
    lane.wanted = wanted_of(source, cases, decoding, repeats, messages_for)
    return estimate_chats(
        lane, lane.wanted, backend.limits_for(plan.model), batch=False, may_chat=True
    )


def _price(session: Session, plan: CandidatePlan) -> ChatPrice | None:
    """Return the price of a token: of the model as it is for a prompt, as a tuned one otherwise."""
    if plan.kind == "prompt":
        return chat_price(plan.provider, plan.model, session.catalogue)
    serving: Serving = hosting_cost(plan.provider, plan.model, session.catalogue)
    if serving.kind == "unknown":
        return None
    return ChatPrice(
        serving.input_per_mtok or _ZERO,
        serving.cached_input_per_mtok,
        serving.output_per_mtok or _ZERO,
        source=serving.source,
    )
