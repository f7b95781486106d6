"""Providers on loopback, for rehearsals and tests: real HTTP servers that the official SDKs talk to.

How a double is written: derive from `Double`, name it, give its methods routes, and keep its state
in plain attributes.

```python
class ParrotDouble(Double):
    name = "parrot"

    def __init__(self, **options):
        super().__init__(**options)
        self.jobs = {}

    @property
    def base_url(self):                       # what the SDK takes as its base URL
        return f"{self.origin}/v1"

    def variables(self):                      # what `ftsdk lab env` prints
        return {"PARROT_BASE_URL": self.base_url, "PARROT_API_KEY": "lab-parrot"}

    def before(self, request):                # runs before each handler: keys, quotas
        if request.headers.get("authorization") != "Bearer lab-parrot":
            raise Refusal(401, {"error": "bad key"})

    @route("POST", "/v1/jobs")
    def create(self, request):                # a dict becomes JSON with 200; else return a Reply
        job = {"id": self.new_id("job-"), "created_at": self.stamp(), **request.json()}
        self.jobs[job["id"]] = job
        return Reply(201, job)

    @route("GET", "/v1/jobs/{job_id}")        # {name} is one path segment, {name:path} may hold /
    def get(self, request, job_id):
        if job_id not in self.jobs:
            raise Refusal(404, {"error": "no such job"})
        return self.jobs[job_id]
```

- Handlers run one at a time, under the double's lock. `request.json()`, `request.parts()` (a
  multipart form), `request.first("limit")` read it.
- Time is `self.now()` / `self.stamp()`, from the clock given (`ManualClock` in tests). `Timeline`
  computes where a job stands; `brain` reads rows, draws a curve and answers like a tuned model.
- `double.faults.add("close", method="POST", path="/jobs$", acted=True)` lets the next such request
  be acted on and its answer be lost; see `Fault`. `with double.down():` refuses connections.
- `double.requests`, `double.asked("POST", "/jobs$")`, `double.count(...)` tell what arrived.
- `double.observers` see each honest exchange; what they assert in vain is in `double.violations`.

Register it in `DOUBLES` (`lab.py`), so that `Lab("parrot")` and `ftsdk lab up` find it.
"""

from __future__ import annotations

from ftsdk.testing.lab.base import Double, route
from ftsdk.testing.lab.faults import BEHAVIOURS, Behaviour, Fault, Faults
from ftsdk.testing.lab.lab import DOUBLES, Lab
from ftsdk.testing.lab.server import Server
from ftsdk.testing.lab.timeline import Stage, Timeline
from ftsdk.testing.lab.wire import Part, Refusal, Reply, Request

__all__ = [
    "BEHAVIOURS",
    "DOUBLES",
    "Behaviour",
    "Double",
    "Fault",
    "Faults",
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
