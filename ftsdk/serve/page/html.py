"""HTML from functions: text is escaped, and what the Content-Security-Policy forbids cannot be written.

`el("a", "text", href="/")` is an element. A child is text, and is escaped, unless it is `Html` itself. An
attribute that is None or False is left out, True is written bare. `class_` is `class`, `aria_label` is
`aria-label`. `style` and event handlers are refused: use a class, or draw it in SVG.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from ftsdk.errors import UsageError

_EMPTY = frozenset({"br", "hr", "img", "input", "link", "meta"})
Attribute = str | int | float | bool | None


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = object
"""`Html`, a value to be shown as text, None for nothing, or a list or tuple of these."""


def el(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """Return an element. Raises `UsageError` for an attribute that the policy of the page forbids."""
    start = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    if name in _EMPTY:
        return Html(start)
    return Html(f"{start}{join(children)}</{name}>")


def join(children: Iterable[Child], between: str = "") -> Html:
    """Return the children one after another, with `between` between them."""
    parts = (_part(child) for child in children)
    return Html(escape(between).join(part for part in parts if part))


def svg(drawn: str) -> Html:
    """Mark SVG of `ftsdk.util.chart` and the like as HTML; these escape their texts themselves."""
    return Html(drawn)


def _part(child: Child) -> str:
    if child is None or child is False:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, list | tuple):
        return join(child)
    return escape(str(child))


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if name == "style" or name.startswith("on"):
        raise UsageError(
            f"the page's policy forbids the attribute {name}", where="ftsdk.serve.page"
        )
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
