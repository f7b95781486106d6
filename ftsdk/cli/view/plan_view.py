"""A plan as text: a summary, and a table of every field as asked and as sent."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ftsdk.cli.view.formatting import clean, cost_text, count, duration, number, redact, size
from ftsdk.cli.view.output import columns, console, labelled, say
from ftsdk.types.plan import plain
from ftsdk.util.names import plural

if TYPE_CHECKING:
    from ftsdk.types.cost import Cost
    from ftsdk.types.plan import BudgetLine, DataNotice, Plan, PlannedField
    from ftsdk.types.spec import LoRA

_NOTICES_SHOWN = 8
_WIDE = 120
"""Columns of a terminal from which on names of a provider and notes have a column each."""
_BAR = 40
"""Columns of the bar for the whole memory."""
_SHORT = {"learning_rate": "lr", "batch_size": "batch"}


def adapter_text(adapter: LoRA | None) -> str:
    """Return `LoRA r16 α32`, `QLoRA nf4 r16 α32` or `full fine-tuning`."""
    if adapter is None:
        return "full fine-tuning"
    kind = "LoRA" if adapter.quantize is None else f"QLoRA {adapter.quantize}"
    return f"{kind} r{adapter.rank} α{number(adapter.alpha)}"


def planned_adapter(plan: Plan, adapter: LoRA | None) -> str:
    """Return the adapter as it is sent: its rank is not ours to say where the service sets it."""
    is_theirs = isinstance(plan.sent().get("adapter"), str)
    return "adapter set by the service" if is_theirs else adapter_text(adapter)


def training_texts(sent: dict[str, Any]) -> list[str]:
    """Return the most important settings: steps or epochs, batch size, learning rate."""
    words = []
    if sent.get("max_steps") is not None:
        words.append(plural(sent["max_steps"], "step"))
    elif isinstance(sent.get("epochs"), str):
        words.append(f"epochs {clean(sent['epochs'])}")
    elif sent.get("epochs") is not None:
        words.append(f"{number(sent['epochs'])} epoch{'' if sent['epochs'] == 1 else 's'}")
    for name, short in (("batch_size", "batch"), ("learning_rate", "lr")):
        if sent.get(name) is not None:
            words.append(f"{short} {number(sent[name])}")
    factor = sent.get("learning_rate_multiplier")
    if factor is not None:
        words.append(f"lr {clean(factor)}" if isinstance(factor, str) else f"lr × {number(factor)}")
    return words


def show_plan(plan: Plan, adapter: LoRA | None) -> None:
    """Print the plan's summary: settings, cost, changed fields, budget, notes and warnings."""
    first = [
        clean(plan.provider), clean(plan.model), plan.method.upper(), planned_adapter(plan, adapter),
        *training_texts(plan.sent()),
    ]  # fmt: skip
    labelled([("Plan", " · ".join(first)), *_details(plan)], indent=0, label=5)


def _details(plan: Plan) -> Iterable[tuple[str, Any]]:
    yield "", _amount(plan)
    changes = [_change(f) for f in plan.fields if f.asked is not None and _is_changed(f)]
    if changes:
        yield "", [("asked → sent  ", "dim"), " · ".join(changes)]
    if plan.cost.basis == "quoted":
        yield from (("", (clean(line), "dim")) for line in plan.cost.assumptions)
    for limit in plan.budget:
        yield "", (_budget(limit), "" if limit.fits else "red")
    for line in plan.notes:
        yield "", (clean(line), "dim")
    for line in plan.warnings:
        yield "", [("! ", "yellow"), clean(line)]
    for number_of, notice in enumerate(plan.data):
        if number_of == _NOTICES_SHOWN:
            yield "", (f"{len(plan.data) - number_of} more notices: ftsdk validate", "dim")
            return
        yield "", [("! ", "yellow"), *_notice(notice)]


def _notice(notice: DataNotice) -> list[Any]:
    rows = f" · {plural(notice.rows, 'row')}" if notice.line else ""
    line = f", line {notice.line}" if notice.line else ""
    return [
        f"{notice.code}{rows}{line}  {clean(notice.message, 90)}",
        (f"  {clean(notice.hint, 90)}", "dim"),
    ]


