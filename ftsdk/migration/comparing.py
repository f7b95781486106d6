"""Compare the replacements with the captured model, and choose the one to switch to."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ftsdk.errors import FtsdkError, NotFound, NotReady, Rejected, Unsupported, UsageError
from ftsdk.evaluation.captured import Captured
from ftsdk.evaluation.evaluate import Evaluating
from ftsdk.evaluation.gate import GateResult
from ftsdk.evaluation.models import Model
from ftsdk.evaluation.options import EvaluationOptions
from ftsdk.evaluation.participants import GivenModel, Named, Prompt
from ftsdk.evaluation.report import EvaluationReport
from ftsdk.jobs.job import FineTuneJob
from ftsdk.migration.comparison_rows import ComparisonRows
from ftsdk.migration.leases import ComparisonLeases
from ftsdk.migration.migrate_options import MigrationOptions
from ftsdk.migration.training import Trained
from ftsdk.session import Session
from ftsdk.types.capture import CaptureProgress
from ftsdk.types.job import JobSnapshot
from ftsdk.types.migration import CandidatePlan, CandidateResult

_CANNOT_ANSWER = (NotReady, NotFound, Rejected, Unsupported)
"""Errors of a model that would come again with every request."""
_BEST_FIRST = (
    GateResult.PASSED,
    GateResult.INCONCLUSIVE,
    GateResult.FAILED,
    GateResult.NOT_COMPARABLE,
)


@dataclass(frozen=True)
class Entrant:
    """A candidate that can be asked, and how it is given to an evaluation."""

    plan: CandidatePlan
    given: GivenModel
    job_id: str | None = None

    def is_for(self, model: Model) -> bool:
        """Whether this is the candidate of a model that is asked."""
        if model.job is not None:
            return model.job.id == self.job_id
        return self.job_id is None and self.plan.model == model.name


@dataclass(frozen=True)
class Compared:
    """The report of the comparison, what its answers cost, and why some candidates are not in it."""

    report: EvaluationReport
    usd: Decimal
    entrants: tuple[Entrant, ...]
    left_out: tuple[tuple[CandidatePlan, str], ...]


def entrants_of(
    session: Session, trained: Sequence[Trained], prompts: Sequence[tuple[CandidatePlan, Prompt]]
) -> tuple[list[Entrant], list[tuple[CandidatePlan, str]]]:
    """Return the candidates that can be asked, and the others with the reason why they cannot."""
    entrants, left_out = [], []
    for one in trained:
        why = one.failed if one.job is None else one.failed or _cannot_be_asked(session, one.job)
        if why or one.job is None:
            left_out.append((one.plan, why))
        else:
            entrants.append(Entrant(one.plan, Named(one.job.id, one.plan.name), one.job.id))
    for plan, prompt in prompts:
        if plan.refused:
            left_out.append((plan, "; ".join(plan.refused)))
        else:
            entrants.append(Entrant(plan, _named(prompt, plan.name)))
    return entrants, left_out


def _named(prompt: Prompt, name: str) -> Prompt:
    return dataclasses.replace(prompt, name=name)


def _cannot_be_asked(session: Session, job: JobSnapshot) -> str:
    """Return why a trained model is not compared; empty where it is."""
    backend = session.backend_for(job)
    able = backend.capabilities
    if not able.can_chat_many:
        return f"{backend.name} trained it, and ftsdk cannot ask it: {able.note}"
    handle = FineTuneJob(session, job).result()
    if handle.callable_now or able.can_deploy:
        return ""
    return f"its model cannot be called now, and ftsdk cannot deploy it at {backend.name}"


def compare(
    session: Session,
    captured: Captured,
    rows: ComparisonRows,
    entrants: Sequence[Entrant],
    left_out: Sequence[tuple[CandidatePlan, str]],
    options: MigrationOptions,
    leases: ComparisonLeases,
    left: Callable[[], Decimal | None],
    on_progress: Callable[[CaptureProgress], None] | None,
) -> Compared:
    """Ask the candidates the captured rows, and compare each with the captured model.

    The untuned base of the old model is compared as well, where it was captured: it shows what the old
    tuning was worth. Deployments start when a model is asked, and end when it has answered. A candidate
    that answers nothing, such as a model that the account may not use, does not stop the others.
    """
    settings: EvaluationOptions = options.evaluation(left())
    settings = dataclasses.replace(settings, one_of=tuple(one.plan.name for one in entrants))
    blocked: dict[str, FtsdkError] = {}

    @contextlib.contextmanager
    def around(model: Model) -> Iterator[None]:
        try:
            with leases.around(model, options.lease_hours, left()):
                yield
        except _CANNOT_ANSWER as error:
            blocked.update({one.plan.name: error for one in entrants if one.is_for(model)})

    while True:
        models: list[GivenModel] = [_reference(captured, rows), *(one.given for one in entrants)]
        if captured.manifest.get("base_model"):
            models.append(Captured(captured.folder, who="base"))
        with Evaluating(session, rows.path, models, settings, on_progress, around) as one:
            report = one.run(one.plan())
            spent = one.spent_so_far()
        if not blocked:
            return Compared(report, spent, tuple(entrants), tuple(left_out))
        left_out = [*left_out, *_why_blocked(entrants, blocked)]
        entrants = [one for one in entrants if one.plan.name not in blocked]
        blocked.clear()
        require_entrants(entrants, left_out, captured)


def _why_blocked(
    entrants: Sequence[Entrant], blocked: Mapping[str, FtsdkError]
) -> Iterator[tuple[CandidatePlan, str]]:
    for one in entrants:
        error = blocked.get(one.plan.name)
        if error is not None:
            yield one.plan, error.what


def require_entrants(
    entrants: Sequence[Entrant], left_out: Sequence[tuple[CandidatePlan, str]], captured: Captured
) -> None:
    """Raise `UsageError` with every reason where no candidate can be compared."""
    if not entrants:
        raise UsageError(
            "No candidate can be compared: "
            + "; ".join(f"{plan.name}: {why}" for plan, why in left_out),
            where=f"model {captured.manifest.get('model')}",
            hint="name another target, or a prompt; --retry creates failed jobs again",
        )


def _reference(captured: Captured, rows: ComparisonRows) -> Captured:
    """Return the old model's answers; without the first where that takes the place of the right one."""
    repeats = int(captured.manifest.get("repeats") or 1)
    return Captured(captured.folder, first_repeat=int(rows.by_agreement and repeats > 1))


