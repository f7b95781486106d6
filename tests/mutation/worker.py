"""Run test files in forks of one process that has imported the heavy packages already.

    python worker.py PACKAGE,PACKAGE,… COPY

Each line of the standard input is a request, `{"tests": […], "timeout_s": 60, "output": "path",
"only_collect": false}`. Each line of the standard output is a reply, `{"code": 1, "seconds": 1.5,
"failed": "…::test_name"}`: pytest's exit code, or null when the tests took too long, and the test that
failed. This file imports nothing of ftsdk: each fork imports the package from COPY as it is then.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest

_LOOK_EVERY_S = 0.02
_ONE_TEST_S = 60
_MOST_BYTES = 6 << 30  # a loop without an end may also fill the memory


class _Failed:
    """Writes the id of a test that failed to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure in any phase of a test."""
        if report.failed:
            self._path.write_text(report.nodeid)


def main() -> None:
    """Answer requests until the standard input ends."""
    packages, copy = sys.argv[1].split(","), sys.argv[2]
    os.chdir(copy)
    sys.path[0] = copy  # was the folder of this file
    os.environ["PYTHONPATH"] = copy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in packages:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    assert not any(name.partition(".")[0] in ("ftsdk", "tests") for name in sys.modules)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run the tests of a request in a fork and a process group of its own."""
    started = time.monotonic()
    note = Path(f"{request['output']}.failed")
    note.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        _run(request)
    code: int | None = None
    while time.monotonic() - started < request["timeout_s"]:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            break
        time.sleep(_LOOK_EVERY_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # servers and trainers that a failed test left behind
    if code is None:
        os.waitpid(child, 0)
    failed = note.read_text() if note.exists() else ""
    return {"code": code, "seconds": round(time.monotonic() - started, 2), "failed": failed}


def _run(request: dict[str, Any]) -> None:
    """Run pytest and end this process with its exit code."""
    code = 3
    try:
        os.setsid()
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if not request["only_collect"]:
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))
        options = [
            "-x",
            f"--timeout={_ONE_TEST_S}",
            "-q",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            "--tb=line",
            "--no-header",
        ]
        # anyio has a plugin of pytest, which cannot be rewritten any more: no test needs it.
        options += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
        if request["only_collect"]:
            options.append("--collect-only")
        failed = _Failed(Path(f"{request['output']}.failed"))
        code = int(pytest.main([*options, *request["tests"]], plugins=[failed]))
        import ftsdk

        if not ftsdk.__file__.startswith(str(Path.cwd())):
            print(f"ftsdk was imported from {ftsdk.__file__}", file=sys.stderr)
            code = 3
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
