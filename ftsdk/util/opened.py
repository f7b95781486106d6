"""Objects that hold locks and files while they are open."""

from __future__ import annotations

import abc
import contextlib
from typing import Self


class Opened(abc.ABC):
    """A context manager that closes what `_open` put on `_stack`, also where opening fails."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @abc.abstractmethod
    def _open(self) -> None:
        """Take the locks and open the files, each put on `_stack`."""
