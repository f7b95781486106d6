"""What a capture asks: the rows without those of the training file, and the traffic that was stored."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ftsdk.dataset import Dataset
from ftsdk.errors import BackendError
from ftsdk.evaluation.ask import KEY_TAG
from ftsdk.evaluation.bundle_files import lines_of, traffic_line
from ftsdk.evaluation.cases import Case, cases_of
from ftsdk.evaluation.models import Model, TrainingFiles, training_files_of
from ftsdk.evaluation.overlap import OverlapFinder, can_compare_nearly
from ftsdk.session import Session
from ftsdk.types.capture import OverlapRow
from ftsdk.util.files import atomic_file
from ftsdk.util.spilled import Spilled

_TRAFFIC = "traffic.jsonl"


@dataclass(frozen=True)
class ChosenCases:
    """The cases to ask, those that are left out, and the training files that were compared."""

    cases: Sequence[Case] = ()
    refused: tuple[OverlapRow, ...] = ()
    checked_against: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def choose_cases(
    session: Session, model: Model, data: Any, training: str | Path | None, folder: Path
) -> ChosenCases:
    """Return the cases of `data`, or of the model's validation file, without those it was trained on.

    Training files that the provider has are kept in `folder`. `training` is a further one.
    """
    trained = training_files_of(session, model, folder)
    notes = [f"not read: {why}" for why in trained.not_read]
    cases = _cases(data, trained)
    compared = list(trained.training)
    if training is not None:
        compared.append((Path(training).name, Dataset.load(training)))
    if not cases:
        return ChosenCases(notes=tuple(notes))
    if not compared:
        notes.append("no training file is known: rows that are in it are not left out")
    elif not can_compare_nearly():
        notes.append("nearly equal prompts are not found: pip install 'ftsdk[data]'")
    refused = _overlaps(cases, compared)
    return ChosenCases(
        cases=Spilled(case for case in cases if case.id not in refused),
        refused=tuple(sorted(refused.values(), key=lambda one: one.line)),
        checked_against=tuple(name for name, _ in compared),
        notes=tuple(notes),
    )


def _cases(data: Any, trained: TrainingFiles) -> Sequence[Case]:
    if data is not None:
        return cases_of(Dataset.load(data))
    return cases_of(*(one for _, one in trained.validation))


def _overlaps(
    cases: Sequence[Case], training: Sequence[tuple[str, Dataset]]
) -> dict[str, OverlapRow]:
    """Return the cases that are in one of the training files, by their id."""
    finder = OverlapFinder(cases)
    return {
        one.case: OverlapRow(
            line=one.line,
            training_file=one.training_file,
            training_line=one.training_line,
            likeness=one.likeness,
        )
        for name, dataset in training
        for one in finder.find(dataset, name)
    }


def fetch_traffic(model: Model, folder: Path) -> tuple[Path, int, str]:
    """Fetch the chats of the model that the account stored into a file of `folder`.

    Returns the file, how many chats are in it, and why some are missing. Those that were fetched before
    stay in it, since the provider removes them after a while.
    """
    path, why_not = folder / _TRAFFIC, ""
    known = {line["id"] for line in lines_of(path)}
    new: Spilled[dict[str, Any]] = Spilled(folder=folder)
    if model.backend.capabilities.has_stored_chats:
        try:
            for chat in model.backend.stored_chats(model=model.handle.id):
                if KEY_TAG not in chat.metadata and chat.id not in known:
                    known.add(chat.id)
                    new.append(traffic_line(chat))
        except BackendError as error:
            why_not = f"stored chats were not read: {error.what}"
    if len(new):
        with atomic_file(path) as handle:
            handle.writelines(orjson.dumps(one) + b"\n" for one in itertools.chain(lines_of(path), new))  # fmt: skip
    return path, len(known), why_not
