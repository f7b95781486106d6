"""A receipt is written whole, read back as it was, and refuses other inputs by name."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from ftsdk.errors import StoreError, UsageError
from ftsdk.migration.receipts import Receipts
from ftsdk.util.clock import ManualClock


@pytest.fixture
def receipts(tmp_path: Path, clock: ManualClock) -> Receipts:
    return Receipts(tmp_path, clock)


def test_a_receipt_is_read_as_it_was_written(receipts: Receipts, clock: ManualClock) -> None:
    started = clock.now()
    clock.advance(5)
    inputs = {"data": "9f31", "margin": 0.03}
    made = receipts.write("capture", inputs, started, {"rows": 3}, usd=Decimal("1.28"))
    assert receipts.read("capture") == made
    assert receipts.done("capture", inputs) == made
    assert (made.ended_at - made.started_at).total_seconds() == 5
    assert receipts.read("compare") is None
    assert [one.name for one in receipts.folder.iterdir()] == ["2-capture.json"]


def test_each_input_that_is_another_one_now_is_named(receipts: Receipts) -> None:
    receipts.write("plan", {"data": "9f31", "margin": 0.03}, receipts._clock.now(), {})
    with pytest.raises(UsageError) as refused:
        receipts.done("plan", {"data": "77ab", "margin": 0.05})
    assert "data was 9f31, now 77ab; margin was 0.03, now 0.05" in refused.value.what


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "it is not JSON"),
        (b"[]", "it has no version"),
        (b'{"schema_version": 2}', "A newer ftsdk"),
        (b'{"schema_version": 1, "step": "plan"}', "a field is missing"),
        (
            b'{"schema_version": 1, "step": "plan", "inputs": {}, "started_at": "x", "usd": "0"}',
            "a field is missing or wrong",
        ),
    ],
    ids=["cut off", "no object", "newer", "incomplete", "wrong"],
)
def test_a_receipt_that_cannot_be_read_says_why(
    receipts: Receipts, content: bytes, why: str
) -> None:
    receipts.path("plan").write_bytes(content)
    with pytest.raises(StoreError, match=why):
        receipts.read("plan")
