"""Rank the candidates by what a month costs at the user's traffic; the figures are the catalogue's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from ftsdk.catalogue.serving_cost import Traffic
from ftsdk.migration.old_model import OldModel
from ftsdk.planning.candidates import Candidate
from ftsdk.planning.targets import RankedTarget, rank_targets
from ftsdk.session import Session
from ftsdk.types.migration import CandidatePlan

_WEIGHTS: Mapping[str, str] = {
    "yours": "the weights can be downloaded",
    "theirs": "the weights stay there",
    "unknown": "",
}


def ranked(
    session: Session,
    old: OldModel,
    plans: Sequence[CandidatePlan],
    traffic: Traffic,
    measured: Mapping[str, float] | None = None,
    longer: Mapping[str, float] | None = None,
) -> tuple[list[CandidatePlan], dict[str, RankedTarget]]:
    """Return the plans with their costs, the cheapest month first, and what is known of each.

    Those that cannot run come last. `measured` has the requests per second of one replica, by name, and
    `longer` the tokens that a prompt adds to each request, such as its examples.
    """
    by_candidate = {_candidate(one, measured or {}, longer or {}): one for one in plans}
    found = rank_targets(
        by_candidate,
        traffic,
        now=old_candidate(old),
        today=session.today,
        catalogue=session.catalogue,
    )
    known = {by_candidate[one.candidate].name: one for one in found}
    filled = [_filled(by_candidate[one.candidate], one) for one in found]
    return sorted(filled, key=lambda one: not one.can_run), known


def old_candidate(old: OldModel) -> Candidate:
    """Return the old model as what the others are compared with."""
    return Candidate(old.provider, old.base_model or old.name, method=old.method)


def _candidate(
    plan: CandidatePlan, measured: Mapping[str, float], longer: Mapping[str, float]
) -> Candidate:
    return Candidate(
        provider=plan.provider,
        model=plan.model,
        kind=plan.kind,
        prompt_tokens=longer.get(plan.name, 0.0),
        training=plan.training,
        requests_per_s=measured.get(plan.name),
        unsupported=plan.refused,
        note=plan.name,
    )


def _filled(plan: CandidatePlan, found: RankedTarget) -> CandidatePlan:
    month = found.month
    per_1000 = None if month is None else month.per_1000
    return plan.model_copy(
        update={
            "rank": found.rank,
            "monthly_usd": None if month is None else (month.usd.low, month.usd.high),
            "per_1000_usd": None if per_1000 is None else (per_1000.low, per_1000.high),
            "break_even": found.break_even,
            "cost_note": _cost_note(found),
            "unconfirmed": found.unconfirmed,
            "quality": _quality(found.mean_rank),
            "portability": _WEIGHTS[found.weights],
        }
    )


def _cost_note(found: RankedTarget) -> str:
    if found.month is None:
        return f"its price is not known: {found.missing}"
    return "at least: more replicas may be needed" if found.month.is_least else ""


def _quality(mean_rank: Decimal | None) -> str:
    if mean_rank is None:
        return ""
    return f"its base had mean rank {mean_rank} of 12 open models after tuning"
