"""Until when models live: those of the journal, and what the providers tell when they are asked."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ftsdk.errors import FtsdkError
from ftsdk.spending.reserve import catalogue_of, today_of
from ftsdk.store.reservations import Spending
from ftsdk.types.job import JobSnapshot

if TYPE_CHECKING:
    from ftsdk.backends.base import Backend
    from ftsdk.catalogue import AccountModel, Radar
    from ftsdk.client import Client

__all__ = ["radar"]

_log = logging.getLogger("ftsdk")
_LISTED = 500
"""How many of an account's newest jobs are looked through for fine-tunes."""


@dataclass
class _Told:
    """What the providers told: the account's fine-tunes, the days models end, and who was away."""

    account: list[AccountModel] = field(default_factory=list)
    ends: dict[tuple[str, str], dt.date] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


def radar(client: Client, *, live: bool = False, within_days: int | None = None) -> Radar:
    """The calendar of endings of every fine-tune and base that the journal knows.

    With `live`, the providers of the journal's jobs, and those with a key in the environment, are
    asked when models end and which fine-tunes the account has (reads only); one that cannot be
    asked, or has too many jobs to look through, is named in `not_asked` and keeps nobody else
    waiting. The days they tell are kept, and
    plans and estimates go by them from then on.
    """
    from ftsdk.catalogue import WITHIN_DAYS
    from ftsdk.catalogue import radar as found

    jobs: list[JobSnapshot] = []
    owners: dict[str, Backend] = {}
    for job in client.journal.list():
        owner, backend = _owner(client, job)
        jobs.append(job if owner == job.provider else job.model_copy(update={"provider": owner}))
        if backend is not None:
            owners.setdefault(owner, backend)
    told = _asked(jobs, {**_with_keys(client), **owners}) if live else _Told()
    _keep(client, told)
    calendar = found(
        jobs,
        today_of(client),
        account=told.account,
        live=told.ends,
        acknowledged=Spending(client.journal).acknowledged("ending"),
        within_days=WITHIN_DAYS if within_days is None else within_days,
        catalogue=catalogue_of(client),
    )
    return replace(calendar, not_asked=tuple(told.failed))


def _owner(client: Client, job: JobSnapshot) -> tuple[str, Backend | None]:
    """Whose end dates hold for a job, and its backend: `openai`, or `openai at gateway.example`."""
    try:
        backend = client._backend_for(job)
    except FtsdkError:
        return job.provider, None  # not installed or not configured any more; its dates still hold
    return _label(backend), backend


def _label(backend: Backend) -> str:
    host = urlsplit(backend.base_url or "").hostname or "another address"
    return backend.dated_as or f"{backend.name} at {host}"


def _asked(jobs: Sequence[JobSnapshot], owners: Mapping[str, Backend]) -> _Told:
    """What the providers tell now; those that charge nothing end nothing and are left out."""
    told, known = _Told(), {job.provider_job_id for job in jobs}
    for owner, backend in owners.items():
        if backend.capabilities.price == "free":
            continue
        try:
            _ask(owner, backend, known, told)
        except FtsdkError as error:
            told.failed.append(f"{owner}: {error.what}")
    return told


def _ask(owner: str, backend: Backend, known: set[str | None], told: _Told) -> None:
    """Add one account's ends and fine-tunes; a fine-tune whose job is journaled stands there."""
    from ftsdk.catalogue import AccountModel

    ends = dict(backend.model_ends()) if backend.capabilities.reports_model_ends else {}
    jobs = list(islice(backend.list(), _LISTED + 1))
    made = [job for job in jobs[:_LISTED] if job.result_model]
    tunes = {str(job.result_model): job.model for job in made}
    if backend.capabilities.lists_models:
        tunes |= backend.account_models()
    elif len(jobs) > _LISTED:
        told.failed.append(f"{owner}: for the jobs before its newest {_LISTED}")
    ours = {str(job.result_model) for job in made if job.provider_job_id in known}
    told.ends.update({(owner, model): day for model, day in ends.items()})
    told.account += [
        AccountModel(owner, name, base, ends.get(name))
        for name, base in tunes.items()
        if name not in ours
    ]


def _keep(client: Client, told: _Told) -> None:
    """Remember the days told, so that plans and estimates go by them from now on."""
    from ftsdk.catalogue import remember

    known = catalogue_of(client).providers
    for owner in {owner for owner, _ in told.ends} & set(known):
        ends = {model: day for (whose, model), day in told.ends.items() if whose == owner}
        remember(client.home, owner, ends, today_of(client))


def _with_keys(client: Client) -> dict[str, Backend]:
    """The backends whose key is in the environment, whether the journal has a job of them or not."""
    from ftsdk.backends.registry import backend_names, load_backend

    found = {}
    for name in backend_names():
        try:
            own = load_backend(name).capabilities.key_variables
            if any(client.env.get(key) for key in own):
                backend = client.backend(name)
                found[_label(backend)] = backend
        except FtsdkError as error:
            _log.info("%s was not asked: %s", name, error.what)
    return found
