"""Where every error ends: three plain lines, or one JSON document, and the right exit code."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import platform
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from ftsdk._version import __version__
from ftsdk.cli.view.findings import show_findings
from ftsdk.cli.view.formatting import clean_block, clean_line, redact
from ftsdk.cli.view.output import emit, labelled, note
from ftsdk.errors import DatasetError, FtsdkError, JobFailed, UsageError

INTERRUPTED = 130
_PIPE_CLOSED = 141  # 128 + SIGPIPE, as for any program in a pipe
_CommandLineError: type[Exception] = typer.BadParameter.__bases__[0]
"""Click's `UsageError`, which Typer carries under a private name in some versions."""


def wants_json(words: Sequence[str]) -> bool:
    """Return whether `--json` is among the options, before they are parsed."""
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options


def guarded(run: Callable[[], None], *, as_json: bool) -> int:
    """Call `run`, print its error if it raises one, and return the exit code."""
    try:
        code = _exit_code(run, as_json)
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads any more; the interpreter's own flush at exit must not complain.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return code


def _exit_code(run: Callable[[], None], as_json: bool) -> int:
    try:
        run()
    except typer.Exit as done:
        return done.exit_code
    except FtsdkError as error:
        show_error(error, as_json=as_json)
        return error.exit_code
    except _CommandLineError as error:
        show_error(_usage_error(error), as_json=as_json)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        if as_json:
            interrupted = FtsdkError("Interrupted", hint="run it again; running jobs go on")
            show_error(interrupted, as_json=True)
        else:
            print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  # the last resort: report it, keep the traceback, exit 1
        show_error(_bug(error), as_json=as_json)
        return 1
    return 0


def show_error(error: FtsdkError, *, as_json: bool) -> None:
    """Print the error: JSON on standard output, or its three lines on standard error."""
    if as_json:
        document: dict[str, Any] = {"error": redact(error.to_dict())}
        if isinstance(error, DatasetError) and error.report is not None:
            document["report"] = error.report.to_dict()
        if isinstance(error, JobFailed):
            document["error"]["log_tail"] = redact(list(error.log_tail))
        emit({**document, **getattr(error, "beside", {})})
        return
    if isinstance(error, DatasetError) and error.report is not None:
        show_findings(error.report, stderr=True)
        return  # the report names every fault, with its place and how to fix it
    for line in error.log_tail if isinstance(error, JobFailed) else ():
        note(("  │ ", "red"), (clean_line(redact(line))[:400], "dim"))
    first, *rest = clean_block(redact(str(error))).split("\n")
    note(("✗ ", "red"), (first or type(error).__name__, "bold"))
    lines = (line.strip().partition(" ") for line in rest)
    labelled([(label, value.strip()) for label, _, value in lines], label=6, stderr=True)


def _usage_error(error: Exception) -> UsageError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "ftsdk"
    what = str(error.format_message() if hasattr(error, "format_message") else error)
    return UsageError(what.strip().rstrip("."), where=f"`{path}`", hint=f"{path} --help")


def _bug(error: Exception) -> FtsdkError:
    if os.environ.get("FTSDK_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    path = _write_traceback(error)
    return FtsdkError(
        f"This is a bug in ftsdk: {type(error).__name__}: {error}"[:500],
        where=f"its traceback is in {path}" if path else "its traceback could not be saved",
        hint="please report it with that file; `ftsdk list` shows your jobs",
    )


def _write_traceback(error: Exception) -> Path | None:
    """Save the traceback, without secrets and readable by its owner alone; None where that fails."""
    # Only after a bug: the configuration and the files are not needed to show other errors.
    from ftsdk.config import default_home
    from ftsdk.util.files import atomic_write_bytes, make_private_folder

    now = dt.datetime.now(dt.UTC)
    lines = "".join(traceback.format_exception(error))
    head = (
        f"ftsdk {__version__}, Python {platform.python_version()}, {platform.platform()}, {now}\n"
    )
    body = redact(head + lines, os.environ)
    try:
        folder = make_private_folder(make_private_folder(default_home()) / "faults")
        path = folder / f"{now:%Y%m%d-%H%M%S-%f}.txt"
        atomic_write_bytes(path, body.encode("utf-8", "backslashreplace"))
    except OSError:
        return None  # the home itself may be what is broken
    return path
