"""The layers: a module imports only what is below it, however the import is written.

Imports count wherever they are: at the top of a file, inside a function, and under
`if TYPE_CHECKING`. `LAYERS` is the one table; docs/explanation/picture.md shows it as a picture.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "ftsdk"

LAYERS: tuple[tuple[str, ...], ...] = (
    # From the top. A package imports only from lines below its own; on one line, packages do not
    # import each other. The longest name that fits a module decides.
    ("ftsdk.__main__",),
    ("ftsdk.cli.__init__",),
    ("ftsdk.cli.app",),
    ("ftsdk.cli.commands",),
    ("ftsdk.cli",),
    ("ftsdk.testing.conformance",),
    ("ftsdk.testing.lab", "ftsdk.testing.__init__"),
    ("ftsdk.__init__",),  # the public names
    ("ftsdk.serve",),
    ("ftsdk.async_client", "ftsdk.webhooks"),
    ("ftsdk.client",),
    ("ftsdk.migration",),
    ("ftsdk.evaluation",),
    ("ftsdk.jobs",),
    ("ftsdk.planning", "ftsdk.deployments"),
    ("ftsdk.spending",),
    ("ftsdk.session",),
    ("ftsdk.exporting",),
    (
        "ftsdk.backends.fake",
        "ftsdk.backends.local",
        "ftsdk.backends.openai",
        "ftsdk.backends.replicate",
        "ftsdk.backends.together",
    ),
    ("ftsdk.backends.hosted",),
    ("ftsdk.backends.__init__",),
    ("ftsdk.backends",),
    ("ftsdk.dataset.__init__",),
    ("ftsdk.dataset.code_docs",),
    ("ftsdk.dataset.validation",),
    ("ftsdk.dataset.codes",),
    ("ftsdk.dataset.conversion",),
    ("ftsdk.dataset.dataset",),
    ("ftsdk.dataset.inspection", "ftsdk.dataset.splitting"),
    ("ftsdk.dataset.reader",),
    ("ftsdk.dataset.rules",),
    ("ftsdk.dataset.provider_limits",),
    ("ftsdk.dataset.formats", "ftsdk.dataset.tokenize"),
    ("ftsdk.dataset.readers",),
    ("ftsdk.dataset.row",),
    ("ftsdk.dataset.findings",),
    ("ftsdk.catalogue", "ftsdk.store", "ftsdk.artifacts"),
    ("ftsdk.config",),
    ("ftsdk.types",),
    ("ftsdk.util",),
    ("ftsdk.errors",),
    ("ftsdk._version",),
)
WITHIN: Mapping[str, tuple[tuple[str, ...], ...]] = {
    # The order inside a large package, from the top.
    "ftsdk.backends.local": (
        ("backend", "__init__"),
        ("fits", "losses"),
        ("inference", "serving"),
        ("job_base",),
        ("local_model", "memory", "result", "trainability"),
        ("expected_time",),
        ("status",),
        ("training",),
        ("compute", "runs", "models"),
        ("parent", "device_options"),
        ("options", "limits", "fault", "adapter_names"),
        ("reports", "method_options", "optimizers", "text_pieces"),
    ),
}
EXCEPTIONS = {
    # importer, imported: why
    ("ftsdk.cli.commands.lab", "ftsdk.testing.lab"): "`ftsdk lab` starts the doubles",
}

LATE = {
    # Modules that import ours inside functions: why. Everything else imports at its top.
    "ftsdk.__init__": "`import ftsdk` loads a name when it is first used",
    "ftsdk.backends.local.compute.hardware": "what it imports needs torch",
    "ftsdk.backends.local.local_model": "what it imports needs torch",
    "ftsdk.backends.local.serving.process": "what it imports needs torch",
    "ftsdk.backends.local.training.compiling": "what it imports needs torch",
    "ftsdk.backends.local.training.forward": "what it imports needs torch",
    "ftsdk.backends.local.training.model": "what it imports needs torch",
    "ftsdk.backends.local.training.noise": "what it imports needs torch",
    "ftsdk.backends.local.training.verify": "what it imports needs torch",
    "ftsdk.client": "an inventory is rare, and its records take as long to load as the rest",
    "ftsdk.exporting.export": "what it imports needs torch",
    "ftsdk.jobs.job": "what counts chats and exports is needed only for a model",
    "ftsdk.jobs.kept_rows": "the dataset package is not needed to list jobs",
    "ftsdk.migration.inventory": "the dataset package is not needed to list jobs",
    "ftsdk.planning.checks": "data is rarely part of a capture",
    "ftsdk.planning.data_notices": "the dataset package is not needed to list jobs",
    "ftsdk.planning.prepare": "the dataset package is not needed to list jobs",
    "ftsdk.planning.token_bill": "the rules of the dataset package are not needed to list jobs",
    "ftsdk.planning.report": "the dataset package is not needed to list jobs",
    "ftsdk.cli.__init__": "`--help` and completion load no command",
    "ftsdk.cli.app": "`--help` and completion load no command",
    "ftsdk.cli.completion": "`--help` and completion load no command",
    "ftsdk.cli.errors": "errors are rare",
    "ftsdk.cli.commands.serve": "what it imports needs starlette, which is an extra",
    "ftsdk.cli.commands.list_jobs": "a list of ended jobs loads no client",
    "ftsdk.cli.spending_check": "it loads the client only where something may cost money",
}


@dataclass(frozen=True)
class Import:
    """One import of ours: which module imports which, and on which line."""

    module: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


@functools.cache
def modules() -> Mapping[str, Path]:
    """Every module of ftsdk by its dotted name; a package's own file ends in `__init__`."""
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imports_of(module: str, source: str, known: set[str]) -> Iterator[Import]:
    """Every import of ours in a module: top level, in functions, under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "ftsdk":
                    yield Import(module, _file_of(alias.name, known), node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")[: -node.level]
                base = ".".join([*parts, *([node.module] if node.module else [])])
            if base.split(".")[0] != "ftsdk":
                continue
            for alias in node.names:
                inner = _file_of(f"{base}.{alias.name}", known)
                yield Import(
                    module, inner if inner in known else _file_of(base, known), node.lineno
                )


def _file_of(name: str, known: set[str]) -> str:
    return f"{name}.__init__" if f"{name}.__init__" in known else name


def layer_of(module: str) -> tuple[int, str]:
    """The line of a module in `LAYERS`, and the entry that places it there."""
    fits = [
        (len(entry), number, entry)
        for number, line in enumerate(LAYERS)
        for entry in line
        if module == entry or module.startswith(f"{entry}.")
    ]
    if not fits:
        raise AssertionError(f"{module} has no layer: add it to LAYERS and to the picture")
    _, number, entry = max(fits)
    return number, entry


def upward(one: Import) -> str | None:
    """Why an import is not allowed, or None."""
    for (importer, imported), _reason in EXCEPTIONS.items():
        if one.module == importer and one.target.startswith(imported):
            return None
    here, entry = layer_of(one.module)
    there, other = layer_of(one.target)
    if there < here:
        return f"{one}: upwards, from {entry} to {other}"
    if there == here and entry != other:
        return f"{one}: {entry} and {other} do not import each other"
    if entry == other and entry in WITHIN:
        return _upward_within(one, entry)
    return None


def _upward_within(one: Import, package: str) -> str | None:
    order = WITHIN[package]

    def place(module: str) -> int:
        first = module.removeprefix(f"{package}.").split(".")[0]
        for number, line in enumerate(order):
            if first in line:
                return number
        raise AssertionError(f"{module} has no place in WITHIN[{package!r}]")

    if place(one.target) < place(one.module):
        return f"{one}: upwards inside {package}"
    return None


def circles(edges: Mapping[str, set[str]]) -> list[str]:
    """Every circle that a depth-first walk finds, as `a → b → a`."""
    found: list[str] = []
    state: dict[str, str] = {}

    def walk(module: str, trail: tuple[str, ...]) -> None:
        if state.get(module) == "open":
            found.append(" → ".join([*trail[trail.index(module) :], module]))
            return
        if module in state:
            return
        state[module] = "open"
        for target in sorted(edges.get(module, ())):
            walk(target, (*trail, module))
        state[module] = "done"

    for module in sorted(edges):
        walk(module, ())
    return found


@functools.cache
def all_imports() -> tuple[Import, ...]:
    """Every import of the package."""
    known = set(modules())
    return tuple(
        one
        for module, path in modules().items()
        for one in imports_of(module, path.read_text(), known)
    )


def graph() -> dict[str, set[str]]:
    """Which modules each module imports."""
    edges: dict[str, set[str]] = {module: set() for module in modules()}
    for one in all_imports():
        if one.target != one.module:
            edges[one.module].add(one.target)
    return edges


def test_no_import_goes_upwards(capsys: pytest.CaptureFixture[str]) -> None:
    found, everything = modules(), all_imports()
    wrong = [why for one in everything if (why := upward(one)) is not None]
    with capsys.disabled():
        packages = {module.rsplit(".", 1)[0] for module in found}
        print(
            f"\n{len(found)} modules in {len(packages)} packages, {len(everything)} imports, "
            f"{len(LAYERS)} layers: {len(wrong)} upwards"
        )
    assert wrong == []


def test_no_import_goes_in_a_circle() -> None:
    edges = graph()
    assert circles(edges) == []


def late_imports(source: str) -> list[int]:
    """The lines on which a function imports something of ours."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return sorted(
        {
            inner.lineno
            for node in ast.walk(ast.parse(source))
            if isinstance(node, functions)
            for inner in ast.walk(node)
            if isinstance(inner, ast.Import | ast.ImportFrom) and "ftsdk" in ast.unparse(inner)
        }
    )


