"""Secrets in key, URL, header, body, field and error appear nowhere, whatever the result of a call.

Checked: logs at DEBUG, exceptions with all their locals, their JSON and pickles, the journal and every
other file, handles, snapshots, and the output of the command line. `--long` runs every field.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import ftsdk
from ftsdk.backends.hosted import scrub
from ftsdk.config import Config
from ftsdk.errors import ConfigError, FtsdkError, Unsupported
from ftsdk.util.clock import ManualClock
from tests.faults.providers import OPENAI, REPLICATE, ROWS, START, TOGETHER, each_provider

HERE = str(Path(__file__).parent)
# Not in the format of any provider: it is known as a secret only because it is the key in use.
KEY = "canary-4f1d0c9b8a7e6d5c-the-api-key"
WANDB = "canaryWeightsAndBiases0123456789abcdef01"
HUGGING = "hf_canaryHuggingToken0123456789"
HOOK = "whsec_Y2FuYXJ5LXdlYmhvb2stc2VjcmV0LTAx"
OURS = (KEY, WANDB, HUGGING, HOOK)
# Secrets of others, known by their format alone, wherever an error or a log would repeat them.
ECHOED = "r8_canaryEchoedByTheProvider000"
SIGNED = "canaryQuerySignature777"
PASSWORD = "canaryPasswordInAnAddress"
SHAPED = (ECHOED, SIGNED, PASSWORD)
ENV = {"WANDB_API_KEY": WANDB, "HF_TOKEN": HUGGING, "OPENAI_WEBHOOK_SECRET": HOOK,
       "REPLICATE_WEBHOOK_SECRET": HOOK}  # fmt: skip
MORE = {TOGETHER.name: {"wandb_project_name": "p", "hf_output_repo_name": "o/r"}}
MESSAGE = f"no: {KEY} {ECHOED} {HUGGING} https://x/?a=1&X-Amz-Signature={SIGNED}"
ERRORS = (
    {"error": {"message": MESSAGE, "code": KEY, "type": ECHOED, "param": MESSAGE}},
    {"message": MESSAGE},
    {"detail": MESSAGE, "title": KEY, "errors": [{"detail": KEY}]},
    {"error": MESSAGE},
    MESSAGE,
    [MESSAGE],
)
HEADERS = {"x-request-id": KEY, "request-id": f"{KEY} {ECHOED}", "www-authenticate": f"Bearer {KEY}",
           "retry-after": KEY, "server": KEY, "set-cookie": f"session={KEY}"}  # fmt: skip
FAULTS = [
    *(("status", {"status": 400 + 1 * n, "body": body}) for n, body in enumerate(ERRORS)),
    *(("status", {"status": s, "body": ERRORS[0]})
      for s in (401, 403, 404, 408, 409, 413, 422, 429, 500, 503)),
    *(("status", {"status": s, "body": ERRORS[2], "headers": HEADERS}) for s in (401, 402, 429, 500)),
    ("status", {"status": 500, "body": f"<html>{MESSAGE}</html>", "headers": HEADERS}),
    ("status", {"status": 200, "body": f"<html>{MESSAGE}</html>", "headers": HEADERS}),
    ("status", {"status": 200, "body": {"data": MESSAGE, "results": MESSAGE, "id": MESSAGE}}),
    ("redirect", {"value": f"http://127.0.0.1:9/?X-Amz-Signature={SIGNED}&token={KEY}"}),
    ("redirect", {"value": f"http://user:{PASSWORD}@127.0.0.1:9/{KEY}"}),
    ("close", {"acted": True}), ("reset", {}), ("cut", {}), ("html", {}), ("empty", {}),
]  # fmt: skip
FIELDS = (
    "id", "status", "error", "message", "model", "data", "results", "suffix", "metadata", "output",
    "fine_tuned_model", "logs", "model_output_name", "training_file", "input", "urls", "object",
    "processing_status", "validation_report", "created_at", "metrics", "user_id", "result_files",
    "hyperparameters", "training_type", "finished_at", "trained_tokens", "choices", "seed", "events",
    "token_count", "total_price", "next", "has_more", "version", "lr_scheduler", "method",
)  # fmt: skip
VALUES = (KEY, f"it is {KEY}.", {"message": KEY, "id": KEY}, [KEY, {"message": f"line {KEY}"}])


def exposed(error):
    """Return all that an exception contains, in every form in which it may be shown or sent."""
    formatted = traceback.TracebackException.from_exception(error, capture_locals=True)
    waiting = [formatted]
    while waiting:  # the frames of this file contain the planted secrets
        one = waiting.pop()
        one.stack = traceback.StackSummary.from_list(
            [frame for frame in one.stack if not frame.filename.startswith(HERE)]
        )
        waiting += [inner for inner in (one.__cause__, one.__context__) if inner is not None]
    return [
        *formatted.format(),
        str(error),
        repr(error),
        repr(vars(error)),
        json.dumps(error.to_dict(), default=str),
        repr(pickle.dumps(error)),
    ]


def contents(value):
    """Return the texts that show a result."""
    if isinstance(value, list):
        return [shown for one in value for shown in contents(one)]
    shown = []
    if isinstance(value, ftsdk.FineTuneJob):
        shown += [repr(value), value._repr_html_()]
        value = value.snapshot
    shown += [repr(value), str(value), repr(pickle.dumps(value))]
    return [*shown, value.model_dump_json()] if hasattr(value, "model_dump_json") else shown


def leaks(texts, canaries):
    """Return each canary that is in a text, with its surroundings."""
    return sorted(
        {
            f"{canary}: …{text[max(0, text.find(canary) - 200) :][:400]}"
            for text in texts
            for canary in canaries
            if canary in text
        }
    )


def files(home):
    """Yield names and content of every file; check that no other user may read it."""
    for path in home.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
        yield str(path.relative_to(home))
        if path.is_file():
            yield path.read_bytes().decode("latin-1")


class LogLines:
    """The log records of this process, with all their fields."""

    def __init__(self, caplog):
        self.caplog = caplog
        self.formatter = logging.Formatter(
            "%(name)s %(message)s %(args)s %(exc_text)s %(stack_info)s"
        )

    def __iter__(self):
        for record in self.caplog.records:
            yield self.formatter.format(record)


@pytest.fixture(params=[0o022, 0o000], ids=["umask-022", "umask-000"])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def calls(provider, client, job, numbers):
    """Return a function for every operation, including those that change something."""
    options = {**provider.options, **MORE.get(provider.name, {})}
    return (
        job.refresh, job.events, job.metrics, job.checkpoints, job.logs, job.result, job.cancel,
        lambda: job.result().chat("hello"),
        lambda: provider.send(client, seed=next(numbers), provider_options=options),
        lambda: client.adopt_job(provider.name, str(job.provider_job_id)),
        lambda: list(client.backend(provider.name).list()),
        lambda: list(client.backend(provider.name).get_many([str(job.provider_job_id)] * 3)),
        client.reconcile,
    )  # fmt: skip


def run(provider, double, client, faults):
    """Run every operation with every fault; return the number of runs and all texts shown."""
    numbers, texts, ran = itertools.count(1), [], 0
    job = provider.send(client)
    other = provider.send(client, seed=next(numbers))
    double.clock.advance(60)
    for behaviour, facts in faults:
        for call in (*calls(provider, client, job, numbers), other.refresh):
            ran += 1
            double.faults.add(behaviour, times=4, **facts)
            try:
                texts += contents(call())
            except FtsdkError as error:
                texts += exposed(error)
            double.faults.clear()
    texts += [repr(client), repr(job), *contents(job), *contents(client.list_jobs())]
    return ran, texts


@contextlib.contextmanager
def debugging(provider, home, caplog):
    """Yield a double and its client, with every logger at DEBUG."""
    with (
        provider.double(ManualClock(START), keys=[KEY]) as double,
        caplog.at_level(logging.DEBUG),
        provider.client(double, home, **ENV) as client,
    ):
        yield double, client


@each_provider()
def test_no_secret_appears_anywhere(provider, home, caplog, request):
    long = request.config.getoption("--long")
    fields, step = (FIELDS, 1) if long else (FIELDS[:1], 3)
    faults = FAULTS[::step] + [("set", {"field": f, "value": v}) for f in fields for v in VALUES]
    with debugging(provider, home, caplog) as (double, client):
        ran, texts = run(provider, double, client, faults)
        assert any(KEY in repr(one.headers) for one in double.requests)
    texts += LogLines(caplog)
    assert len(texts) > 3 * ran
    assert leaks([*texts, *files(home)], OURS) == []
    print(
        f"{provider}: {ran} runs, {len(texts)} texts, {sum(map(len, texts)):,} characters: 0 hits"
    )


@each_provider()
def test_no_other_user_may_read_the_files(provider, umask, home, caplog):
    with debugging(provider, home, caplog) as (double, client):
        run(provider, double, client, FAULTS[:2])
        assert len(list(files(home))) > 10


@each_provider()
def test_secrets_of_others_are_known_by_their_format(provider, home, caplog, request):
    """No error, log or file repeats them. A complete answer is data, and may need its URL."""
    step = 1 if request.config.getoption("--long") else 3
    refusals = [
        one
        for one in FAULTS[::step]
        if not isinstance(one[1].get("body"), dict) or one[1]["status"] >= 400
    ]
    with debugging(provider, home, caplog) as (double, client):
        ran, texts = run(provider, double, client, refusals)
    texts += LogLines(caplog)
    assert ran > 100
    assert leaks([*texts, *files(home)], SHAPED) == []


@each_provider()
def test_a_planted_leak_is_found(provider, home, caplog, monkeypatch):
    """Planted bug: nothing is scrubbed."""
    monkeypatch.setattr("ftsdk.backends.hosted.redact._KNOWN.mask", lambda text: text)
    monkeypatch.setattr("ftsdk.backends.hosted.redact._KNOWN.mask_bytes", lambda content: content)
    with debugging(provider, home, caplog) as (double, client):
        _, texts = run(provider, double, client, FAULTS[:2])
    assert leaks(texts, OURS)


@each_provider()
def test_a_failed_jobs_reason_is_scrubbed(provider, home):
    with provider.double(ManualClock(START), keys=[KEY]) as double:
        client = provider.client(double, home, **ENV)
        job = provider.send(client)
        if provider is OPENAI:
            reason = {"code": "bad", "message": MESSAGE, "param": None}
            double.faults.add("set", method="GET", field="error", value=reason, times=None)
            double.jobs[job.provider_job_id].forced = "failed"
        else:
            double.fail(job.provider_job_id, MESSAGE)
        with pytest.raises(ftsdk.JobFailed) as caught:
            job.result()
        texts = [*exposed(caught.value), *contents(job)]
        client.close()
    assert leaks([*texts, *files(home)], (*OURS, *SHAPED)) == []
    assert "no:" in str(caught.value)


@each_provider()
def test_a_missing_key_is_reported_without_the_other_secrets(provider, home):
    """The environment is a local variable of many frames."""
    with provider.double(ManualClock(START), keys=[KEY]) as double:
        env = {**double.variables(), **ENV, provider.key_variable: ""}
        client = ftsdk.Client(home=home, clock=double.clock, env=env, config=Config(env=env))
        with pytest.raises(ConfigError) as caught:
            provider.send(client)
        assert leaks(exposed(caught.value), OURS) == []
        client.close()


@each_provider()
@pytest.mark.parametrize(
    "url",
    [
        f"https://me:{PASSWORD}@api.example.com/v1", f"https://api.example.com/?token={SIGNED}",
        f"http://api.example.com/{ECHOED}", f"https://{ECHOED}:x@[::1",
    ],
)  # fmt: skip
def test_a_url_with_a_secret_is_refused_without_showing_it(provider, url, home):
    variable = provider.key_variable.partition("_")[0] + "_BASE_URL"
    env = {variable: url, provider.key_variable: KEY}
    client = ftsdk.Client(home=home, clock=ManualClock(START), env=env, config=Config(env=env))
    with pytest.raises(ConfigError) as caught:
        provider.send(client)
    shown = [str(caught.value), repr(caught.value), json.dumps(caught.value.to_dict())]
    assert leaks([*shown, repr(pickle.dumps(caught.value))], (KEY, *SHAPED)) == []
    client.close()


@each_provider()
@pytest.mark.parametrize(
    "options",
    [
        {"api_key": "abcdefghijkl"}, {"nested": {"hf_token": "abcdefghijkl"}}, {"list": [ECHOED]},
        {"data_url": f"https://x.example/rows.jsonl?X-Amz-Signature={SIGNED}"}, {"note": ECHOED},
    ],
    ids=lambda value: next(iter(value)),
)  # fmt: skip
def test_options_with_a_secret_are_refused_without_showing_it(provider, options, home):
    with provider.double(ManualClock(START), keys=[KEY]) as double:
        client = provider.client(double, home)
        with pytest.raises(Unsupported) as caught:
            provider.send(client, provider_options={**provider.options, **options})
        assert caught.value.submitted == "no"
        assert double.count("POST") == 0
        shown = [str(caught.value), repr(caught.value), json.dumps(caught.value.to_dict())]
        client.close()
    assert leaks([*shown, *files(home)], (*SHAPED, "abcdefghijkl")) == []


COMMANDS = (
    "create {rows} --yes --json --key a", "create {rows} --yes --key b", "list", "list --json",
    "show {job} --json", "show {job}", "events {job} --json", "logs {job}", "metrics {job} --json",
    "checkpoints {job} --json", "cancel {job} --json", "chat {job} -m hello", "reconcile --json",
    "wait {job} --timeout 0", "doctor", "doctor --json", "adopt {provider} {id} --json",
    "download {job} out", "costs --json", "retirements --json", "journal export", "backends {provider}",
    "plan {rows} --json", "deployments --json",
)  # fmt: skip


@each_provider()
def test_no_secret_appears_on_the_command_line(provider, tmp_path, home, request):
    """Real processes, with the SDKs logging at DEBUG."""
    commands = COMMANDS if request.config.getoption("--long") else COMMANDS[::5]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    options = "".join(f"{name} = {value!r}\n" for name, value in provider.options.items())
    (tmp_path / "ftsdk.toml").write_text(
        f"provider = {provider.name!r}\nmodel = {provider.model!r}\n[provider_options]\n{options}"
    )
    texts = []
    with provider.double(keys=[KEY]) as double:
        with provider.client(double, home, **ENV) as client:
            job = provider.send(client)
        env = {**os.environ, **ENV, **double.variables(), "FTSDK_HOME": str(home)}
        env |= {"OPENAI_LOG": "debug", "TOGETHER_LOG": "debug", "NO_COLOR": "1"}
        for text, (behaviour, facts) in zip(commands, itertools.cycle(FAULTS[5:]), strict=False):
            double.faults.add(behaviour, times=20, **facts)
            words = text.format(
                job=job.id, rows=rows, provider=provider.name, id=job.provider_job_id
            )
            ran = subprocess.run(
                [sys.executable, "-m", "ftsdk", *words.split()],
                env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120,
            )  # fmt: skip
            double.faults.clear()
            texts += [ran.stdout, ran.stderr]
    assert leaks([*texts, *files(home)], (*OURS, *SHAPED)) == []


def test_the_scrubber_knows_secret_formats():
    for text in (
        f"Bearer {SIGNED}{SIGNED}", "https://x/?token=abcdef123456",
        "https://x/?a=1&X-Amz-Signature=deadbeef", "https://me:hunter2@host/", "hf_abcdefghij",
        "whsec_abcdefgh", "AKIAABCDEFGHIJKLMNOP", "sk-proj-abc_DEF-123", "tgp_v1_abcdefgh",
        "r8_abcdefgh", "ghp_abcdefghijklmnopqrst",
    ):  # fmt: skip
        assert "[secret]" in scrub(text), text
    assert scrub("rank 16, sk- and token counts 123") == "rank 16, sk- and token counts 123"
    assert REPLICATE.name in scrub(f"{REPLICATE.name} said no")
