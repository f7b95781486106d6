"""Secrets planted in key, URL, header, body and error are found nowhere, however a call ends."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import traceback

import pytest

import ftsdk
from ftsdk.backends.hosted import scrub
from ftsdk.clock import ManualClock
from ftsdk.errors import FtsdkError
from ftsdk.testing.lab.openai import OpenAIDouble

pytest.importorskip("openai")

KEY = "sk-canary-key-4f1d0c9b8a7e6d5c"
ORGANISATION = "org-canary-1234"
ECHOED = "r8_canaryEchoedByTheProvider000"
QUERY = "canaryQuerySignature777"
CANARIES = (KEY, ECHOED, QUERY)
MODEL = "gpt-4.1-mini-2025-04-14"
ROWS = [
    {"messages": [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": f"a{i}"}]}
    for i in range(10)
]
SPOILT = [
    ("status", {"status": code, "body": {"error": {"message": f"no: {KEY} {ECHOED}", "code": KEY, "type": ECHOED}}})
    for code in (400, 401, 403, 404, 409, 422, 429, 500, 503)
] + [
    ("status", {"status": 500, "body": f"<html>{KEY}</html>", "headers": {"x-request-id": KEY}}),
    ("redirect", {"value": f"http://127.0.0.1:9/?X-Amz-Signature={QUERY}"}),
    ("redirect", {"value": f"http://user:{KEY}@127.0.0.1:9/"}),
    ("close", {"acted": True}), ("reset", {}), ("cut", {}), ("html", {}), ("empty", {}),
    ("set", {"field": "id", "value": KEY}), ("set", {"field": "status", "value": KEY}),
]  # fmt: skip


def everything(error):
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    one = told
    while one is not None:  # the frames of this test hold what it planted
        one.stack = traceback.StackSummary.from_list(
            [f for f in one.stack if f.filename != __file__]
        )
        one = one.__cause__ or one.__context__
    return [
        *told.format(),
        str(error),
        repr(error),
        json.dumps(error.to_dict()),
        repr(pickle.dumps(error)),
    ]


def test_nowhere(tmp_path, caplog):
    told, clock, home = [], ManualClock(), tmp_path / "home"
    with OpenAIDouble(clock=clock, keys=[KEY]) as double, caplog.at_level(logging.DEBUG):
        env = {**double.variables(), "OPENAI_ORG_ID": ORGANISATION}
        client = ftsdk.Client(home=home, clock=clock, env=env)
        job = client.create_job(ROWS, provider="openai", model=MODEL)
        clock.advance(60)
        calls = 0
        for behaviour, facts in SPOILT:
            for ask in (
                job.refresh, job.events, job.metrics, job.checkpoints, job.result, job.cancel,
                lambda: job.result().chat("hello"),
                lambda seed=calls: client.create_job(ROWS, provider="openai", model=MODEL, seed=seed),
                client.reconcile,
            ):  # fmt: skip
                calls += 1
                double.faults.add(behaviour, times=4, **facts)
                try:
                    ask()
                except FtsdkError as error:
                    told += everything(error)
                double.faults.clear()
        told += [str(r.getMessage()) + str(r.exc_info) for r in caplog.records]
        told += [
            repr(client),
            repr(job),
            job.snapshot.model_dump_json(),
            repr(pickle.dumps(job.snapshot)),
        ]
        client.close()
    assert calls > 150
    assert len(told) > 500
    for path in home.rglob("*"):
        if path.is_file():
            told.append(path.name + repr(path.read_bytes()))
            assert path.stat().st_mode & 0o077 == 0, path
    whole = "\n".join(told)
    for canary in CANARIES:
        leaks = [line[:200] for line in whole.split("\n") if canary in line]
        assert leaks == []


def test_nowhere_on_the_command_line(tmp_path):
    with OpenAIDouble(keys=[KEY]) as double:
        env = {**os.environ, **double.variables(), "FTSDK_HOME": str(tmp_path)}
        rows = tmp_path / "rows.jsonl"
        rows.write_text("\n".join(map(json.dumps, ROWS)))
        told = []
        for behaviour, facts in SPOILT[1:4]:
            double.faults.add(behaviour, method="POST", path="/jobs$", **facts)
            command = [sys.executable, "-m", "ftsdk", "create", str(rows), "--provider", "openai",
                       "--model", MODEL, "--yes", "--json", "--key", str(facts)[:20]]  # fmt: skip
            ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
            told += [ran.stdout, ran.stderr]
            assert ran.returncode == 4, ran.stderr
    assert not any(canary in text for canary in CANARIES for text in told)


def test_the_scrubber_knows_its_shapes():
    for text in (
        f"Bearer {QUERY}{QUERY}", "https://x/?token=abcdef123456", "https://x/?a=1&X-Amz-Signature=deadbeef",
        "https://me:hunter2@host/", "hf_abcdefghij", "whsec_abcdefgh", "AKIAABCDEFGHIJKLMNOP",
    ):  # fmt: skip
        assert "[secret]" in scrub(text), text
    assert scrub("rank 16, sk- and token counts 123") == "rank 16, sk- and token counts 123"
