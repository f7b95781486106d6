"""A capture that is read: its cases and answers, and its answers as training rows if that is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ftsdk.artifacts.bundle import CAPTURE_KIND, read_manifest, verify
from ftsdk.errors import StoreError
from ftsdk.evaluation.answers import StoredAnswer
from ftsdk.evaluation.bundle_files import answers_in, cases_in
from ftsdk.evaluation.cases import Case
from ftsdk.types.capture import Rights
from ftsdk.util.arguments import COUNT, PATH, Check, checked

__all__ = ["Captured"]

_WHO = Check("tuned or base", lambda v: v in ("tuned", "base"))


class Captured:
    """The answers of a model in the sealed bundle `folder`, as `ftsdk capture` made it.

    In an evaluation, `who` says whose answers are compared: those of the `tuned` model, or of its `base`.
    `first_repeat` leaves out earlier answers, such as the first where that is the reference answer.
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
        return cases_in(self.folder)

    def answers(self, who: str = "tuned") -> Iterator[StoredAnswer]:
        """Yield the answers of the `tuned` model, or of its `base`."""
        for whose, stored in answers_in(self.folder):
            if whose == who:
                yield stored

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the first answer to each case as a training row, in the chat format.

        Answers that were refused or cut off are left out. Raises `UsageError` where the rights do not
        allow to train on captured answers.
        """
        self.rights.require_training(self.folder)
        cases = self.cases()
        for stored in self.answers():
            case = cases.get(stored.case)
            finished = stored.answer.finish_reason in (None, "stop", "tool_calls", "function_call")
            if case is None or stored.repeat or stored.answer.refusal or not finished:
                continue
            answer = {k: v for k, v in stored.answer.message.items() if v is not None}
            yield {"messages": [*map(dict, case.messages), answer], **case.options}
