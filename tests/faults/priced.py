"""A provider with prices, derived from `fake`; as a script, a process that creates many jobs there.

python priced.py HOME MONTH PRICE COUNT THREADS NAME
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

from ftsdk.backends.base import Context
from ftsdk.backends.fake import FakeBackend
from ftsdk.client import Client
from ftsdk.config import Config
from ftsdk.errors import BudgetError
from ftsdk.types.cost import Cost
from ftsdk.util.clock import Clock

ROWS = [
    {"messages": [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": "yes"}]}
    for i in range(5)
]


class PricedBackend(FakeBackend):
    """`fake` whose jobs cost `price` (None: unknown); `sent` counts the create calls."""

    capabilities = replace(FakeBackend.capabilities, price="catalogue")
    price: ClassVar[Decimal | None] = Decimal(1)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.sent = 0

    def estimate(self, spec, train=None):
        if self.price is None:
            return Cost()
        return Cost(basis="estimated", low=self.price / 2, high=self.price, source="a test")

    def _job(self, data):
        return super()._job(data).model_copy(update={"cost": None})  # known later

    def submit(self, request):
        self.sent += 1
        return super().submit(request)


def priced_client(
    home: Path,
    budget: dict | None = None,
    *,
    profile: str | None = None,
    profiles: dict | None = None,
    price: Decimal | None = Decimal(1),
    clock: Clock | None = None,
    env: dict | None = None,
) -> Client:
    """Return a client of `PricedBackend`, at `price` a job."""
    data = {"provider": "fake", "model": "m", "profiles": profiles or {}}
    if budget is not None:
        data["budget"] = budget
    client = Client(
        home=home,
        clock=clock,
        env=env or {},
        config=Config(path=Path("ftsdk.toml"), data=data, profile=profile),
    )
    backend = PricedBackend(
        Context(home=client.home, clock=client.clock, options={}, env=client.env, base_url=None)
    )
    backend.price = price  # type: ignore[misc]  # of this instance alone
    client.session.use_backend("fake", backend)
    return client


def main(home: str, month: str, price: str, count: str, threads: str, name: str) -> None:
    client = priced_client(Path(home), {"month": month}, price=Decimal(price))

    def create(number: int) -> str:
        try:
            client.create_job(ROWS, key=f"{name}-{number}")
        except BudgetError as error:
            return "refused" if error.submitted == "no" else "open"
        return "sent"

    with ThreadPoolExecutor(int(threads)) as pool:
        ends = list(pool.map(create, range(int(count))))
    counts = {end: ends.count(end) for end in set(ends)}
    print(json.dumps({**counts, "calls": client.backend("fake").sent}))


if __name__ == "__main__":
    main(*sys.argv[1:])
