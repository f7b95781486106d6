"""Every public name is listed and documented, and every listed name exists."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import pydoc
from pathlib import Path

import pytest

import ftsdk
import ftsdk.errors
import ftsdk.types

INIT = Path(ftsdk.__file__)
TREE = ast.parse(INIT.read_text())

EXPECTED_FUNCTIONS = {
    "create_job", "get_job", "list_jobs", "adopt_job", "plan", "validate", "reconcile", "resolve",
}  # fmt: skip


def test_all_is_sorted_and_without_duplicates() -> None:
    assert sorted(ftsdk.__all__) == sorted(set(ftsdk.__all__))
    assert set(ftsdk.__all__) >= EXPECTED_FUNCTIONS


def test_every_name_exists_and_is_in_dir() -> None:
    for name in ftsdk.__all__:
        assert getattr(ftsdk, name) is not None
    assert set(ftsdk.__all__) <= set(dir(ftsdk))


def test_dir_has_nothing_but_public_names() -> None:
    extra = set(dir(ftsdk)) - set(ftsdk.__all__)
    assert {name for name in extra if not name.startswith("__")} == set()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="create_jobs"):
        _ = ftsdk.create_jobs  # type: ignore[attr-defined]  # the point of the test


def test_star_import_gives_exactly_these() -> None:
    space: dict[str, object] = {}
    exec("from ftsdk import *", space)
    assert set(space) - {"__builtins__"} == set(ftsdk.__all__)


def test_type_checkers_see_the_same_names() -> None:
    """The block under TYPE_CHECKING is written by hand and must agree with `__all__`."""
    block = next(
        node
        for node in TREE.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = set()
    for node in ast.walk(block):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ftsdk"):
            seen |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            seen |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    hidden = {name for name in seen if name.startswith("_")}
    assert seen - hidden == set(ftsdk.__all__) - {
        "__version__",
        "default_client",
        "reset_default_client",
    }


@pytest.mark.parametrize("name", sorted(set(ftsdk.__all__) - {"__version__"}))
def test_every_public_name_and_member_has_a_docstring(name: str) -> None:
    thing = getattr(ftsdk, name)
    assert (inspect.getdoc(thing) or "").strip(), f"ftsdk.{name}"
    if not inspect.isclass(thing):
        return
    for member, value in vars(thing).items():
        if member.startswith("_") or not (
            inspect.isfunction(value) or isinstance(value, property | classmethod)
        ):
            continue
        assert (inspect.getdoc(value) or "").strip(), f"ftsdk.{name}.{member}"


@pytest.mark.parametrize("name", sorted(EXPECTED_FUNCTIONS))
def test_module_functions_match_the_client_methods(name: str) -> None:
    ours = getattr(ftsdk, name)
    theirs = getattr(ftsdk.Client, name)
    assert ours.__doc__ == theirs.__doc__
    assert ours.__name__ == name
    assert name in pydoc.render_doc(ours)
    wanted = [p for p in inspect.signature(theirs).parameters.values() if p.name != "self"]
    assert list(inspect.signature(ours).parameters.values()) == wanted, "help() shows the arguments"


PUBLIC_MODULES = [
    ftsdk.errors,
    *(
        importlib.import_module(f"ftsdk.types.{found.name}")
        for found in pkgutil.iter_modules(ftsdk.types.__path__)
    ),
]


@pytest.mark.parametrize("module", PUBLIC_MODULES, ids=lambda module: module.__name__)
def test_modules_list_what_they_define(module: object) -> None:
    own = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and inspect.isclass(value)
        and value.__module__ == module.__name__  # type: ignore[attr-defined]  # a module
    }
    assert own <= set(module.__all__)  # type: ignore[attr-defined]  # the same
