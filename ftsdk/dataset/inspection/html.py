"""The X-ray as one self-contained page: no network, no library, rows packed and shown on demand."""

from __future__ import annotations

import base64
import gzip
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftsdk.dataset.inspection.report import Xray, XrayRow

__all__ = ["page"]

_BLOCK = 250
"""Rows in one packed block; the page unpacks a block when it is looked at."""

_OPENING = 48
"""Characters of a row in the list; more would not be seen there."""


def page(xray: Xray) -> str:
    """The HTML text. All data is packed as base64, so that no row can break out of its element."""
    template = (
        resources.files("ftsdk.dataset.inspection")
        .joinpath("report.html")
        .read_text(encoding="utf-8")
    )
    blocks = [
        _packed([_row(r) for r in xray.shown[i : i + _BLOCK]])
        for i in range(0, len(xray.shown), _BLOCK)
    ]
    scripts = "\n".join(f'<script type="text/plain" class="block">{b}</script>' for b in blocks)
    index = [
        [r.line, r.tokens, r.trained, len(r.notes), r.part, r.parts, r.name, _opening(r)]
        for r in xray.shown
    ]
    facts = _packed({**_facts(xray), "index": index, "per_block": _BLOCK})
    return template.replace("<!--BLOCKS-->", scripts).replace("<!--FACTS-->", facts)


def _facts(xray: Xray) -> dict[str, Any]:
    return {
        "name": xray.name,
        "model": xray.model,
        "visible": xray.visible,
        "template": xray.template_sha256,
        "tokens": None if xray.summary is None else xray.summary.to_dict(),
        "histogram": xray.histogram(),
        "findings": [[f.code, f.severity, f.line, f.message, f.hint] for f in xray.findings],
        "refused": xray.refused,
        "max_length": xray.max_length,
        "known": xray.known,
        "sequences": len(xray.lengths),
    }


def _opening(row: XrayRow) -> str:
    """The first words that are learned, for the list of rows; of the whole text where none is."""
    words = "".join(p.text for p in row.pieces if p.trained and not p.special)
    words = words or "".join(p.text for p in row.pieces if not p.special)
    return " ".join(words[: 4 * _OPENING].split())[:_OPENING]


def _row(row: XrayRow) -> dict[str, Any]:
    """Texts and ids of the pieces; `m` has 0 context, 1 trained, 2 and 3 the same for special ones."""
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
