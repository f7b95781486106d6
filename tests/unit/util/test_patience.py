"""How long errors of reads are borne: each bound from both sides."""

from __future__ import annotations

import pytest

from ftsdk.errors import AuthError, NeedsDecision, NotFound, RateLimited, Unavailable
from ftsdk.util.patience import Patience


@pytest.fixture
def bears(clock):
    """Return a function: what is borne of errors at these seconds."""

    def asked(*errors, subject="job"):
        patience, began, borne = Patience(clock), clock.monotonic(), []
        for at_s, error in errors:
            clock.advance(began + at_s - clock.monotonic())
            if error is None:
                patience.read(subject)
            else:
                borne.append(patience.bears(error, subject))
        return borne

    return asked


DOWN, GONE = Unavailable("down"), NotFound("gone")


@pytest.mark.parametrize(
    ("errors", "borne"),
    [
        ([(0, DOWN), (300, DOWN)], [True, True]),
        ([(0, DOWN), (300.1, DOWN)], [True, False]),
        ([(0, DOWN), (299, None), (301, DOWN)], [True, True]),
        ([(0, RateLimited("slow"))], [True]),
        ([(0, AuthError("no"))], [False]),
        ([(0, Unavailable("never", retryable=False))], [False]),
        ([(0, NeedsDecision("?"))], [False]),
        ([(0, GONE), (60, GONE), (120, GONE)], [True, True, True]),
        ([(0, GONE), (60, GONE), (120.1, GONE)], [True, True, False]),
        ([(0, GONE), (900, GONE), (901, GONE)], [True, True, False]),  # at least three reads
        ([(0, GONE), (60, None), (121, GONE), (122, GONE)], [True, True, True]),
        ([(0, DOWN), (299, DOWN), (301, GONE)], [True, True, True]),
        ([(0, GONE), (10, DOWN), (130, GONE)], [True, True, True]),
        ([(0, GONE), (1, GONE), (10, DOWN), (130, GONE)], [True, True, True, False]),
    ],
)
def test_what_is_borne(bears, errors, borne):
    assert bears(*errors) == borne


def test_each_subject_has_its_own_time(clock):
    patience = Patience(clock)
    assert patience.bears(DOWN, "a")
    clock.advance(301)
    assert patience.bears(DOWN, "b")
    assert not patience.bears(DOWN, "a")
