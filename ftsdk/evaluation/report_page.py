"""The report of an evaluation as one self-contained page, without scripts and without the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from ftsdk.evaluation.flips import Flip, flips_of
from ftsdk.evaluation.report_charts import changed_bar, interval_chart, slice_chart, span_of
from ftsdk.evaluation.report_parts import CandidateResult, FlippedRow, ModelResult, ReportData
from ftsdk.evaluation.statistics.compare import about
from ftsdk.evaluation.table import Means
from ftsdk.types.evaluation import Comparison, Verdict

_MOST_FLIPS = 200
_SHOWN = 400
_MINUS = "\N{MINUS SIGN}"
LOOKS: Mapping[Verdict, str] = {
    Verdict.BETTER: "good",
    Verdict.PARITY: "good",
    Verdict.WORSE: "bad",
    Verdict.INCONCLUSIVE: "unsure",
    Verdict.NOT_COMPARABLE: "unsure",
}
_MARKS = {
    "good": '<path d="M8 12.5l2.8 2.8L16.5 9" fill="none" stroke="var(--card)" stroke-width="2.2"/>',
    "bad": '<path d="M8.5 8.5l7 7m0-7l-7 7" fill="none" stroke="var(--card)" stroke-width="2.2"/>',
    "unsure": '<path d="M12 7v6m0 3v.5" fill="none" stroke="var(--card)" stroke-width="2.4"/>',
}


ReadFlip = Callable[[Flip, str], FlippedRow]
"""Returns a row on which a candidate, by its name, and the reference differ, with its texts."""


@dataclass(frozen=True)
class Frame:
    """What a page has beside the evaluation: its title, and HTML before the candidates."""

    title: str = "Evaluation"
    css: str = ""
    before: str = ""


def page(
    report: ReportData, read: ReadFlip, *, texts: bool = True, frame: Frame | None = None
) -> str:
    """Return the HTML text of a report. Without `texts` no row's text is in it."""
    css = resources.files("ftsdk.evaluation").joinpath("report_page.css").read_text("utf-8")
    around = frame or Frame()
    parts = [
        _head(report, css + around.css, around.title),
        around.before,
        *(_candidate(report, one, read, texts=texts) for one in report.candidates),
        _models(report.models),
        _method(report),
    ]
    return "".join(parts) + "</body></html>\n"


def _head(report: ReportData, css: str, title: str) -> str:
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{escape(title)} of {escape(report.candidates[0].name)}</title><style>{css}</style>"
        "</head><body><header>"
        f"<b>{escape(title)}</b><span>{escape(report.data)}</span>"
        f"<span>{report.ended_at:%d %b %Y, %H:%M} UTC</span></header>"
    )


# --- one candidate ---


def _candidate(report: ReportData, one: CandidateResult, read: ReadFlip, *, texts: bool) -> str:
    main = one.gate.metrics[one.gate.primary]
    look = LOOKS[main.verdict]
    mark = f'<svg viewBox="0 0 24 24" width="28" height="28" aria-hidden="true" class="mark"><circle cx="12" cy="12" r="11" fill="currentColor"/>{_MARKS[look]}</svg>'  # fmt: skip
    worse = [name for name, found in one.gate.slices.items() if found.verdict is Verdict.WORSE]
    banner = f'<div class="banner">Worse in {escape(", ".join(worse))}.</div>' if worse else ""
    chart = interval_chart(main, look)
    return (
        '<section class="card"><div class="verdict"><div>'
        f'<h1><span class="{look}">{mark}</span>{escape(_title(main))}</h1>'
        f"<p>{_sentence(report, one, main)}</p></div><div>{chart}</div></div>{banner}"
        f"{_tiles(report, one)}</section>"
        f"{_comparisons(report, one)}{_changed(report, one, read, texts=texts)}"
    )


def _title(main: Comparison) -> str:
    if main.verdict is Verdict.PARITY:
        return "Parity shown"
    if main.verdict is Verdict.INCONCLUSIVE:
        return "Parity not shown" if main.margin is not None else "Too few rows to say"
    return str(main.verdict).capitalize()


def _sentence(report: ReportData, one: CandidateResult, main: Comparison) -> str:
    """Return the verdict in one or two sentences, with figure, interval and limit."""
    if main.delta is None or main.low is None or main.high is None:
        return escape(main.reason[:1].upper() + main.reason[1:] + ".")
    means = one.means[one.gate.primary]
    scores = (
        f"<b>{escape(one.name)}</b> scores <b>{_percent(means.candidate)}</b> on {main.n:,} rows "
        f"by {escape(one.gate.primary)}, <b>{escape(report.reference)}</b> {_percent(means.reference)}."
    )
    difference = (
        f"The difference is <b>{points(main.delta)} points</b>, between {points(main.low)} and "
        f"{points(main.high)} with 95 % confidence."
    )
    parts = [scores, difference]
    if main.margin is not None:
        parts.append(f"You allow {points(-main.margin)}.")
    if main.rows_needed:
        parts.append(f"About <b>{about(main.rows_needed):,} rows</b> would settle it.")
    return " ".join(parts)


