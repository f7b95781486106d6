"""The migration of one fine-tune, step by step; each step leaves a receipt and is not done twice."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk.artifacts.bundle import MANIFEST, read_manifest
from ftsdk.catalogue.serving_cost import Traffic
from ftsdk.dataset import Dataset
from ftsdk.errors import BackendError, UsageError
from ftsdk.evaluation.captured import Captured
from ftsdk.evaluation.cases import cases_of
from ftsdk.evaluation.gate import GateResult
from ftsdk.evaluation.participants import Prompt
from ftsdk.evaluation.statistics.compare import MIN_ROWS
from ftsdk.migration.alias import alias_of, snippet
from ftsdk.migration.asking_cost import asked_prompt, asking_cost, mean_request
from ftsdk.migration.candidates import (
    prompt_candidate,
    prompts_of,
    tuned_candidate,
    tuned_candidates,
    with_examples,
)
from ftsdk.migration.capture import Capturing
from ftsdk.migration.comparing import (
    Compared,
    best_first,
    compare,
    entrants_of,
    ordered,
    require_entrants,
    results_of,
    with_plans,
)
from ftsdk.migration.comparison_rows import ComparisonRows, comparison_rows
from ftsdk.migration.leases import ComparisonLeases, lease_costs
from ftsdk.migration.lost import lost_features
from ftsdk.migration.migrate_options import MigrationOptions, Target
from ftsdk.migration.migration_report import measured_costs, write_reports
from ftsdk.migration.old_model import OldModel
from ftsdk.migration.ranking import ranked
from ftsdk.migration.receipts import Receipts
from ftsdk.migration.training import Trained, Training
from ftsdk.session import Session
from ftsdk.types.capture import CapturePlan, CaptureProgress, Rights
from ftsdk.types.migration import (
    CandidatePlan,
    MigratedModel,
    ModelMigrationPlan,
    StepName,
)
from ftsdk.util.files import make_private_folder

Say = Callable[[StepName, str], None]
OnProgress = Callable[[CaptureProgress], None] | None


@dataclass(frozen=True)
class Place:
    """What all models of a migration share: session, source, options, money, and who is informed."""

    session: Session
    provider: str
    source: str
    options: MigrationOptions
    data: Dataset | None
    left: Callable[[], Decimal | None]
    leases: ComparisonLeases
    say: Callable[[str, StepName, str], None]
    on_progress: OnProgress


class ModelMigration:
    """One fine-tune and its replacements. `plan` sends nothing that costs; `run` does the steps."""

    def __init__(self, place: Place, old: OldModel, folder: Path) -> None:
        self._place, self.old, self.folder = place, old, folder
        self._options, self._session = place.options, place.session
        self.receipts = Receipts(make_private_folder(folder), self._session.clock)
        self._training = Training(
            self._session,
            self.receipts,
            old,
            self._options,
            place.source,
            functools.partial(self._say, "train"),
        )

    def _say(self, step: StepName, text: str) -> None:
        self._place.say(self.old.name, step, text)

    # --- what it rests on ---

    @property
    def _data(self) -> Any:
        """The rows to ask: the caller's, else the validation rows of the old job."""
        return self._place.data if self._place.data is not None else self.old.validation

    def _capture_inputs(self) -> dict[str, Any]:
        data = self._data
        return {
            "model": self.old.name,
            "data": None if data is None else Dataset.load(data).sha256,
            "repeats": self._options.repeats,
            "options": self._options.evaluation().decoding,
        }

    @property
    def _bundle(self) -> Path:
        return self.folder / "capture"

    def _capturing(self, left: Decimal | None) -> Capturing:
        if self._data is None:
            raise UsageError(
                "There are no rows to compare models on: none were given, and the old job has no "
                "validation file",
                where=f"model {self.old.name}",
                hint=f"ftsdk migrate {self._place.provider} ROWS --model {self.old.name} …",
            )
        return Capturing(
            self._session,
            self.old.name,
            self._data,
            provider=self._place.provider,
            into=self._bundle,
            options=self._options.capture(left),
            on_progress=self._place.on_progress,
        )

    # --- the plan ---

    def plan(self) -> ModelMigrationPlan:
        """Return what would be done, and what it would cost. What cannot be done says why."""
        base = ModelMigrationPlan(
            model=self.old.name,
            base_model=self.old.base_model,
            ends_on=self.old.ends_on,
            folder=self.folder,
            done=tuple(self._done()),
        )
        try:
            capture, rights = self._planned_capture()
        except (UsageError, BackendError) as error:
            why = f"{error.what}; {error.hint}" if error.hint else error.what
            return base.model_copy(update={"failed": why})
        cases = cases_of(Dataset.load(self._data))
        tokens = mean_request(self._session, self.old, cases)
        traffic = Traffic(self._options.monthly_requests, *tokens, peak_per_s=self._options.peak)
        left = len(cases) - (0 if capture is None else len(capture.refused))
        if left < MIN_ROWS:
            why = (
                f"{left} rows are too few for a verdict; give at least {MIN_ROWS} that it was not "
                "trained on"
            )
            return base.model_copy(update={"capture": capture, "failed": why})
        planned = self.candidates()
        asked = {
            one.name: asked_prompt(self._session, one, prompt, cases)
            for one, prompt in self._prompts_for(planned)
            if one.can_run
        }
        longer = {
            name: max(0.0, mean_request(self._session, self.old, cases, one)[0] - tokens[0])
            for name, one in asked.items()
        }
        candidates, _ = ranked(self._session, self.old, planned, traffic, None, longer)
        decoding = self._options.evaluation().decoding
        return base.model_copy(
            update={
                "capture": capture,
                "rights": rights,
                "training_rows": self._training_rows(),
                "test_rows": left,
                "candidates": tuple(candidates),
                "lost": tuple(lost_features(self._session, self.old, candidates, self._data)),
                "evaluation": asking_cost(
                    self._session, candidates, asked, cases, decoding, self._options.repeats
                ),
                "evaluation_requests": len(cases)
                * self._options.repeats
                * sum(one.can_run for one in candidates),
                "trained": tuple(
                    one.name for one in candidates if self._training.job_of(one) is not None
                ),
            }
        )

    def _done(self) -> list[StepName]:
        steps: tuple[StepName, ...] = ("capture", "rights", "plan", "compare", "report", "alias")
        return [one for one in steps if self.receipts.read(one) is not None]

    def _planned_capture(self) -> tuple[CapturePlan | None, Rights]:
        if self.receipts.done("capture", self._capture_inputs()) is not None:
            return None, self._rights()
        with self._capturing(self._place.left()) as one:
            return one.plan(), one.rights()

    def _training_rows(self) -> int | None:
        return None if self.old.training is None else Dataset.load(self.old.training).rows

    def candidates(self) -> list[CandidatePlan]:
        """Return the candidates as they were planned, else as they are planned now.

        One that was refused is planned again: what was missing, such as a price, may be known by now.
        """
        receipt = self.receipts.read("plan")
        if receipt is not None:
            plans = [CandidatePlan.model_validate(one) for one in receipt.result["candidates"]]
            again = {
                one.name: tuned_candidate(
                    self._session, self.old, Target(one.provider, one.model), self._options
                )
                for one in plans
                if one.kind == "tuned" and one.refused
            }
            return [again.get(one.name, one) for one in plans]
        return [plan for plan, _ in self._fresh_candidates()]

    def _fresh_candidates(self) -> list[tuple[CandidatePlan, Prompt | None]]:
        session, options = self._session, self._options
        tuned = tuned_candidates(session, self.old, options)
        prompts = prompts_of(session, self.old, options)
        return [
            *((one, None) for one in tuned),
            *((prompt_candidate(session, one), one) for one in prompts),
        ]

    # --- the steps ---

    def run(self) -> MigratedModel:
        """Do every step that has no receipt yet. Raises what ends a step; the next call continues."""
        finished = self._finished()
        if finished is not None:
            return finished
        self._capture()
        rights = self._step_rights()
        candidates = self._step_plan(rights)
        trained = self._step_train(candidates, rights)
        compared, rows = self._step_compare(candidates, trained)
        return self._step_report(compared, rows, candidates)

    def _finished(self) -> MigratedModel | None:
        """Return the result where all steps are done, and nothing of what they rest on has changed."""
        alias, report = self.receipts.read("alias"), self.receipts.read("report")
        self.receipts.done("capture", self._capture_inputs())
        if alias is None or report is None:
            return None
        if self._options.retry and self._training.has_failed(self.candidates()):
            return None
        traffic = (report.inputs.get("requests"), report.inputs.get("peak"))
        if traffic != (self._options.requests, self._options.peak):
            self._say("report", "another traffic than before: the report is written again")
            return None
        return MigratedModel.model_validate(alias.result)

    def _capture(self) -> None:
        inputs = self._capture_inputs()
        if self.receipts.done("capture", inputs) is not None:
            return
        started = self._session.clock.now()
        self._say("capture", "asking the old model")
        with self._capturing(self._place.left()) as one:
            found = one.run(one.plan())
            spent = one.spent_so_far()
        if not found.is_complete:
            many = sum(found.errors.values())
            raise BackendError(
                f"{many:,} requests to the old model got no answer: {next(iter(found.errors))}",
                where=f"model {self.old.name}",
                hint="run the same command again: only these are asked",
            )
        facts = {
            "bundle": self._bundle.name,
            "rows": found.rows,
            "agreement": found.agreement,
            "counts": {who: dict(counts) for who, counts in found.counts.items()},
            "left_out": len(found.refused),
            "checked_against": list(found.checked_against),
        }
        self.receipts.write("capture", inputs, started, facts, usd=spent)

    def _rights(self) -> Rights:
        """Return the rights: as given now, else of the receipt, else of the capture."""
        if self._options.rights is not None:
            return self._options.rights
        receipt = self.receipts.read("rights")
        if receipt is not None:
            return Rights.model_validate(receipt.result)
        if not (self._bundle / MANIFEST).is_file():
            return Rights()
        return Rights.model_validate(read_manifest(self._bundle).get("rights") or {})

    def _step_rights(self) -> Rights:
        rights, started = self._rights(), self._session.clock.now()
        if rights.origin != "unknown" and self.receipts.read("rights") is None:
            asked = {"model": self.old.name}
            self.receipts.write("rights", asked, started, rights.model_dump(mode="json"))
        return rights

    def _step_plan(self, rights: Rights) -> list[CandidatePlan]:
        """Fix what is trained, before it is: models, hyperparameters, metric and margin."""
        trains = any(one.can_run and one.kind == "tuned" for one in self.candidates())
        if trains and rights.origin == "unknown":
            raise UsageError(
                "Nobody has said where the answers in the training file came from, so nothing is "
                "trained on them",
                where=f"model {self.old.name}; its answers are captured",
                hint="--rights own, internal-classifier, or 'cleared: REASON'",
            )
        inputs = {**self._options.measured_by(), "model": self.old.name}
        receipt = self.receipts.done("plan", inputs)
        candidates = self.candidates()
        if receipt is None:
            dumped = [one.model_dump(mode="json") for one in candidates]
            self.receipts.write("plan", inputs, self._session.clock.now(), {"candidates": dumped})
        return candidates

    def _step_train(self, candidates: list[CandidatePlan], rights: Rights) -> list[Trained]:
        plans = [one for one in candidates if one.kind == "tuned" and one.can_run]
        if not plans:
            return []
        if rights.origin == "unknown":  # never on any way to a job
            raise UsageError("The rights are unknown", where=f"model {self.old.name}")
        return self._training.train(plans, self._place.left)

    def _step_compare(
        self, candidates: list[CandidatePlan], trained: list[Trained]
    ) -> tuple[Compared, ComparisonRows]:
        captured = Captured(self._bundle)
        rows = comparison_rows(captured, self._data, self.folder / "rows")
        prompts = self._prompts_for(candidates)
        entrants, left_out = entrants_of(self._session, trained, prompts)
        left_out += [(one, "; ".join(one.refused)) for one in candidates if one.kind == "tuned" and not one.can_run]  # fmt: skip
        require_entrants(entrants, left_out, captured)
        inputs = {
            "capture": captured.manifest.get("seal"),
            "rows": rows.sha256,
            **self._options.measured_by(),
        }
        asked = [[one.plan.name, one.job_id] for one in entrants]
        receipt = self.receipts.done("compare", inputs)
        is_done = receipt is not None and receipt.result["candidates"] == asked
        started = self._session.clock.now()
        self._say("compare", f"asking {len(entrants)} candidates {rows.rows:,} rows")
        compared = compare(
            self._session,
            captured,
            rows,
            entrants,
            left_out,
            self._options,
            self._place.leases,
            self._place.left,
            self._place.on_progress,
        )
        if not is_done and not self._lacks_answers(compared):
            verdicts = {one.name: one.verdict for one in compared.report.candidates}
            facts = {"candidates": asked, "verdicts": verdicts}
            self.receipts.write("compare", inputs, started, facts, usd=compared.usd)
        return compared, rows

    def _prompts_for(self, candidates: list[CandidatePlan]) -> list[tuple[CandidatePlan, Prompt]]:
        plans = [one for one in candidates if one.kind == "prompt"]
        given = self._options.prompts
        if given is None:  # those of the plan: the catalogue may name another replacement by now
            given = tuple(Prompt(model=one.model, provider=one.provider) for one in plans)
        shown = [with_examples(one, self.old, self._options) for one in given]
        return list(zip(plans, shown, strict=True))

    @staticmethod
    def _lacks_answers(compared: Compared) -> bool:
        own = {one.plan.name for one in compared.entrants}
        return any(
            one.verdict == "not comparable" for one in compared.report.candidates if one.name in own
        )

    # --- the end ---

    def _step_report(
        self, compared: Compared, rows: ComparisonRows, candidates: list[CandidatePlan]
    ) -> MigratedModel:
        started = self._session.clock.now()
        self._say("report", "writing the report")
        costs = measured_costs(self._session, self.old, candidates, compared.report, self._options)
        compared = with_plans(compared, costs.plans)
        order = best_first(compared.report, compared.entrants)
        report = ordered(compared.report, order, Dataset.load(self._data).name, rows.notes())
        best = next(one for one in report.candidates if one.name == order[0])
        entrant = next(one for one in compared.entrants if one.plan.name == order[0])
        passed = best.gate.result is GateResult.PASSED
        call = snippet(self.old.name, entrant.plan, entrant.job_id) if passed else ""
        result = MigratedModel(
            model=self.old.name,
            folder=self.folder,
            result=best.gate.result.value,
            reason=best.gate.reason,
            ends_on=self.old.ends_on,
            candidates=tuple(results_of(compared, report)),
            chosen=order[0] if passed else None,
            snippet=call,
            report=self.folder / "report.html",
            spent_usd=self.spent(),
        )
        lost = list(lost_features(self._session, self.old, candidates, self._data))
        write_reports(
            self.folder, self._session, self.old, self._options, report, costs, result, lost
        )
        if not self._lacks_answers(compared):
            asked = {
                "requests": self._options.requests,
                "peak": self._options.peak,
                "rows": rows.sha256,
            }
            self.receipts.write("report", asked, started, {"result": result.result})
            alias = alias_of(self.old.name, entrant.plan, entrant.job_id) if passed else {}
            made = result.model_dump(mode="json")
            self.receipts.write("alias", {"alias": alias}, started, made)
        return result

    # --- money ---

    def spent(self) -> Decimal:
        """Return what was spent for this model so far, in US dollars: answers, jobs, deployments."""
        receipts = (self.receipts.read("capture"), self.receipts.read("compare"))
        total = sum((one.usd or Decimal(0) for one in receipts if one is not None), Decimal(0))
        plan = self.receipts.read("plan")
        if plan is None:
            return total
        jobs = set()
        for one in self.candidates():
            job = self._training.job_of(one) if one.kind == "tuned" else None
            if job is not None:
                jobs.add(job.id)
                total += self._training.cost_of(one)
        return total + lease_costs(self._session, jobs)
