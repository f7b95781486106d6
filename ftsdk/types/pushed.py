"""A push: which exported files a repository of the model hub holds now."""

from __future__ import annotations

from pathlib import Path

from ftsdk.types.record import Record

__all__ = ["Pushed"]


class Pushed(Record):
    """A finished push. Every file was compared with the repository's after it was sent.

    `commit` is the commit that holds the files. `sent` names what this push sent, `unchanged` what the
    repository had, `removed` what an earlier export had left there. `private` is what the hub says.
    """

    repo: str
    url: str
    commit: str
    private: bool
    folder: Path
    sent: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    size_bytes: int = 0
    notes: tuple[str, ...] = ()
