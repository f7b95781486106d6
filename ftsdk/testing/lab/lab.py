"""The lab: several doubles, and the environment variables that point SDKs and ftsdk at them."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from ftsdk.testing.lab.base import Double
from ftsdk.util.clock import Clock, SystemClock

DOUBLES: Mapping[str, str] = {
    "openai": "ftsdk.testing.lab.openai.double:OpenAIDouble",
    "together": "ftsdk.testing.lab.together.double:TogetherDouble",
    "replicate": "ftsdk.testing.lab.replicate.double:ReplicateDouble",
}


class Lab:
    """Doubles by name, all on the same clock.

    ```python
    with Lab("openai") as lab:
        client = ftsdk.Client(env=lab.env())
    ```
    """

    def __init__(
        self,
        *names: str,
        clock: Clock | None = None,
        ports: Mapping[str, int] | None = None,
        **options: Any,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self._doubles: dict[str, Double] = {}
        for name in names or DOUBLES:
            module, _, attribute = DOUBLES[name].partition(":")
            cls: type[Double] = getattr(importlib.import_module(module), attribute)
            port = (ports or {}).get(name, 0)
            self._doubles[name] = cls(clock=self.clock, port=port, **options)

    def __getitem__(self, name: str) -> Any:
        return self._doubles[name]

    def __iter__(self) -> Iterator[Double]:
        return iter(self._doubles.values())

    def start(self) -> Self:
        """Start every double; return the lab."""
        for double in self:
            double.start()
        return self

    def stop(self) -> None:
        """Stop every double."""
        for double in self:
            double.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def env(self, names: Iterable[str] | None = None) -> dict[str, str]:
        """Return the environment variables of these doubles (by default all)."""
        selected = list(names) if names is not None else list(self._doubles)
        merged: dict[str, str] = {}
        for name in selected:
            merged.update(self._doubles[name].variables())
        return merged
