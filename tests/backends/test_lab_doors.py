"""The lab's own door: what a double can be told while it serves, by any program of this machine."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from ftsdk.testing.lab import Lab

NAMES = ("openai", "together", "replicate")


def post(url: str, value: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(value).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture
def lab():
    with Lab(*NAMES) as made:
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_what_can_be_set_is_there_and_is_kept(lab, name):
    double = lab[name]
    assert double.settable
    shown = post(f"{double.origin}/_lab/state", {})
    assert set(shown) == set(double.settable)
    assert post(f"{double.origin}/_lab/state", {"lists_before_visible": 3})[
        "lists_before_visible"
    ] == (3)
    assert double.lists_before_visible == 3


@pytest.mark.parametrize("name", NAMES)
def test_anything_else_is_refused_with_what_can_be(lab, name):
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(f"{lab[name].origin}/_lab/state", {"keys": []})
    told = json.load(caught.value)["error"]
    assert "lists_before_visible" in told
    caught.value.close()
