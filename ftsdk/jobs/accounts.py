"""The accounts of the journal's jobs: where their keys are, and which are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ftsdk.errors import NotFound, UsageError, WrongAccount
from ftsdk.jobs.account_check import is_of_account
from ftsdk.session import KeySource, Session
from ftsdk.store.accounts import Accounts
from ftsdk.types.account import account_name
from ftsdk.types.job import JobSnapshot

_CHECKED = 3
"""So many of an account's newest jobs are read to check that a key is of that account."""


@dataclass(frozen=True)
class KnownAccount:
    """An account with its jobs in the journal.

    `has_key` says whether its key is here; `key_variable` and `profile` where a profile names it.
    `same_as` are the names of accounts that were declared to be this one.
    """

    provider: str
    account: str
    name: str
    jobs: int
    active: int
    has_key: bool
    key_variable: str | None
    profile: str | None
    same_as: tuple[str, ...] = ()


@dataclass(frozen=True)
class Declaration:
    """Two accounts that are the same from now on; `checked_by` is a job that the key can read."""

    provider: str
    account: str
    same_as: str
    checked_by: str | None


def list_accounts(session: Session) -> list[KnownAccount]:
    """Return the accounts of the journal's jobs, by provider. Nothing is sent."""
    by_account: dict[tuple[str, str], list[JobSnapshot]] = {}
    for job in session.journal.list():
        if job.account is not None:
            by_account.setdefault((job.provider, job.account), []).append(job)
    return [_known(session, jobs) for _, jobs in sorted(by_account.items())]


def _known(session: Session, jobs: Sequence[JobSnapshot]) -> KnownAccount:
    job = jobs[0]
    source: KeySource | None = session.key_source_of(job)
    same = Accounts(session.journal).same_as(job.provider, str(job.account))
    named = source is not None and source.variable is not None
    return KnownAccount(
        provider=job.provider,
        account=str(job.account),
        name=account_name(job.account),
        jobs=len(jobs),
        active=sum(not one.status.is_final for one in jobs),
        has_key=source is not None,
        key_variable=source.variable if source is not None else None,
        profile=source.profile if source is not None and named else None,
        same_as=tuple(sorted(account_name(one) for one in same - {job.account})),
    )


def declare_same(session: Session, name: str, *, check: bool = True) -> Declaration:
    """Declare that the key in use is of the account called `name`, and return what is the same now.

    The key must be able to read one of that account's jobs, if the provider has any; without `check`
    this is not asked. Raises `UsageError` for an unknown name and where there is nothing to declare,
    and `WrongAccount` when the key cannot read the jobs.
    """
    jobs = _jobs_of(session, name)
    newest = jobs[0]
    backend = session.backend(newest.provider)
    current = backend.account()
    if current is None or is_of_account(session.journal, newest, current):
        raise UsageError(
            f"The key in use is of account {account_name(current)} already",
            where=f"provider {newest.provider}",
            hint="use the new key, for instance by --profile, and run it again",
        )
    checked_by = _readable(session, jobs, current) if check else None
    accounts = Accounts(session.journal)
    accounts.declare_same(newest.provider, current, str(newest.account), session.clock.now())
    return Declaration(
        newest.provider, account_name(current), account_name(newest.account), checked_by
    )


def _jobs_of(session: Session, name: str) -> list[JobSnapshot]:
    """Return the jobs of the account with this name, newest first. Raises `UsageError`."""
    jobs = [job for job in session.journal.list() if job.account is not None]
    found = [job for job in jobs if name in (account_name(job.account), job.account, job.id)]
    accounts = {(job.provider, job.account) for job in found}
    if len(accounts) == 1:
        (only,) = accounts
        return [job for job in jobs if (job.provider, job.account) == only]
    known = sorted({account_name(job.account) for job in jobs})
    raise UsageError(
        f"{'Several accounts are' if accounts else 'No account is'} called {name!r}",
        where=f"the journal's accounts: {', '.join(known) or 'none'}",
        hint="give the id of a job of that account" if accounts else "`ftsdk accounts` lists them",
    )


def _readable(session: Session, jobs: Sequence[JobSnapshot], account: str) -> str | None:
    """Return a job that a key of `account` can read; None where the provider has none of them."""
    asked = [job for job in jobs if job.is_accepted][:_CHECKED]
    for job in asked:
        backend = session.backend_for(job.model_copy(update={"account": account}))
        try:
            backend.get(str(job.provider_job_id))
        except NotFound:
            continue
        return job.id
    if not asked:
        return None
    raise WrongAccount(
        f"The key in use cannot read the jobs of account {account_name(jobs[0].account)}",
        where=f"{jobs[0].provider} does not find {', '.join(job.id for job in asked)}",
        hint="use a key of that account; if the provider has deleted these jobs, add --unchecked",
    )
