"""When the next checkpoint is due: often enough to lose little, and seldom enough to cost little."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from ftsdk.backends.local.options import RunOptions
from ftsdk.backends.local.training.batches import RowOrder

_APART = 50
"""Time between two checkpoints, as a multiple of what one takes: they cost 2 % of a run at most."""
_BYTES_PER_S = 200e6
"""The speed that is expected of a disk, with the hashes, before a checkpoint was measured."""


class CheckpointPace:
    """Measures what checkpoints cost, and spaces them.

    Those that are asked for, by steps or by seconds, and that after the last step are due whatever
    they cost. `size_bytes` is the size of one; `now` is a monotonic clock, in seconds.
    """

    def __init__(
        self,
        options: RunOptions,
        order: RowOrder,
        size_bytes: int,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options, self._order, self._now = options, order, now
        self._takes_s = size_bytes / _BYTES_PER_S
        self._last = now()

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Measure the checkpoint that is written inside the block."""
        started = self._now()
        yield
        self._last = self._now()
        self._takes_s = self._last - started

    @property
    def apart_s(self) -> float:
        """The least time between two checkpoints that nobody asked for, in seconds."""
        return _APART * self._takes_s

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint is due after this step."""
        options = self._options
        every = options.checkpoint_every_steps
        if step == self._order.total_steps or bool(every and step % every == 0):
            return True
        since_s = self._now() - self._last
        if options.checkpoint_every_s is not None and since_s >= options.checkpoint_every_s:
            return True
        if every or since_s < self.apart_s:
            return False
        interval_s = options.checkpoint_interval_s
        late = interval_s is not None and since_s >= interval_s
        return late or self._order.ends_epoch(step)
