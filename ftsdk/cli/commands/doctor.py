"""`doctor`: what this machine has, what is configured, and what is wrong."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ftsdk._version import __version__
from ftsdk.backends.local.models.resolve import is_pulled, known_models
from ftsdk.backends.local.runs.ask_stack import NoAnswer, ask_stack
from ftsdk.backends.registry import backend_names, install_hint, load_backend
from ftsdk.cli import completion
from ftsdk.cli.commands.doctor_live import show_live
from ftsdk.cli.options import Json, Profile
from ftsdk.cli.view.formatting import clean, size
from ftsdk.cli.view.output import columns, emit, say
from ftsdk.config import Config, default_home, load_config
from ftsdk.errors import FtsdkError, UsageError
from ftsdk.store.job_rows import UnreadableJob
from ftsdk.store.journal import Journal, has_journal
from ftsdk.store.sqlite_version import OLDEST_SQLITE
from ftsdk.util.machine_memory import free_bytes, machine_bytes
from ftsdk.util.names import plural

Verdict = Literal["ok", "note", "fault"]
_MARKS = {"ok": ("✓", "green"), "note": ("·", "dim"), "fault": ("✗", "red")}
_WAL_FIXED = ((3, 44, 6), (3, 50, 7), (3, 51, 3))
"""The first releases of SQLite whose write-ahead log is safe (sqlite.org/wal.html, 2026-10-25)."""
_LOW_SPACE_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Check:
    """The result of one check: its name, its verdict, what was found, how to fix it."""

    name: str
    verdict: Verdict
    found: str
    hint: str = ""


Live = Annotated[
    bool,
    typer.Option(
        "--live", help="Ask the provider instead, with your key: read-only, and free of charge."
    ),
]
Asked = Annotated[
    str | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="With --live: the provider to ask.",
        autocompletion=completion.providers,
    ),
]
Report = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="FILE|-",
        help="With --live: where to write the report that you can send.",
    ),
]


def doctor(
    live: Live = False,
    provider: Asked = None,
    report: Report = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Check Python, configuration, keys, extras, hardware and the journal.

    With --live, ask a provider how it answers now, by GETs alone: whether its fields and statuses are
    those that ftsdk expects, and what it says of the facts that no source states firmly. A report
    without keys, ids, prompts and file names is written to a file.

    Exits with 1 when something is broken. Keys are reported as set or not set, never shown.
    """
    if live:
        show_live(provider, profile, report, as_json)
        return
    given = "--provider" if provider is not None else "--report" if report is not None else None
    if given is not None:
        raise UsageError(
            f"{given} needs --live", where="doctor", hint=f"ftsdk doctor --live {given} …"
        )
    checks = list(_checks(profile))
    ok = not any(check.verdict == "fault" for check in checks)
    if as_json:
        emit({"ok": ok, "checks": [asdict(check) for check in checks]})
    else:
        rows: list[list[Any]] = [
            [_MARKS[check.verdict], (check.name, "bold"), clean(check.found)] for check in checks
        ]
        columns(rows, fold=True)
        for check in checks:
            if check.hint and check.verdict != "ok":
                say((f"  {check.name}: ", "dim"), clean(check.hint))
        faults = sum(check.verdict == "fault" for check in checks)
        say("No faults." if ok else f"{plural(faults, 'fault')}.")
    if not ok:
        raise typer.Exit(1)


def _checks(profile: str | None) -> Iterator[Check]:
    home = default_home()
    yield from _versions()
    yield _home(home)
    yield from _journal(home)
    config, check = _configuration(profile)
    yield check
    if config is not None:
        yield _chosen(config)
        yield from _profile_keys(config)
    yield from _keys()
    yield from _extras()
    yield from _machine()
    yield _disk(home)
    yield from _models(home)


def _versions() -> Iterator[Check]:
    python = ".".join(str(part) for part in sys.version_info[:3])
    yield Check("ftsdk", "ok", f"{__version__} · Python {python} · {sys.executable}")
    yield _sqlite()


