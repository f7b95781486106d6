"""The package metadata is correct."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution, entry_points
from pathlib import Path

import pytest

import ftsdk
from ftsdk.backends.base import Backend

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_one_everywhere() -> None:
    assert distribution("ftsdk").version == ftsdk.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+([ab]\d+|rc\d+|\.dev\d+)?", ftsdk.__version__)


def test_the_changelog_starts_with_this_version() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == ftsdk.__version__


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["license"] == "Apache-2.0"
    assert "LICENSE" in PROJECT["license-files"]


def test_type_information_is_shipped() -> None:
    assert (ROOT / "ftsdk" / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]


@pytest.mark.parametrize("name", sorted(PROJECT["entry-points"]["ftsdk.backends"]))
def test_every_backend_entry_point_loads_without_its_extra(name: str) -> None:
    points = [p for p in entry_points(group="ftsdk.backends") if p.name == name]
    assert [p.value for p in points] == [PROJECT["entry-points"]["ftsdk.backends"][name]], (
        "the installed package is older than pyproject.toml: install it again"
    )
    backend = points[0].load()
    assert issubclass(backend, Backend)
    assert backend.name == name
    extra = backend.capabilities.extra
    assert extra is None or extra in PROJECT["optional-dependencies"]


def test_the_console_command_exists() -> None:
    (command,) = [p for p in entry_points(group="console_scripts") if p.name == "ftsdk"]
    assert callable(command.load())


def test_every_dependency_has_a_reason_beside_it() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for needed in PROJECT["dependencies"]:
        line = next(line for line in text.split("\n") if f'"{needed}"' in line)
        assert "#" in line, needed


def test_every_extra_in_a_hint_exists() -> None:
    extras = set(PROJECT["optional-dependencies"])
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "ftsdk").rglob("*.py")]
    for page in pages:
        for named in re.findall(r"ftsdk\[([a-z, ]+)\]", page.read_text()):
            assert {word.strip() for word in named.split(",")} <= extras, (page, named)


def test_the_two_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test"} <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    run = ROOT / ".ci" / "run"
    assert run.stat().st_mode & 0o111
    assert "make test" in run.read_text()


def test_no_file_names_the_machine_it_was_written_on() -> None:
    # Joined here, so that this file does not match.
    words = ["/" + "work/", "/" + "root/", "files.python" + "hosted.org", "pypi" + ".org/simple"]
    kinds = {".py", ".md", ".toml", ".yml", ".yaml", ".jsonl", ".txt", ""}
    for folder in ("ftsdk", "tests", "docs", "examples", "benchmarks", ".ci"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in kinds and "__pycache__" not in path.parts:
                text = path.read_text(errors="replace")
                assert not [word for word in words if word in text], path


def test_the_wheel_contains_the_package_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="building the wheel needs the extra `test`")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "ftsdk").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert shipped <= names
    others = {name for name in names - shipped if ".dist-info/" not in name}
    examples = {f"ftsdk/_examples/{path.name}" for path in (ROOT / "examples/data").iterdir()}
    assert others == examples, "no tests, no .pth, nothing at the top beside the package"
    assert any(name.endswith("licenses/LICENSE") for name in names)
