"""`backends`: what each provider can do, read from its capabilities without key or network."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from ftsdk.backends.capabilities import Capabilities, Range
from ftsdk.backends.registry import backend_names, install_hint, load_backend
from ftsdk.cli import completion
from ftsdk.cli.options import Json
from ftsdk.cli.view.formatting import clean, count, duration, number, size
from ftsdk.cli.view.output import columns, command, emit, is_narrow, labelled, say
from ftsdk.errors import FtsdkError

_WIDE = 190
"""Columns of a terminal that the whole table needs."""
_FLAGS = (
    ("can_cancel", "cancel"),
    ("can_pause", "pause"),
    ("can_resume", "resume"),
    ("has_events", "events"),
    ("has_metrics", "metrics"),
    ("has_checkpoints", "checkpoints"),
    ("has_logs", "logs"),
    ("can_chat", "chat"),
    ("json_mode", "JSON answers"),
    ("can_batch", "batches"),
    ("has_stored_chats", "stored chats"),
    ("can_download", "download"),
    ("can_deploy", "deploy"),
    ("can_delete", "delete"),
)


def backends(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Show everything about this provider.",
            autocompletion=completion.providers,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what each provider can do.

    With a name, show everything about that provider.
    """
    if name is not None:
        able = load_backend(name).capabilities
        if as_json:
            emit(_document(name, able))
        else:
            _print_one(name, able)
        return
    found: list[tuple[str, Capabilities | FtsdkError]] = []
    for one in backend_names():
        try:
            found.append((one, load_backend(one).capabilities))
        except FtsdkError as error:
            found.append((one, error))  # the others are still listed
    if as_json:
        emit({"backends": [_document(one, able) for one, able in found]})
    else:
        _print_all(found)


def _document(name: str, able: Capabilities | FtsdkError) -> dict[str, Any]:
    if isinstance(able, FtsdkError):
        return {"name": name, "error": able.to_dict()}
    record = {f.name: getattr(able, f.name) for f in dataclasses.fields(able)}
    ranges = {n: dataclasses.asdict(r) for n, r in able.hyperparameters.items()}
    return {"name": name, **record, "hyperparameters": ranges}


def _print_all(found: list[tuple[str, Capabilities | FtsdkError]]) -> None:
    flags = () if is_narrow(_WIDE) else _FLAGS
    head = ["provider", "methods", "adapters", *(word for _, word in flags), "price", "key"]
    rows: list[list[Any]] = [[(title, "dim") for title in head]]
    for name, able in found:
        if isinstance(able, FtsdkError):
            rows.append([(name, "bold"), (clean(able.hint or able.what), "yellow"),
                         *[""] * (len(head) - 2)])  # fmt: skip
            continue
        rows.append([
            (name, "bold"), " ".join(sorted(able.methods)), " ".join(sorted(able.adapters)),
            *(("✓", "green") if getattr(able, field) else ("–", "dim") for field, _ in flags),
            able.price, able.key_variables[0] if able.key_variables else ("none", "dim"),
        ])  # fmt: skip
    columns(rows)
    more = "what each can do" if not flags else "details"
    say((f"  {more}: ", "dim"), command("ftsdk backends NAME"))


def _formats(able: Capabilities) -> str:
    """The row formats, by method where the backend declares it."""
    by_method = able.formats_by_method
    if not by_method:
        return ", ".join(sorted(able.formats))
    return "; ".join(f"{name}: {', '.join(sorted(by_method[name]))}" for name in sorted(by_method))


def _print_one(name: str, able: Capabilities) -> None:
    say((name, "bold"), f"   {clean(able.note)}")
    rows = f"at least {able.min_rows}" + (
        f", at most {count(able.max_rows)}" if able.max_rows else ""
    )
    if able.max_file_bytes:
        rows += f", {size(able.max_file_bytes)}"
    able_words = [word for field, word in _FLAGS if getattr(able, field)]
    unable = [word for field, word in _FLAGS if not getattr(able, field)]
    facts: list[tuple[str, Any]] = [
        ("methods", ", ".join(sorted(able.methods))),
        ("adapters", ", ".join(sorted(able.adapters))),
        ("rows", f"{_formats(able)}; {rows}"
                 + ("" if able.takes_validation else "; no validation rows")),
        ("can", ", ".join(able_words)),
        ("cannot", ", ".join(unable)),
        ("lost call", f"found again by {able.find_by.replace('_', ' ')}"
                 + ("; sending again is safe" if able.resend_is_safe else "")),
        ("price", able.price),
        ("key", ", ".join(able.key_variables) or "none needed"),
        ("extra", install_hint(name)),
        ("polled", f"every {duration(able.poll_s)}"),
        ("closed", f"to new accounts on {able.closed_to_new_accounts_on}"
                   if able.closed_to_new_accounts_on else ""),
        ("ends", f"no new jobs from {able.no_new_jobs_from}" if able.no_new_jobs_from else ""),
    ]  # fmt: skip
    labelled([(label, value) for label, value in facts if value])
    say()
    table: list[list[Any]] = [
        [(w, "dim") for w in ("hyperparameter", "default", "range", "sent as")]
    ]
    for field, allowed in able.hyperparameters.items():
        default = "–" if allowed.default is None else number(allowed.default)
        table.append([field, default, _range(allowed), allowed.sent_as or ""])
    columns(table)


def _range(allowed: Range) -> str:
    if allowed.choices is not None:
        return " | ".join(str(choice) for choice in allowed.choices)
    if allowed.low is None and allowed.high is None:
        return "any"
    if allowed.high is None:
        return f"from {number(allowed.low)}"
    if allowed.low is None:
        return f"up to {number(allowed.high)}"
    return f"{number(allowed.low)} – {number(allowed.high)}"