def _sqlite() -> Check:
    """Check whether the linked SQLite can keep the journal, and whether its bugs affect it."""
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(str(part) for part in OLDEST_SQLITE[:2])
        return Check("sqlite", "fault", f"{version}: the journal needs {oldest} or newer",
                     "use a Python with a newer SQLite")  # fmt: skip
    if not _wal_is_sound(sqlite3.sqlite_version_info):
        return Check(
            "sqlite", "ok", f"{version} · its WAL can damage a file; the journal does not use it"
        )
    return Check("sqlite", "ok", version)


def _wal_is_sound(version: tuple[int, ...]) -> bool:
    same_line = [first for first in _WAL_FIXED if first[:2] == version[:2]]
    return version >= (same_line[0] if same_line else _WAL_FIXED[-1])


def _home(home: Path) -> Check:
    try:
        return _home_state(home)
    except OSError as error:
        return Check("home", "fault", f"{home} cannot be read: {error.strerror or error}",
                     "make it readable, or set FTSDK_HOME")  # fmt: skip


def _home_state(home: Path) -> Check:
    if not home.exists():
        return Check("home", "note", f"{home} does not exist yet; the first job creates it")
    if not home.is_dir():
        return Check("home", "fault", f"{home} is not a folder", "set FTSDK_HOME to a folder")
    mode = stat.S_IMODE(home.stat().st_mode)
    if not os.access(home, os.W_OK | os.X_OK):
        return Check("home", "fault", f"{home} is not writable: jobs can be listed, not created",
                     "chmod it, or set FTSDK_HOME")  # fmt: skip
    if os.name != "nt" and mode & 0o077:
        return Check("home", "note", f"{home} (mode {mode:04o}: others can read it)",
                     f"chmod 700 {home}")  # fmt: skip
    return Check("home", "ok", f"{home} (mode {mode:04o})")


def _journal(home: Path) -> Iterator[Check]:
    file = home / "journal.db"
    try:
        if not has_journal(home):
            yield Check("journal", "note", "none yet")
            return
        journal = Journal(home, read_only=True)
        sound = journal.integrity()
        unreadable: list[UnreadableJob] = []
        jobs = len(journal.list(unreadable=unreadable))
        journal.close()
        mode, version = _pragmas(file)
    except FtsdkError as error:
        yield Check("journal", "fault", error.what, error.hint)
        return
    for job in unreadable:
        yield Check("journal", "fault", f"job {job.id} cannot be read: {job.why}", job.hint)
    file_mode = stat.S_IMODE(file.stat().st_mode)
    facts = f"{plural(jobs, 'job')} · schema {version} · {mode} · mode {file_mode:04o}"
    if sound != "ok":
        yield Check("journal", "fault", f"{facts} · damaged: {sound}",
                    f"keep a copy of {file}, then move it away")  # fmt: skip
    elif os.name != "nt" and file_mode & 0o077:
        yield Check("journal", "fault", f"{facts}: others can read it", f"chmod 600 {file}")
    else:
        yield Check("journal", "ok", f"{facts} · sound")


def _pragmas(file: Path) -> tuple[str, int]:
    """Return the file's journal mode and schema version; ftsdk sets TRUNCATE when it opens it."""
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
    try:
        wal = connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()
    return "WAL, set by another program" if wal else "truncate, synchronous extra", version


def _configuration(profile: str | None) -> tuple[Config | None, Check]:
    try:
        config = load_config(profile=profile)
    except FtsdkError as error:
        where = f" ({error.where})" if error.where else ""
        return None, Check("config", "fault", error.what + where, error.hint)
    if config.path is None:
        return config, Check(
            "config", "note", "no ftsdk.toml here or above", "ftsdk init writes one"
        )
    known = ", ".join(config.profiles) or "no profiles"
    return config, Check("config", "ok", f"{config.path} ({known})")


def _chosen(config: Config) -> Check:
    provider, model = config.setting("provider"), config.setting("model")
    name = f"{config.profile} (from {config.profile_source})" if config.profile else "none chosen"
    if provider is None:
        return Check("profile", "note", f"{name}; no provider is set", "ftsdk init, or --provider")
    base = model.value if model else "no model set"
    chosen = f"{name} = {provider.value} · {base}"
    try:
        load_backend(str(provider.value))
    except FtsdkError as error:
        return Check("profile", "fault", f"{chosen}: {error.what}", error.hint)
    return Check("profile", "ok", chosen)


