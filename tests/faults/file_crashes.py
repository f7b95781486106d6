"""The states in which a power cut may leave a folder: every prefix, unsynced changes kept or not.

`Recorder` replaces the `os` of a module and records what a protocol does to a folder: fsyncs and
renames, and before each of them the files that were made, written and deleted since. `states` then
yields what may be on the disk if the power goes after any prefix of that. The model is strict: a name
is durable only when its folder is synced, and content only when its file is. Until then each change is
kept or dropped on its own, and a write may also be torn, at 512 bytes and with any of its sizes.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

SECTOR = 512
Fate = Literal["kept", "dropped", "torn"]
Tree = dict[str, bytes | None]
"""Path below the folder to content; None for a folder."""


@dataclass(frozen=True)
class Make:
    """A name appears in a folder."""

    folder: int
    name: str
    node: int


@dataclass(frozen=True)
class Unlink:
    """A name disappears from a folder."""

    folder: int
    name: str
    node: int


@dataclass(frozen=True)
class Move:
    """A name moves from one folder to another, and replaces what has that name there."""

    folder: int
    name: str
    node: int
    to_folder: int
    to_name: str


@dataclass(frozen=True)
class Write:
    """A file's content changes."""

    node: int
    old: bytes
    new: bytes


@dataclass(frozen=True)
class Sync:
    """A file's content, or a folder's names, are on the disk."""

    node: int


@dataclass(frozen=True)
class Acknowledged:
    """The protocol has returned: what it wrote must survive."""

    version: int


Operation = Make | Unlink | Move | Write | Sync | Acknowledged


class Recorder:
    """Records what happens below `root`, which starts as synced.

    An fsync is recorded and not done. With `ignores`, those of files or of folders are not recorded
    either: the planted bugs.
    """

    def __init__(self, root: Path, ignores: Literal["", "files", "folders"] = "") -> None:
        self.root, self.ignores = root, ignores
        self.operations: list[Operation] = []
        self.folders: dict[int, bool] = {0: True}
        self._known: dict[Path, tuple[int, int]] = {root: (0, root.stat().st_ino)}
        self._content: dict[int, bytes] = {}
        self._open: dict[int, Path] = {}
        self.scan()
        self.operations += [Sync(node) for node in self.folders]
        self.base = len(self.operations)

    def acknowledge(self, version: int) -> None:
        self.scan()
        self.operations.append(Acknowledged(version))

    def scan(self) -> None:
        """Record what was made, written and deleted since the last scan."""
        there = {path: path.lstat() for path in sorted(self.root.rglob("*"))}
        for path in sorted(set(self._known) - set(there) - {self.root}, reverse=True):
            node, _ = self._known.pop(path)
            self.operations.append(Unlink(self._known[path.parent][0], path.name, node))
        for path, facts in there.items():
            is_folder = stat.S_ISDIR(facts.st_mode)
            if path not in self._known:
                node = len(self.folders)
                self.folders[node] = is_folder
                self._known[path] = (node, facts.st_ino)
                self._content[node] = b""
                self.operations.append(Make(self._known[path.parent][0], path.name, node))
            node, number = self._known[path]
            assert number == facts.st_ino, f"{path.name} was renamed past the recorder"
            if not is_folder and (new := path.read_bytes()) != self._content[node]:
                self.operations.append(Write(node, self._content[node], new))
                self._content[node] = new

    # --- replacements of `os` functions ---

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        fd = os.open(path, flags, mode)
        self._open[fd] = Path(path)
        self.scan()
        return fd

    def fsync(self, fd: int) -> None:
        kind = "folders" if stat.S_ISDIR(os.fstat(fd).st_mode) else "files"
        if kind == self.ignores:
            return
        self.scan()
        if self._open[fd] in self._known:  # not a folder above `root`
            self.operations.append(Sync(self._known[self._open[fd]][0]))

    def replace(self, source: Any, target: Any) -> None:
        self.scan()
        source, target = Path(source), Path(target)
        source.replace(target)
        self._known.pop(target, None)
        node = self._known[source][0]
        here, there = self._known[source.parent][0], self._known[target.parent][0]
        self.operations.append(Move(here, source.name, node, there, target.name))
        for path in [p for p in self._known if p == source or source in p.parents]:
            self._known[target / path.relative_to(source)] = self._known.pop(path)

    rename = replace


