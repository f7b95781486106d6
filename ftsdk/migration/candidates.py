"""The candidates of a migration: models to train at the targets, and prompts on models that live on.

Nothing is sent: a target's refusals, of settings and of rows, are found as `ftsdk plan` finds them.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

from ftsdk.catalogue.hosting_cost import hosting_cost
from ftsdk.catalogue.load import canonical_name, lookup
from ftsdk.catalogue.retirement import retirement_dates
from ftsdk.errors import (
    BackendError,
    BudgetError,
    DatasetError,
    FtsdkError,
    UsageError,
)
from ftsdk.evaluation.participants import Prompt
from ftsdk.migration.migrate_options import MigrationOptions, Target
from ftsdk.migration.old_model import OldModel
from ftsdk.migration.settings import settings_of
from ftsdk.planning.arguments import JobOptions
from ftsdk.planning.estimate import models_to_compare
from ftsdk.planning.prepare import PreparedJob, prepare
from ftsdk.session import Session
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.migration import CandidatePlan, LeasePlan

_UNCOMPARED = (
    "--uncompared trains it nevertheless; deploy it then with the provider's own tools, and compare it by a "
    "function that calls it: ftsdk.evaluate(ROWS, [ftsdk.Captured(FOLDER), function])"
)
_REFUSALS = (UsageError, DatasetError, BudgetError, BackendError)


# --- models that are trained ---


def tuned_candidates(
    session: Session, old: OldModel, options: MigrationOptions
) -> list[CandidatePlan]:
    """Return a plan for each target; a model that two targets name, in two spellings, is trained once."""
    plans: dict[tuple[str, str], CandidatePlan] = {}
    for target in options.targets:
        plan = tuned_candidate(session, old, target, options)
        model = canonical_name(plan.provider, plan.model, session.catalogue, through_aliases=False)
        plans.setdefault((plan.provider, model), plan)
    return list(plans.values())


def tuned_candidate(
    session: Session, old: OldModel, target: Target, options: MigrationOptions
) -> CandidatePlan:
    """Return the plan of a model that is trained at a target."""
    model, refused = target.model, ""
    if not model:
        try:
            model = _default_model(session, old, target.provider)
        except FtsdkError as error:
            refused = f"{error.what}; {error.hint}" if error.hint else error.what
    plan = CandidatePlan(
        name=f"{target.provider} {model.rpartition('/')[2]}".strip(),
        kind="tuned",
        provider=target.provider,
        model=model,
        refused=(refused,) if refused else (),
    )
    return plan if refused else _planned(session, old, plan, options)


def _default_model(session: Session, old: OldModel, provider: str) -> str:
    """Return the model to train there: the same base if it is offered, else the first of the cheapest."""
    session.backend(provider)  # an unknown provider is an error
    entry = lookup(provider, old.base_model, session.catalogue) if old.base_model else None
    if entry is not None and entry.model is not None:
        return str(old.base_model)
    names = models_to_compare(session, provider, old.method)
    if not names:
        raise UsageError(
            f"No model of {provider} is known that can be tuned",
            where=f"the target {provider}",
            hint=f"name one: --to {provider}:MODEL",
        )
    return names[0]


def _planned(
    session: Session, old: OldModel, plan: CandidatePlan, options: MigrationOptions
) -> CandidatePlan:
    able = session.backend(plan.provider).capabilities
    settings, hyperparameters = settings_of(old, able, options.hyperparameters or {}, options.seed)
    seed = options.seed if options.seed is not None else old.seed or 0
    dates = retirement_dates(plan.provider, plan.model, catalogue=session.catalogue)
    plan = plan.model_copy(
        update={
            "settings": tuple(settings),
            "hyperparameters": hyperparameters,
            "seed": seed if able.takes_seed else 0,
            "serving": hosting_cost(plan.provider, plan.model, session.catalogue).text,
            "ends_on": dates.ends_on,
        }
    )
    try:
        prepared = prepared_job(session, old, plan, options, budget=options.budget)
    except _REFUSALS as error:
        return plan.model_copy(update={"refused": tuple(_faults(error))})
    blind = _not_compared(session, plan)
    if blind and not options.uncompared:
        return plan.model_copy(update={"refused": (f"{blind}; {_UNCOMPARED}",)})
    notes = [*([blind] if blind else []), *prepared.plan.warnings]
    return plan.model_copy(
        update={
            "training": prepared.plan.cost,
            "lease": _lease(session, plan, options.lease_hours),
            "notes": tuple(notes),
        }
    )


def prepared_job(
    session: Session,
    old: OldModel,
    plan: CandidatePlan,
    options: MigrationOptions,
    *,
    budget: Decimal | None,
) -> PreparedJob:
    """Return the job of a candidate, checked and not sent."""
    asked: JobOptions = {
        "provider": plan.provider,
        "model": plan.model,
        "method": "dpo" if old.method == "dpo" else "sft",
        "hyperparameters": dict(plan.hyperparameters),
        "seed": plan.seed,
        "name": _job_name(old),
        "tags": {"replaces": old.name},
        "max_cost": budget,
        "allow_findings": options.allow_findings,
    }
    return prepare(session, old.require_training(), asked)


def _job_name(old: OldModel) -> str:
    """Return a display name: the suffix of the old model's name, else its base."""
    parts = old.name.split(":")
    return next((part for part in reversed(parts[2:-1]) if part), parts[1] if parts[1:] else old.name)  # fmt: skip