def _keys() -> Iterator[Check]:
    for name in backend_names():
        try:
            variables = load_backend(name).capabilities.key_variables
        except FtsdkError as error:
            yield Check(f"backend {name}", "note", error.what, error.hint)
            continue
        if variables:
            there = [variable for variable in variables if os.environ.get(variable)]
            words = f"{there[0]} is set" if there else f"{variables[0]} is not set"
            yield Check(f"key {name}", "ok" if there else "note", words)


def _profile_keys(config: Config) -> Iterator[Check]:
    """Check the variables that profiles name for their keys."""
    for name in config.profiles:
        variable = config.profiles[name].get("key_variable")
        if variable is not None:
            there = bool(os.environ.get(variable))
            found = f"{variable} is {'set' if there else 'not set'}"
            yield Check(f"key of profile {name}", "ok" if there else "note", found)


def _extras() -> Iterator[Check]:
    extras: dict[tuple[str, str], tuple[str, ...]] = {}
    for name in backend_names():
        with contextlib.suppress(FtsdkError):  # reported with the keys
            able = load_backend(name).capabilities
            if able.extra is not None and able.packages:
                extras[able.extra, install_hint(name)] = able.packages
    for (extra, command), packages in extras.items():
        versions = {name: _version(name) for name in packages}
        here = [f"{name} {version}" for name, version in versions.items() if version]
        missing = [name for name, version in versions.items() if not version]
        if not here:
            yield Check(f"extra {extra}", "note", "not installed", command)
        elif missing:
            yield Check(f"extra {extra}", "note", f"{', '.join(here)}; without {', '.join(missing)}",
                        command)  # fmt: skip
        else:
            yield Check(f"extra {extra}", "ok", ", ".join(here))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _machine() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    flags = _cpu_flags()
    good = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    memory, free = machine_bytes(), free_bytes()
    parts = [plural(cores or 1, "core"), *good]
    if memory:
        now = "" if free is None else f", {size(min(free, memory))} free now"
        parts.append(f"{size(memory)} memory{now}")
    yield Check("cpu", "ok", " · ".join(parts))
    yield _gpu()


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").split("\n")
    except OSError:
        return set()  # no such file on this system
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


def _apple_gpu() -> Check:
    """Compute a training step on it and on the processor, in a process of its own."""
    if importlib.util.find_spec("torch") is None:
        return Check("gpu", "note", "an Apple GPU is not checked: torch is not installed")
    try:
        found = ask_stack("ftsdk.backends.local.compute.apple_gpu", {})
    except NoAnswer as error:
        return Check("gpu", "note", f"an Apple GPU is not checked: {error}")
    if not found["is_there"]:
        return Check("gpu", "note", "no Apple GPU found")
    fault = found["faults"]["float32"]
    if fault is not None:
        return Check("gpu", "note", f"the Apple GPU is not used: {fault}")
    return Check("gpu", "ok", "Apple GPU; a step on it is that of the processor")


def _gpu() -> Check:
    """Ask the driver's tool; importing torch would take seconds."""
    if sys.platform == "darwin":
        return _apple_gpu()
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Check("gpu", "note", "no NVIDIA driver found")
    query = [tool, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # a fixed command, its path from PATH
            query, capture_output=True, text=True, errors="replace", timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("gpu", "note", f"nvidia-smi does not answer: {error}")
    if done.returncode != 0:
        return Check(
            "gpu", "note", f"nvidia-smi: {done.stdout.strip() or done.stderr.strip()}"[:200]
        )
    return Check("gpu", "ok", "; ".join(line.strip() for line in done.stdout.strip().split("\n")))


def _disk(home: Path) -> Check:
    place = next(p for p in (home, *home.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free < _LOW_SPACE_BYTES:
        return Check("disk", "fault", f"{size(free)} free at {place}", "free some space")
    return Check("disk", "ok", f"{size(free)} free at {place}")


def _models(home: Path) -> Iterator[Check]:
    for model in known_models():
        try:
            pulled = is_pulled(model.name, home=home)
        except OSError as error:
            yield Check("model", "note", f"{model.name} cannot be read: {error.strerror or error}")
            continue
        if pulled:
            yield Check("model", "ok", f"{model.name} is on this machine")
        else:
            yield Check(
                "model",
                "note",
                f"{model.name} is not on this machine",
                f"ftsdk models pull {model.name}",
            )
