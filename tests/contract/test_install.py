"""The environments of the tests take their packages from where pip takes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.install import for_uv, install, variables


def test_what_pip_is_set_to_is_handed_to_uv() -> None:
    listed = (
        "global.index-url='https://one.example/simple'\n"
        "global.extra-index-url='file:///a file:///b'\n"
        "install.find-links='/wheels'\n"
        ":env:.find-links='/wheels\\n/more'\n"
        "global.timeout='60'\n"
        "list.index-url='https://two.example/simple'\n"
    )
    assert for_uv(listed) == {
        "UV_DEFAULT_INDEX": "https://one.example/simple",
        "UV_INDEX": "file:///a file:///b",
        "UV_FIND_LINKS": "/wheels,/more",
    }


def test_the_more_special_setting_counts() -> None:
    listed = "install.cert='/b'\n:env:.cert='/c'\nglobal.cert='/a'\n"
    assert for_uv(listed) == {"SSL_CERT_FILE": "/c"}


def test_a_setting_of_uv_itself_counts_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/pips")
    assert "/pips" in variables()["UV_FIND_LINKS"]
    monkeypatch.setenv("UV_FIND_LINKS", "/uvs")
    assert variables()["UV_FIND_LINKS"] == "/uvs"


def test_a_package_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True
    )
    python = tmp_path / "env" / "bin" / "python"
    with pytest.raises(RuntimeError, match="nothing-of-the-kind"):
        install(python, [str(tmp_path / "nothing-of-the-kind.whl")])
