"""Parts of a job's page that are fetched after it: where the model can go, and the rows as it was shown them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from ftsdk.client import Client
from ftsdk.dataset.inspection.report import InspectionReport
from ftsdk.dataset.inspection.rows import InspectedRow
from ftsdk.errors import FtsdkError, StoreError
from ftsdk.serve.page.html import Child, Html, el
from ftsdk.serve.page.layout import table
from ftsdk.types.job import JobSnapshot
from ftsdk.types.portability import Portability
from ftsdk.types.status import JobStatus
from ftsdk.util.durations import percent

_SHOWN = 20
_MOST_REPORTS = 8


class Extras:
    """Reads what takes a moment, one part at a time; keeps the last few inspections."""

    def __init__(self, client: Client) -> None:
        self._client, self._lock = client, threading.Lock()
        self._reports: OrderedDict[str, InspectionReport] = OrderedDict()

    def portability(self, job: JobSnapshot) -> Html:
        """Return where the model of a job can be used, target by target."""
        if job.status is not JobStatus.SUCCEEDED:
            return el("p", "Known when the model is there.", class_="soft")
        try:
            with self._lock:
                found = self._client.get_job(job.id).check_portability()
        except FtsdkError as error:
            return el("p", f"{error.what}.", class_="soft")
        return verdicts(found)

    def rows(self, job: JobSnapshot, at: int) -> Html:
        """Return the figures of a job's rows, and row number `at` as the model was shown it."""
        try:
            report = self._report(job)
        except FtsdkError as error:
            return el("p", f"{error.what}. {error.hint}", class_="soft")
        shown = report.shown or report.refused_rows
        if not shown:
            text = "Tokens are not shown: the tokenizer of this model is not on this machine."
            return el("div", _tiles(job, report), el("p", text, class_="soft"))
        row = shown[at % len(shown)]
        base = f"/jobs/{job.id}/rows?at="
        others = el(
            "span",
            el("a", "← row before", href=f"{base}{(at - 1) % len(shown)}", data_into="row-box"),
            " · ",
            el("a", "next row →", href=f"{base}{(at + 1) % len(shown)}", data_into="row-box"),
        )
        legend = el("span", el("mark", "learned"), " context", class_="soft small")
        head = el("div", el("b", f"{row.title().capitalize()} as the model saw it"), legend, others, class_="card-head")  # fmt: skip
        notes = [el("p", note, class_="warn") for note in row.notes]
        return el(
            "div", _tiles(job, report), head, _text(row), notes, id="row-box", class_="row-box"
        )

    def _report(self, job: JobSnapshot) -> InspectionReport:
        with self._lock:
            known = self._reports.get(job.id)
            if known is not None:
                return known
            path = self._client.home / "datasets" / str(job.dataset.get("kept", ""))
            if not path.is_file():
                raise StoreError(
                    "The job's rows are no longer kept on this machine",
                    where=str(path),
                    hint="put the file back to see them",
                )
            report = self._client.inspect(path, provider=job.provider, model=job.model, rows=_SHOWN)
            self._reports[job.id] = report
            while len(self._reports) > _MOST_REPORTS:
                self._reports.popitem(last=False)
            return report


def verdicts(found: Sequence[Portability]) -> Html:
    """Return a table of the targets and forms, and each remark once, with the targets it is for."""
    targets = list(dict.fromkeys(one.target for one in found))
    forms = sorted({one.form for one in found})
    known = {(one.target, one.form): one for one in found}
    lines = [[name, *(_sign(known.get((name, form))) for form in forms)] for name in targets]
    remarks: dict[str, list[str]] = {}
    for one in found:
        said = [f"{problem.what}; {problem.fix}" for problem in one.problems] or one.notes
        for text in said:
            names = remarks.setdefault(text, [])
            if one.target not in names:
                names.append(one.target)
    items = [el("li", el("b", ", ".join(names)), f": {text}") for text, names in remarks.items()]
    return el(
        "div",
        table(["For", *forms], lines, label="Where the model can be used"),
        el("ul", items, class_="plain remarks soft small") if items else None,
    )


def _sign(one: Portability | None) -> Child:
    if one is None:
        return el("span", "–", class_="soft")
    return el("span", "✓ yes" if one.ok else "✗ no", class_="learn" if one.ok else "bad")


def _tiles(job: JobSnapshot, report: InspectionReport) -> Html:
    kept = job.dataset.get("validation_rows")
    rows = f"{job.dataset.get('rows') or 0:,}"
    tiles = [el("div", el("b", rows), f"rows, {kept:,} kept apart" if kept else "rows")]
    total, learned = sum(report.lengths), sum(report.learned)
    if report.visible and total:
        tiles.append(el("div", el("b", f"{total:,}"), "tokens, exact, per epoch"))
        share = percent(learned / total)
        tiles.append(el("div", el("b", f"{learned:,}", class_="learn"), f"learned, {share} of all"))
    return el("div", tiles, class_="tiles")


def _text(row: InspectedRow) -> Html:
    """Return the row's text, what is learned marked, special tokens faint."""
    parts: list[Child] = []
    for piece in row.pieces:
        text = el("span", piece.text, class_="special") if piece.special else piece.text
        parts.append(el("mark", text) if piece.trained else text)
    return el("pre", parts, class_="row-text", tabindex=0, aria_label="The row's text")