def test_functions_import_ours_only_where_it_pays() -> None:
    found = {module for module, path in modules().items() if late_imports(path.read_text())}
    assert found == set(LATE)
    assert late_imports("def f():\n    from ftsdk.client import Client") == [2]


@pytest.mark.parametrize(
    "back",
    [
        "from ftsdk.store.journal import Journal",
        "def f():\n    from ftsdk.store.journal import Journal",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ftsdk.store import journal",
        "import ftsdk.store.journal",
        "from .journal import Journal",
    ],
)
def test_a_planted_circle_is_found_and_spelled_out(back: str) -> None:
    edges = graph()
    planted = imports_of("ftsdk.store.migrations", back, set(edges))
    edges["ftsdk.store.migrations"] |= {one.target for one in planted}
    [circle] = circles(edges)
    assert "ftsdk.store.journal → ftsdk.store.migrations" in circle


@pytest.mark.parametrize(
    ("module", "line", "is_wrong"),
    [
        ("ftsdk.errors", "from ftsdk.config import Config", True),
        ("ftsdk.store.journal", "from ftsdk.dataset import Dataset", True),
        ("ftsdk.store.journal", "from ftsdk.store.migrations import MIGRATIONS", False),
        ("ftsdk.store.journal", "def f():\n    import ftsdk.client", True),
        ("ftsdk.spending.cap", "if TYPE_CHECKING:\n    from ftsdk.client import Client", True),
        ("ftsdk.backends.fake", "from ftsdk.backends.local import LocalBackend", True),
        ("ftsdk.backends.fake", "from ftsdk.backends.base import Backend", False),
        ("ftsdk.backends.fake", "from .base import Backend", False),
        ("ftsdk.backends.local.models.hub", "from ... import fake", True),
        ("ftsdk.backends.local.models.hub", "from ftsdk.backends.local import backend", True),
        ("ftsdk.planning.prepare", "from ftsdk.deployments.deploy import deploy", True),
        ("ftsdk.client", "from ftsdk.cli import main", True),
        ("ftsdk.client", "from ftsdk.testing.lab import Lab", True),
        ("ftsdk.cli.app", "from ftsdk.client import Client", False),
        ("ftsdk.cli.view.output", "from ftsdk.cli.commands.show import show", True),
        ("ftsdk.testing.conformance.world", "from ftsdk.client import Client", False),
    ],
)
def test_the_rule_catches_what_it_should(module: str, line: str, is_wrong: bool) -> None:
    known = set(modules())
    assert any(upward(one) for one in imports_of(module, line, known)) is is_wrong
