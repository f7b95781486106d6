"""Submissions over real sockets with random faults, and the result of each."""

from __future__ import annotations

import collections
import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ftsdk
from ftsdk.errors import FtsdkError
from ftsdk.session import Horizon
from ftsdk.testing.lab import Double
from ftsdk.types.status import JobStatus
from tests.faults.providers import ROWS, Provider

# (behaviour, whether the provider may have handled it, facts)
FAULTS: list[tuple[str, tuple[bool, ...], dict[str, Any]]] = [
    ("close", (False, True), {}),
    ("reset", (False, True), {}),
    ("cut", (True,), {}),
    ("html", (False, True), {}),
    ("empty", (False, True), {}),
    ("drop", (True,), {"field": "id"}),
    ("rename", (True,), {"field": "id", "value": "job_id"}),
    ("set", (True,), {"field": "id", "value": "not an id"}),
    ("set", (True,), {"field": "id", "value": 7}),
    ("another id", (True,), {}),
    ("redirect", (False, True), {"value": "http://127.0.0.1:9/"}),
    *(
        ("status", (False, True), {"status": code})
        for code in (408, 409, 425, 500, 502, 503, 504, 529)
    ),
    ("status", (False, True), {"status": 429, "retry_after": "2"}),
    ("status", (False, True), {"status": 429, "retry_after": "1e9"}),
    *(("status", (False,), {"status": code}) for code in (400, 401, 402, 403, 404, 413, 422)),
    ("connection refused", (False,), {}),
]
READS: list[tuple[str, dict[str, Any]]] = [
    ("close", {}),
    ("reset", {}),
    ("cut", {}),
    ("html", {}),
    ("empty", {}),
    *(("status", {"status": code}) for code in (408, 500, 502, 503, 504)),
    ("status", {"status": 429, "retry_after": "3"}),
]
_HANGS = 1 / 200
"""Share of create calls without any answer; each takes the whole timeout of the client."""


@dataclass
class Totals:
    """What happened. The last three must be 0."""

    submissions: int = 0
    faults: int = 0
    creates: int = 0
    made: int = 0
    adopted: int = 0
    refused: int = 0
    in_doubt: int = 0
    asked_again: int = 0
    made_anew: int = 0
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    sent_twice: int = 0
    made_twice: int = 0
    lost: int = 0

    def __str__(self) -> str:
        return (
            f"{self.submissions} submissions, {self.faults} faults, {self.creates} create calls, "
            f"{self.made} jobs made, {self.adopted} adopted, {self.refused} refused or not sent, "
            f"{self.in_doubt} in doubt to the end, {self.asked_again} created again by their key, "
            f"{self.made_anew} of them anew after a refusal: "
            f"{self.sent_twice} sent twice, {self.made_twice} made twice, {self.lost} lost; "
            f"errors {dict(self.errors.most_common())}"
        )


class World:
    """One account at one provider whose calls fail at random."""

    def __init__(self, provider: Provider, double: Double, home: Path, seed: int = 0) -> None:
        self.provider, self.double, self.chance = provider, double, random.Random(seed)
        self.clock: Any = double.clock
        self.client = provider.client(
            double, home, timeout_s=1.0, horizon=Horizon(look_s=60, while_creating_s=4)
        )
        self.totals = Totals()
        self.previous_id: str | None = None
        self._double: Any = double

    @property
    def jobs(self) -> Any:
        """The provider's jobs."""
        return self.provider.jobs(self.double)

    def one(self) -> None:
        """Make one submission with faults, reconcile it, and check the result."""
        self.totals.submissions += 1
        key = f"k{self.totals.submissions}"
        given = {"seed": self.chance.randrange(1000), "rows": self._rows()}
        with self._with_faults():
            try:
                job_id = self.provider.send(self.client, key=key, **given).id
            except FtsdkError as error:
                job_id = str(error.job_id)
                self.totals.errors[f"{type(error).__name__}, {error.submitted}"] += 1
        job = self._reconciled(job_id)
        if self.chance.random() < 0.25 or job.status is JobStatus.CREATED:
            job = self._again(key, job, given)
        self._check(job)

    def _rows(self) -> list[dict[str, Any]]:
        """Return mostly the same rows, which need no second upload; sometimes others."""
        if self.chance.random() > 0.1:
            return ROWS
        text = f"question {self.chance.random()}"
        return [*ROWS, {"messages": [{"role": "user", "content": text}, *ROWS[0]["messages"][1:]]}]

    @contextlib.contextmanager
    def _with_faults(self) -> Iterator[None]:
        faults, chance = self.double.faults, self.chance
        behaviour, acts, facts = chance.choice(FAULTS)
        if chance.random() < _HANGS:
            behaviour, acts, facts = "hang", (False, True), {}
        if chance.random() < 0.1:
            self._double.lists_before_visible = chance.randint(0, 4)
        if chance.random() < 0.15:  # on the calls before the create call
            name, more = chance.choice(READS)
            faults.add(name, method="POST", times=chance.randint(1, 4), **more)  # type: ignore[arg-type]
        if chance.random() < 0.3:
            name, more = chance.choice(READS)
            faults.add(name, method="GET", **more)  # type: ignore[arg-type]
        down: Any = contextlib.nullcontext()
        if behaviour == "connection refused":
            down = self.double.down()
        elif behaviour == "another id":
            self.provider.inject(self.double, "set", field="id", value=self.previous_id or "")
        else:
            self.provider.inject(self.double, behaviour, acted=chance.choice(acts), **facts)
        before = faults.triggered
        with down:
            yield
        self.totals.faults += faults.triggered - before + (behaviour == "connection refused")
        faults.clear()
        self._double.lists_before_visible = 0

    def _reconciled(self, job_id: str) -> ftsdk.FineTuneJob:
        """Reconcile until the job is known, or the time for it is over."""
        for _ in range(8):
            (job,) = self.client.reconcile(job_id)
            if job.status is not JobStatus.IN_DOUBT:
                return job
            self.clock.advance(10)
        return job

    def _again(self, key: str, job: ftsdk.FineTuneJob, given: Any) -> ftsdk.FineTuneJob:
        """Repeat the create call with the same key, as a user does."""
        self.totals.asked_again += 1
        known: tuple[str | None, str | None]
        try:
            again = self.provider.send(self.client, key=key, **given)
            known = again.id, None
        except FtsdkError as error:
            again, known = job, (error.job_id, error.submitted)
        if job.snapshot.was_refused:  # nothing was sent, so the key makes a new job
            assert known == (again.id, None)
            assert again.id != job.id
            self.totals.made_anew += 1
            return again
        in_doubt = again.status is JobStatus.IN_DOUBT
        assert known == (job.id, "maybe" if in_doubt else None)
        return again

    def _check(self, job: ftsdk.FineTuneJob) -> None:
        made = list(self.jobs)
        self.totals.made += len(made)
        self.totals.made_twice += len(made) > 1
        self.totals.lost += bool(made) and job.provider_job_id not in made
        if job.provider_job_id is not None:
            self.totals.adopted += 1
            self.previous_id = job.provider_job_id
        elif job.status is JobStatus.IN_DOUBT:
            self.totals.in_doubt += 1
        else:
            assert job.status is JobStatus.FAILED, job.status
            self.totals.refused += 1
        self.jobs.clear()  # ten thousand jobs would slow the double down

    def finish(self) -> Totals:
        """Return the totals, with the create calls counted."""
        sends = self.provider.creates(self.double)
        self.totals.creates = sends.total()
        self.totals.sent_twice = sum(1 for count in sends.values() if count > 1)
        return self.totals
