"""The page for who is not signed in."""

from __future__ import annotations

from ftsdk.serve.page.html import Html, el
from ftsdk.serve.page.layout import bare_document


def sign_in_page(next_: str, fault: str = "") -> Html:
    """Return the form that asks for the server's token; `next_` is where it leads."""
    shown = el("p", fault, class_="bad", role="alert") if fault else None
    field = el(
        "label",
        el("span", "The server's token"),
        el("input", type="password", name="token", required=True, autofocus=True,
           autocomplete="current-password"),
    )  # fmt: skip
    return bare_document(
        "Sign in",
        el(
            "section",
            el("h1", "Sign in"),
            el("p", "`ftsdk serve` shows the token when it starts, or you set it as FTSDK_SERVE_TOKEN. "
               "It is the key of the API, too.", class_="soft"),
            shown,
            el(
                "form",
                el("div", field, class_="fields"),
                el("input", type="hidden", name="next", value=next_),
                el("p"),
                el("button", "Sign in", class_="main"),
                method="post", action="/sign-in",
            ),
            class_="card",
        ),
    )  # fmt: skip
