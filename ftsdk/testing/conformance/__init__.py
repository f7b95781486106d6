"""The conformance kit: more than a hundred checks of a backend, adopted with one class.

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

- `RecordChecks`: capabilities and plans, without a key or a network
- `SendingChecks`: the body of the create call, and the rows that were uploaded
- `JobChecks`: submitted once, read without side effects, ended correctly
- `CourseChecks`: nothing is final before the end, and then it stays
- `PageChecks`: lists in pages of 3 and of 20
- `AnswerChecks`: the base model of a result, and what a chat sends
- `ChatChecks`: batches and stored chats, created once and read to the last one
- `ManyChatChecks`: many chats at once, an outcome each
- `FaultChecks`, `OutageChecks`: a provider that fails, is away or silent; no secret in errors or records
"""

from __future__ import annotations

import pytest

for _part in (
    "answers", "chats", "course", "faults", "jobs", "many_chats", "outages", "pages", "record",
    "sending", "world",
):  # fmt: skip
    pytest.register_assert_rewrite(f"ftsdk.testing.conformance.{_part}")

from ftsdk.testing.conformance.answers import AnswerChecks
from ftsdk.testing.conformance.chats import ChatChecks
from ftsdk.testing.conformance.course import CourseChecks
from ftsdk.testing.conformance.faults import FaultChecks
from ftsdk.testing.conformance.jobs import JobChecks
from ftsdk.testing.conformance.many_chats import ManyChatChecks
from ftsdk.testing.conformance.outages import OutageChecks
from ftsdk.testing.conformance.pages import PageChecks
from ftsdk.testing.conformance.record import RecordChecks
from ftsdk.testing.conformance.sending import SendingChecks
from ftsdk.testing.conformance.world import LabDouble, ProviderDouble, World

__all__ = ["BackendConformance", "LabDouble", "ProviderDouble", "World"]


class BackendConformance(
    RecordChecks, SendingChecks, JobChecks, CourseChecks, PageChecks, AnswerChecks, ChatChecks,
    ManyChatChecks, FaultChecks, OutageChecks,
):  # fmt: skip
    """Derive from it, give it a fixture `world` (scope `class`), and run pytest."""
