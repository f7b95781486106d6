"""A reason against training a model, with what to do about it."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """What is wrong, as part of a sentence about the model, and what the user can do."""

    what: str
    hint: str
