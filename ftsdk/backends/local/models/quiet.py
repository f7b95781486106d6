"""Keep the output of the training libraries off the terminal."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Suppress progress bars and warnings of the training libraries inside the block.

    Errors still raise. Suppressed are the progress bars of transformers, and warnings meant for the
    authors of those libraries (bitsandbytes logs one when it is imported on a CPU).
    """
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    bitsandbytes = logging.getLogger("bitsandbytes")
    level = bitsandbytes.level
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
    bitsandbytes.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        bitsandbytes.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