def _faults(error: FtsdkError) -> Iterator[str]:
    """Yield why a target refuses: every fault of the rows, or the error with its hint."""
    report = getattr(error, "report", None)
    if isinstance(error, DatasetError) and report is not None:
        for code, rows in report.row_counts.items():
            if any(one.code == code for one in report.faults):
                first = next(one for one in report.faults if one.code == code)
                yield f"{code}, {rows:,} rows, first line {first.line}: {first.message}"
        return
    if isinstance(error, BudgetError):
        yield f"{error.what}, under the budget of the migration; {error.hint}"
        return
    faults = getattr(error, "faults", ())
    if faults:
        yield from map(str, faults)
        return
    yield f"{error.what}; {error.hint}" if error.hint else error.what


def _not_compared(session: Session, plan: CandidatePlan) -> str:
    """Return why a model is trained and not compared; empty where it is compared."""
    able = session.backend(plan.provider).capabilities
    if able.can_chat_many:
        return ""
    return f"it is trained and not compared: {able.note or 'ftsdk cannot ask it many questions'}"


def _lease(session: Session, plan: CandidatePlan, hours: float) -> LeasePlan | None:
    """Return the deployment that comparing needs, by the highest price of the catalogue."""
    able = session.backend(plan.provider).capabilities
    if able.price == "free" or not (able.can_deploy and able.can_chat_many):
        return None
    span = hosting_cost(plan.provider, plan.model, session.catalogue).usd_per_hour
    price = None if span is None else span.high
    usd = None if price is None else (price * Decimal(str(hours))).quantize(Decimal("0.01"))
    return LeasePlan(hours=hours, usd_per_hour=price, usd=usd)


# --- prompts ---


def prompts_of(session: Session, old: OldModel, options: MigrationOptions) -> list[Prompt]:
    """Return the prompts to compare: those that were given, else one on the named replacement."""
    if options.prompts is not None:
        return [with_examples(one, old, options) for one in options.prompts]
    entry = lookup("openai", old.base_model or "", session.catalogue)
    named = "" if entry is None or entry.model is None else entry.model.replacement
    model = named.partition(" ")[0]
    found = [Prompt(model=model, provider="openai")] if model else []
    return [with_examples(one, old, options) for one in found]


def with_examples(prompt: Prompt, old: OldModel, options: MigrationOptions) -> Prompt:
    """Return a prompt with the number of examples that is asked for, from the old model's rows."""
    if options.examples and not prompt.given_examples and not prompt.retrieves:
        prompt = dataclasses.replace(prompt, examples=options.examples)
    if prompt.retrieves and prompt.training is None:
        return dataclasses.replace(prompt, training=old.training)
    return prompt


def prompt_candidate(session: Session, prompt: Prompt) -> CandidatePlan:
    """Return the plan of a prompt: nothing is trained."""
    provider, model = prompt.provider or "openai", str(getattr(prompt.model, "id", prompt.model))
    many = prompt.retrieves
    name = prompt.name or (f"{many} examples on {model}" if many else f"prompt on {model}")
    ends = retirement_dates(provider, model, catalogue=session.catalogue).ends_on
    refused = list[str]()
    if ends is not None and ends <= session.today + dt.timedelta(days=90):
        refused.append(f"{model} itself ends on {ends:%d %B %Y}")
    if many and prompt.training is None:
        refused.append(
            "its examples come from the training rows, which are not known: --training FILE"
        )
    free = Cost(
        basis=CostBasis.BILLED, low=Decimal(0), high=Decimal(0), source="nothing is trained"
    )
    return CandidatePlan(
        name=name,
        kind="prompt",
        provider=provider,
        model=model,
        training=free,
        serving="by the token",
        ends_on=ends,
        refused=tuple(refused),
    )
