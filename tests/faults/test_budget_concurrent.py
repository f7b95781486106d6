"""1,000 creates at once against a month that fits ten: ten are sent, and ten exactly."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

from ftsdk.store import Journal
from ftsdk.store.reservations import Spending

CHILD = Path(__file__).with_name("priced.py")
PROCESSES, EACH, THREADS = 4, 250, 8


def storm(home: Path, *, month: str, price: str) -> tuple[int, int, int]:
    children = [
        subprocess.Popen(
            [sys.executable, CHILD, home, month, price, str(EACH), str(THREADS), f"p{number}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    told = [json.loads(child.communicate(timeout=240)[0]) for child in children]
    assert [child.returncode for child in children] == [0] * PROCESSES
    return tuple(sum(one.get(word, 0) for one in told) for word in ("sent", "refused", "calls"))


def test_a_thousand_creates_and_ten_that_fit(tmp_path: Path) -> None:
    began = time.monotonic()
    sent, refused, calls = storm(tmp_path, month="10.00", price="1.00")
    took = time.monotonic() - began
    assert (sent, refused, calls) == (10, PROCESSES * EACH - 10, 10)
    assert len(list((tmp_path / "fake").glob("fake-*.json"))) == 10
    journal = Journal(tmp_path)
    jobs = journal.list()
    assert len(jobs) == 10  # a refused job leaves nothing behind
    assert sum(r.cost.high for _, r in Spending(journal).all() if r) == Decimal(10)
    assert journal.integrity() == "ok"
    print(f"{PROCESSES * EACH} creates in {took:.1f} s: {sent} sent, {refused} refused")


def test_the_last_dollar_fits_and_the_last_cent_over_does_not(tmp_path: Path) -> None:
    sent, _, calls = storm_small(tmp_path, month="9.99", price="3.33")
    assert (sent, calls) == (3, 3)


def storm_small(home: Path, *, month: str, price: str) -> tuple[int, int, int]:
    told = subprocess.run(
        [sys.executable, CHILD, home, month, price, "40", "16", "one"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    words = json.loads(told)
    return words["sent"], words["refused"], words["calls"]
