"""No secret leaves through the log records of the SDKs and of httpx, whatever they carry."""

from __future__ import annotations

import importlib
import io
import logging
import re
from pathlib import Path

import pytest

from ftsdk.backends.base import Context
from ftsdk.backends.hosted import guard_logs, remember
from ftsdk.backends.registry import load_backend
from ftsdk.errors import BackendError

SECRET = "planted-secret-0123456789"
MADE_LATER = {"openai.audio.transcriptions", "together.realtime"}
"""Loggers of modules that are never used."""


@pytest.fixture
def log():
    """Everything that is logged from now on at any level, formatted, and the records themselves."""
    out, records = io.StringIO(), []

    class Keeping(logging.StreamHandler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)
            super().emit(record)

    handler = Keeping(out)
    handler.setFormatter(
        logging.Formatter("%(name)s %(message)s %(request_url)s", defaults={"request_url": ""})
    )
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield out, records
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.mark.parametrize("name", ["httpx", "openai._base_client", "together", "httpcore.http11"])
def test_an_exception_is_logged_without_secrets(log, name):
    out, records = log
    logger = logging.getLogger(name)  # the SDKs make theirs when they are imported
    remember(SECRET)
    guard_logs()
    try:
        try:
            raise ValueError(f"inner {SECRET}")
        except ValueError as error:
            raise RuntimeError(f"Authorization: Bearer {SECRET}") from error
    except RuntimeError:
        logger.debug(
            "sent %s", SECRET, exc_info=True, extra={"request_url": f"https://x?token={SECRET}"}
        )
    output = out.getvalue()
    assert "RuntimeError: Authorization" in output
    assert "ValueError: inner" in output
    assert SECRET not in output
    assert records[0].exc_info is None
    assert SECRET not in str(vars(records[0]))


def test_a_stack_is_logged_without_secrets(log):
    out, _ = log
    remember(SECRET)
    guard_logs()
    logging.getLogger("openai").debug("at", stack_info=True)  # planted-secret-0123456789
    assert "Stack (most recent call last)" in out.getvalue()
    assert SECRET not in out.getvalue()


@pytest.mark.parametrize(
    ("name", "key", "url"),
    [
        ("openai", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
        ("together", "TOGETHER_API_KEY", "TOGETHER_BASE_URL"),
        ("replicate", "REPLICATE_API_TOKEN", "REPLICATE_BASE_URL"),
    ],
)
def test_an_sdk_that_logs_what_httpx_raised(log, monkeypatch, tmp_path, name, key, url):
    pytest.importorskip(name)
    raised = 0
    for library in ("httpx", "httpx2"):
        try:
            http = importlib.import_module(library)
        except ModuleNotFoundError:
            continue

        def fail(self, request, http=http):
            nonlocal raised
            raised += 1
            sent = dict(request.headers)
            raise http.ReadError(f"lost {SECRET} and {sent}", request=request)

        monkeypatch.setattr(http.HTTPTransport, "handle_request", fail)
    env = {key: SECRET, url: "http://127.0.0.1:9/v1"}
    made = load_backend(name)(Context(home=tmp_path, env=env))
    with pytest.raises(BackendError):
        list(made.list())
    made.close()
    assert raised > 0
    assert SECRET not in log[0].getvalue()
    if name == "together":
        assert "ReadError: lost [secret]" in log[0].getvalue(), "the SDK logs exceptions no more"


@pytest.mark.parametrize("name", ["openai", "together", "replicate", "httpx", "httpcore"])
def test_every_logger_of_the_libraries_is_guarded(name):
    """Loggers of modules that are imported late are guarded by their names, before they are there."""
    package = pytest.importorskip(name)
    guard_logs()
    folder = Path(str(package.__file__)).parent
    unguarded = set()
    for path in folder.rglob("*.py"):
        if {"cli", "tinker", "realtime", "live", "responses"} & set(path.parts):
            continue
        module = ".".join((name, *path.relative_to(folder).with_suffix("").parts))
        for found in re.findall(r"getLogger\(([^)]*)\)", path.read_text("utf-8")):
            logger = module if found == "__name__" else found.strip("\"'")
            if not logging.getLogger(logger).filters:
                unguarded.add(logger)
    assert unguarded <= MADE_LATER
