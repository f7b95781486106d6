"""Loading a model without a word: what the libraries print is not the application's to show."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

__all__ = ["quietly"]


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep bars, advice and notices of the training stack off the terminal while inside.

    Errors still raise. Two things are held down: transformers' progress bars, and warnings that
    speak to the authors of those libraries (bitsandbytes logs one when it is imported on a CPU).
    """
    from transformers.utils import logging as told

    bars = told.is_progress_bar_enabled()
    bitsandbytes = logging.getLogger("bitsandbytes")
    level = bitsandbytes.level
    told.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
    bitsandbytes.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        bitsandbytes.setLevel(level)
        if bars:
            told.enable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
