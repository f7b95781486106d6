"""Cards for notebooks: plain HTML with its own style, light and dark, without scripts.

A card loads nothing and stays in the saved notebook. Every text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_LIGHT = (
    "--card:#fff;--sunk:#f1f0ec;--line:#e4e3dd;--edge:#8b897f;--ink:#1d1d1a;--soft:#5b5a53;"
    "--faint:#6e6c64;--learn:#0f7b6c;--second:#3b5bdb;--warn:#8a5200;--bad:#b3261e"
)
_DARK = (
    "--card:#1b1c1a;--sunk:#232421;--line:#2d2e2a;--edge:#7d7b73;--ink:#eceae3;--soft:#aeaca3;"
    "--faint:#98968e;--learn:#5fd3bf;--second:#93a8ff;--warn:#f0b357;--bad:#ff8a80"
)
# A notebook's own theme decides; without one, the reader's system does.
STYLE = (
    f"<style>.ftsdk{{{_LIGHT}}}@media(prefers-color-scheme:dark){{.ftsdk{{{_DARK}}}}}"
    f"[data-jp-theme-light=true] .ftsdk,.vscode-light .ftsdk{{{_LIGHT}}}"
    f"[data-jp-theme-light=false] .ftsdk,.vscode-dark .ftsdk,html[theme=dark] .ftsdk{{{_DARK}}}"
    "div.ftsdk{background:var(--card);color:var(--ink);border:1px solid var(--line);"
    "border-radius:14px;padding:16px;max-width:720px;font:14px/20px system-ui,sans-serif;"
    "font-variant-numeric:tabular-nums;box-sizing:border-box}"
    ".ftsdk .head{display:flex;gap:12px;align-items:baseline;flex-wrap:wrap}"
    ".ftsdk .head b{font-size:15px;font-weight:650;overflow-wrap:anywhere}"
    ".ftsdk .state{color:var(--learn);font-weight:560}.ftsdk .bad{color:var(--bad)}"
    ".ftsdk .warn{color:var(--warn)}.ftsdk .soft{color:var(--soft)}"
    ".ftsdk .id{color:var(--faint);font:12px/16px ui-monospace,monospace;overflow-wrap:anywhere}"
    ".ftsdk table{border-collapse:collapse;width:100%;margin:8px 0 0;font-size:13.5px;"
    "background:none;table-layout:auto}"
    ".ftsdk th,.ftsdk td{padding:5px 16px 5px 0;text-align:left;vertical-align:top;border:0;"
    "border-top:1px solid var(--line);background:none;color:inherit;overflow-wrap:break-word}"
    ".ftsdk td:first-child,.ftsdk th{white-space:nowrap}.ftsdk .wide{overflow-x:auto}"
    ".ftsdk tr{background:none}"
    ".ftsdk th{color:var(--faint);font-size:12px;font-weight:560;border-top:0}"
    ".ftsdk td.n,.ftsdk th.n{text-align:right;white-space:nowrap}"
    ".ftsdk svg{display:block;max-width:100%;height:auto;margin-top:12px}"
    ".ftsdk svg text{font:12px system-ui,sans-serif}"
    ".ftsdk code{font:12px/16px ui-monospace,monospace;background:none;color:inherit}"
    "</style>"
)


def card(*parts: str) -> str:
    """Return a card of HTML parts, with its style."""
    return f'{STYLE}<div class="ftsdk">{"".join(parts)}</div>'


def head(title: object, state: object = "", kind: str = "state") -> str:
    """Return the first line: a title, and a state beside it. `kind` is `state`, `bad` or `warn`."""
    beside = f'<span class="state {kind}">{escape(str(state))}</span>' if state else ""
    return f'<div class="head"><b>{escape(str(title))}</b>{beside}</div>'


def line(words: Iterable[object], kind: str = "soft") -> str:
    """Return facts on one line, divided by dots; nothing without facts."""
    text = " · ".join(str(word) for word in words if word not in ("", None))
    return f'<div class="{kind}">{escape(text)}</div>' if text else ""


def lines(texts: Iterable[object], kind: str) -> str:
    """Return each text on a line of its own."""
    return "".join(line([text], kind) for text in texts)


def table(
    names: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Iterable[int] = ()
) -> str:
    """Return a table; the columns in `numbers` are aligned to the right. Nothing without rows.

    A column without a value in any row is left out.
    """
    found = [list(row) for row in rows]
    used = [at for at in range(len(names)) if any(str(row[at]) for row in found)]
    names = [names[at] for at in used]
    right = {used.index(at) for at in numbers if at in used}

    def cells(tag: str, values: Sequence[object]) -> str:
        return "".join(
            f"<{tag}{' class=n' if at in right else ''}>{escape(str(value))}</{tag}>"
            for at, value in enumerate(values)
        )

    body = "".join(f"<tr>{cells('td', [row[at] for at in used])}</tr>" for row in found)
    top = cells("th", names) if any(names) else ""
    return f'<div class="wide"><table><tr>{top}</tr>{body}</table></div>' if body else ""


def meter(fraction: float, words: str) -> str:
    """Return a bar that is filled by a fraction from 0 to 1, with what it says beside it."""
    share = max(0.0, min(1.0, fraction))
    return (
        f'<svg width="688" height="20" viewBox="0 0 688 20" role="img"><title>{escape(words)}</title>'
        '<rect x="0" y="7" width="360" height="6" rx="3" fill="var(--line)"/>'
        f'<rect x="0" y="7" width="{360 * share:.1f}" height="6" rx="3" fill="var(--learn)"/>'
        f'<text x="372" y="15" fill="var(--soft)">{escape(words)}</text></svg>'
    )
