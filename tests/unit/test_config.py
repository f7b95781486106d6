"""Where settings come from, in which order, and the errors of a faulty file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsdk.client import Client
from ftsdk.config import Config, api_key, default_home, load_config
from ftsdk.errors import ConfigError

FILE = """
provider = "fake"
[profiles.dev]
provider = "local"
model = "smollm2-135m"
[profiles.dev.hyperparameters]
epochs = 1
[profiles.prod]
provider = "together"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ftsdk.toml").write_text(FILE)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    return inner


def test_argument_beats_environment_beats_profile_beats_file(folder: Path) -> None:
    config = load_config(folder=folder, env={"FTSDK_PROFILE": "dev", "FTSDK_PROVIDER": "x"})
    assert config.require("provider", "y").value == "y"
    assert config.require("provider").value == "x"
    config = load_config(folder=folder, env={"FTSDK_PROFILE": "dev"})
    found = config.require("provider")
    assert (found.value, "profile dev" in found.source) == ("local", True)
    assert config.table("hyperparameters") == {"epochs": 1}
    assert load_config(folder=folder, env={}).require("provider").value == "fake"


def test_profile_argument_beats_the_variable(folder: Path) -> None:
    config = load_config(profile="prod", folder=folder, env={"FTSDK_PROFILE": "dev"})
    assert config.require("provider").value == "together"


def test_a_missing_setting_names_every_place(folder: Path) -> None:
    config = load_config(profile="prod", folder=folder, env={})
    with pytest.raises(ConfigError) as caught:
        config.require("model")
    text = str(caught.value)
    places = ["argument model=", "FTSDK_MODEL", "[profiles.prod]", "at the top of"]
    assert [p for p in places if p in text] == places
    assert text.index(places[0]) < text.index(places[1]) < text.index(places[2])


def test_the_nearest_profile_is_offered(folder: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'prod'"):
        load_config(profile="prd", folder=folder, env={})


def test_pyproject_is_read_when_it_has_the_table(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.ftsdk]\nprovider = "fake"\n')
    assert load_config(folder=tmp_path, env={}).require("provider").value == "fake"


def test_a_pyproject_without_the_table_is_skipped(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert load_config(folder=folder, env={}).require("provider").value == "fake"


def test_a_key_in_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "ftsdk.toml").write_text('[profiles.p]\nprovider="x"\napi_key = "sk-verysecret"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(folder=tmp_path, env={})
    assert "profiles.p.api_key looks like a key" in str(caught.value)
    assert "verysecret" not in str(caught.value)


def test_all_unknown_settings_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "ftsdk.toml").write_text('providr = "x"\n[profiles.p]\nmodell = "y"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(folder=tmp_path, env={})
    assert "did you mean 'provider'" in str(caught.value)
    assert "did you mean 'model'" in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"provider = ", b"\xff\xfe", b'a = "' + b"x" * 1_100_000 + b'"']
)
def test_a_broken_file_is_reported_with_its_path(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ftsdk.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(folder=tmp_path, env={})
    assert "ftsdk.toml" in str(caught.value)


def test_keys_are_read_late_and_strictly() -> None:
    assert api_key("x", ("A_KEY", "B_KEY"), {"B_KEY": "abc"}) == "abc"
    with pytest.raises(ConfigError, match=r"A_KEY.*keyring entry"):
        api_key("x", ("A_KEY",), {})
    for bad in ("abc\n", " abc", "ab\u0430"):
        with pytest.raises(ConfigError) as caught:
            api_key("x", ("A_KEY",), {"A_KEY": bad})
        assert bad.strip() not in str(caught.value)


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that changes its working folder keeps its journal."""
    monkeypatch.chdir(tmp_path)
    assert default_home({"FTSDK_HOME": "here"}) == tmp_path / "here"
    with Client(home="there", env={}) as client:
        assert client.home == tmp_path / "there"


@pytest.mark.parametrize("value", ["sk-proj-abcdef0123456789", "r8_abcdef0123456789", "", 7])
def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated(
    tmp_path: Path, value: object
) -> None:
    (tmp_path / "ftsdk.toml").write_text(
        f"[profiles.work]\nprovider = 'openai'\nkey_variable = {value!r}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(folder=tmp_path, env={})
    assert "profiles.work.key_variable is not the name of a variable" in caught.value.what
    if value:
        assert str(value) not in str(caught.value).replace(str(tmp_path), "")


def test_a_variable_of_a_key_applies_to_the_provider_beside_it(tmp_path: Path) -> None:
    (tmp_path / "ftsdk.toml").write_text(
        "provider = 'openai'\nkey_variable = 'OPENAI_KEY_1'\n"
        "[profiles.work]\nkey_variable = 'WORK_OPENAI_KEY'\n"
        "[profiles.here]\nprovider = 'local'\n"
        "[profiles.other]\nprovider = 'together'\nkey_variable = 'TOGETHER_KEY_2'\n"
    )
    config = load_config(folder=tmp_path, env={})
    assert config.beside_provider("key_variable", "openai") == "OPENAI_KEY_1"
    assert config.beside_provider("key_variable", "together") is None
    assert (
        config.with_profile("work").beside_provider("key_variable", "openai") == "WORK_OPENAI_KEY"
    )
    assert config.with_profile("here").beside_provider("key_variable", "local") is None
    assert (
        config.with_profile("other").beside_provider("key_variable", "together") == "TOGETHER_KEY_2"
    )
    assert config.with_profile("other").beside_provider("key_variable", "openai") == "OPENAI_KEY_1"
    assert (
        Config(data={"key_variable": "X_KEY"}).beside_provider("key_variable", "anything")
        == "X_KEY"
    )


@pytest.mark.parametrize("value", ["k" * 31, "sk/proj+abc", "", " acme", 7])
def test_a_key_in_place_of_an_account_is_refused_and_not_repeated(
    tmp_path: Path, value: object
) -> None:
    (tmp_path / "ftsdk.toml").write_text(f"[profiles.work]\naccount = {value!r}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(folder=tmp_path, env={})
    assert "profiles.work.account is not a name" in caught.value.what
    if value:
        assert str(value) not in caught.value.what.replace("30", "")


def test_an_account_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "ftsdk.toml").write_text("[profiles.work]\naccount = 'Acme Corp. 2-b'\n")
    config = load_config(folder=tmp_path, env={}, profile="work")
    assert config.beside_provider("account", "openai") == "Acme Corp. 2-b"
