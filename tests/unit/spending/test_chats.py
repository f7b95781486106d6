"""Chats count in the budget: reservations of runs, single chats, limits, the ledger."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import threading
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from ftsdk.backends.base import Context
from ftsdk.backends.fake import FakeBackend
from ftsdk.config import Config
from ftsdk.errors import BudgetError, StoreError, Unavailable
from ftsdk.session import Session
from ftsdk.spending import chats
from ftsdk.spending.counted_chats import CountedChats, with_counted_chats
from ftsdk.spending.ledger import ledger, to_csv, totals
from ftsdk.spending.switch import forbid_spending
from ftsdk.store.reservations import Reservations
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.model import ModelHandle, ModelKind
from ftsdk.util.clock import ManualClock

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
MINI = "gpt-4.1-mini-2025-04-14"
TUNED = f"ft:{MINI}:org::abc"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100}
EACH = Decimal("0.00112")
"""What a chat of `USAGE` with the tuned model costs."""


class Paid(FakeBackend):
    """A provider with the prices of OpenAI that answers at once."""

    name = "openai"
    capabilities = replace(FakeBackend.capabilities, price="catalogue")
    usage = USAGE
    asked = 0

    def chat(self, handle, messages, options):
        self.asked += 1
        return ChatAnswer(text="yes", message={}, usage=dict(self.usage), finish_reason="stop")

    chat_base = chat


def config(
    month: str | None = None, *, profile: str | None = None, own: str | None = None
) -> Config:
    data = {} if month is None else {"budget": {"month": month}}
    if profile is not None:
        budget = {} if own is None else {"budget": {"month": own}}
        data["profiles"] = {profile: budget}
    return Config(path=Path("ftsdk.toml"), data=data, profile=profile)


def session(home: Path, month: str | None = None, *, clock=None, **more) -> Session:
    return Session(home=home, config=config(month, **more), clock=clock or ManualClock(NOW), env={})


def model(session: Session, identity: str = TUNED) -> tuple[ModelHandle, Paid]:
    backend = Paid(Context(home=session.home, clock=session.clock))
    plain = ModelHandle(
        kind=ModelKind.HOSTED, provider="openai", id=identity, base_model=MINI, callable_now=True
    )
    return with_counted_chats(session, plain.bound_to(backend), backend), backend


def cost(high: str | None, low: str = "0") -> Cost:
    if high is None:
        return Cost()
    return Cost(basis=CostBasis.ESTIMATED, low=Decimal(low), high=Decimal(high), source="prices")


def hold(session: Session, high: str | None, run: str = "run", cap: str | None = None) -> None:
    chats.hold(
        session, run, provider="openai", model=TUNED, cost=cost(high), what="capture of 5 rows",
        cap=None if cap is None else Decimal(cap),
    )  # fmt: skip


def counted(session: Session, profile: str | None = None) -> Decimal:
    return Reservations(session.journal).spent(session.clock.now(), profile)[0]


# --- runs ------------------------------------------------------------------------------------------


def test_a_run_holds_spends_and_releases(tmp_path: Path) -> None:
    mine = session(tmp_path)
    hold(mine, "3.00")
    assert (counted(mine), chats.spent(mine, "run")) == (3, 0)
    chats.add(mine, "run", Decimal("0.50"), prompt_tokens=10, completion_tokens=2)
    chats.add(mine, "run", Decimal("0.25"), calls=2)
    month = Reservations(mine.journal).month(NOW)
    assert (month.spent, month.reserved) == (Decimal("0.75"), Decimal("2.25"))
    assert chats.spent(mine, "run") == Decimal("0.75")
    chats.release(mine, "run")
    assert (counted(mine), chats.spent(mine, "run")) == (Decimal("0.75"), Decimal("0.75"))
    chats.release(mine, "run")
    chats.release(mine, "another")


def test_more_than_was_held_is_recorded_too(tmp_path: Path) -> None:
    mine = session(tmp_path)
    hold(mine, "1.00")
    chats.add(mine, "run", Decimal("1.75"))
    assert counted(mine) == Decimal("1.75")
    chats.add(mine, "run", Decimal("0.25"))
    assert counted(mine) == 2


def test_the_same_id_replaces_what_is_held_and_keeps_what_was_spent(tmp_path: Path) -> None:
    mine = session(tmp_path, "10.00")
    hold(mine, "9.00")
    chats.add(mine, "run", Decimal(4))
    hold(mine, "6.00")  # its own 5.00 do not count against it
    assert counted(mine) == 10
    with pytest.raises(BudgetError):
        hold(mine, "6.01")
    assert counted(mine) == 10  # unchanged


def test_a_limit_of_the_month_refuses_a_run_and_its_runs_refuse_others(tmp_path: Path) -> None:
    mine = session(tmp_path, "5.00")
    hold(mine, "3.00", "a")
    with pytest.raises(BudgetError, match=r"may cost \$2.01, and \$2.00 of \$5.00 a month is left"):
        hold(mine, "2.01", "b")
    assert chats.spent(mine, "b") == 0
    hold(mine, "2.00", "b")
    chats.release(mine, "a")
    hold(mine, "3.00", "c")


def test_a_limit_of_a_profile_counts_only_its_runs(tmp_path: Path) -> None:
    general = session(tmp_path)
    hold(general, "50.00", "general")
    mine = session(tmp_path, profile="prod", own="2.00")
    hold(mine, "2.00", "prod")
    with pytest.raises(BudgetError, match="of profile prod"):
        hold(mine, "0.01", "more")
    assert (counted(mine, "prod"), counted(mine)) == (2, 52)


@pytest.mark.parametrize(
    ("high", "spent", "cap", "fits"),
    [
        ("2", "0", "2", True),
        ("2.01", "0", "2", False),
        ("1", "1.5", "2", False),
        (None, "0", "2", False),
    ],
)
def test_a_cap_limits_what_was_spent_and_is_to_come(
    tmp_path: Path, high: str | None, spent: str, cap: str, fits: bool
) -> None:
    mine = session(tmp_path)
    hold(mine, "9")
    chats.add(mine, "run", Decimal(spent))
    if fits:
        hold(mine, high, cap=cap)
        return
    with pytest.raises(BudgetError) as caught:
        hold(mine, high, cap=cap)
    assert caught.value.submitted == "no"
    assert counted(mine) == 9  # what was held before


def test_an_unknown_price_is_refused_under_a_limit_and_counted_without_one(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="unknown"):
        hold(session(tmp_path / "a", "5.00"), None)
    mine = session(tmp_path / "b")
    hold(mine, None)
    chats.add(mine, "run", None, calls=3)
    chats.add(mine, "run", Decimal(1))
    month = Reservations(mine.journal).month(NOW)
    assert (month.spent, month.unknown) == (1, 1)
    [line] = ledger(mine)
    assert line.counted is None
    assert "3 of unknown price; $1 for the rest" in line.why


def test_a_call_of_no_run_cannot_be_added(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no reservation"):
        chats.add(session(tmp_path), "nobody", Decimal(1))


def test_what_is_held_moves_into_the_next_month_and_what_was_spent_stays(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    mine = session(tmp_path, clock=clock)
    hold(mine, "10")
    chats.add(mine, "run", Decimal(3))
    clock.advance(24 * 3600)
    chats.add(mine, "run", Decimal(2))
    months = [Reservations(mine.journal).month(when) for when in (NOW, clock.now())]
    assert [(one.spent, one.reserved) for one in months] == [(3, 0), (2, 5)]
    assert chats.spent(mine, "run") == 5
    hold(mine, "1")
    assert counted(mine) == 3
    chats.release(mine, "run")
    assert counted(mine) == 2
    assert [(line.time.month, line.counted) for line in ledger(mine)] == [(12, 2), (11, 3)]


def test_a_forbidden_run_reserves_nothing(tmp_path: Path) -> None:
    mine = session(tmp_path)
    with forbid_spending(), pytest.raises(BudgetError, match="forbidden"):
        hold(mine, "1")
    assert counted(mine) == 0
    with forbid_spending():
        hold(mine, "0")
    handle, backend = model(mine)
    with forbid_spending():
        assert handle.chat("a single chat").text == "yes"
        with pytest.raises(BudgetError, match="chat_many"):
            handle.chat_many(["one"])
    assert backend.asked == 1


def test_threads_add_up_to_the_cent(tmp_path: Path) -> None:
    mine = session(tmp_path)
    hold(mine, "100")

    def work() -> None:
        for _ in range(25):
            chats.add(mine, "run", Decimal("0.01"), prompt_tokens=3)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert chats.spent(mine, "run") == 2
    assert counted(mine) == 100


# --- single chats ----------------------------------------------------------------------------------


def test_single_chats_of_a_model_share_a_row(tmp_path: Path) -> None:
    mine = session(tmp_path)
    handle, _ = model(mine)
    for _ in range(3):
        handle.chat("hello")
    assert counted(mine) == 3 * EACH
    [line] = ledger(mine)
    assert (line.kind, line.model, line.actual, line.counted) == ("chat", TUNED, 3 * EACH, 3 * EACH)
    assert "3 calls" in line.why


def test_profiles_and_models_have_rows_of_their_own(tmp_path: Path) -> None:
    for profile in (None, "prod"):
        mine = session(tmp_path, profile=profile)
        handle, backend = model(mine)
        handle.chat("hello")
        CountedChats(mine, backend).chat_base(handle, [], {})
    lines = ledger(mine)
    assert {(line.profile, line.model) for line in lines} == {
        (None, TUNED), (None, MINI), ("prod", TUNED), ("prod", MINI),
    }  # fmt: skip
    assert {line.counted for line in lines} == {EACH, EACH / 2}  # the base costs half
    assert counted(mine, "prod") == EACH + EACH / 2


def test_a_limit_that_is_used_up_refuses_the_next_chat(tmp_path: Path) -> None:
    mine = session(tmp_path, "0.0020")
    handle, backend = model(mine)
    handle.chat("one")
    handle.chat("two")  # over the limit by this one call
    with pytest.raises(BudgetError, match="used up") as caught:
        handle.chat("three")
    assert caught.value.submitted == "no"
    assert backend.asked == 2


def test_a_reservation_uses_up_the_month_too(tmp_path: Path) -> None:
    mine = session(tmp_path, "5.00")
    handle, _ = model(mine)
    handle.chat("one")
    hold(mine, "4.99")
    handle.chat("two")
    with pytest.raises(BudgetError):
        hold(mine, "4.999")
    chats.add(mine, "run", Decimal("4.9999"))
    with pytest.raises(BudgetError, match="used up"):
        handle.chat("three")


def test_a_new_month_allows_chats_again(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    mine = session(tmp_path, "0.001", clock=clock)
    handle, _ = model(mine)
    handle.chat("one")
    with pytest.raises(BudgetError):
        handle.chat("two")
    clock.advance(24 * 3600)
    assert handle.chat("three").text == "yes"


def test_a_chat_of_unknown_price_is_counted_as_unknown(tmp_path: Path) -> None:
    mine = session(tmp_path, "5.00")
    handle, _ = model(mine, "a-model-without-a-price")
    handle.chat("hello")
    assert Reservations(mine.journal).month(NOW).unknown == 1
    hold(mine, "5.00")  # it does not block what has a price
    with pytest.raises(BudgetError, match="price of chatting"):
        handle.chat_many(["one", "two"])


def test_a_service_without_known_prices_has_not_those_of_another(tmp_path: Path) -> None:
    """A gateway with the API of OpenAI may answer to the names of its models."""
    mine = session(tmp_path)
    handle, backend = model(mine)
    backend.capabilities = replace(backend.capabilities, price="unknown")
    handle.chat("hello")
    assert Reservations(mine.journal).month(NOW).unknown == 1
    assert counted(mine) == 0


def test_an_answer_without_usage_is_of_unknown_cost(tmp_path: Path) -> None:
    mine = session(tmp_path)
    handle, backend = model(mine)
    backend.usage = {}
    handle.chat("hello")
    assert Reservations(mine.journal).month(NOW).unknown == 1


def test_a_free_backend_writes_nothing(tmp_path: Path) -> None:
    mine = session(tmp_path, "0.00")
    backend = FakeBackend(Context(home=tmp_path, clock=mine.clock))
    handle = ModelHandle(kind=ModelKind.HOSTED, provider="fake", id="fake:x", base_model="x")
    bound = handle.bound_to(backend)
    assert with_counted_chats(mine, bound, backend) is bound


def test_tokens_that_cost_nothing_write_nothing(tmp_path: Path) -> None:
    mine = session(tmp_path, "0.00")
    _, backend = model(mine)
    backend.name = "together"
    endpoint = ModelHandle(kind=ModelKind.HOSTED, provider="together", id="m", base_model="b")
    assert with_counted_chats(mine, endpoint, backend).chat("hello").text == "yes"
    assert ledger(mine) == []


def test_an_answer_is_not_lost_because_its_cost_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mine = session(tmp_path)
    handle, _ = model(mine)

    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr("ftsdk.spending.counted_chats.book", full)
    assert handle.chat("hello").text == "yes"
    assert "was not recorded: the disk is full" in caplog.text


def test_a_failed_chat_costs_nothing(tmp_path: Path) -> None:
    mine = session(tmp_path)
    handle, backend = model(mine)

    def failing(*_: object) -> ChatAnswer:
        raise Unavailable("no connection")

    backend.chat = failing
    with pytest.raises(Unavailable):
        handle.chat("hello")
    assert ledger(mine) == []


# --- many chats of a handle ------------------------------------------------------------------------


def test_each_answer_of_many_is_counted(tmp_path: Path) -> None:
    mine = session(tmp_path)
    handle, _ = model(mine)
    assert len(list(handle.chat_many(f"question {k}" for k in range(20)))) == 20
    assert counted(mine) == 20 * EACH


def test_many_end_when_the_month_is_used_up(tmp_path: Path) -> None:
    mine = session(tmp_path, "0.0100")  # nine fit
    handle, backend = model(mine)
    found = []
    with pytest.raises(BudgetError, match="used up"):
        found.extend(handle.chat_many(f"question {k}" for k in range(100)))
    assert backend.asked == 9
    assert counted(mine) == 9 * EACH


def _ask_until_refused(home: Path, count: int) -> None:
    mine = session(home, "0.0300")
    handle, _ = model(mine)
    for _ in range(count):
        try:
            handle.chat("hello")
        except BudgetError:
            return


def test_two_processes_exceed_a_limit_by_no_more_than_the_calls_under_way(tmp_path: Path) -> None:
    session(tmp_path).journal  # noqa: B018  # made before both open it
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_ask_until_refused, args=(tmp_path, 100)) for _ in range(2)]
    for one in children:
        one.start()
    for one in children:
        one.join(60)
    assert [one.exitcode for one in children] == [0, 0]
    assert Decimal("0.03") <= counted(session(tmp_path)) < Decimal("0.03") + 2 * EACH


# --- the ledger ------------------------------------------------------------------------------------


def test_the_ledger_and_its_csv_show_runs_and_chats(tmp_path: Path) -> None:
    mine = session(tmp_path)
    handle, _ = model(mine)
    handle.chat("hello")
    hold(mine, "3.00")
    chats.add(mine, "run", Decimal(1))
    lines = {line.id: line for line in ledger(mine)}
    run = lines["run"]
    assert (run.kind, run.status, run.high, run.actual, run.counted) == (
        "chat", "open", Decimal("3.00"), None, Decimal("3.00"),
    )  # fmt: skip
    assert run.name == "capture of 5 rows"
    assert "$2.00 is held for the rest" in run.why
    [total] = totals(ledger(mine), "kind")
    assert (total.key, total.lines, total.counted) == ("chat", 2, 3 + EACH)
    rows = to_csv(ledger(mine)).splitlines()
    assert any(",chat,run,capture of 5 rows,openai," in row for row in rows)
    chats.release(mine, "run")
    [run] = [line for line in ledger(mine) if line.id == "run"]
    assert (run.status, run.actual, run.counted) == ("closed", 1, 1)
