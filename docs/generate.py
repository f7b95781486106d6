"""Writes the parts of the documentation that the code knows best, in place; `--check` compares.

A part is between two comments, and only what is between them is written:

    <!-- generated: capabilities -->
    …
    <!-- end -->
"""

from __future__ import annotations

import argparse
import ast
import datetime as dt
import inspect
import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from ftsdk import errors
from ftsdk.backends.base import Backend
from ftsdk.backends.capabilities import Capabilities, Range
from ftsdk.backends.local.models.row_paths import measured_paths
from ftsdk.backends.registry import GROUP
from ftsdk.catalogue.load import shipped
from ftsdk.catalogue.schema import Provider, Span
from ftsdk.errors import FtsdkError
from ftsdk.store.migrations import MIGRATIONS
from ftsdk.types.spec import METHODS
from ftsdk.types.status import ALLOWED_TRANSITIONS, JobStatus

sys.path.insert(0, str(Path(__file__).parent))  # the generator beside this file
from schemas import schemas  # found by the line above

DOCS = Path(__file__).resolve().parent
PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    """Write every part, or with `--check` only name the pages that are out of date; return 1 when there are any."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = [page for page, text in pages() if not page.exists() or page.read_text("utf-8") != text]
    for page in stale:
        print(f"{'out of date' if check else 'written'}: {page.relative_to(DOCS.parent)}")
    if check:
        if stale:
            print("run `make docs` and commit what it wrote")
        return 1 if stale else 0
    for page, text in pages():
        page.write_text(text, encoding="utf-8")
    return 0


def pages() -> Iterator[tuple[Path, str]]:
    """Each file that has generated parts or is generated whole, and its text as it should be."""
    folder = DOCS.parent / "ftsdk" / "schemas"
    for name, text in schemas().items():
        if folder.is_dir():
            yield folder / name, text
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if PART.search(text):
            yield page, PART.sub(_filled, text)


def _filled(match: re.Match[str]) -> str:
    return f"{match[1]}\n{PARTS[match[2]]().strip()}\n\n{match[3]}"


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [list(head)]
    body = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    lines += [["---"] * len(lines[0]), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# --- backends --------------------------------------------------------------------------------


def _backends() -> list[type[Backend]]:
    """Our own, by the entry points of this project; what else is installed stays out."""
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = project["entry-points"][GROUP]
    return [EntryPoint(name, points[name], GROUP).load() for name in sorted(points)]


def _yes(value: object) -> str:
    return "yes" if value else "–"


def _words(values: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in sorted(values))


def _resumes(able: Any) -> str:
    return "paused" if able.can_resume and not able.resumes_ended else _yes(able.can_resume)


def _pace(able: Capabilities) -> str:
    statuses = () if able.pace_refusal is None else sorted(able.pace_refusal.statuses)
    return ", ".join(f"HTTP {status}" for status in statuses) or "no"


def _row_formats(able: Any) -> str:
    """The row formats, by method where the backend declares it."""
    if not able.formats_by_method:
        return _words(able.formats)
    return "; ".join(f"{name}: {_words(able.formats_by_method[name])}" for name in METHODS
                     if name in able.formats_by_method)  # fmt: skip


CAPABILITIES: Mapping[str, Callable[[Any], str]] = {
    "methods": lambda able: _words(able.methods),
    "training kinds": lambda able: _words(able.adapters),
    "row formats": _row_formats,
    "validation rows": lambda able: _yes(able.takes_validation),
    "seed": lambda able: _yes(able.takes_seed),
    "cancel": lambda able: _yes(able.can_cancel),
    "pause": lambda able: _yes(able.can_pause),
    "resume": _resumes,
    "events": lambda able: _yes(able.has_events),
    "metrics": lambda able: _yes(able.has_metrics),
    "checkpoints": lambda able: _yes(able.has_checkpoints),
    "logs": lambda able: _yes(able.has_logs),
    "chat": lambda able: _yes(able.can_chat),
    "answers in JSON": lambda able: _yes(able.json_mode),
    "batches of chats": lambda able: _yes(able.can_batch),
    "stored chats": lambda able: _yes(able.has_stored_chats),
    "download": lambda able: _yes(able.can_download),
    "deploy": lambda able: _yes(able.can_deploy),
    "delete": lambda able: _yes(able.can_delete),
    "a lost create is found by": lambda able: str(able.find_by).replace("_", " "),
    "sending again is safe": lambda able: _yes(able.resend_is_safe),
    "refusals for pace are sent again": _pace,
    "asked every": lambda able: f"{able.poll_s:g} s",
}
ACCESS: Mapping[str, Callable[[Any], str]] = {
    "key": lambda able: _words(able.key_variables) or "none",
    "extra": lambda able: f"`{able.extra}`" if able.extra else "none",
    "price": lambda able: able.price,
    "no new accounts from": lambda able: str(able.closed_to_new_accounts_on or "–"),
    "no new jobs from": lambda able: str(able.no_new_jobs_from or "–"),
}


def capabilities() -> str:
    """One column per backend, one line per capability; access; then what hyperparameters each takes.

    Names of keys are too long for a column each: a table of eight columns fits beside the navigation.
    """
    found = _backends()
    rows = [
        [label, *(cell(backend.capabilities) for backend in found)]
        for label, cell in CAPABILITIES.items()
    ]
    access = [
        [f"`{backend.name}`", *(cell(backend.capabilities) for cell in ACCESS.values())]
        for backend in found
    ]
    parts = [
        table(["", *(f"`{backend.name}`" for backend in found)], rows),
        "## Keys, packages, prices",
        table(["backend", *ACCESS], access),
    ]
    for backend in found:
        able = backend.capabilities
        parts.append(f"## `{backend.name}`")
        if able.note:
            parts.append(f"{able.note[:1].upper()}{able.note[1:]}.")
        taken = [
            [f"`{name}`", _default(allowed), _range(allowed), f"`{allowed.sent_as or name}`"]
            for name, allowed in able.hyperparameters.items()
        ]
        parts.append(table(["hyperparameter", "default", "range", "sent as"], taken))
    return "\n\n".join(parts)


def _default(allowed: Range) -> str:
    return "the provider's" if allowed.default is None else f"{allowed.default}"


def _range(allowed: Range) -> str:
    if allowed.choices:
        return ", ".join(f"`{choice}`" for choice in allowed.choices)
    low = None if allowed.low is None else f"{allowed.low:,g}"
    high = None if allowed.high is None else f"{allowed.high:,g}"
    if low and high:
        return f"{low} to {high}"
    return f"from {low}" if low else (f"up to {high}" if high else "any")


def providers() -> str:
    """What each provider costs, how its models are served, what you keep, and what ends when."""
    catalogue = shipped()
    rows = []
    for backend in _backends():
        able, facts = backend.capabilities, catalogue.providers.get(backend.name)
        if able.is_rehearsal or facts is None:
            continue
        facts = _open_models(facts, catalogue.as_of)
        rows.append([
            f"**{facts.title}** `{backend.name}`", _training_price(facts), facts.serving or "–", _hosting_price(facts),
            _kept(able, facts), _words(able.methods), _end(able, facts),
        ])  # fmt: skip
    head = ["provider", "training", "serving", "hosting", "you keep", "methods", "ends"]
    return f"Catalogue of {catalogue.as_of}.\n\n{table(head, rows)}"


def _open_models(facts: Provider, day: dt.date) -> Provider:
    """Leave out the models that had ended on this day."""
    models = {
        name: model
        for name, model in facts.models.items()
        if model.ends_on is None or model.ends_on.day > day
    }
    return facts.model_copy(update={"models": models})


def _kept(able: Capabilities, facts: Provider) -> str:
    if able.can_download:
        return "the weights"
    mine = facts.weights_are_yours
    return "the weights, from the provider's own page" if mine and mine.holds else "a name to call"


def _training_price(facts: Provider) -> str:
    """The range of prices over all models, and the least that a job costs."""
    if facts.free:
        return "free, on your machine"
    rates = [rate for model in facts.models.values() for rate in model.training]
    rates += [rate for card in facts.rates.values() for rate in card]
    if not rates:
        per = [kind.per_hour for kind in facts.hardware.values()]
        return f"{_span(per)} an hour" if per else "not known"
    least = f", at least {_usd(facts.minimum.usd)} a job" if facts.minimum else ""
    return f"{_span([rate.usd_per_mtok for rate in rates])} per 1M tokens{least}"


def _span(prices: Iterable[Span]) -> str:
    found = list(prices)
    low, high = min(one.low for one in found), max(one.high for one in found)
    return _usd(low) if low == high else f"{_usd(low)} – {_usd(high)}"


def _usd(amount: Any) -> str:
    return f"${amount:.2f}"


def _hosting_price(facts: Provider) -> str:
    return "–" if facts.hosting is None else f"{_span([facts.hosting.usd_per_hour])} an hour"


def _end(able: Capabilities, facts: Provider) -> str:
    """The first date on which the provider takes no new jobs, or closes."""
    dates = []
    if able.closed_to_new_accounts_on is not None:
        dates.append(f"closed to new accounts since {able.closed_to_new_accounts_on}")
    stops = able.no_new_jobs_from or (facts.no_new_jobs_from and facts.no_new_jobs_from.day)
    if stops:
        dates.append(f"no new jobs from {stops}")
    ends = sorted({model.ends_on.day for model in facts.models.values() if model.ends_on})
    if ends and not dates:
        dates.append(f"some bases end from {ends[0]}")
    return "; ".join(dates) or "no date known"


# --- statuses and errors ---------------------------------------------------------------------


def _member_docs(enum: type) -> dict[str, str]:
    """Return the string under each member of an enum, by the member's name."""
    body = ast.parse(textwrap.dedent(inspect.getsource(enum))).body[0]
    docs: dict[str, str] = {}
    name = ""
    for node in getattr(body, "body", []):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            docs[name], name = str(node.value.value), ""
    return docs


