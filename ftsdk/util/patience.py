"""How long errors of a repeated read are borne before they end the waiting."""

from __future__ import annotations

from ftsdk.errors import BackendError, FtsdkError, NotFound
from ftsdk.util.clock import Clock

UNREACHABLE_S = 300.0
"""How long a provider may be unreachable. What is waited for goes on by itself."""
MISSING_S = 120.0
"""How long a provider may answer that it does not have what was there: lists and reads can lag."""
_MISSING_READS = 3


class Patience:
    """Bears the errors of reads that are repeated, for each of several subjects.

    An error that may pass is borne for `UNREACHABLE_S` seconds. "Not found" is borne for `MISSING_S`
    seconds and at least three reads, since one such answer can be wrong.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failing_since: dict[str, float] = {}
        self._missing: dict[str, tuple[float, int]] = {}

    def read(self, subject: str = "") -> None:
        """Note that a read succeeded."""
        self._failing_since.pop(subject, None)
        self._missing.pop(subject, None)

    def bears(self, error: FtsdkError, subject: str = "") -> bool:
        """Return whether the read is to be repeated after this error."""
        now = self._clock.monotonic()
        if isinstance(error, NotFound):
            since, reads = self._missing.get(subject, (now, 0))
            self._missing[subject] = (since, reads + 1)
            return now - since <= MISSING_S or reads + 1 < _MISSING_READS
        since = self._failing_since.setdefault(subject, now)
        return isinstance(error, BackendError) and error.retryable and now - since <= UNREACHABLE_S
