"""The conformance kit: more than eighty checks of a backend, adopted with one class.

```python
from ftsdk.testing.conformance import BackendConformance, World

class TestMine(BackendConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory):
        with my_double() as double:
            yield World(make=lambda home: MyBackend(Context(home=home, ...)), model="…", ...)
```

A check that needs a capability is skipped where the backend does not declare it; what it does not
declare must be refused by name. Checks of requests run where the world has a `double` (see `ProviderDouble`).
"""

from __future__ import annotations

import pytest

for _part in ("faults", "jobs", "record", "sending", "world"):
    pytest.register_assert_rewrite(f"ftsdk.testing.conformance.{_part}")

from ftsdk.testing.conformance.faults import FaultChecks
from ftsdk.testing.conformance.jobs import JobChecks
from ftsdk.testing.conformance.record import RecordChecks
from ftsdk.testing.conformance.sending import SendingChecks
from ftsdk.testing.conformance.world import LabDouble, ProviderDouble, World

__all__ = ["BackendConformance", "LabDouble", "ProviderDouble", "World"]


class BackendConformance(RecordChecks, SendingChecks, JobChecks, FaultChecks):
    """Derive from it, give it a fixture `world` (scope `class`), and run pytest."""