def statuses() -> str:
    """Every status, what it means, and what may follow."""
    docs = _member_docs(JobStatus)
    rows = []
    for status in JobStatus:
        kind = (
            "final"
            if status.is_final
            else "at the provider"
            if status.is_remote
            else "before acceptance"
        )
        word = f"**`{status}`**" if status.is_final else f"`{status}`"
        rows.append([word, docs[status.name], kind, _followers(status)])
    return table(["status", "meaning", "kind", "may be followed by"], rows)


def _followers(status: JobStatus) -> str:
    allowed = ALLOWED_TRANSITIONS[status] - {status}
    theirs = {one for one in JobStatus if one.is_remote} - {status}
    words = ["any status at the provider, or a final one"] if theirs <= allowed else []
    rest = allowed - theirs if words else allowed
    words += [f"`{one}`" for one in JobStatus if one in rest]
    return ", ".join(words) or "nothing"


def error_table() -> str:
    """Every error: its parent, its stable code, the exit code, what it means."""
    rows = []
    for name in errors.__all__:
        cls = getattr(errors, name)
        if isinstance(cls, type) and issubclass(cls, FtsdkError):
            doc = (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")
            parent = "–" if cls is FtsdkError else cls.__bases__[0].__name__
            rows.append([f"`{name}`", parent, f"`{cls.code}`", cls.exit_code, doc])
    return table(["error", "a kind of", "code", "exit code", "meaning"], rows)


# --- the journal -----------------------------------------------------------------------------


def schema() -> str:
    """The statements of every migration, in order."""
    parts = []
    for number, statements in enumerate(MIGRATIONS, 1):
        text = ";\n\n".join(inspect.cleandoc(statement).strip() for statement in statements)
        parts.append(f"Version {number}:\n\n```sql\n{text};\n```")
    return "\n\n".join(parts)


# --- the command line ------------------------------------------------------------------------


def command_line() -> str:
    """Every command with its arguments and options, as the program itself has them."""
    import typer

    from ftsdk.cli.app import app

    root: Any = typer.main.get_command(app)
    parts = []
    for path, command in _commands(root, ("ftsdk",)):
        parts.append(f"## `{' '.join(path)}`\n\n{_prose(command.help)}")
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name != "argument" and not p.hidden]
        usage = [*path, *(_argument(p) for p in arguments), *(["[OPTIONS]"] if options else [])]
        parts.append(f"```text\n{' '.join(usage)}\n```")
        rows = [[f"`{_argument(p)}`", _help(p)] for p in arguments]
        rows += [[_option(p), _help(p)] for p in options]
        if rows:
            parts.append(table(["argument or option", "what it is"], rows))
    return "\n\n".join(parts)