@dataclass
class State:
    """A possible content of the disk, and the newest version that was acknowledged."""

    tree: Tree
    acknowledged: int
    prefix: int = field(compare=False)

    def write_to(self, folder: Path) -> None:
        """Replace `folder` by this state."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path, content in self.tree.items():  # a folder comes before what is in it
            if content is None:
                (folder / path).mkdir()
            else:
                (folder / path).write_bytes(content)


def states(recorder: Recorder, chance: random.Random, enough: int) -> Iterator[State]:
    """Yield different states: for every prefix the regular ones, then random ones until `enough`."""
    seen = set[tuple[int, tuple[tuple[str, bytes | None], ...]]]()
    prefixes = range(recorder.base, len(recorder.operations) + 1)
    pending = {prefix: _pending(recorder, prefix) for prefix in prefixes}
    for turn in range(1_000):
        for prefix in prefixes:
            for fates in _choices(recorder, pending[prefix], chance, regular=turn == 0):
                state = _state(recorder, prefix, fates, chance)
                key = (state.acknowledged, tuple(state.tree.items()))
                if key not in seen:
                    seen.add(key)
                    yield state
        if len(seen) >= enough:
            return


def _pending(recorder: Recorder, prefix: int) -> list[int]:
    """Return the operations of the prefix that no sync has made durable."""
    found, synced = [], set[int]()
    for i in reversed(range(recorder.base, prefix)):
        match recorder.operations[i]:
            case Sync(node):
                synced.add(node)
            case Write(node) if node not in synced:
                found.append(i)
            case Make(folder) | Unlink(folder) if folder not in synced:
                found.append(i)
            case Move(folder=folder, to_folder=to) if not {folder, to} <= synced:
                found.append(i)
    return found[::-1]


def _choices(
    recorder: Recorder, pending: list[int], chance: random.Random, *, regular: bool
) -> Iterator[dict[int, Fate]]:
    if not regular:
        keep = chance.choice((0.2, 0.5, 0.8))
        fates: dict[int, Fate] = {
            i: "kept" if chance.random() < keep else "dropped" for i in pending
        }
        for i in pending:
            if isinstance(recorder.operations[i], Write) and chance.random() < 0.5:
                fates[i] = "torn"
        yield fates
        return
    yield dict.fromkeys(pending, "kept")
    yield dict.fromkeys(pending, "dropped")
    for one in pending:
        yield {i: "dropped" if i == one else "kept" for i in pending}
        yield {i: "kept" if i == one else "dropped" for i in pending}
        if isinstance(recorder.operations[one], Write):
            yield {i: "torn" if i == one else "kept" for i in pending}


def _state(recorder: Recorder, prefix: int, fates: dict[int, Fate], chance: random.Random) -> State:
    names: dict[int, dict[str, int]] = {n: {} for n, folder in recorder.folders.items() if folder}
    content: dict[int, bytes] = {}
    acknowledged = 0
    for i, operation in enumerate(recorder.operations[:prefix]):
        fate = fates.get(i, "kept")
        if fate == "dropped":
            continue
        match operation:
            case Make(folder, name, node):
                names[folder][name] = node
            case Unlink(folder, name, node):
                _forget(names[folder], name, node)
            case Move(folder, name, node, to_folder, to_name):
                _forget(names[folder], name, node)
                names[to_folder][to_name] = node
            case Write(node, old, new):
                content[node] = _torn(old, new, chance) if fate == "torn" else new
            case Acknowledged(version):
                acknowledged = version
    tree: Tree = {}
    _walk(recorder, names, content, 0, "", tree)
    return State(tree, acknowledged, prefix)


def _forget(names: dict[str, int], name: str, node: int) -> None:
    if names.get(name) == node:
        del names[name]


def _torn(old: bytes, new: bytes, chance: random.Random) -> bytes:
    size = chance.choice((len(old), len(new), SECTOR * chance.randint(0, len(new) // SECTOR)))
    both = [text.ljust(size, b"\0") for text in (old, new)]
    parts = [chance.choice(both)[at : at + SECTOR] for at in range(0, size, SECTOR)]
    return b"".join(parts)[:size]


def _walk(
    recorder: Recorder,
    names: dict[int, dict[str, int]],
    content: dict[int, bytes],
    folder: int,
    path: str,
    tree: Tree,
) -> None:
    for name, node in sorted(names[folder].items()):
        if recorder.folders[node]:
            tree[f"{path}{name}"] = None
            _walk(recorder, names, content, node, f"{path}{name}/", tree)
        else:
            tree[f"{path}{name}"] = content.get(node, b"")
