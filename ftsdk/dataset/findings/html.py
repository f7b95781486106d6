"""A dataset report as a notebook shows it: verdict, lengths as a picture, findings with their mends."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftsdk.dataset.findings.report import DatasetReport
    from ftsdk.dataset.rules.token_counts import TokenSummary

__all__ = ["report_card"]

# Colours that are readable on a light and on a dark page.
_GOOD, _BAD, _WARN, _BAR = "#2e9e5b", "#d64545", "#c98a1b", "#3b9c8c"
_CARD = (
    "font:13px/1.5 system-ui,sans-serif;border:1px solid #8884;border-radius:10px;"
    "padding:12px 16px;display:inline-block;max-width:860px"
)
_CHART = (360, 64)
_FINDINGS = 12


def report_card(report: DatasetReport) -> str:
    """The report as one self-contained block of HTML, without scripts."""
    colour = _BAD if not report.ok else _WARN if report.notices else _GOOD
    parts = [
        f'<div style="{_CARD}">',
        f'<div><b>{escape(report.name)}</b> <span style="color:{colour}">',
        f"{escape(report.closing())}</span></div>",
        f'<div style="opacity:.75">{escape(_facts(report))}</div>',
    ]
    if report.tokens is not None:
        parts.append(_lengths(report.tokens))
    parts.append(_findings(report))
    parts += [
        f'<div style="opacity:.75">· {escape(str(told))}</div>'
        for told in (
            *report.billed_tokens.values(),
            *(f"not checked: {why}" for why in report.skipped),
        )
    ]
    return "".join([*parts, "</div>"])


def _facts(report: DatasetReport) -> str:
    return report.headline().removeprefix(report.name).strip()


def _findings(report: DatasetReport) -> str:
    """A table of the codes that fired, each with where and how to mend it."""
    first = {fault.code: fault for fault in reversed((*report.faults, *report.notices))}
    cell = "padding:2px 12px 2px 0;text-align:left;vertical-align:top"
    lines = list(report.summary_lines())
    rows = [
        f'<tr><td style="{cell};white-space:nowrap;color:{_BAD if mark == "✗" else _WARN}">{mark} <code>{code}</code></td>'
        f'<td style="{cell};white-space:nowrap">{escape(count)}</td>'
        f'<td style="{cell}">{escape(message)}<div style="opacity:.65">{escape(first[code].hint)}</div></td>'
        f'<td style="{cell};white-space:nowrap;opacity:.75">{escape(place)}</td></tr>'
        for mark, code, count, message, place in lines[:_FINDINGS]
    ]
    if not rows:
        return ""
    more = len(lines) - _FINDINGS
    end = f'<div style="opacity:.75">and {more} more codes</div>' if more > 0 else ""
    return f'<table style="border-collapse:collapse;margin:6px 0;font:inherit">{"".join(rows)}</table>{end}'


def _lengths(tokens: TokenSummary) -> str:
    """Rows by length as bars, with the quantiles that people ask for."""
    if not tokens.histogram:
        return ""
    width, height = _CHART
    most, step = max(tokens.histogram), width / len(tokens.histogram)
    bars = "".join(
        f'<rect x="{k * step + 0.5:.1f}" y="{height - max(1.5, height * count / most):.1f}" '
        f'width="{max(1.0, step - 1):.1f}" height="{max(1.5, height * count / most):.1f}" rx="1">'
        f"<title>{k * tokens.bin_tokens:,} – {(k + 1) * tokens.bin_tokens - 1:,} tokens: {count:,} rows</title></rect>"
        for k, count in enumerate(tokens.histogram)
        if count
    )
    told = (
        f"median {tokens.median:,} · 95 % under {tokens.p95:,} · longest {tokens.longest:,} tokens"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" fill="{_BAR}" style="display:block;margin:8px 0 2px;'
        f'border-bottom:1px solid #8884"><title>rows by length in tokens</title>{bars}</svg>'
        f'<div style="opacity:.65;font-size:12px">{escape(told)} (line {tokens.longest_line:,})</div>'
    )
