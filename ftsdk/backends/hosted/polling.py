"""Looking again until something has happened, with growing pauses and an end."""

from __future__ import annotations

from collections.abc import Iterator

from ftsdk.util.clock import Clock


def poll(
    clock: Clock, *, first_s: float, longest_s: float, patience_s: float, growth: float = 1.5
) -> Iterator[int]:
    """Counts looks, pausing between them; ends once `patience_s` seconds have gone by."""
    begun, pause, number = clock.monotonic(), first_s, 0
    while True:
        number += 1
        yield number
        if clock.monotonic() - begun > patience_s:
            return
        clock.sleep(pause)
        pause = min(pause * growth, longest_s)
