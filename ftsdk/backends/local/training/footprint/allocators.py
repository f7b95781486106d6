"""How much memory an allocator takes from the system for a series of allocations; without torch.

The sum of live tensors is less than what a process takes: freed places are too small, or lie between
others that are in use. A series is a list of pairs: a number for the tensor, and its size in bytes
where it is allocated, or 0 where it is freed.

On a CPU, glibc's heap keeps what is freed. Places of tensors of several sizes lie between each other,
so not all that is freed can be used again. How much is lost depends on the sizes: nothing was measured
for all weights, whose tensors are all large, and up to 0.32 of the live bytes for an adapter, whose
products are small. That holds in the environment of a trainer, which has no caches of small places
(`runs.environment`). Where memory is short the trainer gives each large tensor a mapping of its own
instead (`lean`), which takes exactly what is live, and up to a third more processor time on small
models.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

Events = Sequence[tuple[int, int]]

LEAN_FROM = 1 << 20
"""Bytes from which on a tensor has a mapping of its own in a lean process."""
_PAGE = 4096
_SMALL_GROWTH = 1.6
_HEAP_GROWTH = {True: 1.55, False: 1.25}
"""What the heap takes at most of the live bytes: with an adapter, and without."""
_HEAP_LEAST = 6 << 20
_BLOCK = 512
_SMALL = 1 << 20
_SMALL_PAGE, _LARGE_PAGE = 2 << 20, 20 << 20


class Heap:
    """A heap that grows at its end, takes the smallest free place that fits, and joins free places.

    So do the expandable segments of torch's CUDA allocator. `top` is the end of the highest place
    ever used, in bytes.
    """

    def __init__(self) -> None:
        self.end = self.top = 0
        self._used: dict[int, tuple[int, int]] = {}
        self._by_size: list[tuple[int, int]] = []
        self._by_start: dict[int, int] = {}
        self._by_end: dict[int, int] = {}

    def allocate(self, number: int, size: int) -> None:
        """Give the tensor `number` a place of `size` bytes."""
        place = bisect_left(self._by_size, (size, 0))
        if place == len(self._by_size):
            start, self.end = self.end, self.end + size
            self.top = max(self.top, self.end)
        else:
            found, start = self._by_size[place]
            self._take(start, found)
            if found > size:
                self._put(start + size, found - size)
        self._used[number] = (start, size)

    def free(self, number: int) -> None:
        """Free the place of the tensor `number`."""
        start, size = self._used.pop(number)
        before = self._by_end.get(start)
        if before is not None:
            self._take(before, start - before)
            start, size = before, size + start - before
        after = self._by_start.get(start + size)
        if after is not None:
            self._take(start + size, after)
            size += after
        if start + size == self.end:
            self.end = start
        else:
            self._put(start, size)

    def _take(self, start: int, size: int) -> None:
        del self._by_start[start], self._by_end[start + size]
        del self._by_size[bisect_left(self._by_size, (size, start))]

    def _put(self, start: int, size: int) -> None:
        self._by_start[start], self._by_end[start + size] = size, start
        insort(self._by_size, (size, start))


def live_peak(events: Iterable[tuple[int, int]]) -> int:
    """The largest sum of sizes that are in use at once, in bytes."""
    sizes: dict[int, int] = {}
    live = peak = 0
    for number, size in events:
        if size:
            sizes[number] = size
            live += size
            peak = max(peak, live)
        else:
            live -= sizes.pop(number, 0)
    return peak


def taken_on_cuda(events: Events) -> int:
    """What torch's CUDA allocator takes with expandable segments, in bytes.

    Small tensors have a pool of their own; each pool takes whole pages.
    """
    pools, pool_of = (Heap(), Heap()), dict[int, Heap]()
    for number, size in events:
        if size:
            pool = pool_of[number] = pools[size > _SMALL]
            pool.allocate(number, _rounded(size, _BLOCK))
        else:
            pool_of.pop(number).free(number)
    return _rounded(pools[0].top, _SMALL_PAGE) + _rounded(pools[1].top, _LARGE_PAGE)


def taken_lean(events: Events) -> int:
    """What a lean process on a CPU takes, in bytes: small tensors are in a heap that keeps them."""
    small = [
        (n, s) for n, s in events if s < LEAN_FROM
    ]  # freeing a large one changes nothing there
    large = (
        (n, s if not s else _rounded(s + _PAGE, _PAGE)) for n, s in events if not 0 < s < LEAN_FROM
    )
    return live_peak(large) + round(_SMALL_GROWTH * live_peak(small))


def taken_from_heap(events: Events, *, adapter: bool) -> int:
    """What a process on a CPU takes that keeps what is freed, in bytes: an upper bound, as measured."""
    if not events:
        return 0
    return round(_HEAP_GROWTH[adapter] * live_peak(events)) + _HEAP_LEAST


def _rounded(size: int, unit: int) -> int:
    return -(-size // unit) * unit
