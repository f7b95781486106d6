"""A disk that loses its power: what was never synced is kept, dropped or torn, by seed.

`Disk` is the model, `DiskVfs` makes it available to SQLite, and `Connection` adapts apsw's connection
to the interface of `sqlite3`, so that the real `Journal` code runs over it.

- A write or truncate is volatile until its file is synced. At a cut each one is kept, dropped or
  (a write) torn: each 512 bytes of it survive or not. A hole reads as zeros or as rubbish.
- A name that was made or deleted is volatile until the folder is synced; at a cut the changes of a
  name survive up to a random one. The folder is synced when SQLite deletes with `syncDir`, and at
  the first sync of a journal that SQLite made, as its own code for Unix does.
- `forgiving`: syncing a file also makes its name durable, as ext4, XFS and Btrfs do.
"""

# ruff: noqa: N802  # SQLite prescribes these method names

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import apsw

SECTOR = 512
Change = tuple[int, bytes | None]
"""A write of bytes at an offset; with None, a truncate to that size."""


class PowerCutError(Exception):
    """The power went before this operation."""


@dataclass
class Inode:
    """One file: what readers see, what is durable, and the changes in between."""

    seen: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)

    def change(self, offset: int, data: bytes | None) -> None:
        _apply(self.seen, offset, data, b"\0")
        self.pending.append((offset, data))

    def sync(self) -> None:
        for offset, data in self.pending:
            _apply(self.durable, offset, data, b"\0")
        self.pending.clear()

    def after_cut(self, chance: random.Random) -> bytearray:
        """Return the bytes that a reader finds when the power is back."""
        left = bytearray(self.durable)
        hole = chance.choice((b"\0", bytes((chance.randrange(256),))))
        for offset, data in self.pending:
            fate = chance.random()
            if fate < 0.4:
                _apply(left, offset, data, hole)
            elif fate < 0.7 and data is not None:
                for start in range(0, len(data), SECTOR):
                    if chance.random() < 0.5:
                        _apply(left, offset + start, data[start : start + SECTOR], hole)
        return left


def _apply(content: bytearray, offset: int, data: bytes | None, hole: bytes) -> None:
    if len(content) < offset:
        content += hole * (offset - len(content))
    if data is None:
        del content[offset:]
    else:
        content[offset : offset + len(data)] = data


Where = Literal["operations", "before a barrier", "after a barrier"]


@dataclass(frozen=True)
class CutAt:
    """A cut before operation `number`, or before or right after barrier `number`.

    Barriers are all operations except writes. They decide the order, so most cuts should be there.
    """

    number: int
    of: Where

    def now(self, operations: int, barriers: int, barrier: bool) -> bool:
        if self.of == "operations":
            return operations == self.number
        if self.of == "before a barrier":
            return barrier and barriers == self.number
        return barriers == self.number + 1


@dataclass
class Disk:
    """One folder of files in memory. `cut_at` is when the power goes; None: never."""

    chance: random.Random
    forgiving: bool
    cut_at: CutAt | None = None
    names: dict[str, Inode] = field(default_factory=dict)
    durable_names: dict[str, Inode] = field(default_factory=dict)
    pending_names: list[tuple[str, Inode | None]] = field(default_factory=list)
    operations: int = 0
    barriers: int = 0
    after: Disk | None = None  # what is left, once the power has gone
    cut_before: str = ""

    def operation(self, what: str) -> None:
        """Count one change of the disk. Raises `PowerCutError` where the power goes."""
        if self.after is not None:
            return  # later operations do not reach the disk
        barrier = not what.startswith("write")
        if self.cut_at is not None and self.cut_at.now(self.operations, self.barriers, barrier):
            self.after, self.cut_before = self._left(), what
            raise PowerCutError(what)
        self.operations += 1
        self.barriers += barrier

    def create(self, name: str) -> Inode:
        self.operation("create")
        made = self.names[name] = Inode()
        self.pending_names.append((name, made))
        return made

    def delete(self, name: str, *, sync: bool) -> None:
        self.operation("delete")
        del self.names[name]
        self.pending_names.append((name, None))
        if sync:
            self.operation("sync folder")
            self.sync_names()

    def sync_names(self, only: Inode | None = None) -> None:
        """Make names durable: all, or those of one file."""
        names = {n for n, inode in self.names.items() if only is None or inode is only}
        rest = []
        for name, inode in self.pending_names:
            if only is None or name in names:
                _name(self.durable_names, name, inode)
            else:
                rest.append((name, inode))
        self.pending_names = rest

    def _left(self) -> Disk:
        names = dict(self.durable_names)
        stopped = set[str]()
        for name, inode in self.pending_names:
            if name in stopped or self.chance.random() < 0.5:
                stopped.add(name)
            else:
                _name(names, name, inode)
        left = Disk(self.chance, self.forgiving)
        for name, inode in names.items():
            content = inode.after_cut(self.chance)
            left.names[name] = left.durable_names[name] = Inode(content, bytearray(content))
        return left


def _name(names: dict[str, Inode], name: str, inode: Inode | None) -> None:
    if inode is None:
        names.pop(name, None)
    else:
        names[name] = inode


