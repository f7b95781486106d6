"""1,000 create calls at the same time, with a monthly budget for ten: exactly ten are sent."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

from ftsdk.store.journal import Journal
from ftsdk.store.reservations import Reservations

CHILD = Path(__file__).with_name("priced.py")
PROCESSES, EACH, THREADS = 4, 250, 8


def create_many(home: Path, *, month: str, price: str) -> tuple[int, int, int]:
    children = [
        subprocess.Popen(
            [sys.executable, CHILD, home, month, price, str(EACH), str(THREADS), f"p{number}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    counts = [json.loads(child.communicate(timeout=240)[0]) for child in children]
    assert [child.returncode for child in children] == [0] * PROCESSES
    return tuple(sum(one.get(name, 0) for one in counts) for name in ("sent", "refused", "calls"))


def test_a_budget_for_ten_of_a_thousand(tmp_path: Path) -> None:
    began = time.monotonic()
    sent, refused, calls = create_many(tmp_path, month="10.00", price="1.00")
    took = time.monotonic() - began
    assert (sent, refused, calls) == (10, PROCESSES * EACH - 10, 10)
    assert len(list((tmp_path / "fake").glob("fake-*.json"))) == 10
    journal = Journal(tmp_path)
    jobs = journal.list()
    assert len(jobs) == 10  # a refused job leaves nothing behind
    assert sum(r.cost.high for _, r in Reservations(journal).all() if r) == Decimal(10)
    assert journal.integrity() == "ok"
    print(f"{PROCESSES * EACH} creates in {took:.1f} s: {sent} sent, {refused} refused")


def test_the_whole_budget_can_be_spent_and_no_cent_more(tmp_path: Path) -> None:
    sent, _, calls = create_in_one_process(tmp_path, month="9.99", price="3.33")
    assert (sent, calls) == (3, 3)


def create_in_one_process(home: Path, *, month: str, price: str) -> tuple[int, int, int]:
    printed = subprocess.run(
        [sys.executable, CHILD, home, month, price, "40", "16", "one"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    counts = json.loads(printed)
    return counts["sent"], counts["refused"], counts["calls"]
