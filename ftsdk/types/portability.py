"""Where a trained model can be used: one verdict for each program or provider, and form of the weights."""

from __future__ import annotations

from typing import Literal

from ftsdk.types.record import Record

__all__ = ["Portability", "PortabilityProblem", "WeightsForm"]

WeightsForm = Literal["adapter", "merged"]
"""The weights beside their base (`adapter`), or a whole model (`merged`)."""


class PortabilityProblem(Record):
    """Why a target does not take the weights as they are, and what to do about it."""

    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


class Portability(Record):
    """What one target does with the weights in one form.

    `problems` are what it refuses, or reads wrongly without an error. `notes` are what to set there,
    and what could not be confirmed. `source` says where the rules come from.
    """

    target: str
    form: WeightsForm
    problems: tuple[PortabilityProblem, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""

    @property
    def ok(self) -> bool:
        """True when nothing is known that the target would refuse or read wrongly."""
        return not self.problems
