"""Takes the steps of a documentation page as a reader would: an empty folder, a shell, a Python."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

from tests.docs_pages import Block, Command, Page, first_missing, sorted_extra

INSTALL = re.compile(
    r"^(?:python3? -m )?pip install '?ftsdk(?:\[(?P<extra>[a-z,]+)\])?'?(?:\s*#.*)?$"
)
VENV = re.compile(
    r"^python3? -m venv \S+(?: && source \S+/activate)?(?:\s*#.*)?$|^source \S+/activate$"
)
STEP_TIMEOUT_S = 400.0


class PageError(AssertionError):
    """A step of a page did not work for its reader."""


class Reader:
    """A person at a shell in an empty folder, who takes the steps of one page in order.

    `python` is the interpreter of the environment in which the page is read. `folder` is made
    here; the home and the working folder inside it are empty. Nothing of the caller's environment
    is seen but the settings of this machine's network.
    """

    KEPT = re.compile(
        r"PIP_\w+|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|\w+_proxy|SYSTEMROOT",
        re.IGNORECASE,
    )

    def __init__(self, page: Page, python: Path, folder: Path) -> None:
        self.page = page
        self.python = python
        self.home = folder / "home"
        self.work = folder / "work"
        self._scratch = folder / "scratch"
        for place in (self.home, self.work, self._scratch):
            place.mkdir(parents=True)
        self._log_path = self._scratch / "log"
        self._log: IO[bytes] = self._log_path.open("ab")
        self._shell: _Shell | None = None
        self._repl: _Repl | None = None

    def __enter__(self) -> Self:
        kept = {name: value for name, value in os.environ.items() if self.KEPT.fullmatch(name)}
        env = {
            **kept,
            "PATH": os.pathsep.join([str(self.python.parent), "/usr/bin", "/bin"]),
            "HOME": str(self.home),
            "TMPDIR": str(self._scratch),
            "LANG": "C.UTF-8",
        }
        self._shell = _Shell(env, self.work, self._scratch, self._log)
        return self

    def __exit__(self, *_: object) -> None:
        for session in (self._repl, self._shell):
            if session is not None:
                session.close()
        end_processes_of(self.home)
        self._log.close()

    @property
    def output(self) -> str:
        """All that was printed so far."""
        self._log.flush()
        return self._log_path.read_text(encoding="utf-8", errors="replace")

    def read(self) -> int:
        """Take every step; the number of blocks that ran. Raises `PageError` at the first failure."""
        for block in self.page.steps:
            self._take(block)
        return len(self.page.steps)

    def _take(self, block: Block) -> None:
        if block.file is not None:
            path = self.work / block.file
            if not path.resolve().is_relative_to(self.work.resolve()):
                raise self._failed(block.line, f"{block.file} lies outside the reader's folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            self._python(block)
        else:
            for command in block.commands():
                self._type(command, compared=block.compared)

    def _type(self, command: Command, *, compared: bool) -> None:
        assert self._shell is not None
        install = INSTALL.match(command.text)
        if install is not None:
            if sorted_extra(install["extra"]) != self.page.extra:
                raise self._failed(command.line, f"`{command.text}` is not what the page needs")
            return
        if VENV.match(command.text):
            return
        before = len(self.output)
        code = self._shell.run(command.text)
        if code != command.exit_code:
            wanted = f", and the page says {command.exit_code}" if command.exit_code else ""
            raise self._failed(command.line, f"`{command.text}` ended with {code}{wanted}")
        if compared:
            missing = first_missing(command.shown, self.output[before:])
            if missing is not None:
                raise self._failed(command.line, f"the output has no such line: {missing}")

    def _python(self, block: Block) -> None:
        assert self._shell is not None
        if self._repl is None:
            env = self._shell.environment()
            self._repl = _Repl(self.python, env, Path(env["PWD"]), self._scratch, self._log)
        code = self._repl.run(block.text, self.page.path, block.line)
        if code != 0:
            raise self._failed(block.line, "the Python block failed")

    def _failed(self, line: int, why: str) -> PageError:
        return PageError(f"{self.page.path}:{line}: {why}\n{self.output[-6000:]}")


class _Shell:
    """One bash session. Commands come as files that it sources, so none of them reads the next."""

    def __init__(self, env: Mapping[str, str], cwd: Path, scratch: Path, log: IO[bytes]) -> None:
        self._scratch = scratch
        self._count = 0
        self._log = log
        self._reply, write = os.pipe()
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, cwd=cwd, env=dict(env),
            pass_fds=[write], start_new_session=True,
        )  # fmt: skip
        os.close(write)
        self._fd = write

    def run(self, command: str) -> int:
        """The exit code of a command, which is typed into the session."""
        self._count += 1
        file = self._scratch / f"{self._count}.sh"
        file.write_text(command + "\n", encoding="utf-8")
        self._log.write(f"$ {command}\n".encode())
        self._log.flush()
        size = self._size()
        stdin = self._process.stdin
        assert stdin is not None
        # Bash's own end of the reply pipe is closed for the command: a background job would keep it.
        line = f"source {file} </dev/null {self._fd}>&-; echo $? >&{self._fd}\n"
        stdin.write(line.encode())
        stdin.flush()
        code = int(_read_line(self._reply, command))
        if command.split("#", maxsplit=1)[0].rstrip().endswith("&"):
            self._until_it_speaks(size, command)
        return code

    def _until_it_speaks(self, size: int, command: str) -> None:
        """Wait as a reader does, until a command in the background has printed its first lines."""
        end = time.monotonic() + STEP_TIMEOUT_S
        while self._size() == size:
            if time.monotonic() > end:
                raise PageError(f"`{command}` printed nothing")
            time.sleep(0.1)
        while True:
            size = self._size()
            time.sleep(0.5)
            if self._size() == size:
                return

    def _size(self) -> int:
        return os.fstat(self._log.fileno()).st_size

    def environment(self) -> dict[str, str]:
        """The variables of the session now."""
        target = self._scratch / "environment"
        self.run(f"env -0 > {target}")
        entries = target.read_text(encoding="utf-8").split("\0")
        return dict(entry.split("=", 1) for entry in entries if "=" in entry)

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        _end(self._process)
        os.close(self._reply)


class _Repl:
    """One Python process that runs blocks in the namespace of its main module."""

    def __init__(
        self, python: Path, env: Mapping[str, str], cwd: Path, scratch: Path, log: IO[bytes]
    ) -> None:
        program = scratch / "repl.py"
        program.write_text(REPL, encoding="utf-8")
        self._reply, write = os.pipe()
        read, self._blocks = os.pipe()
        # What a reader's own code would warn of is an error here.
        self._process = subprocess.Popen(
            [str(python), "-W", "error", str(program), str(read), str(write)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=cwd,
            env={**env, "PYTHONUNBUFFERED": "1"}, pass_fds=[read, write], start_new_session=True,
        )  # fmt: skip
        os.close(read)
        os.close(write)

    def run(self, source: str, page: Path, line: int) -> int:
        """0 when the block ran, 1 when it raised; the traceback names lines of the page."""
        block = json.dumps({"source": source, "page": str(page), "line": line})
        with contextlib.suppress(BrokenPipeError):  # the process ended: the reply says so
            os.write(self._blocks, block.encode() + b"\n")
        return int(_read_line(self._reply, f"the block at line {line}"))

    def close(self) -> None:
        os.close(self._blocks)
        _end(self._process)
        os.close(self._reply)


REPL = """\
import ast, json, os, sys, traceback, types

