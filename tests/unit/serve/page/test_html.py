"""HTML is escaped by construction, and what the policy forbids cannot be written."""

from __future__ import annotations

import re

import pytest

from ftsdk.errors import UsageError
from ftsdk.serve.page.assets import TYPES, asset
from ftsdk.serve.page.html import Html, el, join


def test_text_and_attributes_are_escaped() -> None:
    hostile = "<script>\"'&"
    made = el("a", hostile, [hostile, None, False], href=hostile, title=None, hidden=True)
    assert made == (
        '<a href="&lt;script&gt;&quot;&#x27;&amp;" hidden>'
        + "&lt;script&gt;&quot;&#x27;&amp;" * 2
        + "</a>"
    )
    assert join([el("b", 1), Html("<i>")], " · ") == "<b>1</b> · <i>"
    assert (
        el("input", name="x", class_="a", aria_label="b")
        == '<input name="x" class="a" aria-label="b">'
    )


@pytest.mark.parametrize("name", ["style", "onclick", "onload"])
def test_the_policy_is_kept(name: str) -> None:
    with pytest.raises(UsageError):
        el("p", **{name: "x"})


def test_the_assets_name_no_other_host_and_evaluate_nothing() -> None:
    for name in TYPES:
        text = asset(name)[0].decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.|@import|eval\(|Function\(|url\(", text), name
