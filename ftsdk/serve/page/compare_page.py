"""Jobs side by side: their losses where these may be compared, the settings that differ, what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlencode

from ftsdk.errors import FtsdkError
from ftsdk.jobs.html import losses_of
from ftsdk.serve.page import words
from ftsdk.serve.page.curves import curve
from ftsdk.serve.page.html import Child, Html, el, svg
from ftsdk.serve.page.layout import View, card, document, heading
from ftsdk.serve.page.marks import status_mark, warning_mark
from ftsdk.serve.page.watch import Course
from ftsdk.session import Session
from ftsdk.types.job import JobSnapshot
from ftsdk.types.spec import JobSpec
from ftsdk.util.chart import Point, Series, finite
from ftsdk.util.names import plural

MOST = 6
_LOOKS = (
    ("var(--learn)", ""), ("var(--second)", "6 4"), ("var(--third)", "2 3"),
    ("var(--fourth)", "9 3 2 3"), ("var(--soft)", "12 4"), ("var(--ink)", "1 4"),
)  # fmt: skip
Compared = Sequence[tuple[JobSnapshot, Course]]


def tokenizer_of(session: Session, job: JobSnapshot) -> str:
    """Return what two jobs must have in common for their losses to be compared.

    The hash of the tokenizer where it is on this machine, else the model's name: two models of one family
    are then not compared, since that cannot be known here.
    """
    try:
        backend = session.backend_for(job)
        folder = backend.tokenizer_for(JobSpec.build(**job.spec)) if job.spec else None
    except FtsdkError:
        folder = None
    path = None if folder is None else Path(folder) / "tokenizer.json"
    if path is not None and path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{job.provider}:{job.model}"


def compare_page(
    view: View, session: Session, compared: Compared, recent: Sequence[JobSnapshot], loss: str
) -> Html:
    """Return the page; `loss` is `validation` or `train`, `recent` are jobs that can be added."""
    jobs = [job for job, _ in compared]
    ids = [job.id for job in jobs]
    looks = _looks(jobs)
    chips = [_chip(job, looks[job.id], [one for one in ids if one != job.id], loss) for job in jobs]
    top = heading(f"Compare {plural(len(jobs), 'job')}" if jobs else "Compare jobs")
    picker = _picker(recent, ids, loss)
    if not jobs:
        return document(view, "Compare", top, card("Pick up to six jobs", picker))
    return document(
        view,
        "Compare",
        top,
        el("div", chips, class_="chips"),
        _losses(session, compared, looks, loss, ids),
        card("What differs", _differences(jobs), beside=_how_many(jobs), class_="card wide-table"),
        card("What came of it", _results(compared), class_="card wide-table"),
        card("Another job", picker) if len(jobs) < MOST else None,
    )


def _looks(jobs: Sequence[JobSnapshot]) -> dict[str, tuple[str, str]]:
    """Return each job's colour and dash: they belong to the job, not to its place in the list."""
    found: dict[str, tuple[str, str]] = {}
    for job in sorted(jobs, key=lambda job: job.created_at):
        start = int(hashlib.sha256(job.id.encode()).hexdigest(), 16)
        free = [_LOOKS[(start + k) % MOST] for k in range(MOST)]
        found[job.id] = next(look for look in free if look not in found.values())
    return found


def _address(ids: Sequence[str], loss: str) -> str:
    query = [("job", one) for one in ids] + ([("loss", loss)] if loss != "validation" else [])
    return f"/compare?{urlencode(query)}"


def _key(look: tuple[str, str]) -> Html:
    colour, dash = look
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return svg(
        '<svg width="24" height="4" aria-hidden="true"><line x1="0" x2="24" y1="2" y2="2" '
        f'stroke="{colour}" stroke-width="2"{dashed}/></svg>'
    )


def _chip(job: JobSnapshot, look: tuple[str, str], others: Sequence[str], loss: str) -> Html:
    name = el("a", words.title_of(job), href=f"/jobs/{job.id}", class_="name")
    remove = el("a", "×", href=_address(others, loss), aria_label=f"Remove {words.title_of(job)}")
    return el("span", _key(look), name, el("span", words.kind_of(job), class_="soft"), remove, class_="picked-job")  # fmt: skip


def _picker(recent: Sequence[JobSnapshot], ids: Sequence[str], loss: str) -> Html:
    given = [el("input", type="hidden", name="job", value=one) for one in ids]
    if loss != "validation":
        given.append(el("input", type="hidden", name="loss", value=loss))
    options = [
        el("option", f"{words.title_of(job)} · {words.where_of(job)} · {job.id[-6:]}", value=job.id)
        for job in recent
        if job.id not in ids
    ]
    if not options:
        return el("p", "There is no other job.", class_="soft")
    choice = el("select", options, name="job", aria_label="A job to compare")
    return el("form", given, choice, " ", el("button", "Add it"), method="get", action="/compare", class_="search")  # fmt: skip


# --- losses ---


def _points(course: Course, loss: str) -> list[Point]:
    train, validation = losses_of(course.points)
    return finite(validation if loss == "validation" else train)


