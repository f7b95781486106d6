"""The floors: a module imports only floors below its own, and rooms keep to themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "ftsdk"

FLOORS: dict[str, tuple[str, ...]] = {
    "words": ("errors", "types", "util", "_version"),
    "tools": ("config", "dataset", "catalogue", "store", "artifacts"),
    "backends": ("backends",),
    "jobs": (
        "client", "async_client", "jobs", "planning", "deployments", "spending", "webhooks",
    ),
    "face": ("",),  # ftsdk/__init__.py: the public names
    "doors": ("cli", "gateway"),
    "start": ("__main__",),  # python -m ftsdk
    "beside": ("testing", "lab"),  # may use everything; nothing may use it
}  # fmt: skip
ORDER = list(FLOORS)
KEEP_APART = {"tools", "doors"}
LAB_DOOR = "ftsdk.cli.commands.lab"  # `ftsdk lab` is the one door into what stands beside
# What backends share (`hosted`: keys, errors, reads, uploads); the other modules are rooms.
SHARED_BACKEND_ROOMS = {
    "",
    "base",
    "capabilities",
    "hosted",
    "refusals",
    "registry",
    "upload_progress",
}


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        found[".".join(parts)] = path
    return found


def imports(
    tree: ast.AST, module: str, known: set[str], *, is_package: bool = False
) -> Iterator[tuple[str, int]]:
    """Every module of ours that `tree` imports, wherever in the file, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "ftsdk":
                    yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".")
                package = package[: len(package) - node.level + (1 if is_package else 0)]
                base = ".".join([*package, base]).rstrip(".")
            if base.split(".")[0] == "ftsdk":
                for alias in node.names:
                    full = f"{base}.{alias.name}"
                    yield (full if full in known else base), node.lineno


def floor(module: str) -> str:
    room = module.removeprefix("ftsdk").lstrip(".").split(".")[0]
    for name, rooms in FLOORS.items():
        if room in rooms:
            return name
    raise AssertionError(f"{module} has no floor: give it one in FLOORS, and in docs/explanation")


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def backend_room(module: str) -> str:
    parts = module.split(".")
    return parts[2] if len(parts) > 2 else ""


def faults(module: str, source: str, known: set[str], *, is_package: bool = False) -> list[str]:
    here = floor(module)
    wrong = []
    for target, line in imports(ast.parse(source), module, known, is_package=is_package):
        there = floor(target)
        told = f"{module}:{line} imports {target}"
        if there == "beside" and module == LAB_DOOR:
            continue
        if there == "beside" and here != "beside":
            wrong.append(f"{told}: nothing imports what stands beside")
        elif ORDER.index(there) > ORDER.index(here):
            wrong.append(f"{told}: {there} is above {here}")
        elif here == there and here in KEEP_APART and room(module) != room(target):
            wrong.append(f"{told}: rooms of the floor {here} do not import each other")
        elif here == there == "backends":
            own, other = backend_room(module), backend_room(target)
            if own != other and other not in SHARED_BACKEND_ROOMS:
                wrong.append(f"{told}: backends do not import each other")
    return wrong


def test_every_module_keeps_to_its_floor() -> None:
    found = modules()
    assert len(found) > 20
    wrong = [
        fault
        for module, path in found.items()
        for fault in faults(
            module, path.read_text(), set(found), is_package=path.name == "__init__.py"
        )
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "line", "is_wrong"),
    [
        ("ftsdk.errors", "from ftsdk.config import nearest", True),
        ("ftsdk.store.journal", "from ftsdk.dataset import Dataset", True),
        ("ftsdk.store.journal", "from ftsdk.store.migrations import MIGRATIONS", False),
        ("ftsdk.store.journal", "def f():\n    import ftsdk.client", True),
        ("ftsdk.backends.fake", "from ftsdk.backends.local import LocalBackend", True),
        ("ftsdk.backends.fake", "from ftsdk.backends.base import Backend", False),
        ("ftsdk.backends.fake", "from .base import Backend", False),
        ("ftsdk.backends.local.models.hub", "from ... import fake", True),
        ("ftsdk.client", "from ftsdk.cli import main", True),
        ("ftsdk.client", "from ftsdk.testing import faults", True),
        ("ftsdk.cli.app", "from ftsdk.client import Client", False),
        ("ftsdk.testing.conformance", "from ftsdk.client import Client", False),
    ],
)
def test_the_rule_catches_what_it_should(module: str, line: str, is_wrong: bool) -> None:
    known = {*modules(), "ftsdk.testing", "ftsdk.testing.faults", "ftsdk.backends.fake"}
    assert bool(faults(module, line, known)) is is_wrong


def top_level(tree: ast.Module) -> ast.Module:
    """The statements that run at import: no functions, nothing under `if TYPE_CHECKING`."""

    def runs(node: ast.stmt) -> bool:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return False
        return not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))

    return ast.Module(body=[node for node in tree.body if runs(node)], type_ignores=[])


def test_no_import_goes_round_in_a_circle() -> None:
    found = modules()
    edges = {
        module: {
            target
            for target, _ in imports(
                top_level(ast.parse(path.read_text())),
                module,
                set(found),
                is_package=path.name == "__init__.py",
            )
            if target != module
        }
        for module, path in found.items()
    }
    done: set[str] = set()

    def walk(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join([*trail[trail.index(module) :], module])
        if module in done:
            return
        for target in sorted(edges.get(module, ())):
            walk(target, (*trail, module))
        done.add(module)

    for module in sorted(edges):
        walk(module, ())
