"""A list whose values are in a temporary file: memory holds where each one is, and not what it is."""

from __future__ import annotations

import pickle
import tempfile
import threading
import weakref
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

T = TypeVar("T")
_IN_MEMORY = 1 << 16


class Spilled(Sequence[T]):
    """A list that can only be appended to. Reading a value returns a copy, of which changes are lost.

    The file is in `folder`, by default the system's folder of temporary files. It has no name, so that
    nothing of it remains when the list, or the process, is gone. A short list is kept in memory.
    """

    def __init__(self, values: Iterable[T] = (), *, folder: Path | None = None) -> None:
        place = None if folder is None else str(folder)
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=place)  # noqa: SIM115  # closed by the finalizer
        weakref.finalize(self, self._file.close)
        self._ends = array("Q")
        self._lock = threading.Lock()
        for one in values:
            self.append(one)

    def append(self, value: T) -> None:
        """Add a value at the end."""
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        with self._lock:
            start = self._ends[-1] if self._ends else 0
            self._file.seek(start)
            self._file.write(data)
            self._ends.append(start + len(data))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        start = self._ends[place - 1] if place else 0
        with self._lock:
            self._file.seek(start)
            data = self._file.read(self._ends[place] - start)
        found: T = pickle.loads(data)  # noqa: S301  # this process wrote it, to a file without a name
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self),)
