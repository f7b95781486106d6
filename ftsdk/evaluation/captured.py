"""A capture that is read: its cases and answers, and its answers as training rows if that is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import orjson

from ftsdk.artifacts.bundle import CAPTURE_KIND, read_manifest, verify
from ftsdk.errors import StoreError
from ftsdk.evaluation.answers import StoredAnswer
from ftsdk.evaluation.bundle_files import (
    ANSWERS,
    answer_of,
    answers_in,
    cases_in,
    placed_lines,
)
from ftsdk.evaluation.cases import Case
from ftsdk.types.capture import Rights
from ftsdk.util.arguments import COUNT, PATH, Check, checked
from ftsdk.util.spilled import Spilled

__all__ = ["Captured"]

_WHO = Check("tuned or base", lambda v: v in ("tuned", "base"))


class CapturedAnswers:
    """The answers of a bundle by case. Memory holds where each is in the file."""

    def __init__(self, folder: Path, who: str, first_repeat: int = 0) -> None:
        self._path = folder / ANSWERS
        self._places: dict[bytes, tuple[int, ...]] = {}
        for offset, line in placed_lines(self._path):
            if line["who"] == who and int(line.get("repeat", 0)) >= first_repeat:
                case = bytes.fromhex(line["case"])
                self._places[case] = (*self._places.get(case, ()), offset)

    @property
    def repeats(self) -> int:
        """The most answers to one case."""
        return max(map(len, self._places.values()), default=0)

    def of(self, case: bytes) -> Iterator[StoredAnswer]:
        """Yield the answers to a case, named by its digest."""
        places = self._places.get(case, ())
        if places:
            with self._path.open("rb") as handle:
                for place in places:
                    handle.seek(place)
                    yield answer_of(orjson.loads(handle.readline()))[1]


class Captured:
    """The answers of a model in the sealed bundle `folder`, as `ftsdk capture` made it.

    In an evaluation, `who` says whose answers are compared: those of the `tuned` model, or of its `base`.
    `first_repeat=1` leaves out the first answer to each row, for instance where that one is the reference.
    `manifest` has what the capture recorded. Raises `StoreError` for a folder that is no whole
    bundle: each file that was changed is named.
    """

    @checked(folder=PATH, who=_WHO, first_repeat=COUNT)
    def __init__(
        self, folder: str | Path, *, who: Literal["tuned", "base"] = "tuned", first_repeat: int = 0
    ) -> None:
        self.folder = Path(folder)
        self.who: Literal["tuned", "base"] = who
        self.first_repeat = first_repeat
        self.manifest: Mapping[str, Any] = read_manifest(self.folder)
        if self.manifest.get("kind") != CAPTURE_KIND:
            raise StoreError(
                "The bundle is no capture",
                where=f"{self.folder}: {self.manifest.get('kind')}",
                hint="give a folder that `ftsdk capture` made",
            )
        wrong = verify(self.folder)
        if wrong:
            raise StoreError(
                f"The bundle is not whole: {'; '.join(wrong[:5])}",
                where=str(self.folder),
                hint="restore it from a copy",
            )
        self.rights = Rights.model_validate(self.manifest.get("rights") or {})

    def cases(self) -> dict[str, Case]:
        """Return the cases by their id."""
        return {case.id: case for case in cases_in(self.folder)}

    def answers(self, who: str = "tuned") -> Iterator[StoredAnswer]:
        """Yield the answers of the `tuned` model, or of its `base`."""
        for whose, stored in answers_in(self.folder):
            if whose == who:
                yield stored

    def by_case(self) -> CapturedAnswers:
        """Return the answers of `who`, from `first_repeat` on, to be read by their case."""
        return CapturedAnswers(self.folder, self.who, self.first_repeat)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the first answer to each case as a training row, in the chat format.

        Answers that were refused or cut off are left out. Raises `UsageError` where the rights do not
        allow to train on captured answers.
        """
        self.rights.require_training(self.folder)
        kept = Spilled(cases_in(self.folder))
        places = {case.id: place for place, case in enumerate(kept)}
        for stored in self.answers():
            place = places.get(stored.case)
            finished = stored.answer.finish_reason in (None, "stop", "tool_calls", "function_call")
            if place is None or stored.repeat or stored.answer.refusal or not finished:
                continue
            answer = {k: v for k, v in stored.answer.message.items() if v is not None}
            case = kept[place]
            yield {"messages": [*map(dict, case.messages), answer], **case.options}
