"""A dataset report as a notebook shows it: verdict, a chart of row lengths, findings with their hints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ftsdk.dataset.findings.finding import SummaryLine
from ftsdk.dataset.findings.token_summary import TokenSummary

# Colours that are readable on a light and on a dark page.
_GOOD, _BAD, _WARN, _BAR = "#2e9e5b", "#d64545", "#c98a1b", "#3b9c8c"
_CARD = (
    "font:13px/1.5 system-ui,sans-serif;border:1px solid #8884;border-radius:10px;"
    "padding:12px 16px;display:inline-block;max-width:860px"
)
_CHART = (360, 64)
_FINDINGS = 12


def report_card(
    *,
    name: str,
    verdict: str,
    has_faults: bool,
    facts: str,
    tokens: TokenSummary | None,
    findings: Sequence[SummaryLine],
    footnotes: Iterable[str],
) -> str:
    """One self-contained block of HTML without scripts: verdict, row lengths, findings."""
    colour = _BAD if has_faults else _WARN if findings else _GOOD
    parts = [
        f'<div style="{_CARD}">',
        f'<div><b>{escape(name)}</b> <span style="color:{colour}">{escape(verdict)}</span></div>',
        f'<div style="opacity:.75">{escape(facts)}</div>',
    ]
    if tokens is not None:
        parts.append(_lengths(tokens))
    parts.append(_table(findings))
    parts += [f'<div style="opacity:.75">· {escape(line)}</div>' for line in footnotes]
    return "".join([*parts, "</div>"])


def _table(findings: Sequence[SummaryLine]) -> str:
    """A table of the codes that were found, with their places and hints."""
    if not findings:
        return ""
    cell = "padding:2px 12px 2px 0;text-align:left;vertical-align:top"
    rows = [
        f'<tr><td style="{cell};white-space:nowrap;color:{_BAD if one.mark == "✗" else _WARN}">'
        f"{one.mark} <code>{one.code}</code></td>"
        f'<td style="{cell};white-space:nowrap">{escape(one.rows)}</td>'
        f'<td style="{cell}">{escape(one.message)}<div style="opacity:.65">{escape(one.hint)}</div></td>'
        f'<td style="{cell};white-space:nowrap;opacity:.75">{escape(one.place)}</td></tr>'
        for one in findings[:_FINDINGS]
    ]
    more = len(findings) - _FINDINGS
    end = f'<div style="opacity:.75">and {more} more codes</div>' if more > 0 else ""
    return f'<table style="border-collapse:collapse;margin:6px 0;font:inherit">{"".join(rows)}</table>{end}'


def _lengths(tokens: TokenSummary) -> str:
    """A bar chart of row lengths with the usual quantiles."""
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
    quantiles = (
        f"median {tokens.median:,} · 95 % under {tokens.p95:,} · longest {tokens.longest:,} tokens"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" fill="{_BAR}" style="display:block;margin:8px 0 2px;'
        f'border-bottom:1px solid #8884"><title>rows by length in tokens</title>{bars}</svg>'
        f'<div style="opacity:.65;font-size:12px">{escape(quantiles)} (line {tokens.longest_line:,})</div>'
    )