def _amount(plan: Plan) -> str:
    parts = []
    if plan.tokens is not None:
        about = "" if plan.tokens_basis == "exact" else "about "
        parts.append(f"{about}{count(plan.tokens)} tokens{_times(plan)}")
    elif plan.rows is not None:
        parts.append(plural(plan.rows, "row") + _times(plan))
    line = " · ".join(parts)
    if plan.duration_s is not None:
        low, high = (duration(one) for one in plan.duration_s)
        line += f" ≈ {low}" if low == high else f" ≈ {low} – {high}"
    tail = [line] if line else []
    if plan.memory_bytes is not None:
        room = plan.memory_room_bytes
        of = "" if room is None else f" of {size(room)}"
        if plan.memory_free_bytes is not None:
            of += f" ({size(plan.memory_free_bytes)} free now)"
        tail.append(f"peak about {size(plan.memory_bytes)}{of}")
    return " · ".join([*tail, cost_line(plan.cost)])


def _times(plan: Plan) -> str:
    """Return ` × 3` for three epochs; steps are converted, since they take precedence."""
    sent = plan.sent()
    if sent.get("max_steps") is None:
        epochs = sent.get("epochs")  # may be "auto"
        return "" if isinstance(epochs, str) or not epochs else f" × {number(epochs)}"
    planned = plan.planned_epochs()
    return "" if planned is None else f" × {planned:.2g}"


def cost_line(cost: Cost) -> str:
    """Return the cost with its basis: `$4.00 quoted`, `$0.47 – 0.63 estimated`, `$0.00`."""
    words = cost_text(cost)
    if words == "cost unknown" or cost.high == 0:
        return words
    return f"{words} {cost.basis}"


def _budget(line: BudgetLine) -> str:
    """Return `month: $12.00 spent + $4.00 reserved of $200.00 · $184.00 left · fits`."""
    scope, fits = clean(line.scope, 60), "fits" if line.fits else "DOES NOT FIT"
    if line.scope == "job":
        return f"limit of ${line.limit:.2f} for this job · {fits}"
    doubt = f" · {line.unknown} of unknown cost" if line.unknown else ""
    return (
        f"{scope}: ${line.spent:.2f} spent + ${line.reserved:.2f} reserved of ${line.limit:.2f}"
        f" · ${line.left:.2f} left{doubt} · {fits}"
    )


def _is_changed(field: PlannedField) -> bool:
    return (
        field.sent != field.asked or (field.sent_as or field.name) != field.name or bool(field.note)
    )


def _change(field: PlannedField) -> str:
    alias = "" if (field.sent_as or field.name) == field.name else f" as {field.sent_as}"
    note = f" ({clean(field.note)})" if field.note else ""
    return f"{field.name} {_shown(field.asked)} → {_shown(field.sent)}{alias}{note}"


def _shown(value: Any, limit: int = 60) -> str:
    value = redact(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return number(value) if is_number else clean(plain(value), limit)


def _show_memory(plan: Plan) -> None:
    """Print a bar for each item of the memory, against the room for all of them."""
    room = plan.memory_room_bytes
    if not plan.memory or not room:
        return
    say()
    rows = [
        [name, size(count), "█" * round(_BAR * count / room) or "▏"]
        for name, count in plan.memory.items()
    ]
    left = room - sum(plan.memory.values())
    rows.append(["left", size(left), "░" * round(_BAR * left / room)])
    columns(rows, head=("memory", "peak", f"of {size(room)}"), right=(1,))


def show_plan_table(plan: Plan, adapter: LoRA | None) -> None:
    """Print the plan's summary, then all its fields as a table."""
    show_plan(plan, adapter)
    _show_memory(plan)
    if not plan.fields:
        return
    say()
    room = console().width if sys.stdout.isatty() else 200
    limit = max(16, min(60, (room - 50) // 2))
    renamed = any((field.sent_as or field.name) != field.name for field in plan.fields)
    narrow = room < _WIDE
    rows: list[list[Any]] = []
    for field in plan.fields:
        asked = "–" if field.asked is None else _shown(field.asked, limit)
        alias = "" if (field.sent_as or field.name) == field.name else clean(field.sent_as)
        note = clean(field.note)
        if narrow:  # one column for both
            alias, note = "", " · ".join(filter(None, (alias, note)))
        rows.append([field.name, asked, _shown(field.sent, limit), alias, (note, "dim")])
    as_head = "as" if renamed else ""
    head = ("field", "asked", "sent", "" if narrow else as_head, as_head if narrow else "")
    columns(rows, head=head, fold=True)
