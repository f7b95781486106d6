"""The folder of a migration as what can be removed: its files are known, and no others are touched."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ftsdk.artifacts.bundle import MANIFEST, files_of_bundle, read_manifest
from ftsdk.errors import UsageError
from ftsdk.migration.receipts import ALIASES, ASKED, DEPLOYMENTS, read_record

_RECEIPT = re.compile(r"[1-8]-[a-z]+(-.+)?\.json")
_OURS = frozenset((".lock", ".gitignore", ASKED, DEPLOYMENTS, ALIASES))
_OF_A_MODEL = frozenset(("report.html", "report.json", "report.xml"))


@dataclass(frozen=True)
class Forgettable:
    """A folder that can be removed: what it holds, and how large it is."""

    folder: Path
    what: str
    bytes: int


def migration_in(folder: Path) -> Forgettable:
    """Return a migration: its receipts, the account's files, captured answers, rows and reports.

    Raises `UsageError` where it has other files as well, and where a deployment that it started may run.
    """
    record = folder / DEPLOYMENTS
    running = read_record(record)["jobs"] if record.is_file() else ()
    if running:
        raise UsageError(
            f"The migration started deployments that it has not ended: {', '.join(map(str, running))}",
            where=str(folder),
            hint="run `ftsdk migrate` again, which ends them, or `ftsdk undeploy JOB`",
        )
    require_no_others(
        folder, [str(one.relative_to(folder)) for one in _others(folder)], "the migration"
    )
    return Forgettable(
        folder, "migration with all it fetched, captured and reported", size_of(folder)
    )


def _others(folder: Path) -> Iterator[Path]:
    """Yield what is in the folder and not of the migration."""
    for path in folder.iterdir():
        if path.is_file():
            if not (path.name in _OURS or _is_receipt(path)):
                yield path
        elif path.name == "inventory":
            yield from _others_in_bundle(path)
        else:
            yield from _others_of_model(path)


def _others_of_model(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_file():
            if not (path.name in _OF_A_MODEL or _is_receipt(path)):
                yield path
        elif path.name == "capture":
            yield from _others_in_bundle(path)
        elif path.name == "rows":
            yield from (
                one for one in path.iterdir() if one.name != "rows.jsonl" and not _is_left(one)
            )
        else:
            yield path


def _others_in_bundle(folder: Path) -> Iterator[Path]:
    """Yield the files that a sealed bundle does not name; before it is sealed all of them are its own."""
    if (folder / MANIFEST).is_file():
        known = read_manifest(folder).get("sha256") or {}
        yield from (folder / name for name in files_of_bundle(folder) if name not in known)


def _is_receipt(path: Path) -> bool:
    return _RECEIPT.fullmatch(path.name) is not None or _is_left(path)


def _is_left(path: Path) -> bool:
    """Whether it is a part of a file that a killed process was writing."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def require_no_others(folder: Path, others: Collection[str], what: str) -> None:
    """Raise `UsageError` that names files which are not of `what` is to be removed."""
    if others:
        raise UsageError(
            f"The folder has files that are not of {what}: {', '.join(sorted(others)[:5])}",
            where=str(folder),
            hint="move them elsewhere first",
        )


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
