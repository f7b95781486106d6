"""Every allocation of tensors in a block, in order."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types for it
    """Records the storages that operations make: `events` is a series for `memory.allocators`.

    It works on tensors without memory too. Those of `known` are left out.
    """

    def __init__(self, known: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self.events: list[tuple[int, int]] = []
        self.live = 0
        self._count = 0
        self._numbers: dict[int, int] = {t.untyped_storage()._cdata: 0 for t in known}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                self._note(leaf)
        return made

    def _note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._numbers or not size:
            return
        self._count += 1
        self._numbers[key] = self._count
        self.events.append((self._count, size))
        self.live += size
        weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key: int, size: int) -> None:
        self.events.append((self._numbers.pop(key), 0))
        self.live -= size
