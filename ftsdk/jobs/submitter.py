"""Submit a job exactly once, including when the create call gets no answer.

    created ──▶ submitting ──▶ accepted (the provider's own status)
       ▲            │ ├──────▶ failed      a definite refusal
       └────────────┘ └──────▶ in_doubt    sent, outcome unknown

1. The job is first journaled as `created`, with its tag and token.
2. `submitting` is committed before a connection is opened; the provider's own retries are off.
3. An answer with an id is acceptance; a definite refusal is failure; a failure that is provably
   before sending goes back to `created`, and so does a refusal for pace, after which the job is looked
   for and sent again within a deadline (`ftsdk.jobs.pace`); everything else is `in_doubt`.
4. `in_doubt`, or `submitting` whose process has ended, is resolved by searching for our tag. If the
   job is found, it is adopted. If it is not found within the horizon, it is sent again where that is
   safe (an idempotency token, or our own run directory); elsewhere the job needs a decision, and is
   never sent again automatically.

Only one process at a time works on a job's submission: it has the lock `locks/<job>.lock`, which the
operating system releases when the process ends.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk.backends.base import Backend, SubmitRequest
from ftsdk.errors import (
    BackendError,
    BudgetError,
    FtsdkError,
    NeedsDecision,
    StoreError,
    UsageError,
)
from ftsdk.jobs import account_check
from ftsdk.jobs.account_check import Place
from ftsdk.jobs.kept_rows import kept_dataset
from ftsdk.jobs.new_snapshot import new_snapshot
from ftsdk.jobs.pace import Pacer, PaceRefused, is_pace_refusal, was_refused_for_pace
from ftsdk.jobs.pending_cancel import cancel_found, is_cancel_requested, withdraw_cancel
from ftsdk.jobs.remote_update import updated_fields
from ftsdk.jobs.submission_errors import (
    job_context,
    never_accepted_error,
    no_usable_id_error,
    undecided_error,
)
from ftsdk.session import Horizon
from ftsdk.spending.switch import require_spending
from ftsdk.store.duplicates import KeyTaken, SameJob
from ftsdk.store.hooks import InsertHook, then_no_return
from ftsdk.store.journal import Journal
from ftsdk.types.cost import Cost
from ftsdk.types.job import JobSnapshot, RemoteJob
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus
from ftsdk.util.cancellation import pass_point_of_no_return
from ftsdk.util.clock import Clock
from ftsdk.util.locks import discard_lock, job_lock

if TYPE_CHECKING:
    from ftsdk.dataset import Dataset

_log = logging.getLogger("ftsdk")
_LOCK_WAIT_S = 120.0
_MAX_ID_LENGTH = 256
_SEND_ATTEMPTS = 3


@dataclass
class Submitter:
    """Submits the jobs of one journal."""

    journal: Journal
    home: Path
    clock: Clock
    backend_for: Callable[[JobSnapshot], Backend]
    horizon: Horizon = field(default_factory=Horizon)
    check_quote: Callable[[JobSnapshot, Cost], Cost] | None = None
    """Called with the provider's quote before a job is sent; returns the cost to journal, or raises
    `BudgetError`."""
    reserve: InsertHook | None = None
    """Called in the transaction that marks a job as being sent which was never sent before; raises
    `BudgetError` where its month has no room any more."""
    say: Callable[[str], None] = _log.warning
    """Called with one line while the job waits to be sent again."""

    # --- step 1 ---

    def create(
        self,
        spec: JobSpec,
        train: Dataset,
        validation: Dataset | None,
        *,
        key: str | None,
        profile: str | None,
        account: str | None = None,
        facts: dict[str, Any] | None = None,
        hook: InsertHook | None = None,
        on_existing: Callable[[JobSnapshot], None] | None = None,
    ) -> JobSnapshot:
        """Journal the job and send it, or return the existing job with this `key`.

        An existing job that was refused before anything was sent does not count. Raises
        `NeedsDecision` for one that was given up, or cancelled before it was sent. `hook` may raise
        `SameJob` for another existing job. `on_existing` is called with the existing job, before it is
        sent where no provider has accepted it yet. Raises `UsageError` when `key` belongs to a different job. Any error that keeps the job from
        being accepted has `job_id` and `submitted` set.
        """
        snapshot = new_snapshot(
            self.home,
            spec,
            train,
            validation,
            key=key,
            profile=profile,
            account=account,
            facts=facts or {},
            now=self.clock.now(),
        )
        place = Place((facts or {}).get("base_url"), account, profile)
        while True:
            try:
                current = self._add_and_send(snapshot, hook)
            except (KeyTaken, SameJob) as taken:
                existing = taken.existing
                account_check.require_same_job(
                    self.journal, existing, snapshot.fingerprint, key, place
                )
                pass_point_of_no_return(existing.id)
                if on_existing is not None:
                    on_existing(existing)
                current = self.continue_submission(existing.id, creating=True, place=place)
                # Another account's process may have sent it in the meantime.
                account_check.require_same_job(
                    self.journal, current, snapshot.fingerprint, key, place
                )
                if current.was_refused and not existing.was_refused:
                    continue  # by the process that was sending it
            if current.status.is_final and not current.is_accepted:
                raise never_accepted_error(current)
            return current

    def _add_and_send(self, snapshot: JobSnapshot, hook: InsertHook | None) -> JobSnapshot:
        """Journal a new job and send it. Raises `KeyTaken` or `SameJob` if there is one already.

        The job is locked before it is journaled: an unsent job that nobody has locked was left
        behind by a process that has ended.
        """
        with job_lock(self.home, snapshot.id, wait_s=0.0, clock=self.clock, submitted="no"):
            try:
                self.journal.add(snapshot, then_no_return(hook))
            except BaseException as error:
                discard_lock(self.home, snapshot.id)
                if isinstance(error, StoreError):  # nothing is journaled, so nothing is sent
                    error.submitted = error.submitted or "no"
                raise
            with job_context(self.journal, snapshot.id):
                return self._continue(self.journal.get(snapshot.id), creating=True)

    # --- steps 2 to 4 ---

    def continue_submission(
        self, job_id: str, *, creating: bool = False, place: Place | None = None
    ) -> JobSnapshot:
        """Continue the submission of a job that is not accepted yet; other jobs are returned as they are.

        With `creating` the job may be sent, and a search for it waits; otherwise it only looks once.
        A job that was never sent is moved to `place`. Raises `WrongAccount` for another's job.
        """
        wait_s = _LOCK_WAIT_S + self.horizon.pace_s if creating else 0.0
        with (
            job_context(self.journal, job_id),
            job_lock(self.home, job_id, wait_s=wait_s, clock=self.clock) as locked,
        ):
            snapshot = self.journal.get(job_id)
            if not locked or snapshot.status.is_remote:
                return snapshot
            snapshot = account_check.moved_to(self.journal, snapshot, place, self.clock.now())
            return self._continue(snapshot, creating=creating)

    def _continue(self, snapshot: JobSnapshot, *, creating: bool) -> JobSnapshot:
        """Continue the submission of a job that this process has locked."""
        if creating or snapshot.status is not JobStatus.CREATED:
            account_check.require_account(self.journal, self.backend_for(snapshot), snapshot)
        if snapshot.status is JobStatus.SUBMITTING:
            snapshot = self._mark_in_doubt(snapshot, "the process that sent it has ended")
        if snapshot.status is JobStatus.IN_DOUBT:
            return self._at_its_pace(lambda: self._reconcile(snapshot, patient=creating))
        if not creating:
            return snapshot
        if was_refused_for_pace(snapshot):
            return self._at_its_pace(lambda: self._look_and_send(snapshot))
        return self._at_its_pace(lambda: self._send(snapshot))

    def _at_its_pace(self, send: Callable[[], JobSnapshot]) -> JobSnapshot:
        """Call `send`; while the provider refuses for pace, wait as it asks, look, and send again."""
        pacer = Pacer(self.clock, self.horizon, self.say)
        while True:
            try:
                return send()
            except PaceRefused as refused:
                pacer.wait(self.journal.get(str(refused.error.job_id)), refused.error)
                snapshot = self.journal.get(str(refused.error.job_id))
                send = functools.partial(self._look_and_send, snapshot)

    def _look_and_send(self, snapshot: JobSnapshot) -> JobSnapshot:
        """Send a job that was refused for pace, unless it was cancelled or is at the provider."""
        if snapshot.status not in (JobStatus.CREATED, JobStatus.IN_DOUBT):
            return snapshot
        try:
            found = self.backend_for(snapshot).find(self.request(snapshot))
        except BackendError as error:
            error.job_id = snapshot.id
            if not error.retryable:
                raise
            raise PaceRefused(error) from None  # without having looked, nothing is sent
        return (
            self._adopt(self._mark_submitting(snapshot), found) if found else self._send(snapshot)
        )

    def _send(self, snapshot: JobSnapshot, attempt: int = 1) -> JobSnapshot:
        """Make one create call. A job that was in doubt stays in doubt until it is accepted."""
        was_in_doubt = snapshot.status is JobStatus.IN_DOUBT
        pass_point_of_no_return(snapshot.id)
        request = self.request(snapshot)
        backend = self.backend_for(snapshot)
        free = backend.capabilities.price == "free"
        require_spending("sending a job", snapshot.provider, free=free, env=backend.context.env)
        try:
            backend.prepare(request)
            quote = None if self.check_quote is None else backend.quote(request)
            cost = snapshot.cost
            if quote is not None and self.check_quote is not None:
                cost = self.check_quote(snapshot, quote)
        except FtsdkError as error:
            error.submitted = "no"
            return self._handle_failure(snapshot, error, attempt, was_in_doubt=was_in_doubt)
        try:
            snapshot = self._mark_sending(snapshot, cost)
        except BudgetError as error:
            return self._handle_failure(snapshot, error, attempt, was_in_doubt=was_in_doubt)
        if snapshot.status is not JobStatus.SUBMITTING:
            return snapshot  # cancelled by another process meanwhile: nothing is sent
        try:
            remote = backend.submit(request)
        except FtsdkError as error:
            return self._handle_failure(snapshot, error, attempt, was_in_doubt=was_in_doubt)
        except BaseException:
            self._mark_in_doubt(snapshot, "the call was interrupted")
            raise
        return self._accept(snapshot, remote, "accepted")

    def _mark_sending(self, snapshot: JobSnapshot, cost: Cost) -> JobSnapshot:
        return self.journal.change(
            snapshot.id,
            now=self.clock.now(),
            why="sending",
            only_from=frozenset({snapshot.status}),
            hook=self.reserve if snapshot.status is JobStatus.CREATED else None,
            status=JobStatus.SUBMITTING,
            submitted_at=self.clock.now(),
            cost=cost,
            error=None,
        )

    def _handle_failure(
        self, snapshot: JobSnapshot, error: FtsdkError, attempt: int, *, was_in_doubt: bool
    ) -> JobSnapshot:
        error.job_id = snapshot.id
        paced = is_pace_refusal(error)
        if error.submitted == "no" and was_in_doubt:
            # This call created nothing, but an earlier one may have.
            error.submitted = "maybe"
            self._mark_in_doubt(snapshot, error.what)
            if paced:
                raise PaceRefused(error)
            raise error
        if error.submitted != "no":
            error.submitted = "maybe"
            snapshot = self._mark_in_doubt(snapshot, error.what)
            return self._reconcile(snapshot, patient=True, cause=error, attempt=attempt)
        status = JobStatus.CREATED if error.retryable else JobStatus.FAILED
        if error.retryable and is_cancel_requested(self.journal, snapshot.id):
            status = JobStatus.CANCELLED
        self.journal.change(
            snapshot.id,
            now=self.clock.now(),
            why=error.what,
            status=status,
            message=error.what,
            error=error.to_dict(),
            submitted_at=None,
            finished_at=self.clock.now() if status.is_final else None,
        )
        if paced and status is JobStatus.CREATED:
            raise PaceRefused(error)
        raise error

    def _mark_in_doubt(self, snapshot: JobSnapshot, why: str) -> JobSnapshot:
        return self.journal.change(
            snapshot.id,
            now=self.clock.now(),
            why=why,
            status=JobStatus.IN_DOUBT,
            message=f"no answer came: {why}",
        )

    def _accept(self, snapshot: JobSnapshot, remote: RemoteJob, why: str) -> JobSnapshot:
        identity = remote.provider_job_id
        other = self.journal.find_provider_job(snapshot.provider, identity)
        usable = 0 < len(identity) <= _MAX_ID_LENGTH and identity.isprintable()
        if not usable or (other is not None and other.id != snapshot.id):
            self._mark_in_doubt(snapshot, "the answer has no usable job id")
            raise no_usable_id_error(snapshot)
        try:
            fields = updated_fields(snapshot, remote)
            accepted = self.journal.change(snapshot.id, now=self.clock.now(), why=why, **fields)
        except StoreError as error:
            error.submitted = "yes"
            error.where = f"{error.where}; {snapshot.provider} has the job as {identity}"
            raise
        backend = self.backend_for(snapshot)
        return cancel_found(self.journal, backend, accepted, self.clock.now())

    # --- reconciliation ---

    def _reconcile(
        self,
        snapshot: JobSnapshot,
        *,
        patient: bool,
        cause: FtsdkError | None = None,
        attempt: int = 1,
    ) -> JobSnapshot:
        backend, request = self.backend_for(snapshot), self.request(snapshot)
        pause, waited, looked = self.horizon.first_pause_s, 0.0, False
        while True:
            try:
                found = backend.find(request)
            except BackendError as error:
                if not error.retryable:
                    error.job_id, error.submitted = snapshot.id, "maybe"
                    raise
                cause = cause or error  # unreachable: neither found nor absent
            else:
                looked = True
                if found:
                    return self._adopt(snapshot, found)
                may_resend = backend.capabilities.resend_is_safe and attempt < _SEND_ATTEMPTS
                if may_resend and not is_cancel_requested(self.journal, snapshot.id):
                    return self._send(snapshot, attempt + 1)  # the same token creates one job
            if not patient or waited >= self.horizon.while_creating_s:
                break
            self.clock.sleep(pause)
            waited += pause
            pause = min(pause * 2, self.horizon.longest_pause_s)
        if cause is not None and not looked:
            raise cause  # the provider did not answer, so nothing is known about the job
        if patient:
            raise self._undecided_error(snapshot, cause)
        return snapshot

    def _adopt(self, snapshot: JobSnapshot, found: list[RemoteJob]) -> JobSnapshot:
        first = min(found, key=lambda job: job.created_at or dt.datetime.max.replace(tzinfo=dt.UTC))
        adopted = self._accept(snapshot, first, "found by its tag; nothing was sent again")
        others = [job.provider_job_id for job in found if job is not first]
        if others:
            adopted = self.journal.change(
                snapshot.id,
                now=self.clock.now(),
                why="more than one job carries our tag",
                message=f"also found with our tag, and left unchanged: {', '.join(others)}",
            )
        return adopted

    def is_past_horizon(self, snapshot: JobSnapshot) -> bool:
        """Return True when the job would have been found by now if it existed."""
        waited = self.clock.now() - (snapshot.submitted_at or snapshot.created_at)
        return waited.total_seconds() > self.horizon.look_s

    def _undecided_error(self, snapshot: JobSnapshot, cause: FtsdkError | None) -> FtsdkError:
        if cause is not None and not self.is_past_horizon(snapshot):
            cause.hint = (
                f"`ftsdk reconcile {snapshot.id}` looks again; do not create it again, it may exist"
            )
            return cause
        return self.needs_decision(snapshot)

    def needs_decision(self, snapshot: JobSnapshot) -> NeedsDecision:
        """Return the error for an undecided job; its hint lists the possible decisions."""
        return undecided_error(snapshot, past_horizon=self.is_past_horizon(snapshot))

    # --- decisions ---

    def resolve(
        self,
        job_id: str,
        *,
        adopt: str | None = None,
        send_again: bool = False,
        give_up: bool = False,
    ) -> JobSnapshot:
        """Decide a job in doubt: adopt this id, send again, or give up.

        Raises `UsageError` unless exactly one decision is given and the job is in doubt.
        """
        if sum((adopt is not None, send_again, give_up)) != 1:
            raise UsageError(
                "Give exactly one decision",
                where=f"job {job_id}",
                hint="adopt, send_again or give_up",
            )
        with (
            job_context(self.journal, job_id),
            job_lock(self.home, job_id, wait_s=_LOCK_WAIT_S, clock=self.clock) as locked,
        ):
            pass_point_of_no_return(job_id)
            snapshot = self._undecided(job_id, locked=locked)
            if not give_up:
                account_check.require_account(self.journal, self.backend_for(snapshot), snapshot)
            if adopt is not None:
                return self._adopt_by_decision(snapshot, adopt)
            if send_again:
                withdraw_cancel(self.journal, job_id)
                if snapshot.status is JobStatus.SUBMITTING:
                    snapshot = self._mark_in_doubt(snapshot, "the process that sent it has ended")
                return self._at_its_pace(lambda: self._send(snapshot, _SEND_ATTEMPTS))
            return self._give_up(snapshot)

    def _undecided(self, job_id: str, *, locked: bool) -> JobSnapshot:
        """Return the job if there is something to decide; else raise `UsageError`."""
        snapshot, undecided = self.journal.get(job_id), ("in_doubt", "submitting", "created")
        if not locked or snapshot.status not in undecided:
            raise UsageError(
                f"The job is {snapshot.status}; there is nothing to decide",
                where=f"job {job_id}",
                hint=f"ftsdk show {job_id}",
            )
        return snapshot

    def _adopt_by_decision(self, snapshot: JobSnapshot, provider_job_id: str) -> JobSnapshot:
        other = self.journal.find_provider_job(snapshot.provider, provider_job_id)
        if other is not None and other.id != snapshot.id:
            raise UsageError(
                "The provider's job already belongs to another job of this journal",
                where=f"job {other.id}",
                hint=f"ftsdk resolve {snapshot.id} --give-up, if it is that one",
                job_id=snapshot.id,
            )
        remote = self.backend_for(snapshot).get(provider_job_id)
        return self._accept(self._mark_submitting(snapshot), remote, "adopted by decision")

    def _give_up(self, snapshot: JobSnapshot) -> JobSnapshot:
        return self.journal.change(
            snapshot.id,
            now=self.clock.now(),
            why="given up by decision",
            status=JobStatus.FAILED,
            message="given up; it is unknown whether the provider has the job",
            finished_at=self.clock.now(),
        )

    def _mark_submitting(self, snapshot: JobSnapshot) -> JobSnapshot:
        if snapshot.status is not JobStatus.CREATED:
            return snapshot
        now = self.clock.now()
        return self.journal.change(
            snapshot.id,
            now=now,
            why="to adopt",
            status=JobStatus.SUBMITTING,
            submitted_at=now,
        )

    # --- the request ---

    def request(self, snapshot: JobSnapshot) -> SubmitRequest:
        """Return the create request, rebuilt from the journal and the stored rows."""
        validation = snapshot.dataset.get("validation_kept")
        return SubmitRequest(
            job_id=snapshot.id,
            tag=snapshot.tag,
            client_token=snapshot.client_token,
            spec=JobSpec.build(**snapshot.spec),
            train=kept_dataset(self.home, snapshot, snapshot.dataset["kept"]),
            validation=kept_dataset(self.home, snapshot, validation) if validation else None,
        )
