"""The log-probabilities that the untrained model gives to a file's answers, computed once.

An untrained adapter changes nothing, so they come from the model before its first step: no second
model is needed, for an adapter or for all weights. They are kept in the run directory, because a
resumed run must compare with the same bits: exact float32, bound to the spec of the run, to the
rows and to their tokens, with a checksum.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ftsdk.backends.local.training.batches import micro_batches
from ftsdk.backends.local.training.division import rounds_of
from ftsdk.backends.local.training.forward import evaluating
from ftsdk.backends.local.training.objectives.log_probs import answer_log_probs
from ftsdk.backends.local.training.objectives.objective import Untrained
from ftsdk.dataset.tokenize.render import Rendered
from ftsdk.util.files import atomic_write_bytes, sha256_file
from ftsdk.util.names import plural

_FORMAT = 1


def reference_log_probs(
    examples: Sequence[Any],
    sequences: Callable[[Sequence[Any]], list[Rendered]],
    untrained: Untrained,
) -> list[float]:
    """The log-probability of each sequence of the examples, in nats: read, or computed and written.

    Raises `Stopped`.
    """
    rows = sequences(examples)
    path = untrained.rows.with_name(f"reference-{untrained.rows.stem}.f32")
    identity = _identity(untrained.rows, rows)
    found = _read(path, identity, untrained.log)
    if any(untrained.group.gather(found is None)):
        found = _computed(rows, untrained)
        if untrained.group.rank == 0:
            _write(path, identity, found)
    return list(found or ())


def _identity(file: Path, rows: Sequence[Rendered]) -> dict[str, Any]:
    """What the numbers depend on: the run's spec, the file, and its tokens and masks."""
    tokens = hashlib.sha256()
    for row in rows:
        tokens.update(row.ids.tobytes())
        tokens.update(row.trained)
    return {
        "format": _FORMAT,
        "spec": sha256_file(file.with_name("spec.json")),
        "rows": sha256_file(file),
        "tokens": tokens.hexdigest(),
        "count": len(rows),
    }


def _read(path: Path, identity: dict[str, Any], log: Callable[[str], None]) -> array[float] | None:
    """The numbers of an earlier attempt; None without a sound file that belongs to these rows."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    try:
        known = json.loads(head)
    except ValueError:
        known = None
    expected = {**identity, "sha256": hashlib.sha256(body).hexdigest()}
    if known != expected or len(body) != 4 * identity["count"]:
        log(f"{path.name} is damaged or of other rows; it is computed again.")
        return None
    return array("f", body)


def _write(path: Path, identity: dict[str, Any], found: array[float]) -> None:
    body = found.tobytes()
    head = {**identity, "sha256": hashlib.sha256(body).hexdigest()}
    atomic_write_bytes(path, json.dumps(head).encode() + b"\n" + body)


def _computed(rows: Sequence[Rendered], untrained: Untrained) -> array[float]:
    """The log-probabilities by the model as it is; dropout is off."""
    untrained.log(
        f"Computing what the untrained model gives to {plural(len(rows), 'answer')} "
        f"of {untrained.rows.name}."
    )
    numbered = [_Numbered(k, row) for k, row in enumerate(rows)]
    limits, model, group = untrained.limits, untrained.model, untrained.group

    def cut(part: Sequence[_Numbered]) -> Iterator[list[_Numbered]]:
        return micro_batches(part, limits.examples, limits.tokens, padded=limits.padded)

    own: dict[int, float] = {}
    with evaluating(model.network):
        for one in rounds_of(numbered, cut, group, fills=model.is_sharded):
            untrained.check()
            if not one.micro:
                continue
            values = answer_log_probs(model, [part.row for part in one.micro]).tolist()
            if not one.filler:
                own |= zip((part.number for part in one.micro), values, strict=True)
    found = array("f", bytes(4 * len(rows)))
    for part in group.gather([*own.items()]):
        for number, value in part:
            found[number] = value
    return found


class _Numbered:
    """A sequence with its place; its length is that of the sequence."""

    __slots__ = ("number", "row")

    def __init__(self, number: int, row: Rendered) -> None:
        self.number, self.row = number, row

    def __len__(self) -> int:
        return len(self.row)
