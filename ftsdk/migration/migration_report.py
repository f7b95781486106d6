"""The report of a migration: the evaluation's page with cost, dates and what was not carried over."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ftsdk.catalogue.retirement import retirement_dates
from ftsdk.catalogue.serving_cost import Traffic
from ftsdk.evaluation.junit import junit_xml
from ftsdk.evaluation.report import EvaluationReport
from ftsdk.evaluation.report_page import Frame
from ftsdk.migration.migrate_options import MigrationOptions
from ftsdk.migration.old_model import OldModel
from ftsdk.migration.ranking import old_candidate, ranked
from ftsdk.migration.report_cost import CostLine, cost_card, cost_line, with_peak
from ftsdk.migration.report_sections import dates_card, lost_card, result_card
from ftsdk.planning.targets import RankedTarget
from ftsdk.session import Session
from ftsdk.types.migration import CandidatePlan, LostFeature, MigratedModel
from ftsdk.util.files import atomic_file, atomic_write_bytes
from ftsdk.util.json_stream import json_blocks

_LOOKS = ("new", "third", "fourth", "new")


@dataclass(frozen=True)
class MeasuredCosts:
    """The candidates' costs with the tokens and the pace that the comparison measured."""

    plans: tuple[CandidatePlan, ...]
    targets: Mapping[str, RankedTarget]
    traffic: Traffic
    own: Mapping[str, Traffic]


def measured_costs(
    session: Session,
    old: OldModel,
    plans: Sequence[CandidatePlan],
    report: EvaluationReport,
    options: MigrationOptions,
) -> MeasuredCosts:
    """Return the costs at the user's traffic; each answer's tokens are those that were counted."""
    traffic = _traffic(report, report.reference, options)
    own = {one.name: _traffic(report, one.name, options) for one in plans}
    pace = {
        one.name: options.concurrency / one.latency_p50_s
        for one in report.models
        if one.latency_p50_s
    }
    longer = {
        one.name: max(0.0, own[one.name].input_tokens - traffic.input_tokens)
        for one in plans
        if one.kind == "prompt"
    }
    filled, targets = ranked(session, old, plans, traffic, pace, longer)
    return MeasuredCosts(tuple(filled), targets, traffic, own)


def _traffic(report: EvaluationReport, name: str, options: MigrationOptions) -> Traffic:
    """Return the traffic with the mean tokens of a model's own answers, else of the old model's."""
    by_name = {one.name: one.tokens for one in report.models}
    tokens = by_name.get(name) or by_name.get(report.reference) or {}
    asked, cached = tokens.get("prompt", 0.0), tokens.get("cached", 0.0)
    requests = options.monthly_requests
    plain = Traffic(requests, asked, tokens.get("completion", 0.0), min(asked, cached))
    return with_peak(plain, requests, options.peak_factor)


def write_reports(
    folder: Path,
    session: Session,
    old: OldModel,
    options: MigrationOptions,
    report: EvaluationReport,
    costs: MeasuredCosts,
    result: MigratedModel,
    lost: Sequence[LostFeature],
) -> None:
    """Write `report.html`, `report.json` and `report.xml` into the folder."""
    document = {
        "migration": result.model_dump(mode="json"),
        "costs": [one.to_dict() for one in costs.targets.values()],
        "lost": [one.model_dump(mode="json") for one in lost],
        "evaluation": report.to_stream(),
    }
    page = report.to_html(frame=_frame(session, old, options, costs, result, lost))
    atomic_write_bytes(folder / "report.html", page.encode())
    with atomic_file(folder / "report.json") as handle:
        handle.writelines(json_blocks(document))
    atomic_write_bytes(folder / "report.xml", junit_xml(report))


def _frame(
    session: Session,
    old: OldModel,
    options: MigrationOptions,
    costs: MeasuredCosts,
    result: MigratedModel,
    lost: Sequence[LostFeature],
) -> Frame:
    css = resources.files("ftsdk.migration").joinpath("report.css").read_text("utf-8")
    before = cost_line(
        old.name, old_candidate(old), costs.traffic, session.catalogue, "old", options.peak_factor
    )
    card = cost_card(
        before,
        list(_lines(session, costs, options.peak_factor)),
        list(costs.targets.values()),
        options.monthly_requests,
        assumed=options.requests is None,
        peak=options.peak,
    )
    dates = dates_card(list(_dates(session, old, costs.plans, result)), session.today)
    return Frame(
        title="Migration",
        css=css,
        before=result_card(result, session.today) + card + dates + lost_card(lost),
    )


def _lines(session: Session, costs: MeasuredCosts, factor: float) -> Iterator[CostLine]:
    """Yield a curve for each candidate that can run and has a price, each with a look of its own."""
    looks = iter(_LOOKS)
    for plan in costs.plans:
        target = costs.targets[plan.name]
        if not plan.can_run or target.month is None:
            continue
        look = next(looks, "fourth")
        own = dataclasses.replace(target.candidate, prompt_tokens=0)  # they are in its own traffic
        line = cost_line(plan.name, own, costs.own[plan.name], session.catalogue, look, factor)
        if line is not None:
            yield line


def _dates(
    session: Session, old: OldModel, plans: Sequence[CandidatePlan], result: MigratedModel
) -> Iterator[tuple[dt.date, str]]:
    """Yield the days that matter: the end of the old model, of its provider's jobs, and of the new one."""
    facts = retirement_dates(old.provider, old.base_model or "", catalogue=session.catalogue)
    if facts.no_new_jobs_from is not None:
        yield facts.no_new_jobs_from, f"no new fine-tuning jobs at {old.provider}"
    if old.ends_on is not None:
        yield old.ends_on - dt.timedelta(days=1), "the last day to switch"
        yield old.ends_on, f"{old.name} stops"
    for plan in plans:
        if plan.ends_on is not None and plan.can_run:
            chosen = ", which you would switch to" if plan.name == result.chosen else ""
            yield plan.ends_on, f"{plan.name} ends{chosen}"
