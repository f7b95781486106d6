"""The rows of an evaluation and their cases: in a file, and read back where their texts are needed."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from ftsdk.dataset.row import Row
from ftsdk.evaluation.cases import Case, asks_nothing, case_of_chat
from ftsdk.util.spilled import Spilled


class Cases(Sequence[Case]):
    """The case of each row at these places."""

    def __init__(self, rows: Sequence[Row], lines: Sequence[int], places: Iterable[int]) -> None:
        self._rows, self._lines = rows, lines
        self._places = array("Q", places)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        at = self._places[place]
        found = case_of_chat(self._rows[at], self._lines[at])
        assert found is not None  # noqa: S101  # only rows that ask something are kept
        return found


class AskedRows:
    """Rows that ask something, with the lines where they are. Memory holds a few words for each.

    `rows` are in a temporary file in `folder`. `distinct` has each case once: rows that ask the same
    are asked once. Raises `DatasetError` that names every row that asks nothing.
    """

    def __init__(self, rows: Iterable[tuple[int, Row]], name: str, folder: Path) -> None:
        self.rows: Spilled[Row] = Spilled(folder=folder)
        self.lines = array("Q")
        self._numbers: dict[bytes, int] = {}
        first, nothing = array("Q"), []
        for line, row in rows:
            case = case_of_chat(row, line)
            if case is None:
                nothing.append(line)
                continue
            if case.digest not in self._numbers:
                self._numbers[case.digest] = len(first)
                first.append(len(self.rows))
            self.rows.append(row)
            self.lines.append(line)
        if nothing:
            raise asks_nothing(name, nothing)
        self._name, self._folder = name, folder
        self.cases: Sequence[Case] = Cases(self.rows, self.lines, range(len(self.rows)))
        self.distinct: Sequence[Case] = Cases(self.rows, self.lines, first)

    def __len__(self) -> int:
        return len(self.rows)

    def without(self, ids: Collection[str]) -> AskedRows:
        """Return the rows without those of some cases."""
        kept = (
            (self.lines[place], self.rows[place])
            for place, case in enumerate(self.cases)
            if case.id not in ids
        )
        return AskedRows(kept, self._name, self._folder)

    def number_of(self, case: Case) -> int:
        """Return the place of a case in `distinct`."""
        return self._numbers[case.digest]
