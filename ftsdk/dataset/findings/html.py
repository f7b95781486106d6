"""A dataset report as a notebook shows it: verdict, a chart of row lengths, findings with their hints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ftsdk.dataset.findings.finding import SummaryLine
from ftsdk.dataset.findings.token_summary import TokenSummary
from ftsdk.util import card
from ftsdk.util.names import plural

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
    kind = "bad" if has_faults else "warn" if findings else "state"
    return card.card(
        card.head(name, verdict, kind),
        card.line([facts]),
        "" if tokens is None else _lengths(tokens),
        _table(findings),
        card.lines((f"· {line}" for line in footnotes), "soft"),
    )


def _table(findings: Sequence[SummaryLine]) -> str:
    """A table of the codes that were found, with their places and hints."""
    if not findings:
        return ""
    rows = [
        f'<tr><td class="{"bad" if one.mark == "✗" else "warn"}">'
        f"{one.mark} <code>{one.code}</code></td><td>{escape(one.rows)}</td>"
        f'<td>{escape(one.message)}<div class="soft">{escape(one.hint)}</div></td>'
        f'<td class="soft">{escape(one.place)}</td></tr>'
        for one in findings[:_FINDINGS]
    ]
    more = len(findings) - _FINDINGS
    end = card.line([f"and {plural(more, 'more code')}" if more > 0 else ""])
    return f'<div class="wide"><table>{"".join(rows)}</table></div>{end}'


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
        f'viewBox="0 0 {width} {height}" fill="var(--learn)"><title>rows by length in tokens</title>'
        f'{bars}<path d="M0 {height - 0.5}h{width}" stroke="var(--edge)"/></svg>'
        f'<div class="soft">{escape(quantiles)} (line {tokens.longest_line:,})</div>'
    )
