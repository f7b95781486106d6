"""A key is sent to the address that it was set with, however the environment changes."""

from __future__ import annotations

import pytest

import ftsdk
from ftsdk.backends.hosted.api_keys import environment_now
from ftsdk.errors import ConfigError
from ftsdk.testing.lab import Lab
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.util.clock import ManualClock
from tests.backends.hosted_worlds import HOSTED

KEYS = ("sk-first-000000000000", "sk-second-00000000000")


@pytest.fixture(params=HOSTED)
def hosted(request):
    pytest.importorskip(request.param, reason=f"needs the extra `{request.param}`")
    return HOSTED[request.param]


def _authorizations(double) -> set[str]:
    return {request.headers.get("authorization", "") for request in double.requests}


def test_a_client_follows_the_address_and_the_key_together(monkeypatch, home):
    pytest.importorskip("openai")
    clock = ManualClock()
    with (
        OpenAIDouble(clock=clock, keys=[KEYS[0]]) as first,
        OpenAIDouble(clock=clock, keys=[KEYS[1]]) as second,
        ftsdk.Client(home=home, clock=clock) as client,
    ):
        for double in (first, second, first):
            for name, value in double.variables().items():
                monkeypatch.setenv(name, value)
            assert list(client.backend("openai").list()) == []
        assert _authorizations(first) == {f"Bearer {KEYS[0]}"}
        assert _authorizations(second) == {f"Bearer {KEYS[1]}"}


def test_a_backend_in_use_refuses_a_new_address(monkeypatch, home, hosted):
    """The old server would receive the key of the new one."""
    with Lab(hosted.name, clock=ManualClock()) as lab, ftsdk.Client(home=home) as client:
        double = lab[hosted.name]
        for name, value in double.variables().items():
            monkeypatch.setenv(name, value)
        backend = client.backend(hosted.name)
        list(backend.list())
        monkeypatch.delenv(hosted.url)
        monkeypatch.setenv(hosted.key, "the-real-key-0123456789")
        with pytest.raises(ConfigError, match="has changed"):
            list(backend.list())
        assert not any("the-real-key" in one for one in _authorizations(double))
        again = client.backend(hosted.name)
        assert again is not backend
        assert again is client.backend(hosted.name)
        assert again.base_url is not None
        assert again.base_url.startswith("https://api.")


def test_a_file_that_sets_the_address_keeps_it(monkeypatch, home):
    pytest.importorskip("openai")
    with ftsdk.Client(home=home) as client:
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        backend = client.backend("openai", base_url="https://api.openai.com/v1")
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:10/v1")
        assert client.backend("openai", base_url="https://api.openai.com/v1") is backend


def test_a_copy_of_the_environment_is_of_one_moment():
    """Another thread sets the address and the key while they are read."""

    class Changing(dict):
        reads = 0

        def __iter__(self):
            type(self).reads += 1
            names = list(super().__iter__())
            if self.reads == 2:
                self["URL"], self["KEY"] = "new", "new"
            if self.reads == 1:
                self["GONE"] = "x"
                del self["GONE"]
                names.append("GONE")
            return iter(names)

        def keys(self):
            return list(iter(self))

    env = environment_now(Changing(URL="old", KEY="old"))
    assert env["URL"] == env["KEY"] == "new"
    assert "new" not in repr(env)


@pytest.mark.parametrize("variable", ["FTSDK_HOME", "FTSDK_PROFILE", "FTSDK_CONFIG"])
def test_the_default_client_follows_the_environment(monkeypatch, tmp_path, variable):
    file = tmp_path / "a.toml"
    file.write_text("[profiles.p]\nprovider = 'fake'\n")
    monkeypatch.setenv("FTSDK_CONFIG", str(file))
    monkeypatch.setenv("FTSDK_HOME", str(tmp_path / "one"))
    first = ftsdk.default_client()
    assert ftsdk.default_client() is first
    other = tmp_path / "b.toml"
    other.write_text(file.read_text())
    values = {"FTSDK_HOME": str(tmp_path / "two"), "FTSDK_PROFILE": "p", "FTSDK_CONFIG": str(other)}
    monkeypatch.setenv(variable, values[variable])
    second = ftsdk.default_client()
    assert second is not first
    assert str(second.home) == {"FTSDK_HOME": values["FTSDK_HOME"]}.get(
        variable, str(tmp_path / "one")
    )


def test_the_default_client_can_be_reset(monkeypatch, tmp_path):
    monkeypatch.setenv("FTSDK_HOME", str(tmp_path))
    first = ftsdk.default_client()
    ftsdk.reset_default_client()
    assert ftsdk.default_client() is not first
