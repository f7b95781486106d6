"""How many rows may go through the model at once: decided when a run begins, kept in its folder.

The loss is divided by all that a step trains, so the rows of a whole step may go together: short rows
fill the tokens of a pass. Other sums have other last bits, so a resumed run goes on as it began.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ftsdk.backends.local.runs.files import read_json
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.training.checkpoint import has_checkpoint
from ftsdk.util.files import atomic_write_json

FILE = "rows.json"


@dataclass(frozen=True)
class RowsAtOnce:
    """The most `rows` of a micro-batch; `alone` where the model takes one at a time in any case."""

    rows: int
    alone: bool = False


def rows_at_once(run: RunDir) -> RowsAtOnce:
    """The rows of a step.

    A run that an older version began takes `batch_size` rows, or one, as it did.
    """
    kept = read_json(run.path / FILE)
    if kept is not None:
        return RowsAtOnce(int(kept["rows"]), bool(kept.get("alone")))
    hyperparameters = run.spec.hyperparameters
    decided = RowsAtOnce(hyperparameters.rows_per_step)
    if has_checkpoint(run.path):
        alone = any(event.get("flat_batches") is False for event in run.read_events())
        decided = RowsAtOnce(hyperparameters.batch_size, alone)
    atomic_write_json(run.path / FILE, asdict(decided))
    return decided
