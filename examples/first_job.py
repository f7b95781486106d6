"""From rows to a model that answers: the shortest complete program.

    cd examples
    FTSDK_PROFILE=test python first_job.py     # a rehearsal, in a second
    ftsdk models pull smollm2-135m             # once: the base model, 94 MB
    python first_job.py                        # trains on this machine, in minutes

Where it runs is not in the program but in ftsdk.toml, beside it.
"""

from __future__ import annotations

import ftsdk

job = ftsdk.create_job(
    "data/support.jsonl",
    hyperparameters=ftsdk.Hyperparameters(epochs=3, learning_rate=1e-3),
    name="support-bot",
)
print(job.id, "on", job.provider)
job.wait(on_event=print)
print(job.result().chat("my parcel is late").text)