def _commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))


def _prose(text: str | None) -> str:
    paragraphs = (text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _argument(param: Any) -> str:
    word = str(param.metavar or param.name.upper()) + (" …" if param.nargs != 1 else "")
    return word if param.required else f"[{word}]"


def _option(param: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*param.opts, *param.secondary_opts])
    return f"{names} `{param.metavar}`" if param.metavar else names


def _help(param: Any) -> str:
    text = _prose(param.help)
    plain = isinstance(param.default, str | int | float) and not isinstance(param.default, bool)
    return f"{text} Default: `{param.default}`." if plain else text


# --- local training --------------------------------------------------------------------------


def row_paths() -> str:
    """Every architecture that was measured: those whose rows go end to end, and why others do not."""
    release, paths = measured_paths()
    flat = [f"`{name}`" for name, found in paths.items() if found.path == "flat"]
    parts = [
        f"Measured with transformers {release}: {len(paths)} architectures and configs.",
        f"## End to end\n\n{', '.join(flat)}.",
    ]
    for path, heading in (
        ("padded", "Padded"),
        ("row by row", "One row at a time"),
        ("refused", "Refused"),
        ("not measured", "Not measured"),
    ):
        rows = [[f"`{n}`", found.reason] for n, found in paths.items() if found.path == path]
        parts.append(f"## {heading}\n\n{table(['architecture', 'reason'], rows)}")
    return "\n\n".join(parts)


