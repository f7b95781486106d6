"""The async classes have the same names and signatures as the sync ones, and nothing else."""

from __future__ import annotations

import inspect

import pytest

from ftsdk import AsyncClient, AsyncFineTuneJob, Client, FineTuneJob, ModelHandle
from ftsdk.async_client import AsyncModelHandle

PAIRS = [(Client, AsyncClient), (FineTuneJob, AsyncFineTuneJob)]
# For authors of backends and tools. They do no work that could be awaited.
SYNC_ONLY = {Client: {"journal", "backend"}}
# The context manager methods of each side.
CONTEXT_METHODS = {"__enter__": "__aenter__", "__exit__": "__aexit__"}


def public(cls: type) -> set[str]:
    return {name for name in vars(cls) if not name.startswith("_")}


@pytest.mark.parametrize(("plain", "awaited"), PAIRS)
def test_the_names_are_the_same(plain: type, awaited: type) -> None:
    assert public(plain) - SYNC_ONLY.get(plain, set()) == public(awaited)
    for sync_name, async_name in CONTEXT_METHODS.items():
        assert hasattr(plain, sync_name) == hasattr(awaited, async_name)


@pytest.mark.parametrize(("plain", "awaited"), PAIRS)
def test_the_signatures_are_the_same(plain: type, awaited: type) -> None:
    for name in sorted(public(awaited) | {"__init__"}):
        if isinstance(vars(awaited)[name], property):
            assert isinstance(vars(plain)[name], property), name
            continue
        if name == "__init__" and plain is FineTuneJob:
            continue  # handles are made by clients
        one = inspect.signature(getattr(plain, name)).parameters
        two = inspect.signature(getattr(awaited, name)).parameters
        assert [(p.name, p.kind, p.default) for p in one.values() if p.name != "self"] == [
            (p.name, p.kind, p.default) for p in two.values() if p.name != "self"
        ], name


@pytest.mark.parametrize(("plain", "awaited"), PAIRS)
def test_methods_are_coroutines_and_properties_are_not(plain: type, awaited: type) -> None:
    for name in public(awaited):
        value = vars(awaited)[name]
        if isinstance(value, property):
            continue
        assert inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value), name
        assert (inspect.getdoc(value) or "").strip(), name


def test_the_async_handle_has_every_method_with_a_request() -> None:
    with_requests = {
        name
        for name, value in vars(ModelHandle).items()
        if inspect.isfunction(value) and not name.startswith("_")
        and name not in ("bound_to", "made_by") and not name.startswith("model_")
    }  # fmt: skip
    assert with_requests == {name for name in vars(AsyncModelHandle) if not name.startswith("_")}


def test_a_missing_method_is_found() -> None:
    class Extended(Client):
        def extra(self) -> None: ...

    assert public(Extended) - public(AsyncClient) == {"extra"}
