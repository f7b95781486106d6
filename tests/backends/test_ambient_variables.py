"""What the SDKs read from the environment by themselves goes to no host it was not set for."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftsdk.backends.base import Context
from ftsdk.backends.hosted import Service
from ftsdk.backends.hosted.ambient import custom_headers
from ftsdk.backends.openai.profiles import AZURE, CRUSOE, GENERIC, NEBIUS, OPENAI
from ftsdk.backends.registry import load_backend
from ftsdk.errors import FtsdkError, NotFound
from ftsdk.testing.lab import Lab
from ftsdk.util.clock import ManualClock

KNOWN = {
    "openai": {
        # sent by a client
        "OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL", "OPENAI_CUSTOM_HEADERS",
        "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_WEBHOOK_SECRET",
        # read by the module-level client and the clients for Azure, Bedrock and Vertex
        "OPENAI_API_TYPE", "OPENAI_API_VERSION", "AZURE_OPENAI_AD_TOKEN", "AZURE_OPENAI_API_KEY",
        "AZURE_OPENAI_ENDPOINT", "AWS_BEARER_TOKEN_BEDROCK", "AWS_BEDROCK_BASE_URL",
        "AWS_DEFAULT_REGION", "AWS_REGION", "GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_PROJECT",
        # logging and start-up
        "OPENAI_LOG", "DEFER_PYDANTIC_BUILD",
    },
    "together": {
        "TOGETHER_API_KEY", "TOGETHER_BASE_URL", "TOGETHER_CUSTOM_HEADERS", "TOGETHER_PROJECT_ID",
        # logging, start-up, uploads, reinforcement learning
        "TOGETHER_LOG", "DEFER_PYDANTIC_BUILD", "TOGETHER_ALLOW_INSECURE_UPLOAD_REDIRECTS",
        "TOGETHER_RL_MAX_CONNECTIONS", "TOGETHER_RL_THREAD_POOL_SIZE",
    },
    "replicate": {"REPLICATE_API_TOKEN", "REPLICATE_BASE_URL", "REPLICATE_POLL_INTERVAL"},
}  # fmt: skip
"""Every variable that the SDKs read. A new one must be looked at: is it sent, and where to?"""

_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
_OTHER_CONSTANTS = ("TRAINING_SESSION_STATUS_",)
"""Values of an enumeration in a module that reads a variable, too."""
_NUMBERS = {
    "DEFER_PYDANTIC_BUILD", "REPLICATE_POLL_INTERVAL", "TOGETHER_RL_MAX_CONNECTIONS",
    "TOGETHER_RL_THREAD_POOL_SIZE",
}  # fmt: skip
CANARY = "canary-of-the-environment"


def _root(package: str) -> Path:
    pytest.importorskip(package, reason=f"needs the extra `{package}`")
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def read_variables(source: str) -> Iterator[str]:
    """Yield the variables that a module reads, also through a constant or a function of its own."""
    if not re.search(r"\b(environ|getenv)\b", source):
        return
    tree = ast.parse(source)
    exported = {
        id(part)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for part in ast.walk(node)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in exported
            and _VARIABLE.fullmatch(node.value)
            and not node.value.startswith(_OTHER_CONSTANTS)
        ):
            yield node.value


@pytest.mark.parametrize("package", KNOWN)
def test_every_variable_that_an_sdk_reads_is_known(package):
    root = _root(package)
    found = {
        name
        for path in root.rglob("*.py")
        if "cli" not in path.relative_to(root).parts
        for name in read_variables(path.read_text())
    }
    assert found <= KNOWN[package]
    assert found, "the scan finds nothing: has the SDK another layout?"


def test_the_scan_sees_each_way_of_reading():
    source = (
        "import os\nNAME = 'A_CONSTANT'\nos.environ['B_INDEX']; os.getenv('C_GETENV')\n"
        "os.environ.get('D_GET'); own_function('E_OWN'); os.environ.get(NAME)\n"
    )
    assert set(read_variables(source)) == {"A_CONSTANT", "B_INDEX", "C_GETENV", "D_GET", "E_OWN"}


def _planted(monkeypatch, package: str) -> dict[str, str]:
    """Set every variable of an SDK to a value that can be recognised in a request."""
    values = {}
    for name in KNOWN[package] - _NUMBERS:
        value = CANARY
        if name.endswith("_CUSTOM_HEADERS"):
            value = (
                f"Authorization: Bearer {CANARY}\nX-Own: {CANARY}\nUser-Agent: {CANARY}\n"
                f"x-stainless-lang: {CANARY}\nHost: {CANARY}"
            )
        values[name] = value
        monkeypatch.setenv(name, value)
    return values


def _requests(provider: str, env: dict[str, str], home: Path) -> list[dict[str, str]]:
    """Return the headers of some calls of a backend at its double."""
    shape = provider if provider in ("together", "replicate") else "openai"
    with Lab(shape, clock=ManualClock()) as lab:
        double = lab[shape]
        url = double.base_url
        variables = {
            f"{provider.upper()}_API_KEY": min(double.keys),
            "AZURE_OPENAI_API_KEY": min(double.keys),
            "REPLICATE_API_TOKEN": min(double.keys),
        }
        where = {
            "openai": "OPENAI_BASE_URL", "azure": "AZURE_OPENAI_ENDPOINT",
            "nebius": "NEBIUS_BASE_URL", "crusoe": "CRUSOE_BASE_URL",
            "together": "TOGETHER_BASE_URL", "replicate": "REPLICATE_BASE_URL",
        }[provider]  # fmt: skip
        context = Context(home=home, clock=ManualClock(), env={**env, **variables, where: url})
        backend = load_backend(provider)(context)
        try:
            with contextlib.suppress(NotFound):  # Azure's paths are not the double's
                list(backend.list())
            with pytest.raises(FtsdkError):
                backend.get("ftjob-none00" if shape == "openai" else "ft-none00")
        finally:
            backend.close()
        seen = [dict(request.headers) for request in double.requests]
        assert seen
        assert {one["authorization"] for one in seen} == {f"Bearer {min(double.keys)}"}
        return seen


@pytest.mark.parametrize("provider", ["nebius", "crusoe", "azure", "replicate"])
@pytest.mark.parametrize("package", ["openai", "together"])
def test_another_company_gets_nothing_of_the_environment(monkeypatch, home, provider, package):
    _root("replicate" if provider == "replicate" else "openai")
    for seen in _requests(provider, _planted(monkeypatch, package), home):
        assert CANARY not in str(seen)


@pytest.mark.parametrize("provider", ["openai", "together"])
def test_what_only_the_process_has_is_not_sent(monkeypatch, home, provider):
    """A client with its own `env` uses that one alone."""
    _root(provider)
    _planted(monkeypatch, provider)
    for seen in _requests(provider, {}, home):
        assert CANARY not in str(seen)


@pytest.mark.parametrize("provider", ["openai", "together"])
def test_the_address_of_the_environment_gets_what_was_set_for_it(monkeypatch, home, provider):
    _root(provider)
    for seen in _requests(provider, _planted(monkeypatch, provider), home):
        assert seen["x-own"] == seen["user-agent"] == CANARY
        if provider == "openai":
            assert seen["openai-organization"] == seen["openai-project"] == CANARY


ALL = {
    "OPENAI_ORG_ID": "org", "OPENAI_PROJECT_ID": "proj", "OPENAI_CUSTOM_HEADERS": "X-Own: 1",
    "OPENAI_BASE_URL": "https://gateway.test/v1", "TOGETHER_PROJECT_ID": "p",
}  # fmt: skip


@pytest.mark.parametrize(
    ("service", "url", "sent"),
    [
        (OPENAI.service, "https://api.openai.com/v1", 3),
        (OPENAI.service, "https://api.openai.com.evil.test/v1", 0),
        (GENERIC.service, "https://gateway.test/v1", 3),
        (GENERIC.service, "https://gateway.test:8443/v1", 0),
        (GENERIC.service, "https://other.test/v1", 0),
        (AZURE.service, "https://gateway.test/v1", 0),
        (AZURE.service, "https://a.openai.azure.com/openai/v1", 0),
        (NEBIUS.service, "https://api.tokenfactory.nebius.com/v1", 0),
        (CRUSOE.service, "https://api.intelligence.crusoecloud.com/v1", 0),
    ],
)
def test_where_companions_of_a_key_may_go(service: Service, url: str, sent: int):
    assert len(service.companions_for(url, ALL)) == sent


def test_custom_headers_do_not_replace_the_key_or_frame_a_message():
    lines = "Authorization: Bearer other\n content-length : 3\nno colon\n X-A :  b:c \nHOST: x"
    assert custom_headers(lines) == {"X-A": "b:c"}
    assert custom_headers(None) == {}
