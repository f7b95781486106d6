"""Capture every fine-tune of an account, the first to end first, within one budget."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk.backends.base import Backend
from ftsdk.catalogue.retirement import ends_on
from ftsdk.errors import AuthError, FtsdkError
from ftsdk.migration.capture import Capturing
from ftsdk.migration.options import CaptureOptions, OnProgress
from ftsdk.session import Session
from ftsdk.types.capture import Capture, CapturePlan
from ftsdk.types.cost import sum_known
from ftsdk.util.names import file_name

OnModel = Callable[[str], None]


@dataclass(frozen=True)
class AllPlanned:
    """The plan for each model, the first to end first, and why the others cannot be captured."""

    plans: tuple[CapturePlan, ...]
    failed: tuple[tuple[str, FtsdkError], ...] = ()

    @property
    def high(self) -> Decimal | None:
        """The most that all of it costs; None where one price is not known."""
        return sum_known(plan.cost.high for plan in self.plans)


@dataclass(frozen=True)
class AllCaptured:
    """The captures, and the models that could not be captured, with the reason."""

    captures: tuple[Capture, ...]
    failed: tuple[tuple[str, FtsdkError], ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every model was captured, and every request has its answer."""
        return not self.failed and all(one.is_complete for one in self.captures)


class CapturingAll:
    """The captures of all fine-tunes of an account. `plan` first, then `run`."""

    def __init__(
        self,
        session: Session,
        provider: str,
        data: Any = None,
        *,
        into: str | Path | None = None,
        options: CaptureOptions,
        on_progress: OnProgress | None = None,
        on_model: OnModel | None = None,
    ) -> None:
        self._session, self._provider, self._data = session, provider, data
        self._into = None if into is None else Path(into)
        self._options, self._on_progress = options, on_progress
        self._on_model = on_model or (lambda _: None)
        self._captures: dict[str, Capturing] = {}
        self.models = models_by_end(session, session.backend(provider))

    def plan(self) -> AllPlanned:
        """Return what would be asked of each model. Nothing is asked."""
        plans, failed = [], []
        for model, _ in self.models:
            try:
                with self._one(model) as one:
                    plans.append(one.plan())
            except AuthError:
                raise
            except FtsdkError as error:
                failed.append((model, error))
        return AllPlanned(tuple(plans), tuple(failed))

    def run(self) -> AllCaptured:
        """Capture one model after the other. A model that fails does not stop the others.

        Once the budget is used up, the models that are left are named with that reason.
        """
        captures: list[Capture] = []
        failed: list[tuple[str, FtsdkError]] = []
        left = self._options.budget
        for model, _ in self.models:
            self._on_model(model)
            spent = Decimal(0)
            try:
                one = self._one(model)
                one.limit(left)
                try:
                    with one:
                        captures.append(one.run(one.plan()))
                finally:
                    spent = one.spent
            except AuthError:
                raise
            except FtsdkError as error:
                failed.append((model, error))
            if left is not None:
                left = max(Decimal(0), left - spent)
        return AllCaptured(tuple(captures), tuple(failed))

    def _one(self, model: str) -> Capturing:
        """Return the capture of a model: that of `plan` again, which has read what it needs to ask."""
        found = self._captures.get(model)
        if found is None:
            found = self._captures[model] = Capturing(
                self._session,
                model,
                self._data,
                provider=self._provider,
                into=None if self._into is None else self._into / file_name(model),
                options=self._options,
                on_progress=self._on_progress,
            )
        return found


def models_by_end(session: Session, backend: Backend) -> Sequence[tuple[str, dt.date | None]]:
    """Return the account's fine-tunes with the day on which each ends, the first to end first."""
    reported = backend.model_ends() if backend.capabilities.reports_model_ends else {}
    found = [
        (
            name,
            reported.get(name) or ends_on(backend.name, base or name, catalogue=session.catalogue),
        )
        for name, base in backend.account_models().items()
    ]
    return sorted(found, key=lambda one: (one[1] is None, one[1] or dt.date.max, one[0]))
