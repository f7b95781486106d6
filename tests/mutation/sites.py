"""A place in the package that can be changed, and the sample of such places."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """One change: an operator at its n-th position in a module."""

    path: str
    operator: str
    occurrence: int
    line: int
    column: int
    text: str

    @property
    def place(self) -> tuple[str, int, int]:
        """Where the change is. Operators that change the same place share it."""
        return self.path, self.line, self.column


def code_at(lines: Sequence[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the source between two positions, as (line from 1, column)."""
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    return lines[start[0] - 1][start[1] :]


def sample(sites: Iterable[Site], sources: dict[str, str], count: int, seed: int) -> list[Site]:
    """Return `count` sites, one a place at most, chosen by a hash of seed, module, line and operator.

    The choice does not depend on line numbers or on other modules: a change of one module changes the
    sample there, and results for the others stay valid.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    ranked: list[tuple[bytes, Site]] = []
    for site in sites:
        line = sources[site.path].splitlines()[site.line - 1].strip()
        key = (str(seed), site.path, site.operator, line, site.text)
        seen[key] += 1
        digest = hashlib.sha256("\0".join((*key, str(seen[key]))).encode()).digest()
        ranked.append((digest, site))
    chosen: dict[tuple[str, int, int], Site] = {}
    for _, site in sorted(ranked, key=lambda one: one[0]):
        if len(chosen) == count:
            break
        chosen.setdefault(site.place, site)
    return sorted(chosen.values(), key=lambda site: site.place)
