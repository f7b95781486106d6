"""Capture a model's answers before it is gone: ask, store each answer durably, seal a bundle.

Stored traffic is fetched first; it is free. Then every case is asked, of the model and of its base, by
batches where the provider has them, else one by one. Killed anywhere, the same call continues: what
was answered is not asked again, and a second capture of the same rows is free.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk.artifacts.bundle import CAPTURE_KIND, Bundle, verify
from ftsdk.catalogue.inference_cost import chat_price
from ftsdk.catalogue.retirement import ends_on
from ftsdk.errors import BackendError, FtsdkError, StoreError, UsageError
from ftsdk.evaluation import bundle_files as files
from ftsdk.evaluation.answers import AnswerStore, HoldsStores, StoredAnswer
from ftsdk.evaluation.ask import Lane, ask, recover
from ftsdk.evaluation.batch_lane import BatchLane
from ftsdk.evaluation.chat_cost import estimate_chats, sum_costs
from ftsdk.evaluation.models import Model, model_of
from ftsdk.evaluation.run_money import RunMoney
from ftsdk.evaluation.wanted import wanted_of
from ftsdk.migration.arguments import CaptureArguments
from ftsdk.migration.capture_cases import choose_cases, fetch_traffic
from ftsdk.migration.options import CaptureOptions, OnProgress, options_of
from ftsdk.session import Session
from ftsdk.types.capture import Capture, CapturePlan, CaptureProgress, Rights
from ftsdk.types.chat import with_defaults
from ftsdk.types.model import ModelHandle
from ftsdk.util.files import atomic_write_json
from ftsdk.util.names import file_name
from ftsdk.util.patience import Patience
from ftsdk.util.spilled import Spilled

TUNED, BASE = "tuned", "base"
FEWEST_FOR_BATCH = 50
"""Below this many requests a batch is not worth the wait, unless it is asked for."""
_PAUSES = (5.0, 60.0)
_RIGHTS = "rights.json"


def capture(
    session: Session,
    model: str | ModelHandle,
    data: Any = None,
    options: CaptureArguments | None = None,
) -> Capture:
    """Capture one model. See `Client.capture`."""
    given = options or {}
    with Capturing(
        session,
        model,
        data,
        provider=given.get("provider"),
        into=given.get("into"),
        options=options_of(given),
        on_progress=given.get("on_progress"),
    ) as capturing:
        plan = capturing.plan()
        on_plan = given.get("on_plan")
        if on_plan is not None:
            on_plan(plan)
        return capturing.run(plan)


class Capturing(HoldsStores):
    """One capture: `plan` says what it would do, `run` does it. Use it as a context manager."""

    def __init__(
        self,
        session: Session,
        model: str | ModelHandle,
        data: Any = None,
        *,
        provider: str | None = None,
        into: str | Path | None = None,
        options: CaptureOptions,
        on_progress: OnProgress | None = None,
    ) -> None:
        super().__init__()
        self._session, self._asked = session, options
        self._on_progress = on_progress or (lambda _: None)
        self.model = model_of(session, model, provider)
        self._base = self.model.base() if options.base else None
        self._folder = Path(into) if into else session.home / "captures" / self._name()
        self._data, self._repeats = data, options.repeats
        self._notes: list[str] = []
        if options.base and self._base is None and self.model.is_tuned:
            self._notes.append("the base model is not asked: it cannot be called by its name here")
        self._lanes: list[tuple[Lane, AnswerStore]] = []
        self._done, self._total = 0, 0
        self._is_read = False

    def _name(self) -> str:
        return file_name(f"{self.model.backend.name}-{self.model.handle.id}")

    # --- before ---

    def _open(self) -> None:
        """Lock the stores, read the cases, and leave out those that the model was trained on."""
        self._bundle = Bundle(self._folder, CAPTURE_KIND, self._source())
        self._before = self._bundle.open()
        lanes = {
            who: self._lane(who, one)
            for who, one in ((TUNED, self.model), (BASE, self._base))
            if one is not None
        }
        self._lock(store for _, store in lanes.values())
        self._lanes = list(lanes.values())
        if not self._is_read:
            self._read()
            self._is_read = True
        for lane, _ in self._lanes:
            repeats = self._repeats if lane.who == TUNED else 1
            lane.wanted = wanted_of(lane.source, self._cases, self._decoding(), repeats)

    def _read(self) -> None:
        """Choose what to ask: once, also where the capture is opened again after its plan."""
        chosen = choose_cases(
            self._session, self.model, self._data, self._asked.training, self._store.files
        )
        self._cases, self._refused = chosen.cases, chosen.refused
        self._checked = chosen.checked_against
        self._notes += chosen.notes
        self._traffic = self._stored_traffic() if self._asked.traffic else (None, 0)
        if not self._cases and not self._traffic[1] and not self._refused:
            raise UsageError(
                "There is nothing to capture: no rows, and the account has stored no chats of this model",
                where=f"model {self.model.handle.id}",
                hint="give a file with questions: ftsdk capture MODEL DATA",
            )
        self._import_bundle()

    def _source(self) -> dict[str, Any]:
        backend = self.model.backend
        return {
            "provider": backend.name,
            "base_url": backend.base_url,
            "model": self.model.handle.id,
        }

    def _lane(self, who: str, model: Model) -> tuple[Lane, AnswerStore]:
        source = model.source
        store = AnswerStore(
            self._session.home,
            source,
            clock=self._session.clock,
            on_wait=lambda: self._say("waiting for another capture of this model"),
        )
        price = chat_price(source.provider, source.model, self._session.catalogue)
        lane = Lane(who, model.backend, model.handle, source, price, asks_base=model.is_base)
        return lane, store

    def _decoding(self) -> dict[str, Any]:
        return with_defaults(self._asked.options)

    @property
    def _store(self) -> AnswerStore:
        return self._lanes[0][1]

    def _stored_traffic(self) -> tuple[Path | None, int]:
        self._say("fetching the chats that the account stored")
        path, count, why_not = fetch_traffic(self.model, self._store.folder)
        self._notes += [why_not] if why_not else []
        return path, count

    def _import_bundle(self) -> None:
        """Take over the answers of the bundle, which may be from another machine."""
        if not self._before:
            return
        wrong = verify(self._folder)
        if wrong:
            raise StoreError(
                f"The bundle is not whole: {'; '.join(wrong[:5])}",
                where=str(self._folder),
                hint="restore it from a copy, or give another folder with --into",
            )
        decoding = self._before.get("decoding")
        if decoding != self._decoding():
            raise UsageError(
                f"The bundle has answers with other chat options: {decoding}",
                where=f"{self._folder}; now they are {self._decoding()}",
                hint="use the same options, or give another folder with --into",
            )
        kept = Spilled(files.cases_in(self._folder))
        places = {case.id: place for place, case in enumerate(kept)}
        by_who = {lane.who: (lane, store) for lane, store in self._lanes}
        for who, stored in files.answers_in(self._folder):
            place = places.get(stored.case)
            if place is None or who not in by_who:
                continue
            lane, store = by_who[who]
            key = [*wanted_of(lane.source, [kept[place]], decoding, stored.repeat + 1).keys()][-1]
            if key not in store:
                store.add(stored.model_copy(update={"key": key, "via": "bundle"}))
        known = {case.digest for case in self._cases}
        more = (case for case in kept if case.digest not in known)
        self._cases = Spilled(itertools.chain(self._cases, more))
        self._repeats = max(self._repeats, int(self._before.get("repeats", 1)))

    # --- the plan ---

    def plan(self) -> CapturePlan:
        """Return what would be asked, and what it would cost. Nothing is asked."""
        missing = [len(lane.missing_keys(store)) for lane, store in self._lanes]
        self._total = sum(len(lane.wanted) for lane, _ in self._lanes)
        to_ask = sum(missing)
        self._done = self._total - to_ask
        batch = self._uses_batch(to_ask)
        limits = self.model.backend.limits_for(self.model.handle.base_model)
        cost = sum_costs(
            [
                estimate_chats(
                    lane,
                    lane.missing(store),
                    limits,
                    batch=batch,
                    may_chat=not self._asked.batch,
                )
                for lane, store in self._lanes
            ]
        )
        return CapturePlan(
            provider=self.model.backend.name,
            model=self.model.handle.id,
            base_model=None if self._base is None else self._base.name,
            rows=len(self._cases),
            repeats=self._repeats,
            refused=self._refused,
            checked_against=self._checked,
            traffic=self._traffic[1],
            stored=self._done,
            to_ask=to_ask,
            via="batch" if batch else "chat",
            cost=cost,
            ends_on=self._ends_on(),
            notes=tuple(self._notes),
        )

    def _uses_batch(self, to_ask: int) -> bool:
        able = self.model.backend.capabilities.can_batch
        if self._asked.batch and not able:
            raise self.model.backend.cannot("run a batch")
        if self._asked.batch is not None:
            return self._asked.batch
        return able and to_ask >= FEWEST_FOR_BATCH

    def _ends_on(self) -> dt.date | None:
        handle, backend = self.model.handle, self.model.backend
        if handle.retires_on is not None:
            return handle.retires_on
        if backend.capabilities.reports_model_ends:
            with contextlib.suppress(BackendError):
                found = backend.model_ends().get(handle.id)
                if found is not None:
                    return found
        return ends_on(backend.name, handle.base_model, catalogue=self._session.catalogue)

    # --- the run ---

    def run(self, plan: CapturePlan) -> Capture:
        """Ask what is missing, and seal the bundle.

        Raises `BudgetError` where the cost is over the budget, before anything is asked, and the error
        that every request would get; what was answered until then is kept.
        """
        backend = self.model.backend
        if plan.to_ask:
            what = f"capture of {plan.model}"
            self._money.hold(backend.name, plan.model, plan.cost, what, self._asked.budget)
        lanes: list[BatchLane] = []
        try:
            if plan.via == "batch" and plan.to_ask:
                lanes = [self._batch_lane(lane, store) for lane, store in self._lanes]
                self._run_batches(lanes)
            if not self._asked.batch:
                self._ask_the_rest()
        finally:
            if not any(one.is_open for one in lanes):
                self._money.release()
        return self._sealed()

    @functools.cached_property
    def _money(self) -> RunMoney:
        """The money of this bundle."""
        place = f"{self.model.source.digest} {self._folder.resolve()}"
        name = f"capture-{hashlib.sha256(place.encode()).hexdigest()[:24]}"
        return RunMoney(self._session, name, self.model.backend.capabilities.price == "free")

    @property
    def spent(self) -> Decimal:
        """What this call has spent, in US dollars."""
        return self._money.spent

    def spent_so_far(self) -> Decimal:
        """Return what the answers of this bundle have cost in all calls, in US dollars."""
        return self._money.spent_in_all_calls()

    def _booked(self, usd: Decimal | None, calls: int, once: str) -> None:
        self._done += calls
        self._money.book(usd, calls, once)

    def _batch_lane(self, lane: Lane, store: AnswerStore) -> BatchLane:
        return BatchLane(
            lane.backend,
            lane.handle,
            store,
            lane.wanted,
            clock=self._session.clock,
            look_s=self._session.horizon.look_s,
            price=lambda outcome: lane.cost_of(outcome, batch=True),
            on_spent=self._booked,
        )

    def _run_batches(self, lanes: Sequence[BatchLane]) -> None:
        """Send batches and read them until they have nothing more to do."""
        pause, longest = _PAUSES
        patience = Patience(self._session.clock)
        while True:
            try:
                finished = [one.step() for one in lanes]  # each of them, also after an open one
                done = all(finished)
                patience.read()
            except FtsdkError as error:
                if not patience.bears(error):
                    raise
                done = False
            self._say(_batch_text(lanes))
            if done:
                break
            self._session.clock.sleep(pause)
            pause = min(longest, pause * 1.5)
        for (lane, _), one in zip(self._lanes, lanes, strict=True):
            lane.errors.update(one.errors)
            self._notes += one.notes
            if one.why_not:
                self._notes.append(f"{lane.source.model}, no further batch: {one.why_not}")

    def _ask_the_rest(self) -> None:
        for lane, store in self._lanes:
            recovered = recover(lane, store, clock=self._session.clock, on_spent=self._booked)
            if recovered:
                self._notes.append(f"{recovered} answers of an interrupted run were fetched")
            missing = lane.missing_keys(store)
            again = len(store.under_way().keys() & set(missing))
            if again:
                self._notes.append(
                    f"up to {again} answers were under way when an earlier run was killed; they are "
                    "asked again, and may have been paid for"
                )
            say = functools.partial(self._say, f"asking {lane.source.model}")
            if missing:
                ask(
                    lane,
                    store,
                    clock=self._session.clock,
                    concurrency=self._asked.concurrency,
                    recoverable=self._asked.recoverable,
                    on_spent=self._booked,
                    on_answer=say,
                )

    def _say(self, text: str) -> None:
        self._on_progress(
            CaptureProgress(done=self._done, total=self._total, spent_usd=self.spent, text=text)
        )

    # --- the bundle ---

    def _answers(self) -> Iterator[tuple[str, StoredAnswer]]:
        for lane, store in self._lanes:
            for key in lane.wanted.keys():  # noqa: SIM118  # no mapping
                found = store.get(key)
                if found is not None:
                    yield lane.who, found

    def _sealed(self) -> Capture:
        """Write the cases, answers and traffic, and seal the bundle."""
        tally = files.Tally()

        def lines() -> Iterator[dict[str, Any]]:
            for who, stored in self._answers():
                tally.add(who, stored)
                yield {"who": who, **stored.model_dump(mode="json")}

        files.write_lines(self._bundle, files.CASES, (case.to_dict() for case in self._cases))
        files.write_lines(self._bundle, files.ANSWERS, lines())
        path, count = self._traffic
        if path is not None and count:
            files.write_lines(self._bundle, files.TRAFFIC, files.lines_of(path))
        errors = Counter(
            str(error.what)
            for lane, store in self._lanes
            for error in self._open_errors(lane, store)
        )
        captured = Capture(
            folder=self._folder,
            provider=self.model.backend.name,
            base_url=self.model.backend.base_url,
            model=self.model.handle.id,
            base_model=None if self._base is None else self._base.name,
            sealed_at=self._session.clock.now(),
            rows=len(self._cases),
            repeats=self._repeats,
            decoding=self._decoding(),
            counts={
                who: {**counts, **self._missing_of(who)} for who, counts in tally.counts.items()
            },
            answered_by={who: tuple(found) for who, found in tally.answered_by.items()},
            traffic=self._traffic[1],
            agreement=tally.agreement(),
            spent_usd=tally.usd,
            refused=self._refused,
            checked_against=self._checked,
            findings=files.private_findings(self._cases, self._answers()),
            rights=self._kept_rights(),
            errors=errors,
            notes=tuple(self._notes),
        )
        shown = captured.model_dump(mode="json", exclude={"folder", "provider", "base_url"})
        self._bundle.seal({"use": "evaluation", "account": self.model.source.account, **shown})
        return captured

    def _missing_of(self, who: str) -> dict[str, int]:
        missing = sum(
            len(lane.missing_keys(store)) for lane, store in self._lanes if lane.who == who
        )
        return {"error": missing} if missing else {}

    def _open_errors(self, lane: Lane, store: AnswerStore) -> Iterator[FtsdkError]:
        for key in lane.missing_keys(store):
            yield lane.errors.get(key) or BackendError("no answer yet")

    def limit(self, budget: Decimal | None) -> None:
        """Spend at most this, in US dollars, in place of the budget of the options."""
        self._asked = dataclasses.replace(self._asked, budget=budget)

    def give_rights(self, rights: Rights) -> None:
        """Use these rights, as if they had been among the options."""
        self._asked = dataclasses.replace(self._asked, rights=rights)

    def _kept_rights(self) -> Rights:
        """Return the rights, which the next capture of this model need not be given again."""
        found = self.rights()
        atomic_write_json(self._store.folder / _RIGHTS, found.model_dump(mode="json"))
        return found

    def rights(self) -> Rights:
        """Return the rights as they are given now, or as they were given before."""
        path = self._store.folder / _RIGHTS
        if self._asked.rights is not None:
            return self._asked.rights
        if path.is_file():
            return Rights.model_validate_json(path.read_bytes())
        earlier = self._before.get("rights")
        return Rights() if earlier is None else Rights.model_validate(earlier)


def _batch_text(lanes: Sequence[BatchLane]) -> str:
    states = [
        f"batch {one.state.state}, {one.state.done} of {one.state.total}"
        for one in lanes
        if one.state is not None and not one.state.state.is_final
    ]
    return "; ".join(states) or "waiting for batches"