def hardware() -> str:
    """The planned memory of each known model on each card, as it was recorded."""
    record = json.loads((DOCS / "hardware.json").read_bytes())
    parts = [f"Planned with torch {record['torch']} and transformers {record['transformers']}."]
    for way in ("QLoRA", "LoRA"):
        models = record["models"].items()
        cards = list(next(iter(record["models"].values()))[way])
        rows = [
            [f"`{name}`", *(_planned(kinds[way][card]) for card in cards)] for name, kinds in models
        ]
        parts.append(f"## {way}\n\n{table(['model', *(f'{card} GB' for card in cards)], rows)}")
    return "\n\n".join(parts)


def _planned(cell: Mapping[str, Any]) -> str:
    peak = f"{cell['peak_bytes'] / 1e9:.1f}"
    if not cell["fits"]:
        return f"no, {peak}"
    mark = r" \*\*" if cell["offloaded"] else r" \*" if cell["checkpointing"] else ""
    return f"{peak}{mark}"


PARTS: Mapping[str, Callable[[], str]] = {
    "capabilities": capabilities,
    "providers": providers,
    "statuses": statuses,
    "errors": error_table,
    "schema": schema,
    "command-line": command_line,
    "row-paths": row_paths,
    "hardware": hardware,
}

if __name__ == "__main__":
    sys.exit(main())
