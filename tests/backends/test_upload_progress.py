"""Each hosted backend reports upload progress to the listener of its own thread."""

from __future__ import annotations

import asyncio
import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest

import ftsdk
from ftsdk.backends.upload_progress import on_upload
from ftsdk.testing.conformance.world import chat_rows
from ftsdk.testing.lab import Lab
from ftsdk.util.clock import ManualClock
from tests.backends.hosted_worlds import HOSTED

START = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)


@pytest.fixture(params=HOSTED)
def world(request, tmp_path):
    name = request.param
    pytest.importorskip(name)
    clock = ManualClock(START)
    with Lab(name, clock=clock) as lab:
        client = ftsdk.Client(home=tmp_path, clock=clock, env=lab.env())
        yield name, lab[name], client
        client.close()


def create(client, name, **changes):
    seen: list[tuple[int, int]] = []
    hear = lambda sent, size: seen.append((sent, size))
    HOSTED[name].new(client, **{"rows": chat_rows(400), "on_upload": hear, **changes})
    return seen


def test_bytes_grow_to_the_whole(world):
    name, double, client = world
    seen = create(client, name)
    sent = [done for done, _ in seen]
    whole = {size for _, size in seen}
    assert sent == sorted(sent)
    assert whole == {len(next(iter(double.files.values()))["content"])}
    assert sent[-1] == whole.pop()


def test_an_upload_that_begins_anew_stays_between_nothing_and_all(world):
    name, double, client = world
    place = {"openai": "/files$", "together": "/preprocess$", "replicate": "/v1/files$"}[name]
    double.faults.add("status", method="POST", path=place, status=503)
    seen = create(client, name)
    assert seen
    assert all(0 <= sent <= size for sent, size in seen)
    assert seen[-1][0] == seen[-1][1]


def test_two_jobs_at_once_do_not_hear_each_other(world):
    name, _, client = world
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda seed: create(client, name, seed=seed), (1, 2))
    for seen in (first, second):
        sent = [done for done, _ in seen]
        assert sent == sorted(sent)


def test_a_block_hears_the_uploads_in_it_and_a_job_its_own(world):
    name, _, client = world
    block: list[tuple[int, int]] = []
    with on_upload(lambda *done: block.append(done)):
        HOSTED[name].new(client, rows=chat_rows(400))
        heard = len(block)
        assert create(client, name, rows=chat_rows(401))
    assert len(block) == heard > 0


async def _awaited(name, home, clock, env, hear):
    async with ftsdk.AsyncClient(home=home, clock=clock, env=env) as client:
        given = {"provider": name, **HOSTED[name].job, "on_upload": hear}
        await client.create_job(chat_rows(400), **given)


def test_awaited_it_is_told_as_well(world, tmp_path):
    name, double, _ = world
    seen: list[tuple[int, int]] = []
    hear = lambda sent, size: seen.append((sent, size))
    home = tmp_path / "other"
    asyncio.run(_awaited(name, home, double.clock, double.variables(), hear))
    assert seen[-1][0] == seen[-1][1] > 0
