"""The layout of every page: top bar, what costs now, dates that end something, the page itself.

`document(view, title, *parts)` is a whole page. Inside it:

- `heading(title, *beside)` and `card(title, *parts, beside=…)` divide it,
- `table(columns, rows)` is a table that becomes blocks on a narrow screen,
- `facts([(name, value), …])` are lines with a name on the left and a value on the right,
- `form(view, action, *parts)` carries the token that every form needs,
- `button`, `link_button` and `confirmed` are what can be done; `confirmed` asks once more,
- `live(target, *parts)` is a part that the server may replace while the page is open.

A `View` is one request: the session, the path, and what the bars show.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ftsdk.errors import FtsdkError
from ftsdk.serve.page.html import Attribute, Child, Html, el, join
from ftsdk.serve.page.marks import failed_mark

NAVIGATION: list[tuple[str, str]] = [
    ("/", "Jobs"),
    ("/compare", "Compare"),
    ("/deployments", "Deployments"),
    ("/retirements", "Retirements"),
    ("/reports", "Reports"),
]
"""The pages of the top bar: path and name, in this order."""


@dataclass(frozen=True)
class View:
    """What a page needs of its request.

    `form_token` belongs into every form. `bars` come between the top bar and the page. `costs_now` is how
    many deployments cost money now.
    """

    path: str
    form_token: str
    now: dt.datetime
    bars: Html | None = None
    month: Html | None = None
    notice: str = ""
    badges: dict[str, int] = field(default_factory=dict)


def document(view: View, title: str, *parts: Child, live_at: str | None = None) -> Html:
    """Return a page. `live_at` is the address of the stream that replaces its live parts."""
    skip = el("a", "Skip to the page", href="#page", class_="skip")
    said = el("p", role="status", aria_live="polite", class_="hidden", id="said")
    notice = el("p", view.notice, class_="notice", role="status") if view.notice else None
    body = el(
        "body",
        skip,
        _top(view),
        view.bars,
        el("main", notice, *parts, id="page", tabindex="-1"),
        said,
        data_live=live_at,
    )
    return _whole(title, body)


def bare_document(title: str, *parts: Child) -> Html:
    """Return a page without bars, for who is not signed in."""
    return _whole(title, el("body", el("main", *parts, class_="narrow", id="page")))


def _whole(title: str, body: Html) -> Html:
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", f"{title} · ftsdk"),
        el("link", rel="icon", href="/assets/icon.svg", type="image/svg+xml"),
        el("link", rel="stylesheet", href="/assets/page.css"),
        el("script", src="/assets/theme.js"),
        el("script", src="/assets/page.js", defer=True),
    )
    return Html(f"<!doctype html>{el('html', head, body, lang='en')}")


def _top(view: View) -> Html:
    def item(path: str, name: str) -> Html:
        here = view.path == path or (path == "/" and view.path.startswith("/jobs/"))
        count = view.badges.get(path)
        badge = el("span", count, class_="badge") if count else None
        return el("li", el("a", name, badge, href=path, aria_current="page" if here else None))

    pages = el("nav", el("ul", [item(*one) for one in NAVIGATION]), aria_label="Pages")
    theme = el("button", "Theme", type="button", class_="quiet", id="theme")
    leave = form(view, "/sign-out", el("button", "Sign out", class_="quiet"))
    brand = el("a", "ftsdk", href="/", class_="brand")
    return el("header", brand, pages, el("div", view.month, theme, leave, class_="tools"))


# --- parts of a page ---


def heading(title: Child, *beside: Child, acts: Child = None) -> Html:
    """Return the title of a page, facts beside it, and what can be done on its right."""
    done = el("div", acts, class_="acts") if acts else None
    return el("div", el("h1", title), el("div", *beside, class_="beside"), done, class_="heading")


def card(title: Child, *parts: Child, beside: Child = None, **attributes: Attribute) -> Html:
    """Return a card: a heading with a note beside it, and its parts."""
    note = el("span", beside, class_="soft") if beside else None
    top = el("div", el("h2", title), note, class_="card-head") if title else None
    return el("section", top, *parts, **{"class_": "card", **attributes})


def live(target: str, *parts: Child, tag: str = "div", **attributes: Attribute) -> Html:
    """Return an element that the page's stream may replace; `target` is its id."""
    return el(tag, *parts, id=target, **attributes)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Child]], *, numbers: Iterable[int] = (),
    label: str, changed: Iterable[int] = (), look: str = "",
) -> Html:  # fmt: skip
    """Return a table. `numbers` are the columns that are aligned to the right, `changed` the tinted rows."""
    right, tinted = set(numbers), set(changed)

    def side(column: int) -> str | None:
        return "n" if column in right else None

    head = [
        el("th", name, scope="col", class_=side(k), role="columnheader")
        for k, name in enumerate(columns)
    ]
    body = []
    for index, row in enumerate(rows):
        cells = [
            el("td", value, class_=side(k), role="cell", data_label=columns[k])
            for k, value in enumerate(row)
        ]
        body.append(el("tr", cells, role="row", class_="changed" if index in tinted else None))
    return el(
        "table",
        el("thead", el("tr", head, role="row"), role="rowgroup"),
        el("tbody", body, role="rowgroup"),
        role="table",
        aria_label=label,
        class_=f"rows {look}".strip(),
    )


def facts(lines: Iterable[tuple[Child, Child]]) -> Html:
    """Return lines with a name on the left and a value on the right; a line without a value is left out."""
    shown = [
        el("div", el("dt", name), el("dd", value))
        for name, value in lines
        if value not in (None, "")
    ]
    return el("dl", shown, class_="facts")


def form(view: View, action: str, *parts: Child, **attributes: Attribute) -> Html:
    """Return a form that is sent by POST, with the token that every form needs."""
    token = el("input", type="hidden", name="form_token", value=view.form_token)
    return el("form", token, *parts, method="post", action=action, **attributes)


def button(text: Child, kind: str = "") -> Html:
    """Return a button that sends its form; `kind` is `main`, `danger`, `quiet` or nothing."""
    return el("button", text, class_=kind or None)


def link_button(text: Child, href: str, kind: str = "") -> Html:
    """Return a link that looks like a button."""
    return el("a", text, href=href, class_=f"button {kind}".strip())


def confirmed(
    view: View, text: str, question: str, action: str, yes: str, *more: Child, kind: str = ""
) -> Html:
    """Return a button that asks `question` before its form is sent; works without a script."""
    asked = el("p", question)
    inside = form(view, action, asked, *more, button(yes, "danger" if kind == "danger" else "main"))
    summary = el("summary", f"{text}…", class_=f"button {kind}".strip())
    return el("details", summary, el("div", inside, class_="popup"), class_="confirm")


def failure(error: FtsdkError) -> Html:
    """Return an error as the terminal has it: what happened, where, and how to fix it."""
    what, *rest = str(error).split("\n")
    lines = [line.strip().partition(" ") for line in rest]
    more = [el("div", el("dt", name), el("dd", text.strip())) for name, _, text in lines]
    title = el("h2", failed_mark(), " ", what, class_="failed")
    return el("section", title, el("dl", more, class_="error"), class_="card", role="alert")


def dots(*parts: Child) -> Html:
    """Return facts on one line, divided by dots."""
    return join(
        [part if isinstance(part, Html) else el("span", part) for part in parts if part], " · "
    )