def best_first(report: EvaluationReport, entrants: Sequence[Entrant]) -> list[str]:
    """Return the names of the candidates by their results, and by what they cost where those are equal."""
    ranks = {one.plan.name: one.plan.rank for one in entrants}
    found = [one for one in report.candidates if one.name in ranks]
    found.sort(key=lambda one: (_BEST_FIRST.index(one.gate.result), ranks[one.name]))
    return [one.name for one in found]


def with_plans(compared: Compared, plans: Sequence[CandidatePlan]) -> Compared:
    """Return the comparison with the plans as they are after it: with costs that were measured."""
    by_name = {one.name: one for one in plans}
    return dataclasses.replace(
        compared,
        entrants=tuple(
            dataclasses.replace(one, plan=by_name[one.plan.name]) for one in compared.entrants
        ),
    )


def ordered(
    report: EvaluationReport, first: Sequence[str], data: str, notes: Sequence[str]
) -> EvaluationReport:
    """Return the report with these candidates first, the name of the user's data, and more notes."""
    rest = [one.name for one in report.candidates if one.name not in first]
    by_name = {one.name: one for one in report.candidates}
    return dataclasses.replace(
        report,
        data=data,
        candidates=tuple(by_name[name] for name in [*first, *rest]),
        notes=(*report.notes, *notes),
    )


def results_of(compared: Compared, report: EvaluationReport) -> Iterator[CandidateResult]:
    """Yield what the report shows about each candidate, then those that were not compared.

    The untuned base of the old model is left out: nobody switches to it.
    """
    entrants = {one.plan.name: one for one in compared.entrants}
    for one in report.candidates:
        entrant = entrants.get(one.name)
        if entrant is None:
            continue
        main, plan = one.gate.metrics[one.gate.primary], entrant.plan
        yield CandidateResult(
            name=one.name,
            kind=plan.kind,
            provider=plan.provider,
            model=plan.model,
            job_id=entrant.job_id,
            result=one.gate.result.value,
            verdict=one.verdict,
            reason=one.gate.reason,
            difference=main.delta,
            low=main.low,
            high=main.high,
            per_1000_usd=plan.per_1000_usd,
        )
    for plan, why in compared.left_out:
        yield CandidateResult(
            name=plan.name,
            kind=plan.kind,
            provider=plan.provider,
            model=plan.model,
            result="not comparable",
            reason=why,
        )
