"""How the rows of a step are divided over the ranks of a group: in balance by tokens, without asking.

Every rank knows all rows, so each computes the same division. A step runs in as many rounds as the
rank with the most micro-batches has; in a round each rank has a micro-batch or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Generic, TypeVar

from ftsdk.backends.local.training.group import Group

T = TypeVar("T", bound=Sized)


@dataclass(frozen=True, slots=True)
class Round(Generic[T]):
    """One round of this rank: the examples of its micro-batch.

    A `filler` is computed because the other ranks wait for it (the weights are divided), and its
    result is dropped; without that need, a rank that has none left has no examples.
    """

    micro: list[T]
    filler: bool = False


def divide(lengths: Sequence[int], ranks: int) -> list[list[int]]:
    """Divide rows of these lengths; returns for each rank the places of its rows, in order.

    The longest row goes first, each to the rank with the fewest tokens so far.
    """
    shares: list[list[int]] = [[] for _ in range(ranks)]
    tokens = [0] * ranks
    for place in sorted(range(len(lengths)), key=lambda k: (-lengths[k], k)):
        lightest = min(range(ranks), key=lambda rank: (tokens[rank], rank))
        shares[lightest].append(place)
        tokens[lightest] += lengths[place]
    return [sorted(share) for share in shares]


def rounds_of(
    examples: Sequence[T],
    cut: Callable[[Sequence[T]], Iterable[list[T]]],
    group: Group,
    *,
    fills: bool,
) -> Iterator[Round[T]]:
    """Yield the rounds of this rank; `cut` divides the examples of one rank into micro-batches.

    Every rank gets as many. With `fills` a rank that has no micro-batch left gets a filler.
    """
    shares = divide([len(one) for one in examples], group.size)
    parts = [list(cut([examples[k] for k in share])) for share in shares]
    own = parts[group.rank]
    shortest = min(examples, key=len)
    for number in range(max(map(len, parts))):
        if number < len(own):
            yield Round(own[number])
        else:
            yield Round([shortest] if fills else [], filler=True)
