"""No exception class of an SDK or an HTTP library is left unmapped."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import pytest

from ftsdk.backends.hosted.exception_table import RULES

pytest.importorskip("httpx")


def modules():
    import importlib

    names = (
        "httpx",
        "httpx2",
        "openai",
        "openai._exceptions",
        "together",
        "together._exceptions",
        "replicate.exceptions",
    )
    for name in names:
        try:
            yield importlib.import_module(name)
        except ModuleNotFoundError:
            continue


def test_no_exception_class_is_unmapped():
    missing, seen = set(), 0
    for module in modules():
        for cls in list(vars(module).values()):
            if not (inspect.isclass(cls) and issubclass(cls, Exception)):
                continue
            seen += 1
            if cls.__name__ not in RULES:
                missing.add(f"{cls.__module__}.{cls.__name__}")
    assert not missing
    assert seen > 40


EVERY_CLASS = """
import importlib, inspect, json, pkgutil, sys, warnings
warnings.simplefilter("ignore")
classes = {}
for root in sys.argv[1:]:
    try:
        package = importlib.import_module(root)
    except ModuleNotFoundError:
        continue
    modules = [package]
    for entry in pkgutil.walk_packages(package.__path__, root + ".", onerror=lambda _: None):
        try:
            modules.append(importlib.import_module(entry.name))
        except (ImportError, SystemExit):
            continue  # what needs a package that is not there raises nothing here
    for module in modules:
        for cls in vars(module).values():
            if inspect.isclass(cls) and issubclass(cls, Exception) and not issubclass(cls, Warning):
                if cls.__module__.split(".")[0] == root:
                    classes[f"{cls.__module__}.{cls.__name__}"] = [one.__name__ for one in cls.__mro__]
print(json.dumps(classes))
"""
NOT_OURS = {
    "openai.auth._x509": "signing in with a certificate; we give keys",
    "openai.lib.": "helpers for agents, browsers and tools, which we do not call",
    "together.lib.cli.": "the command line of together",
    "together.post_training.": "loops over Tinker's protocol, which we do not call",
    "replicate.webhook": "we have a verifier of our own",
    "httpcore.ConnectionNotAvailable": "between httpcore and its own pool",
}


def test_no_exception_class_in_any_module_is_unmapped():
    """Those that a package raises and does not show at its top, too."""
    roots = ("httpx", "httpx2", "httpcore", "openai", "together", "replicate")
    result = subprocess.run(
        [sys.executable, "-c", EVERY_CLASS, *roots], capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stderr[-2000:]
    classes = json.loads(result.stdout.split("\n")[-2])
    missing = [
        name
        for name, above in classes.items()
        if not set(above) & set(RULES) and not name.startswith(tuple(NOT_OURS))
    ]
    assert missing == []
    assert len(classes) > 40
