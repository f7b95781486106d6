"""A release can be repeated by anybody: equal builds, known licences, a workflow with few rights."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="reads the workflow")

ROOT = Path(__file__).resolve().parents[2]
CI = ROOT / ".ci"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def run(*words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=200)


def test_two_builds_are_equal(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="building needs the extra `test`")
    done = run(CI / "release.py", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in tmp_path.iterdir()}
    assert len(names) == 2
    assert all(re.fullmatch(r"[0-9a-f]{64}", line.split()[0]) for line in done.stdout.splitlines())
    assert {line.split()[1] for line in done.stdout.splitlines()} == names
    (archive,) = (name for name in names if name.endswith(".tar.gz"))
    listed = subprocess.run(
        ["tar", "tzf", tmp_path / archive], capture_output=True, text=True
    ).stdout
    for needed in (
        "/SECURITY.md",
        "/.ci/release.py",
        "/ftsdk/schemas/config.json",
        "/tests/conftest.py",
    ):
        assert needed in listed


def test_the_version_of_a_tag_can_be_asked_for() -> None:
    import ftsdk

    assert run(CI / "release.py", "--version").stdout.strip() == ftsdk.__version__


def test_the_licences_of_the_core_are_known() -> None:
    done = run(CI / "licences.py", "--check")
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    needed = {
        re.match(r"[\w-]+", one)[0] for one in distribution("ftsdk").requires if "extra" not in one
    }  # type: ignore[index]
    assert needed <= listed


@pytest.mark.parametrize(("licence", "code"), [("MIT", 0), ("GPL-3.0-only", 1), ("", 1)])
def test_a_licence_that_binds_or_is_not_known_is_noticed(
    tmp_path: Path, licence: str, code: int
) -> None:
    packages = {
        "ftsdk": "Requires-Dist: other",
        "other": f"License-Expression: {licence}" if licence else "",
    }
    for name, more in packages.items():
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        text = f"Metadata-Version: 2.4\nName: {name}\nVersion: 1\n{more}".rstrip() + "\n"
        (folder / "METADATA").write_text(text)
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.path.insert(0, {str(CI)!r}); import licences; sys.argv[1:] = ['--check']; sys.exit(licences.main())"
    done = run("-c", program)
    assert done.returncode == code, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_holds_no_secret_and_runs_what_is_here(path: Path) -> None:
    text = path.read_text()
    workflow = yaml.safe_load(text)
    assert "secrets." not in text, "publishing is trusted, no token is stored"
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", one) for one in used), "a tag can be moved"
    assert len(re.findall(r"uses: \S+  # v\d+\.\d+\.\d+$", text, re.MULTILINE)) == len(used)
    runs = [step.get("run", "") for step in steps]
    programs = [word for run in runs for word in re.findall(r"\.ci/\w+\.py", run)]
    targets = [word for run in runs for word in re.findall(r"\bmake (\w+)", run)]
    assert programs or targets
    assert all((ROOT / name).is_file() for name in programs)
    made = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{name}:", made, re.MULTILINE) for name in targets)


def test_the_release_attests_before_it_publishes() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    used = [step.get("uses", "") for step in workflow["jobs"]["build"]["steps"]]
    assert any(one.startswith("actions/attest-build-provenance@") for one in used)
    assert workflow["jobs"]["publish"]["needs"] == "build"


def test_links_and_policies_are_there() -> None:
    assert {"Source", "Documentation", "Issues", "Changelog", "Security"} <= set(PROJECT["urls"])
    for url in PROJECT["urls"].values():
        path = url.partition("/blob/main/")[2] or url.partition("/tree/main/")[2]
        assert not path or (ROOT / path).exists(), url
    assert "Report it in private" in (ROOT / "SECURITY.md").read_text()