def _losses(
    session: Session,
    compared: Compared,
    looks: dict[str, tuple[str, str]],
    loss: str,
    ids: Sequence[str],
) -> Html:
    drawn: list[Series] = []
    left_out: list[Html] = []
    first: tuple[str, object] | None = None
    for job, course in compared:
        points = _points(course, loss)
        if not points:
            left_out.append(_left_out(job, f"it has no {loss} loss"))
            continue
        rows = job.dataset.get("validation_kept") if loss == "validation" else None
        mine = (tokenizer_of(session, job), rows)
        first = first or mine
        if mine[0] != first[0]:
            left_out.append(
                _left_out(job, "its tokenizer differs, so its loss means something else")
            )
        elif mine[1] != first[1]:
            left_out.append(
                _left_out(job, "its validation rows differ, so its loss means something else")
            )
        else:
            colour, dash = looks[job.id]
            drawn.append(Series(words.title_of(job)[:24], colour, dash, points))
    title = ", ".join(
        f"{one.name} {one.points[0][1]:.3f} → {one.points[-1][1]:.3f}" for one in drawn
    )
    shown = curve(drawn, title=f"{loss} loss: {title}") or el("p", "There is nothing to draw.", class_="soft")  # fmt: skip
    other = "train" if loss == "validation" else "validation"
    turn = el("a", f"Show {other} loss", href=_address(ids, other))
    name = "Validation loss" if loss == "validation" else "Training loss"
    same = "same tokenizer" + (", same validation rows" if loss == "validation" else "")
    beside = el("span", f"{same}: these may be compared · " if len(drawn) > 1 else "", turn)
    return card(name, shown, left_out, beside=beside)


def _left_out(job: JobSnapshot, why: str) -> Html:
    return el("p", warning_mark(), el("span", el("b", words.title_of(job)), f" is not drawn: {why}."), class_="note")  # fmt: skip


# --- settings and results ---


def _settings(job: JobSnapshot) -> dict[str, str]:
    """Return every setting of a job by its name, as text."""
    found = {"provider": job.provider, "model": job.model, "method": job.method}
    found["rows"] = str(job.dataset.get("sha256") or words.UNKNOWN)[:12]
    spec = dict(job.spec)
    for name in ("provider", "model", "method", "name", "tags", "max_cost"):
        spec.pop(name, None)
    for name, value in _flat(spec):
        found[name] = words.UNKNOWN if value in (None, [], {}, ()) else words.setting(value)
    return found


def _flat(values: dict[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        full = f"{before}.{name}" if before and before != "hyperparameters" else name
        if isinstance(value, dict) and value:
            yield from _flat(value, full)
        else:
            yield full, value


def _differing(jobs: Sequence[JobSnapshot]) -> tuple[list[tuple[str, list[str]]], int]:
    """Return the settings that are not the same for all jobs, and how many settings there are."""
    each = [_settings(job) for job in jobs]
    names = list(dict.fromkeys(name for one in each for name in one))
    rows = [(name, [one.get(name, words.UNKNOWN) for one in each]) for name in names]
    known = [row for row in rows if set(row[1]) != {words.UNKNOWN}]
    return [row for row in known if len(set(row[1])) > 1], len(known)


def _how_many(jobs: Sequence[JobSnapshot]) -> str:
    differing, all_ = _differing(jobs)
    return f"{len(differing)} of {plural(all_, 'setting')}"


def _differences(jobs: Sequence[JobSnapshot]) -> Html:
    differing, _ = _differing(jobs)
    if not differing:
        return el("p", "All settings are the same.", class_="soft")
    return _table("Settings that differ", [words.title_of(job) for job in jobs], differing)


def _results(compared: Compared) -> Html:
    lines: list[tuple[str, list[Child]]] = [("Status", [status_mark(job) for job, _ in compared])]
    best, last, sizes = [], [], []
    for _, course in compared:
        validation, train = _points(course, "validation"), _points(course, "train")
        lowest = min(validation, key=lambda point: point[1], default=None)
        best.append(
            words.UNKNOWN if lowest is None else f"{lowest[1]:.3f} at step {lowest[0]:,.0f}"
        )
        last.append(f"{train[-1][1]:.3f}" if train else words.UNKNOWN)
        sizes.append(words.size(None if course.handle is None else course.handle.size_bytes))
    lines += [
        ("Lowest validation loss", list(best)),
        ("Last training loss", list(last)),
        ("Time", [words.took(job) or words.UNKNOWN for job, _ in compared]),
        ("Cost", [words.cost_words(job.cost) for job, _ in compared]),
        ("Weights", list(sizes)),
    ]
    names = [words.title_of(job) for job, _ in compared]
    return _table("What came of it", names, lines, marked=False)


def _table(
    label: str,
    names: Sequence[str],
    lines: Sequence[tuple[str, Sequence[Child]]],
    *,
    marked: bool = True,
) -> Html:
    """Return a table with a column for each job; `marked` tints a value unlike the first one's."""
    head = [el("th", el("span", "Setting", class_="hidden"), scope="col"), *(el("th", name, scope="col", class_="n") for name in names)]  # fmt: skip
    rows = []
    for name, values in lines:
        cells = [
            el("td", value, class_="n differs" if marked and value != values[0] else "n")
            for value in values
        ]  # fmt: skip
        rows.append(el("tr", el("th", name, scope="row"), cells))
    inside = el("table", el("thead", el("tr", head)), el("tbody", rows), aria_label=label)
    return el("div", inside, class_="scroll", tabindex=0, role="region", aria_label=label)
