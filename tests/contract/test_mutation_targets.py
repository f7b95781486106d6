"""The mutation tests name modules and test files that exist, and each module has tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.sites import Site, sample
from tests.mutation.targets import _TESTS, GROUPS, modules, suite_of

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "a = 1\nb = 2\nb = 2\n"


@pytest.mark.parametrize("prefix", [prefix for group in GROUPS.values() for prefix in group])
def test_each_prefix_names_a_module_with_tests(prefix: str) -> None:
    named = [path for path in modules(ROOT) if path.startswith(prefix)]
    assert named
    for path in named:
        assert all((ROOT / test).exists() for test in suite_of(path))


def test_no_list_of_tests_is_forgotten() -> None:
    for prefix, tests in _TESTS:
        assert any(suite_of(path) == tests for path in modules(ROOT)), prefix


def test_the_sample_depends_on_the_seed_and_not_on_other_modules() -> None:
    sites = [Site(path, "op", n, n + 1, 0, "x") for path in ("p.py", "q.py") for n in range(3)]
    sources = {"p.py": SOURCE, "q.py": SOURCE}
    chosen = sample(sites, sources, 4, seed=1)
    assert len(chosen) == 4
    assert chosen == sample(sites, sources, 4, seed=1)
    assert any(
        sample(sites, sources, 2, seed=n) != sample(sites, sources, 2, seed=1) for n in range(9)
    )
    moved = {**sources, "q.py": "# a comment\n" + SOURCE}
    later = [
        s if s.path == "p.py" else Site(s.path, "op", s.occurrence, s.line + 1, 0, "x")
        for s in sites
    ]
    again = sample(later, moved, 4, seed=1)
    assert [(s.path, s.occurrence) for s in again] == [(s.path, s.occurrence) for s in chosen]


def test_one_place_is_changed_once() -> None:
    sites = [Site("p.py", operator, 0, 1, 0, "1") for operator in ("one", "another")]
    assert len(sample(sites, {"p.py": SOURCE}, 5, seed=1)) == 1
