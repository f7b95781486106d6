"""When the models in the journal and in the providers' accounts retire."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from urllib.parse import urlsplit

from ftsdk.backends.base import Backend
from ftsdk.backends.registry import backend_names
from ftsdk.catalogue.provider_dates import store_reported_dates
from ftsdk.catalogue.retirement import WARNING_DAYS
from ftsdk.catalogue.retirement_calendar import AccountModel, Retirements, retirements_of
from ftsdk.errors import FtsdkError
from ftsdk.session import Session
from ftsdk.store.acknowledgements import Acknowledgements
from ftsdk.types.job import JobSnapshot

_log = logging.getLogger("ftsdk")
_LISTED = 500
"""How many of an account's newest jobs are searched for fine-tunes."""


@dataclass
class _Reported:
    """What the providers reported: fine-tunes, end dates, and which requests failed."""

    account: list[AccountModel] = field(default_factory=list)
    ends: dict[tuple[str, str], dt.date] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


def retirements(
    session: Session, *, live: bool = False, within_days: int | None = None
) -> Retirements:
    """Return when each fine-tune and base model in the journal retires.

    With `live`, end dates and fine-tunes are read from the providers of the journal's jobs and from
    those with a key in the environment. A provider that cannot be reached, or has too many jobs to
    search, is listed in `not_asked`. The dates are stored, and plans and estimates use them from
    then on.
    """
    jobs: list[JobSnapshot] = []
    owners: dict[Backend, str] = {}
    for job in session.journal.list():
        owner, backend = _owner(session, job)
        jobs.append(job if owner == job.provider else job.model_copy(update={"provider": owner}))
        if backend is not None:
            owners.setdefault(backend, owner)
    reported = _ask_all(jobs, _with_keys(session) | owners) if live else _Reported()
    _keep(session, reported)
    found = retirements_of(
        jobs,
        session.today,
        account=reported.account,
        live=reported.ends,
        acknowledged=Acknowledgements(session.journal).of_kind("ending"),
        within_days=WARNING_DAYS if within_days is None else within_days,
        catalogue=session.catalogue,
    )
    return replace(found, not_asked=tuple(reported.failed))


def _owner(session: Session, job: JobSnapshot) -> tuple[str, Backend | None]:
    """Return whose end dates apply to a job (`openai`, `openai at gateway.example`), and its backend."""
    try:
        backend = session.backend_for(job)
    except FtsdkError:
        return job.provider, None  # no longer installed or configured; its dates still apply
    return _label(backend), backend


def _label(backend: Backend) -> str:
    host = urlsplit(backend.base_url or "").hostname or "another address"
    return backend.dated_as or f"{backend.name} at {host}"


def _ask_all(jobs: Sequence[JobSnapshot], owners: Mapping[Backend, str]) -> _Reported:
    """Ask each account; providers that are free have no end dates and are left out."""
    reported, known = _Reported(), {job.provider_job_id for job in jobs}
    for backend, owner in owners.items():
        if backend.capabilities.price == "free":
            continue
        try:
            _ask(owner, backend, known, reported)
        except FtsdkError as error:
            reported.failed.append(f"{owner}: {error.what}")
    return reported


def _ask(owner: str, backend: Backend, known: set[str | None], reported: _Reported) -> None:
    """Add one account's end dates, and its fine-tunes whose job is not journaled."""
    ends = dict(backend.model_ends()) if backend.capabilities.reports_model_ends else {}
    jobs = list(islice(backend.list(), _LISTED + 1))
    made = [job for job in jobs[:_LISTED] if job.result_model]
    tunes = {str(job.result_model): job.model for job in made}
    if backend.capabilities.lists_models:
        tunes |= backend.account_models()
    elif len(jobs) > _LISTED:
        reported.failed.append(f"{owner}: for the jobs before its newest {_LISTED}")
    ours = {str(job.result_model) for job in made if job.provider_job_id in known}
    reported.ends.update({(owner, model): day for model, day in ends.items()})
    reported.account += [
        AccountModel(owner, name, base, ends.get(name))
        for name, base in tunes.items()
        if name not in ours
    ]


def _keep(session: Session, reported: _Reported) -> None:
    """Store the reported dates, so that plans and estimates use them."""
    known = session.catalogue.providers
    for owner in {owner for owner, _ in reported.ends} & set(known):
        ends = {model: day for (name, model), day in reported.ends.items() if name == owner}
        store_reported_dates(session.home, owner, ends, session.today)


def _with_keys(session: Session) -> dict[Backend, str]:
    """Return the backends whose key is in the environment, one for each account, with its label."""
    found: dict[Backend, str] = {}
    for name in backend_names():
        try:
            found |= {backend: _label(backend) for backend in session.backends_with_keys(name)}
        except FtsdkError as error:
            _log.info("%s was not asked: %s", name, error.what)
    return found
