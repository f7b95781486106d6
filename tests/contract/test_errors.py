"""Every error derives from the root, pickles without loss, and is in the tree of the docs."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from ftsdk import errors
from ftsdk.errors import FtsdkError

CLASSES = sorted(
    (
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, Exception)
    ),
    key=lambda cls: cls.__name__,
)
FACTS = {
    "where": "together, POST /v1/fine-tunes",
    "hint": "wait 30 s and try again",
    "retryable": True,
    "submitted": "maybe",
    "job_id": "ftj_01KB2T5C9GQ8Z2M4V7X1N6D3EF",
    "status_code": 429,
    "faults": ("a", "b"),
}


@pytest.mark.parametrize("cls", CLASSES)
def test_it_derives_from_the_root_and_is_listed(cls: type[FtsdkError]) -> None:
    assert issubclass(cls, FtsdkError)
    assert cls.__name__ in errors.__all__
    assert (cls.__doc__ or "").strip()


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("method", ["pickle", "copy", "deepcopy"])
def test_a_copy_keeps_every_field(cls: type[FtsdkError], method: str) -> None:
    error = cls("Together refused the job for now", **FACTS)
    back = {
        "pickle": lambda: pickle.loads(pickle.dumps(error)),
        "copy": lambda: copy.copy(error),
        "deepcopy": lambda: copy.deepcopy(error),
    }[method]()
    assert type(back) is cls
    assert str(back) == str(error)
    assert back.to_dict() == error.to_dict()
    for name, value in FACTS.items():
        assert getattr(back, name) == value, name


@pytest.mark.parametrize("cls", CLASSES)
def test_it_needs_no_arguments_and_prints_three_lines(cls: type[FtsdkError]) -> None:
    cls()
    lines = str(cls("One sentence", where="a place", hint="do this")).split("\n")
    assert lines == ["One sentence", "  where  a place", "  hint   do this"]


def test_codes_are_unique_and_lower_case() -> None:
    codes = [cls.code for cls in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_exit_codes_follow_the_branches() -> None:
    by_branch = {"UsageError": 2, "DatasetError": 3, "BackendError": 4, "JobError": 5}
    by_branch |= {"BudgetError": 6, "NeedsDecision": 7}
    for name, code in by_branch.items():
        assert getattr(errors, name).exit_code == code
    assert {cls.exit_code for cls in CLASSES} == {1, 2, 3, 4, 5, 6, 7}


def test_the_tree_in_the_docstring_matches_the_classes() -> None:
    drawn: dict[str, str] = {}
    for line in (errors.__doc__ or "").split("\n"):
        match = re.match(r"[├└]─ (\w+) +(.*)", line)
        if match:
            branch, rest = match.groups()
            drawn[branch] = "FtsdkError"
            drawn |= dict.fromkeys(re.findall(r"\b[A-Z]\w+\b", rest), branch)
    real = {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES if cls is not FtsdkError}
    assert drawn == real


def test_errors_have_standard_library_parents() -> None:
    assert issubclass(errors.WaitTimeout, TimeoutError)
    assert issubclass(errors.MissingExtra, ImportError)
    assert issubclass(errors.UnknownJob, LookupError)
    assert issubclass(errors.SpecError, ValueError)


def test_a_class_that_loses_a_field_is_found() -> None:
    class Lossy(FtsdkError):
        def __reduce__(self) -> tuple[object, ...]:
            return (FtsdkError, (self.what,))

    back = pickle.loads(pickle.dumps(Lossy("x", hint="y")))
    assert back.hint != "y"