def points(share: float) -> str:
    """Return a share as points with its sign, such as `−0.4`."""
    text = f"{abs(share) * 100:.1f}"
    if float(text) == 0:
        return text
    return f"{'+' if share > 0 else _MINUS}{text}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.1f} %"


def _tiles(report: ReportData, one: CandidateResult) -> str:
    old, new = _model(report, report.reference), _model(report, one.name)
    means, main = one.means[one.gate.primary], one.gate.metrics[one.gate.primary]
    tiles = [(f"{_percent(means.reference)} → {_percent(means.candidate)}", one.gate.primary)]
    if old.latency_p50_s is not None and new.latency_p50_s is not None:
        shown = f"{old.latency_p50_s * 1000:,.0f} → {new.latency_p50_s * 1000:,.0f} ms"
        tiles.append((shown, "median answer"))
    if old.usd or new.usd:
        tiles.append((f"{_usd(old)} → {_usd(new)}", f"for {report.rows:,} rows"))
    tiles.append((f"+{main.wins} {_MINUS}{main.losses}", "rows that changed"))
    inner = "".join(f"<div><b>{escape(value)}</b><span>{escape(what)}</span></div>" for value, what in tiles)  # fmt: skip
    return f'<div class="tiles">{inner}</div>'


def _usd(one: ModelResult) -> str:
    return "–" if one.usd is None else f"${one.usd:.4f}"


def _model(report: ReportData, name: str) -> ModelResult:
    return next(one for one in report.models if one.name == name)


def _comparisons(report: ReportData, one: CandidateResult) -> str:
    """Return the table of metrics and slices, each with its interval."""
    found = {**one.gate.metrics, **one.gate.slices}
    span = span_of(found.values())
    rows = "".join(
        _comparison(name, comparison, one.means.get(name), span, is_first=number == 0)
        for number, (name, comparison) in enumerate(found.items())
    )
    heads = ("", "Rows", escape(report.reference), escape(one.name), "difference", "Points",
             "95 % interval", "Lost", "Won", "Verdict")  # fmt: skip
    numbers = {1, 2, 3, 5, 6, 7, 8}
    head = "".join(
        f"<th{' class=number' if place in numbers else ''}>{text}</th>"
        for place, text in enumerate(heads)
    )
    note = (
        '<p class="note">Slices and further metrics are corrected together by Holm.</p>'
        if len(found) > 1
        else ""
    )
    return (
        '<section class="card"><h2>By metric and slice<small>candidate less reference, in points'
        f"</small></h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}"
        "</section>"
    )


def _comparison(
    name: str,
    one: Comparison,
    means: Means | None,
    span: tuple[float, float],
    *,
    is_first: bool,
) -> str:
    look = LOOKS[one.verdict]
    shown = means or Means(None, None)
    known = one.delta is not None and one.low is not None and one.high is not None
    interval = f"[{points(one.low or 0)}, {points(one.high or 0)}]" if known else "–"
    cells = [
        _cell(escape(name)),
        _cell(f"{one.n:,}", "Rows", number=True),
        _cell(_percent(shown.reference), "Reference", number=True),
        _cell(_percent(shown.candidate), "Candidate", number=True),
        f'<td class="wide">{slice_chart(one, span, look)}</td>',
        _cell(points(one.delta or 0) if known else "–", "Points", number=True),
        _cell(interval, "95 % interval", number=True),
        _cell(f"{one.losses:,}", "Lost", number=True),
        _cell(f"{one.wins:,}", "Won", number=True),
        f'<td class="{look}">{escape(str(one.verdict))}</td>',
    ]
    return f"<tr{' class=all' if is_first else ''}>{''.join(cells)}</tr>"


def _cell(text: str, label: str = "", *, number: bool = False) -> str:
    kind = ' class="number"' if number else ""
    named = f' data-label="{label}"' if label else ""
    return f"<td{kind}{named}>{text}</td>"


# --- answers that changed ---


