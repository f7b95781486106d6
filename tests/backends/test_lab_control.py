"""The lab's control URL: what any program on this machine can set while a double serves."""

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
def test_settings_are_stored(lab, name):
    double = lab[name]
    assert double.settable
    shown = post(f"{double.origin}/_lab/state", {})
    assert set(shown) == set(double.settable)
    assert post(f"{double.origin}/_lab/state", {"lists_before_visible": 3})[
        "lists_before_visible"
    ] == (3)
    assert double.lists_before_visible == 3


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_setting_is_refused_with_the_known_ones(lab, name):
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(f"{lab[name].origin}/_lab/state", {"keys": []})
    message = json.load(caught.value)["error"]
    assert "lists_before_visible" in message
    caught.value.close()


def faults(double: Any, **given: Any) -> Any:
    return post(f"{double.origin}/_lab/faults", given)


def knock(double: Any) -> None:
    """Until nobody answers: the port is closed a moment after the answer that says so."""
    while True:
        faults(double, behaviour="none")


def test_refusing_connections_until_the_lab_ends(lab):
    double = lab["openai"]
    assert faults(double, behaviour="refuse", seconds=3600)["refuses_for_s"] == 3600
    with pytest.raises(OSError):
        knock(double)
    assert faults(lab["together"], behaviour="none") == {"waiting": 0}
    double.stop()
    with pytest.raises(OSError):
        faults(double, behaviour="none")


def test_after_refusing_the_same_port_serves_again():
    with Lab("openai") as lab:
        double = lab["openai"]
        double.refuse_for(0.01)
        assert faults(double, behaviour="none") == {"waiting": 0}


@pytest.mark.parametrize("seconds", [0, -1, "30", None, 1e9])
def test_refusing_takes_a_number_of_seconds(lab, seconds):
    with pytest.raises(urllib.error.HTTPError) as caught:
        faults(lab["replicate"], behaviour="refuse", seconds=seconds)
    assert "seconds" in json.load(caught.value)["error"]
    caught.value.close()


@pytest.mark.parametrize(
    ("name", "path"), [("together", "/storage/x"), ("replicate", "/delivery/x")]
)
def test_a_key_where_it_does_not_belong_is_a_violation(lab, name, path):
    double = lab[name]

    def ask(path: str, key: str | None) -> int:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        request = urllib.request.Request(double.origin + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            return refusal.code

    assert ask(path, None) == 404
    assert double.violations == []
    assert ask(path, min(double.keys)) == 404
    assert len(double.violations) == 1
    assert path.rpartition("/")[0] in double.violations[0]
    assert ask("/v1/files", "another-key") == 401
    assert ask("/v1/files", None) == 401
    assert ask("/v1/files", min(double.keys)) == 200
