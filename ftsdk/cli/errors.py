"""Where every error ends: three plain lines (or one JSON document) and the right exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from ftsdk.errors import DatasetError, FtsdkError, JobFailed, UsageError

__all__ = ["INTERRUPTED", "Root"]

INTERRUPTED = 130
_PIPE_CLOSED = 141  # 128 + SIGPIPE, as for any program in a pipe
_WrongUse: type[Exception] = typer.BadParameter.__bases__[
    0
]  # click's UsageError, wherever it lives


class Root(TyperGroup):
    """The command group that lets no traceback through."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,  # noqa: ARG002  # the base's signature; no globs here
        **extra: Any,
    ) -> Any:
        """Run the command line with `args`; exits with its code, or returns it."""
        words = list(sys.argv[1:] if args is None else args)

        def go() -> None:
            self._main_shell_completion(extra, prog_name or "ftsdk", complete_var)
            with self.make_context(prog_name or "ftsdk", words, **extra) as context:
                self.invoke(context)

        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")  # an old locale must not end a command
        code = guarded(go, as_json=wants_json(words))
        if standalone_mode:
            sys.exit(code)
        return code


def wants_json(words: Sequence[str]) -> bool:
    """Whether `--json` is among the options, before they are parsed: errors of use obey it, too."""
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options


def guarded(go: Callable[[], None], *, as_json: bool) -> int:
    """Run `go`; print what went wrong, if anything, and give the exit code."""
    try:
        code = _run(go, as_json)
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads any more; the interpreter's own flush at exit must not complain.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return code


def _run(go: Callable[[], None], as_json: bool) -> int:
    try:
        go()
    except typer.Exit as done:
        return done.exit_code
    except FtsdkError as error:
        show_error(error, as_json=as_json)
        return error.exit_code
    except _WrongUse as error:
        show_error(_wrong_use(error), as_json=as_json)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        if as_json:
            interrupted = FtsdkError("Interrupted", hint="run it again; jobs that run go on")
            show_error(interrupted, as_json=True)
        else:
            print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  # the last line of defence: said, written down, exit 1
        show_error(_own_fault(error), as_json=as_json)
        return 1
    return 0


def show_error(error: FtsdkError, *, as_json: bool) -> None:
    """Print the error: JSON on standard output, or its three lines on standard error."""
    from ftsdk.cli.view.formatting import clean_block, clean_line, redact
    from ftsdk.cli.view.output import emit, labelled, note

    if as_json:
        document: dict[str, Any] = {"error": redact(error.to_dict())}
        if isinstance(error, DatasetError) and error.report is not None:
            document["report"] = error.report.to_dict()
        if isinstance(error, JobFailed):
            document["error"]["log_tail"] = redact(list(error.log_tail))
        emit({**document, **getattr(error, "beside", {})})
        return
    if isinstance(error, DatasetError) and error.report is not None:
        from ftsdk.cli.commands.validate import show_findings

        show_findings(error.report, stderr=True)
    for line in error.log_tail if isinstance(error, JobFailed) else ():
        note(("  │ ", "red"), (clean_line(redact(line))[:400], "dim"))
    first, *rest = clean_block(redact(str(error))).split("\n")
    note(("✗ ", "red"), (first or type(error).__name__, "bold"))
    lines = (line.strip().partition(" ") for line in rest)
    labelled([(word, value.strip()) for word, _, value in lines], label=6, stderr=True)


def _wrong_use(error: Exception) -> UsageError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "ftsdk"
    what = str(error.format_message() if hasattr(error, "format_message") else error)
    return UsageError(what.strip().rstrip("."), where=f"`{path}`", hint=f"{path} --help")


def _own_fault(error: Exception) -> FtsdkError:
    if os.environ.get("FTSDK_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    path = _write_down(error)
    return FtsdkError(
        f"This is a fault of ftsdk, not of yours: {type(error).__name__}: {error}"[:500],
        where=f"its traceback is in {path}" if path else "its traceback could not be written down",
        hint="please report it with that file; `ftsdk list` tells where your jobs stand",
    )


def _write_down(error: Exception) -> Path | None:
    """Keep the traceback for its owner alone, without secrets; None where nothing can be written."""
    import datetime as dt
    import platform

    from ftsdk._version import __version__
    from ftsdk.cli.view.formatting import redact
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
