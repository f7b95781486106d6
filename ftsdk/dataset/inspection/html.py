"""An inspection report as one self-contained page: no network, no library, rows unpacked on demand."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from ftsdk.dataset.inspection.rows import InspectedRow

_BLOCK = 250
"""Rows in one compressed block; the page unpacks a block when it is first shown."""


def page(figures: Mapping[str, Any], rows: Sequence[InspectedRow], *, sequences: int) -> str:
    """The HTML text of a report.

    `figures` is the report as JSON values without its rows; `sequences` counts all trained
    sequences, of which `rows` are shown. All data is base64, so no row can break out of its element.
    """
    template = (
        resources.files("ftsdk.dataset.inspection")
        .joinpath("report.html")
        .read_text(encoding="utf-8")
    )
    blocks = [_packed([_row(r) for r in rows[i : i + _BLOCK]]) for i in range(0, len(rows), _BLOCK)]
    scripts = "\n".join(f'<script type="text/plain" class="block">{b}</script>' for b in blocks)
    index = [
        [r.line, r.tokens, r.trained, len(r.notes), r.part, r.parts, r.name, r.opening()]
        for r in rows
    ]
    facts = _facts(figures) | {"sequences": sequences, "index": index, "per_block": _BLOCK}
    return template.replace("<!--BLOCKS-->", scripts).replace("<!--FACTS-->", _packed(facts))


def _facts(figures: Mapping[str, Any]) -> dict[str, Any]:
    same = ("name", "model", "visible", "tokens", "histogram", "max_length", "known")
    keys = ("code", "severity", "line", "message", "hint")
    return {
        **{key: figures[key] for key in same},
        "template": figures["template_sha256"],
        "refused": figures["refused_rows"],
        "findings": [[finding[key] for key in keys] for finding in figures["findings"]],
    }


def _row(row: InspectedRow) -> dict[str, Any]:
    """Texts and ids of the pieces; `m` is 0 for context, 1 if trained, plus 2 for a special token."""
    return {
        "n": row.notes,
        "p": [p.text for p in row.pieces],
        "i": [p.ids[0] if len(p.ids) == 1 else list(p.ids) for p in row.pieces],
        "m": "".join(str(p.trained + 2 * p.special) for p in row.pieces),
    }


def _packed(value: Any) -> str:
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode("ascii")
