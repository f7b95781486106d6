"""Flips: the rows on which two models differ, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ftsdk.evaluation.pairs import Pairs


@dataclass(frozen=True)
class Flip:
    """One row on which the models differ: its place in the data, and both scores."""

    row: int
    reference: float
    candidate: float

    @property
    def is_loss(self) -> bool:
        """Whether the candidate scores lower."""
        return self.candidate < self.reference


def flips_of(pairs: Pairs, rows: Sequence[int] | None = None) -> list[Flip]:
    """Return the rows on which the scores differ: losses first, the largest differences before.

    `rows` limits them, such as to those of a slice.
    """
    chosen = pairs if rows is None else pairs.within(rows)
    scored = zip(chosen.rows, chosen.reference, chosen.candidate, strict=True)
    found = [Flip(*one) for one in scored if one[1] != one[2]]
    return sorted(found, key=lambda flip: (flip.candidate - flip.reference, flip.row))
