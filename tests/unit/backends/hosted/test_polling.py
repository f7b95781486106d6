"""Polls pause longer each time, up to a limit, and end after the time given."""

from __future__ import annotations

import pytest

from ftsdk.backends.hosted.polling import poll
from ftsdk.util.clock import ManualClock


@pytest.mark.parametrize(
    ("patience", "pauses"),
    [
        (0, [2]),  # no time has passed at the first look
        (5, [2, 3, 4.5]),
        (9.5, [2, 3, 4.5, 5]),  # the time is over after it, not at it
        (9.4, [2, 3, 4.5]),
        (20, [2, 3, 4.5, 5, 5, 5]),
    ],
)
def test_pauses_grow_to_the_longest_until_the_patience_is_over(
    patience: float, pauses: list[float]
) -> None:
    clock = ManualClock()
    numbers = list(poll(clock, first_s=2, longest_s=5, patience_s=patience))
    assert clock.slept == pauses
    assert numbers == list(range(1, len(pauses) + 2))


def test_another_growth() -> None:
    clock = ManualClock()
    looks = poll(clock, first_s=1, longest_s=100, patience_s=30, growth=3)
    assert list(looks) == [1, 2, 3, 4, 5]
    assert clock.slept == [1, 3, 9, 27]