def _changed(report: ReportData, one: CandidateResult, read: ReadFlip, *, texts: bool) -> str:
    pairs = one.pairs[one.gate.primary]
    flips = flips_of(pairs)
    losses = [flip for flip in flips if flip.is_loss]
    wins = [flip for flip in flips if not flip.is_loss]
    right = sum(a == b and a >= 1 for a, b in zip(pairs.reference, pairs.candidate, strict=True))
    other = len(pairs.rows) - right - len(flips)
    counts = {"both": right, "worse": len(losses), "better": len(wins), "neither": other}
    words = {"both": "both right", "worse": "got worse", "better": "got better", "neither": "the same otherwise"}  # fmt: skip
    key = "".join(f'<span><i class="{k}"></i><b>{counts[k]:,}</b> {words[k]}</span>' for k in counts)  # fmt: skip
    lists = ""
    if texts:
        names = (report.reference, one.name)
        lists = _flips("Got worse", losses, read, *names, is_open=True)
        lists += _flips("Got better", wins, read, *names, is_open=False)
    return (
        f'<section class="card"><h2>Answers that changed<small>{len(flips):,} of '
        f"{len(pairs.rows):,}</small></h2>{changed_bar(counts)}"
        f'<div class="key">{key}</div>{lists}</section>'
    )


def _flips(
    title: str,
    flips: Sequence[Flip],
    read: ReadFlip,
    reference: str,
    candidate: str,
    *,
    is_open: bool,
) -> str:
    if not flips:
        return ""
    rows = "".join(_flip(read(one, candidate)) for one in flips[:_MOST_FLIPS])
    more = len(flips) - _MOST_FLIPS
    rest = f'<p class="note">and {more:,} more in the JSON report</p>' if more > 0 else ""
    heads = ("Line", "Asked", escape(reference), escape(candidate), "Expected")
    head = "".join(f"<th>{one}</th>" for one in heads)
    return (
        f"<details{' open' if is_open else ''}><summary>{title} · {len(flips):,}</summary>"
        f'<table class="flips"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{rest}'
        "</details>"
    )


def _flip(one: FlippedRow) -> str:
    return (
        f"<tr>{_cell(f'{one.line:,}', 'Line')}{_cell(_text(one.asked), 'Asked')}"
        f"{_cell(_said(one.reference, one.reference_score, one.candidate_score), 'Reference')}"
        f"{_cell(_said(one.candidate, one.candidate_score, one.reference_score), 'Candidate')}"
        f"{_cell(_text(one.expected), 'Expected')}</tr>"
    )


def _said(text: str, own: float, other: float) -> str:
    return f'<span class="said {"right" if own > other else "wrong"}">{_text(text) or "–"}</span>'


def _text(text: str) -> str:
    return escape(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


# --- models and method ---


def _models(models: Iterable[ModelResult]) -> str:
    heads = ("Model", "Answered", "Cut off", "Refused", "Errors", "Cost", "Median", "95 % under", "Disagrees with itself")  # fmt: skip
    head = "".join(f"<th{' class=number' if place else ''}>{text}</th>" for place, text in enumerate(heads))  # fmt: skip
    rows = "".join(f"<tr>{''.join(_model_cells(one, heads))}</tr>" for one in models)
    return (
        '<section class="card"><h2>Models<small>what became of every request</small></h2>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></section>"
    )


def _model_cells(one: ModelResult, heads: tuple[str, ...]) -> Iterator[str]:
    kinds = one.outcomes
    noise = next(iter(one.noise.values()), None)
    yield _cell(escape(one.name))
    values = [f"{kinds[kind]:,}" for kind in ("answered", "cut_off", "refused", "error")]
    values += [_usd(one), _seconds(one.latency_p50_s), _seconds(one.latency_p95_s)]
    values.append("–" if noise is None else f"{noise * 100:.1f} %")
    for label, value in zip(heads[1:], values, strict=True):
        yield _cell(value, label, number=True)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value * 1000:,.0f} ms"


def _margin(report: ReportData) -> list[str]:
    if report.margin is None:
        return []
    return [f"Margin {report.margin * 100:g} points, stated before the run."]


def _method(report: ReportData) -> str:
    options = ", ".join(f"{name} {value}" for name, value in report.decoding.items())
    main = report.candidates[0].gate
    lines = [
        f"{report.rows:,} rows of {report.data}, {report.repeats} answers to each, {options}.",
        f"Primary metric {main.primary}: {report.metrics[main.primary]}.",
        *_margin(report),
        f"{main.metrics[main.primary].method}.",
        "Rows with an error on one side are left out of both models; beyond 1 % there is no verdict.",
    ]
    if report.left_out:
        lines.append(f"{len(report.left_out):,} rows of a training file were left out.")
    if report.clusters:
        lines.append(f"Rows with the same {report.clusters} count as one observation.")
    lines += report.notes
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<section class="card"><h2>How it was measured</h2><ul>{items}</ul></section>'