class DiskFile:
    """An open file of the disk, with the calls that SQLite makes."""

    def __init__(self, disk: Disk, name: str, inode: Inode, *, kind: str, sync_name: bool) -> None:
        self.disk, self.name, self.inode, self.kind = disk, name, inode, kind
        self.sync_name = sync_name

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self.inode.seen[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        self.disk.operation(f"write {self.kind}")
        self.inode.change(offset, bytes(data))

    def xTruncate(self, size: int) -> None:
        self.disk.operation(f"truncate {self.kind}")
        self.inode.change(size, None)

    def xSync(self, flags: int) -> None:
        self.disk.operation(f"sync {self.kind}")
        self.inode.sync()
        if self.disk.forgiving:
            self.disk.sync_names(self.inode)
        if self.sync_name:
            self.disk.operation("sync folder")
            self.disk.sync_names()
            self.sync_name = False

    def xFileSize(self) -> int:
        return len(self.inode.seen)

    def xSectorSize(self) -> int:
        return SECTOR

    def xDeviceCharacteristics(self) -> int:
        return (
            apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE
        )  # as on Unix: a torn write leaves other bytes intact

    def xFileControl(self, op: int, pointer: int) -> bool:
        return False

    def xLock(self, level: int) -> None: ...

    def xUnlock(self, level: int) -> None: ...

    def xCheckReservedLock(self) -> bool:
        return False  # one process: a lock ends with the power

    def xClose(self) -> None: ...


class DiskVfs(apsw.VFS):
    """A VFS over the disk in `disk`, which is replaced at every cut."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.disk: Disk

    def xFullPathname(self, name: str) -> str:
        return name

    def xAccess(self, name: str, flags: int) -> bool:
        return name in self.disk.names

    def xDelete(self, name: str, syncdir: bool) -> None:
        self.disk.delete(name, sync=syncdir)

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        if name is None:  # a temporary file of SQLite, which nothing reads after a cut
            return DiskFile(Disk(self.disk.chance, True), "", Inode(), kind="", sync_name=False)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        kind = "database" if flags[0] & apsw.SQLITE_OPEN_MAIN_DB else "journal"
        found = self.disk.names.get(path)
        if found is None and not flags[0] & apsw.SQLITE_OPEN_CREATE:
            raise apsw.CantOpenError(path)
        flags[1] = flags[0]
        made = found is None
        inode = found or self.disk.create(path)
        return DiskFile(self.disk, path, inode, kind=kind, sync_name=made and kind == "journal")


class Row:
    """A row with access by position or by column name, like `sqlite3.Row`."""

    __slots__ = ("_columns", "_values")

    def __init__(self, columns: list[str], values: tuple[Any, ...]) -> None:
        self._columns, self._values = columns, values

    def __getitem__(self, key: int | str) -> Any:
        return self._values[self._columns.index(key) if isinstance(key, str) else key]


def _row(cursor: apsw.Cursor, values: tuple[Any, ...]) -> Row:
    return Row([column[0] for column in cursor.get_description()], values)


def _as_sqlite3(error: apsw.Error) -> sqlite3.Error:
    text = str(error)
    if isinstance(error, apsw.ConstraintError):
        return sqlite3.IntegrityError(text)
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return sqlite3.DatabaseError(text)
    return sqlite3.OperationalError(text)


class Cursor:
    """`sqlite3.Cursor` over an apsw cursor."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inner = connection.inner.cursor()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Cursor:
        try:
            self._inner.execute(self._connection.rewrite(sql), tuple(values))
        except apsw.Error as error:
            raise _as_sqlite3(error) from error
        return self

    def __iter__(self) -> Iterator[Row]:
        while (row := self.fetchone()) is not None:
            yield row

    def fetchone(self) -> Any:
        try:
            return self._inner.fetchone()
        except apsw.Error as error:
            raise _as_sqlite3(error) from error
        except UnicodeDecodeError as error:
            raise sqlite3.OperationalError("could not decode to UTF-8") from error

    def fetchall(self) -> list[Row]:
        return list(self)

    def close(self) -> None:
        self._inner.close()


class Connection:
    """`sqlite3.Connection` over an apsw connection; `rewrite` may change the SQL."""

    row_factory: Any = None  # rows have access by name in any case

    def __init__(self, path: str, vfs: str, rewrite: Callable[[str], str] = str) -> None:
        self.rewrite = rewrite
        try:
            self.inner = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
        except apsw.Error as error:
            raise _as_sqlite3(error) from error
        self.inner.row_trace = _row

    @property
    def in_transaction(self) -> bool:
        return self.inner.in_transaction

    def cursor(self) -> Cursor:
        return Cursor(self)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Cursor:
        return self.cursor().execute(sql, values)

    def close(self) -> None:
        self.inner.close(True)


@dataclass
class Totals:
    """What was run, and the result."""

    cuts: int = 0
    operations: int = 0
    acknowledged: int = 0
    rows_checked: int = 0
    cut_before: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        where = ", ".join(f"{what} {n}" for what, n in sorted(self.cut_before.items()))
        return (
            f"{self.cuts:,} cuts ({where}) in {self.operations:,} operations, "
            f"{self.acknowledged:,} rows acknowledged, {self.rows_checked:,} checked: "
            f"{len(self.lost)} cuts lost rows, {len(self.corrupt)} left a corrupt journal"
        )