def run(block, names):
    tree = ast.parse(block["source"], block["page"])
    ast.increment_lineno(tree, block["line"] - 1)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, block["page"], "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), block["page"], "eval"), names)
        if value is not None:
            print(repr(value))
        if hasattr(value, "_repr_html_"):  # what a notebook would show
            value._repr_html_()

def main():
    module = types.ModuleType("__main__")  # empty: the page imports what it uses
    sys.modules["__main__"] = module
    reply = int(sys.argv[2])
    sys.path[0] = ""
    with open(int(sys.argv[1]), encoding="utf-8") as blocks:
        sys.argv = [""]
        for line in blocks:
            code = 0
            try:
                run(json.loads(line), module.__dict__)
            except BaseException:
                traceback.print_exc()
                code = 1
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(reply, b"%d\\n" % code)

main()
"""


def _read_line(fd: int, what: str) -> str:
    """One line of a pipe. Raises `PageError` when it takes too long or the other side ended."""
    got = b""
    end = time.monotonic() + STEP_TIMEOUT_S
    while not got.endswith(b"\n"):
        ready, _, _ = select.select([fd], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise PageError(f"{what} took longer than {STEP_TIMEOUT_S:g} s")
        byte = os.read(fd, 1)
        if not byte:
            raise PageError(f"{what} ended the session")
        got += byte
    return got.decode().strip()


def _end(process: subprocess.Popen[Any]) -> None:
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def end_processes_of(home: Path) -> None:
    """End what a page left running: each process whose HOME is the home of that page, by its id."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + 5
        while found := processes_of(home):
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, kind)
            if time.monotonic() > end:
                break
            time.sleep(0.1)


def processes_of(home: Path) -> list[int]:
    """The ids of the processes that were started with this HOME; nothing where there is no /proc."""
    found = []
    mark = f"HOME={home}".encode()
    for place in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            stopped = b"\nState:\tZ" in (place.parent / "status").read_bytes()
            if not stopped and mark in place.read_bytes().split(b"\0"):
                found.append(int(place.parent.name))
    return found
