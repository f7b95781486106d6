"""The cards of one job: loss, cost, asked and sent, events, what you own, what needs a decision."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from ftsdk.errors import FtsdkError
from ftsdk.serve.page import words
from ftsdk.serve.page.curves import best_words, job_curve
from ftsdk.serve.page.html import Child, Html, el, join, svg
from ftsdk.serve.page.layout import View, card, confirmed, facts, form, table
from ftsdk.serve.page.marks import warning_mark
from ftsdk.serve.page.watch import Course
from ftsdk.session import Session
from ftsdk.spending.ledger import Line
from ftsdk.types.events import Event
from ftsdk.types.job import JobSnapshot
from ftsdk.types.plan import PlannedField
from ftsdk.types.spec import JobSpec

_MOST_EVENTS = 40


def loss_card(course: Course) -> Html:
    """Return the card of the curve."""
    drawn = job_curve(course)
    if drawn is None:
        text = "No metrics yet." if course.error is None else course.error.what
        return card("Loss", el("p", text, class_="soft"))
    legend = el(
        "span", el("span", svg(_key("learn", "")), "training"), el("span", svg(_key("second", "6 4")), "validation"),
        class_="legend",
    )  # fmt: skip
    best = best_words(course)
    rose = best.startswith("Validation rose")
    note = el("p", warning_mark() if rose else None, best, class_="note") if best else None
    return card("Loss", drawn, note, beside=legend)


def _key(colour: str, dash: str) -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        '<svg width="24" height="4" aria-hidden="true"><line x1="0" x2="24" y1="2" y2="2" '
        f'stroke="var(--{colour})" stroke-width="2"{dashed}/></svg>'
    )


# --- money ---


def cost_card(
    job: JobSnapshot, line: Line, per_hour: Decimal | None, hosted: Decimal | None
) -> Html:
    """Return the card of the cost: estimate, quote, bill and limit; hosting apart."""
    limit = words.limit_of(job)
    bill = line.actual if job.status.is_final else None
    estimate = None if line.low is None else f"{words.money(line.low)} – {words.money(line.high)}"
    hosting = None
    if per_hour is not None:
        hosting = f"{words.money(hosted)} so far, {words.money(per_hour)}/h"
    lines: list[tuple[Child, Child]] = [
        ("Billed" if bill is not None else "So far", el("b", words.money(bill if bill is not None else job.cost.usd))),
        ("Known as", job.cost.basis.value),
        ("Quoted before it was sent", None if line.quoted is None else words.money(line.quoted)),
        ("Estimated", estimate),
        ("Limit", None if limit is None else words.money(limit)),
        ("Hosting, apart", hosting),
        ("Source", job.cost.source or None),
    ]  # fmt: skip
    drawn = _cost_bar(line, bill, limit)
    return card("Cost", drawn, facts(lines), beside="training, once")


def _cost_bar(line: Line, bill: Decimal | None, limit: Decimal | None) -> Html | None:
    """Return the bill as a bar, the estimate as a dashed frame, the quote and the limit as ticks."""
    amounts = [one for one in (bill, line.low, line.high, line.quoted, limit) if one]
    if not amounts:
        return None
    full = max(amounts) * Decimal("1.05")

    def x(amount: Decimal) -> float:
        return float(amount / full) * 300

    parts = ['<rect x="0" y="14" width="300" height="8" fill="var(--sunk)"/>']
    if bill is not None:
        parts.append(f'<rect x="0" y="14" width="{x(bill):.1f}" height="8" fill="var(--soft)"/>')
    if line.low is not None and line.high is not None:
        width = max(2.0, x(line.high) - x(line.low))
        parts.append(
            f'<rect x="{x(line.low):.1f}" y="10" width="{width:.1f}" height="16" fill="none" '
            'stroke="var(--edge)" stroke-dasharray="3 2"/>'
        )
    for amount, colour in ((line.quoted, "ink"), (limit, "warn")):
        if amount is not None:
            parts.append(
                f'<rect x="{x(amount):.1f}" y="6" width="2" height="24" fill="var(--{colour})"/>'
            )
    said = (
        f"billed {words.money(bill)}, estimated {words.money(line.low)} to {words.money(line.high)}"
    )
    return svg(
        f'<svg width="300" height="36" viewBox="0 0 300 36" role="img"><title>{said}</title>{"".join(parts)}</svg>'
    )


# --- settings and events ---


def settings_card(session: Session, job: JobSnapshot) -> Html:
    """Return the card of what was asked and what was sent; changed fields are marked."""
    if not job.spec:
        return card("Asked → sent", el("p", "The job was created elsewhere: its settings are not known.", class_="soft"))  # fmt: skip
    try:
        spec = JobSpec.build(**job.spec)
        planned = list(session.backend_for(job).plan(spec).fields)
    except FtsdkError as error:
        note = el("p", f"What would be sent is not known now: {error.what}", class_="soft")
        asked = [
            (name, value) for name, value in sorted(_flat(job.spec)) if value not in (None, [], {})
        ]
        return card("Asked", note, table(("You asked", "value"), [(n, words.setting(v)) for n, v in asked], numbers=(1,), label="Settings"))  # fmt: skip
    rows: list[tuple[Child, ...]] = []
    changed: list[int] = []
    for field in [*_others(spec), *planned]:
        if _is_changed(field):
            changed.append(len(rows))
        sign = "≠ " if _is_changed(field) else "+ " if field.asked is None else ""
        name = el("span", sign, field.name, class_="warn" if sign == "≠ " else None)
        sent = words.UNKNOWN if field.sent is None else words.setting(field.sent)
        asked_value = words.UNKNOWN if field.asked is None else words.setting(field.asked)
        rows.append((name, asked_value, f"→ {field.sent_as or field.name}", sent))
    beside = f"{len(changed)} changed on the way" if changed else "nothing was changed on the way"
    at = f"{words.provider_name(job.provider)} got"
    shown = table(
        ("You asked", "value", at, "sent"),
        rows,
        numbers=(1, 3),
        label="Settings",
        changed=changed,
        look="settings",
    )
    return card("Asked → sent", shown, beside=beside)


def _is_changed(field: PlannedField) -> bool:
    return field.asked is not None and field.sent is not None and field.asked != field.sent


def _others(spec: JobSpec) -> Iterator[PlannedField]:
    if spec.adapter is not None:
        value = {"rank": spec.adapter.rank, "alpha": spec.adapter.alpha}
        yield PlannedField(name="adapter", asked=value, sent=value)
    yield PlannedField(name="seed", asked=spec.seed, sent=spec.seed)


def _flat(values: object, before: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(values, dict):
        for name, value in values.items():
            yield from _flat(value, f"{before}.{name}" if before else str(name))
    else:
        yield before, values


def events_card(course: Course) -> Html:
    """Return the card of the events, newest first; steps are left to the curve."""
    found = [one for one in course.events if one.kind not in ("metric", "progress")][::-1]
    rows = [(words.clock(one.time), _event(one)) for one in found[:_MOST_EVENTS]]
    if not rows:
        return card("Events", el("p", "No events yet.", class_="soft"))
    more = f"{len(found)}, newest first"
    shown = table(("Time", "Event"), rows, label="Events")
    return card("Events", shown, beside=more, class_="card events")


def _event(event: Event) -> Html:
    look = {"error": "bad", "warning": "warn"}.get(event.kind)
    return el("span", event.message or event.kind, class_=look)


# --- the result ---


def owned_card(job: JobSnapshot, course: Course) -> Html:
    """Return the card of what is yours: weights, passport, checkpoints, and how to carry them away."""
    handle = course.handle
    rows: list[tuple[Child, ...]] = []
    if handle is not None:
        here = handle.path is not None
        place = str(handle.path) if here else f"{handle.id} at {words.provider_name(job.provider)}"
        kind = handle.kind.replace("_", " ")
        rows.append((el("b", kind), el("code", place), words.size(handle.size_bytes)))
        passport = None if handle.path is None else Path(handle.path) / "ftsdk.json"
        if passport is not None and passport.is_file():
            rows.append((el("b", "passport"), el("code", str(passport)), words.size(passport.stat().st_size)))  # fmt: skip
    for one in course.checkpoints:
        place = str(one.path or one.model_id or f"at {words.provider_name(job.provider)}")
        loss = "" if one.validation_loss is None else f", validation {one.validation_loss:.3f}"
        rows.append((f"checkpoint, step {one.step:,}{loss}", el("code", place), words.UNKNOWN))
    if not rows:
        return card("What you own", el("p", "Nothing yet.", class_="soft"))
    shown = table(("Artefact", "Where", "Size"), rows, numbers=(2,), label="What you own")
    export = [
        _command(f"ftsdk export {job.id} {form_} out") for form_ in ("adapter", "gguf", "ollama")
    ]
    more = el("details", el("summary", "Carry it away", class_="link"), export, class_="more")
    ends = "" if handle is None or handle.retires_on is None else f"at {job.provider} until {words.date_words(handle.retires_on)}"  # fmt: skip
    return card("What you own", shown, more if handle is not None else None, beside=ends)


def _command(text: str) -> Html:
    copy = el("button", "Copy", type="button", class_="link", data_copy=text)
    return el("div", el("code", "$ ", text), copy, class_="command")


def decide_card(view: View, job: JobSnapshot) -> Html:
    """Return the card of a job in doubt: look again, adopt it, send it again, or give it up."""
    at = words.provider_name(job.provider)
    base = f"/jobs/{job.id}/resolve"

    def how(value: str) -> Html:
        return el("input", type="hidden", name="how", value=value)

    adopt = form(
        view, base, how("adopt"),
        el("label", el("span", f"Its id at {at}"), el("input", name="adopt", required=True)), " ",
        el("button", "Adopt it"),
    )  # fmt: skip
    again = confirmed(view, "Send it again", "It may then exist twice, and cost twice.", base, "Send again", how("again"), kind="danger")  # fmt: skip
    give_up = confirmed(view, "Give it up", f"If it exists at {at}, it may run and cost money there.", base, "Give it up", how("give-up"))  # fmt: skip
    look = form(view, base, how("look"), el("button", "Look again", class_="main"))
    what = f"The create call got no answer, and {at} shows no such job. Look at its site before you decide."
    return card("Needs a decision", el("p", what), el("div", look, again, give_up, class_="acts left"), adopt, id="decide")  # fmt: skip


def error_card(job: JobSnapshot) -> Html | None:
    """Return why a job failed, with its hint; None for another."""
    if not job.error:
        return None
    message = job.message or str(job.error.get("message") or job.error.get("what") or "")
    hint = job.error.get("hint")
    rows = [("hint", str(hint))] if hint else []
    return card(join([warning_mark(), " Why"]), el("p", message), facts(rows)) if message else None
