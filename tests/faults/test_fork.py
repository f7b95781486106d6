"""A client that was used before a fork shares no connection with its children."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import threading

import pytest

import ftsdk
from ftsdk.backends.hosted import redact, retries
from ftsdk.testing.lab import Lab
from ftsdk.util.clock import ManualClock
from tests.backends.hosted_worlds import HOSTED

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
CHILDREN = 6


@pytest.fixture(params=HOSTED)
def hosted(request):
    pytest.importorskip(request.param, reason=f"needs the extra `{request.param}`")
    return HOSTED[request.param]


def _fork(ask, *, after=None, longest_s=60):
    """Start a child that returns the JSON of `ask()`; return a function that waits for it.

    With `after`, the read end of a pipe, the child begins when it gets a byte from it.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(longest_s)  # a child that waits for ever would outlive the test
        try:
            if after is not None:
                os.read(after, 1)
            answer = ask()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write, json.dumps(answer).encode())
        os._exit(0)
    os.close(write)

    def wait():
        with os.fdopen(read, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(pid, 0)
        return json.loads(answer or b'"the child waited for ever"')

    return wait


def _fork_all(asks, **options):
    """Fork a child for each of `asks`, let them begin together, and return their answers.

    The double answers in threads of this process. A child that is forked while one of them is
    inside OpenSSL may wait for ever, so none begins before the last is forked.
    """
    gate, start = os.pipe()
    waits = [_fork(ask, after=gate, **options) for ask in asks]
    os.write(start, b"." * len(waits))
    answers = [wait() for wait in waits]
    os.close(gate)
    os.close(start)
    return answers


def _join_workers(before):
    """Wait until the worker threads of a loop that was closed have ended; those of `before` go on."""
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("AnyIO"):
            thread.join(60)
            assert not thread.is_alive(), "a loop that was closed has a worker thread left"


def test_forked_children_create_and_read_their_own_jobs(hosted, home):
    with Lab(hosted.name) as lab, ftsdk.Client(home=home, env=lab.env()) as client:
        double = lab[hosted.name]
        list(client.backend(hosted.name).list())
        before = client.backend(hosted.name).transport.client()

        def create(number):
            def ask():
                assert client.backend(hosted.name).transport.client() is not before
                job = hosted.new(client, key=f"child {number}")
                again = [client.get_job(job.id).refresh().provider_job_id for _ in range(5)]
                return [job.id, job.provider_job_id, *set(again)]

            return ask

        answers = _fork_all([create(number) for number in range(CHILDREN)])
        for answer in answers:
            assert isinstance(answer, list), answer
            assert len(answer) == 3, answer
            assert answer[1] == answer[2]
        assert len({answer[1] for answer in answers}) == CHILDREN
        assert double.count("POST", hosted.create) == CHILDREN
        assert client.backend(hosted.name).transport.client() is before
        assert len(list(client.backend(hosted.name).list())) == CHILDREN


def test_a_child_does_not_close_or_wait_for_what_its_parent_has(hosted, home):
    with (
        Lab(hosted.name, clock=ManualClock()) as lab,
        ftsdk.Client(home=home, env=lab.env()) as client,
    ):
        transport = client.backend(hosted.name).transport
        before = transport.client()

        def ask():
            transport.close()
            transport.retries(lambda: redact.scrub("text"))
            retries.PROCESS_BUDGET.call()
            closed = before.is_closed
            return bool(closed() if callable(closed) else closed)

        # as other threads of the parent may have them
        with transport._lock, redact._KNOWN._lock, retries.PROCESS_BUDGET._lock:
            wait = _fork(ask)
        assert wait() is False
        list(client.backend(hosted.name).list())


def test_a_child_reads_no_certificates_that_its_parent_has_read(hosted, home, monkeypatch):
    """OpenSSL makes a context under locks that another thread of the parent may have held."""
    with Lab(hosted.name) as lab, ftsdk.Client(home=home, env=lab.env()) as client:
        list(client.backend(hosted.name).list())

        def ask():
            monkeypatch.setattr(ssl, "SSLContext", None)
            monkeypatch.setattr(ssl, "create_default_context", None)
            return len(list(client.backend(hosted.name).list()))

        assert _fork(ask)() == 0


def test_the_default_client_is_another_one_in_a_child(monkeypatch, home):
    monkeypatch.setenv("FTSDK_HOME", str(home))
    parent = ftsdk.default_client()
    with ftsdk._default_lock:
        wait = _fork(lambda: ftsdk.default_client() is parent)
    assert wait() is False
    assert ftsdk.default_client() is parent


def test_a_reply_about_another_job_is_not_taken_for_ours(hosted, home):
    """The tag that the provider repeats is another's."""
    clock = ManualClock()
    with (
        Lab(hosted.name, clock=clock) as lab,
        ftsdk.Client(home=home, env=lab.env(), clock=clock) as client,
    ):
        backend = client.backend(hosted.name)
        first = hosted.new(client)
        created = backend._created
        other = backend.get(first.provider_job_id)
        seen = []

        def mixed(request, ready):
            seen.append(created(request, ready))
            return other

        backend._created = mixed
        second = hosted.new(client, key="another")
        assert second.provider_job_id == seen[0].provider_job_id != first.provider_job_id
        assert lab[hosted.name].count("POST", hosted.create) == 2


@pytest.mark.parametrize("name", ["azure", "nebius"])
def test_a_suffix_without_our_tag_is_another_job(name, home):
    from types import SimpleNamespace

    from ftsdk.backends.base import Context
    from ftsdk.backends.registry import load_backend
    from ftsdk.types.job import RemoteJob

    pytest.importorskip("openai")
    env = {"AZURE_OPENAI_ENDPOINT": "https://a.openai.azure.com"}
    backend = load_backend(name)(Context(home=home, env=env))
    request = SimpleNamespace(tag="ft0abc")

    def is_ours(**raw):
        job = RemoteJob(provider_job_id="ftjob-1234", status="queued", raw=raw)
        return backend._is_ours(job, request)

    assert is_ours(suffix="name-ft0abc")
    assert is_ours()
    assert not is_ours(suffix="name-ft0xyz")
    assert not is_ours(user_provided_suffix="name")


# --- AsyncClient across a fork ---


def _sweep(client, hosted, keys):
    """Create a job for each key at once, read each five times, and return the ids by key."""

    async def one(key):
        job = await client.create_job(
            [{"messages": [{"role": "user", "content": f"{key} {i}"},
                           {"role": "assistant", "content": "a"}]} for i in range(12)],
            provider=hosted.name, key=key, **hosted.job,
        )  # fmt: skip
        seen = {job.provider_job_id}
        for _ in range(5):
            seen.add((await job.refresh()).provider_job_id)
        return sorted(seen)

    async def all_of_them():
        return dict(zip(keys, await asyncio.gather(*map(one, keys)), strict=True))

    return asyncio.run(all_of_them())


def _across_forks(hosted, home, *, inside, longest_s=60):
    """Use an AsyncClient, fork six times, and create jobs in every process; return their answers.

    With `inside` the processes are forked while the parent's event loop runs.
    """
    keys = {number: [f"{number}-{i}" for i in range(3)] for number in range(CHILDREN)}
    with Lab(hosted.name) as lab:
        client = ftsdk.AsyncClient(home=home, env=lab.env())
        before = set(threading.enumerate())
        _sweep(client, hosted, ["parent"])
        _join_workers(before)

        def fork_all():
            return _fork_all(
                [
                    lambda number=number: _sweep(client, hosted, [*keys[number], "shared"])
                    for number in keys
                ],
                longest_s=longest_s,
            )

        async def from_the_loop():
            await client.list_jobs()  # a worker thread of the loop exists
            return fork_all()

        answers = asyncio.run(from_the_loop()) if inside else fork_all()
        after = _sweep(client, hosted, ["parent", "parent again"])
        listed = [job.provider_job_id for job in client._sync.backend(hosted.name).list()]
        known = [job.provider_job_id for job in client._sync.list_jobs()]
    return answers, after, listed, known


@pytest.mark.parametrize("inside", [False, True], ids=["before a loop", "inside a loop"])
def test_an_async_client_that_was_used_before_a_fork(hosted, home, inside):
    answers, after, listed, known = _across_forks(hosted, home, inside=inside)
    for answer in answers:
        assert isinstance(answer, dict), answer
        assert all(len(ids) == 1 for ids in answer.values()), answer
    made = {key: ids[0] for answer in answers for key, ids in answer.items()}
    assert len({answer["shared"][0] for answer in answers}) == 1
    made |= {key: ids[0] for key, ids in after.items()}
    assert len(made) == 3 * CHILDREN + 3
    assert sorted(made.values()) == sorted(listed) == sorted(known), "0 duplicates, 0 lost, 0 mixed"


def test_a_connection_that_is_shared_with_children_is_caught(home, monkeypatch):
    """Planted bug: a forked process goes on with its parent's connections."""
    pytest.importorskip("together")
    monkeypatch.setattr(
        "ftsdk.backends.hosted.transport.HostedTransport._leave_to_parent", lambda _: None
    )
    caught = False
    for turn in range(5):
        answers, _, listed, known = _across_forks(
            HOSTED["together"], home / str(turn), inside=False, longest_s=15
        )
        whole = all(
            isinstance(answer, dict) and all(len(ids) == 1 for ids in answer.values())
            for answer in answers
        )
        if not whole or sorted(listed) != sorted(known):
            caught = True
            break
    assert caught
