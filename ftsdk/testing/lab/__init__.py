"""Simulated providers on loopback, for rehearsals and tests: HTTP servers that the official SDKs talk to.

To write a double, derive from `Double`, set its name, decorate methods with routes, and keep state in
plain attributes.

```python
class ParrotDouble(Double):
    name = "parrot"

    def __init__(self, **options):
        super().__init__(**options)
        self.jobs = {}

    @property
    def base_url(self):                       # the base URL that the SDK expects
        return f"{self.origin}/v1"

    def variables(self):                      # printed by `ftsdk lab env`
        return {"PARROT_BASE_URL": self.base_url, "PARROT_API_KEY": "lab-parrot"}

    def before(self, request):                # runs before each handler: keys, quotas
        if request.headers.get("authorization") != "Bearer lab-parrot":
            raise Refusal(401, {"error": "bad key"})

    @route("POST", "/v1/jobs")
    def create(self, request):                # a dict becomes JSON with status 200; or return a Reply
        job = {"id": self.new_id("job-"), "created_at": self.stamp(), **request.json()}
        self.jobs[job["id"]] = job
        return Reply(201, job)

    @route("GET", "/v1/jobs/{job_id}")        # {name} is one path segment, {name:path} may contain /
    def get(self, request, job_id):
        if job_id not in self.jobs:
            raise Refusal(404, {"error": "no such job"})
        return self.jobs[job_id]
```

- Handlers run one at a time, under the double's lock. Read the request with `request.json()`,
  `request.parts()` (a multipart form) or `request.first("limit")`.
- `KeyedDouble` refuses unknown keys, and its jobs pass through `stages`: set `own_keys`, `own_stages`.
- Time is `self.now()` / `self.stamp()`, from the clock that was passed in (`ManualClock` in tests).
  `Timeline` computes the status of a job. `fake_training` reads rows, makes a loss curve and answers
  like a tuned model.
- `double.faults.add("close", method="POST", path="/jobs$", acted=True)` handles the next such
  request and then drops its answer; see `Fault`. `with double.down():` refuses connections.
- `double.requests`, `double.asked("POST", "/jobs$")` and `double.count(...)` return what arrived.
- `double.observers` are called with each exchange that no fault changed. Their failed assertions are
  collected in `double.violations`.

Register it in `DOUBLES` (`lab.py`), so that `Lab("parrot")` and `ftsdk lab up` find it.
"""

from __future__ import annotations

from ftsdk.testing.lab.base import Double, KeyedDouble, route
from ftsdk.testing.lab.faults import BEHAVIOURS, Behaviour, Fault, Faults
from ftsdk.testing.lab.lab import DOUBLES, Lab
from ftsdk.testing.lab.messages import Part, Refusal, Reply, Request
from ftsdk.testing.lab.server import Server
from ftsdk.testing.lab.timeline import Stage, Timeline

__all__ = [
    "BEHAVIOURS",
    "DOUBLES",
    "Behaviour",
    "Double",
    "Fault",
    "Faults",
    "KeyedDouble",
    "Lab",
    "Part",
    "Refusal",
    "Reply",
    "Request",
    "Server",
    "Stage",
    "Timeline",
    "route",
]
