"""`doctor --live`: how a provider really answers, compared with what ftsdk expects of it."""

from __future__ import annotations

import json
from typing import Any

import typer

from ftsdk.backends.hosted import HostedBackend
from ftsdk.backends.hosted.live.check import LiveReport, ReadResult, live_check
from ftsdk.backends.hosted.live.facts import Fact
from ftsdk.backends.hosted.live.plan import Verdict
from ftsdk.cli.context import open_client
from ftsdk.cli.view.files import write_text
from ftsdk.cli.view.formatting import clean
from ftsdk.cli.view.output import busy, columns, emit, labelled, say
from ftsdk.client import Client
from ftsdk.errors import Unsupported
from ftsdk.util.names import plural

_VERDICTS = {
    "confirmed": ("✓", "green"),
    "refuted": ("✗", "red"),
    "not seen": ("·", "dim"),
}


def show_live(provider: str | None, profile: str | None, report: str | None, as_json: bool) -> None:
    """Ask the provider, show what was found, and write the report. Exits with 1 for a fault."""
    client = open_client(profile)
    backend = client.session.backend(provider)
    if not isinstance(backend, HostedBackend):
        raise Unsupported(
            f"{backend.name} is on this machine: there is no provider to ask",
            where="doctor --live",
            hint="`ftsdk backends` lists the providers; --provider names one",
        )
    with busy(f"asking {backend.transport.service.title}", quiet=as_json):
        found = live_check(backend, _ours(client, backend.name))
    if as_json:
        emit(found.to_dict())
    else:
        _show(found, backend.transport.service.title)
    if report is not None or not as_json:
        target = report or f"ftsdk-live-{found.provider}.json"
        text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n"
        what = "Report without keys, ids, prompts, file names or addresses"
        write_text(target, text, what, "--report")
    if not found.ok:
        raise typer.Exit(1)


def _ours(client: Client, provider: str) -> dict[str, str]:
    """Return this machine's jobs at the provider: tag by the provider's id."""
    if not client.session.has_journal:
        return {}
    return {
        str(job.provider_job_id): job.snapshot.tag
        for job in client.list_jobs(provider=provider)
        if job.provider_job_id
    }


def _show(found: LiveReport, title: str) -> None:
    say(
        (clean(title), "bold"),
        f" as it answers now, {plural(found.requests, 'GET')}. Nothing was created, nothing costs.",
    )
    rows: list[list[Any]] = [
        [_mark(one), (one.read.name, "bold"), f"GET {one.read.path}", clean(_outcome(one))]
        for one in found.reads
    ]
    columns(rows, fold=True)
    _show_differences(found)
    if found.facts:
        say()
        say("Facts that no source states firmly:")
        labelled([_fact_line(fact, *conclusion) for fact, conclusion in found.facts], label=11)
    say()
    say(_total(found))


def _mark(one: ReadResult) -> tuple[str, str]:
    if one.is_fault:
        return "✗", "red"
    return ("✓", "green") if one.outcome == "as expected" else ("·", "dim")


def _outcome(one: ReadResult) -> str:
    if one.outcome == "missing":
        what = "not seen, and optional" if one.read.optional else "the endpoint is missing"
        return f"HTTP {one.status_code or 404}: {what}"
    if one.outcome == "no answer":
        code = f" (HTTP {one.status_code})" if one.status_code else ""
        return f"no answer{code}"
    if one.outcome == "not asked":
        return f"nothing to ask about: {'no tag' if one.read.ask else 'no job'} in the list"
    if one.outcome == "empty":
        return "none there, nothing to compare"
    if one.outcome == "differs":
        return f"{plural(len(one.differences), 'difference')}, see below"
    news = sum(not d.breaks for d in one.differences)
    more = f", {plural(news, 'new field')}" if news else ""
    return f"{plural(one.objects, 'object')}, as expected{more}"


def _show_differences(found: LiveReport) -> None:
    """Print each difference on its own line: the table has no room for them."""
    lines = [
        (one.read.name, clean(str(difference)))
        for one in found.reads
        for difference in one.differences
    ]
    if lines:
        say()
        say("Differences:")
        labelled(lines, label=11)


def _fact_line(fact: Fact, verdict: Verdict, found: str) -> tuple[str, list[Any]]:
    parts: list[Any] = [(fact.subject, "bold"), f": {clean(fact.says)}"]
    if found:
        parts += ["; ", (clean(found), _VERDICTS[verdict][1])]
    return f"{_VERDICTS[verdict][0]} {verdict}", parts


def _total(found: LiveReport) -> str:
    if found.ok:
        return "Everything that was seen is as ftsdk expects it."
    parts = []
    if found.faults:
        parts.append(f"{plural(found.faults, 'read')} not as expected")
    if found.refuted:
        parts.append(f"{plural(found.refuted, 'fact')} refuted")
    return f"{', '.join(parts)}. Please send the report: it helps to correct ftsdk."
