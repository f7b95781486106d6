"""The picture in the documentation is true: its layers, and every file and function it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.contract.test_layers import layer_of, modules

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "picture.md"
ROW = re.compile(r"^\| \d+ \| `(?P<file>[^`]+)` \| `(?P<function>\w+)` \|", re.MULTILINE)


def steps() -> list[tuple[str, str]]:
    return [(one["file"], one["function"]) for one in ROW.finditer(PAGE.read_text())]


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize(("file", "function"), steps(), ids=lambda value: value)
def test_a_step_names_a_function_that_exists(file: str, function: str) -> None:
    assert function in functions_of(ROOT / file)


def test_each_walk_has_at_most_eight_steps() -> None:
    walks = [part for part in PAGE.read_text().split("\n## ") if part.startswith("How ")]
    assert len(walks) == 3
    for walk in walks:
        assert 0 < max(int(one) for one in re.findall(r"^\| (\d+) \|", walk, re.MULTILINE)) <= 8


def test_the_picture_shows_the_layers_in_their_order() -> None:
    picture = PAGE.read_text().split("```text\n")[1].split("```")[0].replace("\n", " \n")
    shown = {
        "ftsdk.cli": "cli/", "ftsdk.serve": "serve/", "ftsdk.async_client": "async_client", "ftsdk.webhooks": "webhooks",
        "ftsdk.client": "\npublic face   client", "ftsdk.migration": "migration/",
        "ftsdk.evaluation": "evaluation/",
        "ftsdk.jobs": "jobs/", "ftsdk.planning": "planning/",
        "ftsdk.deployments": "deployments/", "ftsdk.spending": "spending/",
        "ftsdk.session": "session", "ftsdk.exporting": "exporting/",
        "ftsdk.backends.fake": "fake", "ftsdk.backends.local": "local/",
        "ftsdk.backends.openai": "openai/", "ftsdk.backends.together": "together/",
        "ftsdk.backends.replicate": "replicate/", "ftsdk.backends.hosted": "backends/hosted/",
        "ftsdk.backends": "backends/  base", "ftsdk.dataset.findings": "dataset/",
        "ftsdk.catalogue": "catalogue/", "ftsdk.store": "store/", "ftsdk.artifacts": "artifacts/",
        "ftsdk.config": "records       config", "ftsdk.types": "types/", "ftsdk.util": "util/",
        "ftsdk.errors": "errors  ",
    }  # fmt: skip
    lines = {
        package: picture[: picture.index(text) + 1].count("\n") for package, text in shown.items()
    }
    order = {package: layer_of(package)[0] for package in shown}
    for upper in shown:
        for lower in shown:
            if order[upper] < order[lower]:
                assert lines[upper] < lines[lower], f"{upper} is above {lower} in LAYERS"
    tops = {".".join(name.split(".")[:2]) for name in modules()} - {"ftsdk.__init__"}
    known = {*shown, "ftsdk.dataset", "ftsdk.testing", "ftsdk.__main__", "ftsdk._version"}
    assert tops <= known, "a new package needs a place in the picture"
