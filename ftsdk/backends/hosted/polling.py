"""Poll with growing pauses until a deadline."""

from __future__ import annotations

from collections.abc import Iterator

from ftsdk.util.clock import Clock


def poll(
    clock: Clock, *, first_s: float, longest_s: float, patience_s: float, growth: float = 1.5
) -> Iterator[int]:
    """Yield 1, 2, … with a pause after each, until `patience_s` seconds have passed."""
    begun, pause, number = clock.monotonic(), first_s, 0
    while True:
        number += 1
        yield number
        if clock.monotonic() - begun > patience_s:
            return
        clock.sleep(pause)
        pause = min(pause * growth, longest_s)
