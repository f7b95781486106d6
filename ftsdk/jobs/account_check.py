"""Which account and address a job is of, checked before it is looked for or sent."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass

from ftsdk.backends.base import Backend
from ftsdk.backends.refusals import refuse_other_account
from ftsdk.errors import ConfigError, UsageError, WrongAccount
from ftsdk.store.accounts import Accounts
from ftsdk.store.journal import Journal
from ftsdk.types.account import account_name, may_be_same
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

_log = logging.getLogger("ftsdk")


@dataclass(frozen=True)
class Place:
    """Where the present call would create a job: address, account, profile."""

    base_url: str | None = None
    account: str | None = None
    profile: str | None = None


def is_of_account(journal: Journal, snapshot: JobSnapshot, account: str | None) -> bool:
    """Return False where the job is known to be of another account."""
    if snapshot.account is None:
        return True
    same = Accounts(journal).same_as(snapshot.provider, snapshot.account)
    return any(may_be_same(account, one) for one in same)


def require_account(journal: Journal, backend: Backend, snapshot: JobSnapshot) -> None:
    """Raise `WrongAccount` where `backend` would make calls for another account than the job's."""
    if snapshot.account is None:
        return
    try:
        found = backend.account()
    except ConfigError:
        return  # there is no key: the call raises the error with all its facts
    wanted = Accounts(journal).same_as(snapshot.provider, snapshot.account)
    refuse_other_account(found, wanted, provider=backend.name)


def account_after(backend: Backend, snapshot: JobSnapshot) -> str | None:
    """Return the account to journal after the provider has shown the job to `backend`.

    A job whose account was not recorded, or under a lost secret, takes the one that found it.
    """
    found = (
        next(iter(backend.context.accounts), None) if len(backend.context.accounts) == 1 else None
    )
    return found if found is not None and may_be_same(snapshot.account, found) else snapshot.account


def require_same_job(
    journal: Journal, existing: JobSnapshot, fingerprint: str, key: str | None, place: Place
) -> None:
    """Raise `UsageError` where a job with the caller's key has other data or settings, and
    `WrongAccount` where it is of another account; a job that was never sent is of none yet.
    """
    if existing.fingerprint != fingerprint:
        raise UsageError(
            f"The key {key!r} already belongs to another job",
            where=f"job {existing.id}, created {existing.created_at:%Y-%m-%d %H:%M} UTC; its data "
            "or settings differ from these",
            hint="use a different key for a different job",
            job_id=existing.id,
            tag=existing.tag,
            submitted="no",
        )
    if existing.status is JobStatus.CREATED or is_of_account(journal, existing, place.account):
        return
    what = "The same job" if key is None else f"The key {key!r}"
    raise WrongAccount(
        f"{what} already belongs to another account",
        where=f"job {existing.id} is of account {account_name(existing.account)}, this call of "
        f"account {account_name(place.account)}",
        hint="use a different key= for each account, or declare the API key in use a new one of "
        f"that account: ftsdk accounts --same {account_name(existing.account)}",
        job_id=existing.id,
        tag=existing.tag,
        submitted="no",
    )


def moved_to(
    journal: Journal, snapshot: JobSnapshot, place: Place | None, now: dt.datetime
) -> JobSnapshot:
    """Return a job; one that was never sent is moved to where the present call would create it.

    The caller has the job's lock. The move is logged as a warning.
    """
    before = Place(snapshot.dataset.get("base_url"), snapshot.account, snapshot.profile)
    if place is None or snapshot.status is not JobStatus.CREATED or before == place:
        return snapshot
    if before.base_url != place.base_url:
        _log.warning(
            "job %s of an earlier call was never sent; it is sent to %s now (it was made for %s)",
            snapshot.id, place.base_url, before.base_url,
        )  # fmt: skip
    if not is_of_account(journal, snapshot, place.account):
        _log.warning(
            "job %s of an earlier call was never sent; it is sent to account %s now (it was made "
            "for %s)",
            snapshot.id, account_name(place.account), account_name(before.account),
        )  # fmt: skip
    dataset = {**snapshot.dataset, "base_url": place.base_url}
    return journal.change(
        snapshot.id,
        now=now,
        why="the present call has another address, account or profile",
        only_from=frozenset({JobStatus.CREATED}),
        dataset=dataset,
        account=place.account,
        profile=place.profile,
    )
