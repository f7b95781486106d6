"""The pages of a new job: the form, then the plan and the budget before the button that creates it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ftsdk.backends.local.models.known_models import KNOWN_MODELS
from ftsdk.backends.registry import backend_names
from ftsdk.errors import FtsdkError
from ftsdk.serve.page import words
from ftsdk.serve.page.create_form import Asked
from ftsdk.serve.page.html import Child, Html, el
from ftsdk.serve.page.layout import (
    View,
    button,
    card,
    document,
    facts,
    failure,
    form,
    heading,
    table,
)
from ftsdk.serve.page.marks import warning_mark
from ftsdk.session import Session
from ftsdk.types.plan import Plan
from ftsdk.types.spec import METHODS
from ftsdk.util.durations import duration

Files = list[tuple[str, str]]
"""The rows that can be chosen: a value, and what it is called."""
_ADAPTERS = (("lora", "LoRA"), ("nf4", "QLoRA"), ("full", "full"), ("default", "as configured"))


def form_page(
    view: View, session: Session, asked: Asked, files: Files, error: FtsdkError | None = None
) -> Html:
    """Return the form, with the error of the last try above it."""
    fields = [
        _select("provider", "Provider", _providers(session), asked.provider),
        _field("model", "Base model", asked.model, required=True, list="models"),
        _select("rows", "Rows: uploaded before", [("", "none"), *files], asked.rows),
        _field("upload", "Rows: upload a file", "", type="file", accept=".jsonl,.json,.csv,.parquet,.gz,.zst"),
        _select("method", "Method", [(one, one) for one in METHODS], asked.method),
        _select("adapter", "Adapter", _ADAPTERS, asked.adapter),
        _field("rank", "Rank", asked.rank, placeholder="16", inputmode="numeric"),
        _field("validation", "Validation: a share, or a file's id", asked.validation, placeholder="none"),
        _field("name", "Name", asked.name, placeholder="none"),
        _field("max_cost", "Limit, in US dollars", asked.max_cost, placeholder="none"),
    ]  # fmt: skip
    values = asked.values()
    numbers = [
        _field(name, name.replace("_", " "), values[name], placeholder="the provider's default", inputmode="decimal")
        for name in ("epochs", "learning_rate", "learning_rate_multiplier", "batch_size", "max_length", "seed")
    ]  # fmt: skip
    allow = el(
        "label",
        el("input", type="checkbox", name="allow_findings", value="yes", checked=bool(asked.allow_findings)),
        " These rows may be sent although secrets or personal data were found in them.",
        class_="field",
    )  # fmt: skip
    body = form(
        view,
        "/new/plan",
        card("What to train", el("div", fields, class_="fields")),
        card("Settings", el("div", numbers, class_="fields"), el("p"), allow, beside="an empty field is the default"),
        el("div", button("Show the plan", "main"), el("span", "Nothing is sent yet.", class_="soft"), class_="acts left"),
        _models(session),
        enctype="multipart/form-data",
    )  # fmt: skip
    shown = None if error is None else failure(error)
    return document(view, "New job", heading("New job"), shown, body)


def plan_page(view: View, asked: Asked, plan: Plan, key: str) -> Html:
    """Return the plan and the budget, and the button that creates the job: once for this key."""
    values: dict[str, str] = {**asked.values(), "key": key}
    hidden = [
        el("input", type="hidden", name=name, value=value)
        for name, value in values.items()
        if value
    ]
    limit = f"{words.money(plan.cost.usd)}" if plan.cost.usd is not None else "an unknown amount"
    fits = all(line.fits for line in plan.budget)
    free = plan.cost.usd == 0
    text = "Create the job" if free else f"Create the job, and spend up to {limit}"
    create = form(view, "/new", hidden, button(text, "main"))
    back = form(view, "/new/edit", hidden, button("Change it"))
    warnings = [el("p", warning_mark(), " ", text, class_="warn note") for text in plan.warnings]
    warnings += [
        el("p", warning_mark(), f" {one.code}, {one.rows:,} rows: {one.message}. {one.hint}", class_="warn note")
        for one in plan.data
    ]  # fmt: skip
    acts = el(
        "div", create, back, el("span", "Nothing was sent yet.", class_="soft"), class_="acts left"
    )
    over = None if fits else el("p", "It may go beyond a limit: it is refused.", class_="bad")
    return document(
        view,
        "Plan",
        heading("Plan", el("span", f"{plan.provider} · {plan.model} · {plan.method}")),
        card("Before you create it", warnings, over, acts) if warnings or over else acts,
        el("div", _sent(plan), el("div", _money(plan), _figures(asked, plan)), class_="cards"),
    )


def _sent(plan: Plan) -> Html:
    rows = [
        (
            one.name,
            words.UNKNOWN if one.asked is None else words.setting(one.asked),
            f"→ {one.sent_as or one.name}",
            "not sent" if one.sent is None else words.setting(one.sent),
            one.note,
        )
        for one in plan.fields
    ]
    changed = [
        k for k, one in enumerate(plan.fields) if one.asked is not None and one.asked != one.sent
    ]
    notes = [el("p", note, class_="soft") for note in plan.notes]
    columns = ("You ask", "value", f"{words.provider_name(plan.provider)} gets", "sent", "note")
    return card("Asked → sent", table(columns, rows, numbers=(1, 3), label="Settings", changed=changed, look="settings"), notes)  # fmt: skip


def _money(plan: Plan) -> Html:
    lines: list[tuple[Child, Child]] = [
        ("Training", el("b", words.cost_words(plan.cost))),
        ("Known as", plan.cost.basis.value),
        ("Source", plan.cost.source or None),
    ]
    for one in plan.budget:
        left = f"{words.money(one.left)} left of {words.money(one.limit)}"
        lines.append(
            (f"Limit of the {one.scope}", el("span", left, class_=None if one.fits else "bad"))
        )
    if not plan.budget:
        lines.append(("Limits", "none apply"))
    assumed = [el("p", text, class_="soft small") for text in plan.cost.assumptions]
    return card("Cost", facts(lines), assumed)


def _figures(asked: Asked, plan: Plan) -> Html:
    took = None
    if plan.duration_s is not None:
        low, high = plan.duration_s
        took = f"≈ {duration(low)}" + (f" – {duration(high)}" if high > low else "")
    tokens = None if plan.tokens is None else f"{plan.tokens:,} {plan.tokens_basis}"
    return card("Figures", facts([
        ("Adapter", _adapter(asked)),
        ("Rows", None if plan.rows is None else f"{plan.rows:,}"),
        ("Tokens", tokens),
        ("Time", took),
        ("Memory at its peak", None if plan.memory_bytes is None else words.size(plan.memory_bytes)),
    ]))  # fmt: skip


def _adapter(asked: Asked) -> str:
    name = dict(_ADAPTERS).get(asked.adapter, asked.adapter)
    return f"{name}, rank {asked.rank}" if asked.rank and asked.adapter != "full" else name


# --- fields ---


def _field(name: str, label: str, value: str, **attributes: Any) -> Html:
    own = {"type": "text", "autocomplete": "off", **attributes}
    return el("label", el("span", label), el("input", name=name, value=value or None, **own))


def _select(name: str, label: str, options: Iterable[tuple[str, str]], chosen: str) -> Html:
    inside = [el("option", text, value=value, selected=value == chosen) for value, text in options]
    return el("label", el("span", label), el("select", inside, name=name))


def _providers(session: Session) -> list[tuple[str, str]]:
    """Return the providers: the configured one first; those without a key say so."""
    configured = session.config.setting("provider")
    first = "" if configured is None else str(configured.value)
    names = sorted(backend_names(), key=lambda name: (name != first, name))
    return [(name, f"{name}{_missing(session, name)}") for name in names]


def _missing(session: Session, name: str) -> str:
    able = session.capabilities_of(name)
    if able is None:
        return ", not installed"
    if able.is_rehearsal:
        return ", a rehearsal"
    try:
        has_key = not able.key_variables or bool(session.backends_with_keys(name))
    except FtsdkError:
        return ", not set up"
    return "" if has_key else ", no key here"


def _models(session: Session) -> Html:
    known = {model.name: "local" for model in KNOWN_MODELS}
    for provider, entry in session.catalogue.providers.items():
        known |= dict.fromkeys(entry.models, provider)
    options = [el("option", at, value=name) for name, at in sorted(known.items())]
    return el("datalist", options, id="models")
