"""Times and shares of a whole in words, as every front end writes them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return `46 s`, `2 min 4 s`, `3 h 10 min`, `2 d 3 h`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h"


def clock(seconds: float) -> str:
    """Return remaining seconds as `0:46`, `12:05`, `3:10:00`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def percent(fraction: float) -> str:
    """Return `64 %`; never 100 before the end."""
    return f"{min(99, int(max(0.0, fraction) * 100)) if fraction < 1 else 100} %"
