"""What all hosted backends have in common, over real sockets: one create call, reads, keys."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.base import Context
from ftsdk.backends.registry import load_backend
from ftsdk.errors import (
    AuthError,
    ConfigError,
    NeedsDecision,
    NotFound,
    RateLimited,
    Unavailable,
    UnexpectedResponse,
)
from ftsdk.session import Horizon
from ftsdk.testing.lab import Lab
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock
from tests.backends.hosted_worlds import HOSTED, Hosted


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=HOSTED)
def hosted(request) -> Hosted:
    pytest.importorskip(request.param, reason=f"needs the extra `{request.param}`")
    return HOSTED[request.param]


@pytest.fixture
def double(hosted, clock):
    with Lab(hosted.name, clock=clock) as lab:
        yield lab[hosted.name]
        assert lab[hosted.name].violations == []


@pytest.fixture
def client(double, clock, home):
    horizon = Horizon(while_creating_s=5)
    with ftsdk.Client(home=home, env=double.variables(), clock=clock, horizon=horizon) as one:
        yield one


def test_wait_ends_although_the_price_file_is_broken_meanwhile(hosted, client, double) -> None:
    job = hosted.new(client)
    (client.home / "prices.toml").write_text("as_of = ")
    job.wait(timeout=7200)
    assert job.status is JobStatus.SUCCEEDED
    assert job.result().id
    with pytest.raises(ConfigError):
        hosted.new(client, key="another")


# --- exactly once ---

LOST = [
    ("close", {"acted": True}), ("reset", {"acted": True}), ("cut", {}), ("html", {"acted": True}),
    ("empty", {"acted": True}), ("drop", {"field": "id"}),
    ("set", {"field": "id", "value": None}), ("set", {"field": "id", "value": ""}),
    ("set", {"field": "id", "value": "../../x"}), ("set", {"field": "id", "value": "x" * 10_000}),
    *(("status", {"status": s, "acted": True}) for s in (408, 409, 425, 429, 500, 502, 503, 504, 529)),
]  # fmt: skip


@pytest.mark.parametrize(("behaviour", "facts"), LOST, ids=lambda v: str(v)[:40])
def test_after_a_lost_reply_the_job_is_found_and_not_sent_twice(
    hosted, client, double, behaviour: Any, facts: dict[str, Any]
) -> None:
    double.lists_before_visible = 2
    double.faults.add(behaviour, method="POST", path=hosted.create, **facts)
    job = hosted.new(client)
    backend = client.backend(hosted.name)
    assert [one.provider_job_id for one in backend.list()] == [job.provider_job_id]
    assert job.status in (JobStatus.QUEUED, JobStatus.VALIDATING)
    assert double.count("POST", hosted.create) == 1


@pytest.mark.parametrize("behaviour", ["close", "reset", "html", "empty"])
def test_a_request_that_never_arrived_needs_a_decision(
    hosted, client, double, clock, behaviour
) -> None:
    double.faults.add(behaviour, method="POST", path=hosted.create)
    with pytest.raises((Unavailable, UnexpectedResponse)) as caught:
        hosted.new(client, key="k")
    assert caught.value.submitted == "maybe"
    job = client.get_job(str(caught.value.job_id))
    assert job.status is JobStatus.IN_DOUBT
    clock.advance(3600)
    with pytest.raises(NeedsDecision):
        job.refresh()
    with pytest.raises(NeedsDecision):
        hosted.new(client, key="k")
    assert double.count("POST", hosted.create) == 1
    client.resolve(job.id, send_again=True)
    assert double.count("POST", hosted.create) == 2


@pytest.mark.parametrize("status", [400, 402, 403, 404, 413, 422])
def test_a_definite_refusal_is_final(hosted, client, double, status: int) -> None:
    double.faults.add("status", method="POST", path=hosted.create, status=status)
    with pytest.raises(ftsdk.FtsdkError) as caught:
        hosted.new(client)
    assert caught.value.submitted == "no"
    assert client.list_jobs()[0].status is JobStatus.FAILED
    assert double.count("POST", hosted.create) == 1


def test_nothing_listens_so_nothing_was_sent(hosted, client, double) -> None:
    with double.down(), pytest.raises(Unavailable) as caught:
        hosted.new(client, key="k")
    assert caught.value.submitted == "no"
    assert client.list_jobs()[0].status is JobStatus.CREATED
    assert hosted.new(client, key="k").status.is_remote


def test_a_crash_in_the_upload_leaves_no_doubt(hosted, client, double, monkeypatch) -> None:
    """Rows go up while the job is still `created`: nobody has to look for it afterwards."""
    backend = client.backend(hosted.name)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(backend, "_prepared", die)
        with pytest.raises(KeyboardInterrupt):
            hosted.new(client, key="k")
    assert client.list_jobs()[0].status is JobStatus.CREATED
    assert hosted.new(client, key="k").status.is_remote
    assert double.count("POST", hosted.create) == 1


# --- reading ---


def test_reading_sends_only_gets(hosted, client, double) -> None:
    job = hosted.new(client)
    backend = client.backend(hosted.name)
    double.requests.clear()
    job.refresh()
    list(job.stream())
    job.events(), job.metrics(), job.logs(), job.result()
    if backend.capabilities.has_checkpoints:
        job.checkpoints()
    list(backend.list())
    assert {request.method for request in double.requests} == {"GET"}


def test_reads_recover_and_respect_retry_after(hosted, client, double, clock) -> None:
    job, backend = hosted.new(client), client.backend(hosted.name)
    for behaviour, facts in (
        ("status", {"status": 503}), ("status", {"status": 429, "retry_after": "7"}),
        ("close", {}), ("cut", {}), ("reset", {}), ("html", {}),
    ):  # fmt: skip
        double.faults.add(behaviour, method="GET", **facts)
        assert backend.get(str(job.provider_job_id)).raw_status
    assert any(7 <= slept < 9 for slept in clock.slept)
    double.faults.add("status", method="GET", status=429, retry_after="86400", times=None)
    with pytest.raises(RateLimited):
        backend.get(str(job.provider_job_id))
    assert max(clock.slept) <= 120


@pytest.mark.parametrize("word", ["paused_v2", "evaluating", "", "Completed!", "x" * 300])
def test_an_unknown_status_is_never_final(hosted, client, double, word: str) -> None:
    job = hosted.new(client)
    identity = str(job.provider_job_id)
    # The double has no empty status: a fault in the reply sets it.
    double.faults.add("set", method="GET", field="status", value=word)
    assert job.refresh().status is JobStatus.UNKNOWN
    assert job.raw_status == word
    assert not job.is_final
    hosted.show(double, identity, hosted.running)
    assert job.refresh().status is JobStatus.RUNNING


def test_malformed_ids_are_not_sent(hosted, client, double) -> None:
    backend, before = client.backend(hosted.name), double.count()
    for odd in ("../files", "a/b", "", "x" * 300, "a?b", "é", "ft-a\n"):
        with pytest.raises(NotFound):
            backend.get(odd)
    assert double.count() == before


# --- keys and addresses ---


def test_a_wrong_key_says_so_and_is_not_repeated(hosted, double, clock, home) -> None:
    env = {**double.variables(), hosted.key: "r8_planted_secret_000"}
    with ftsdk.Client(home=home, env=env, clock=clock) as client:
        with pytest.raises(AuthError) as caught:
            hosted.new(client)
        assert "planted" not in str(caught.value)
        assert caught.value.submitted == "no"
        assert client.list_jobs()[0].status is JobStatus.FAILED


def test_the_key_does_not_follow_a_redirect(hosted, client, double) -> None:
    job = hosted.new(client)
    with Lab(hosted.name) as other:
        thief = other[hosted.name]
        double.faults.add("redirect", method="GET", value=f"{thief.origin}/v1/x", times=None)
        with pytest.raises(UnexpectedResponse, match="redirect"):
            job.refresh()
        assert thief.count() == 0


@pytest.mark.parametrize("place", ["env", "file"])
def test_the_usual_key_is_sent_only_where_the_environment_agrees(hosted, home, place) -> None:
    """A project's `ftsdk.toml` may name any address; the account's key is not sent there."""
    url = "https://gateway.example.com"
    env = {hosted.key: "k-usual-0123456789"}
    if place == "env":
        env[hosted.url] = url
    made = load_backend(hosted.name)(Context(home=home, env=env, base_url=url))
    if place == "env":
        assert made.transport.key().reveal(url) == "k-usual-0123456789"
        return
    with pytest.raises(ftsdk.ConfigError, match="FTSDK_KEY_GATEWAY_EXAMPLE_COM"):
        made.transport.key()
    env["FTSDK_KEY_GATEWAY_EXAMPLE_COM"] = "k-gateway-0123456789"
    assert made.transport.key().reveal(url) == "k-gateway-0123456789"


def test_a_file_does_not_redirect_the_usual_key_to_this_machine(hosted, home) -> None:
    """Somebody else's program may listen there; a rehearsal is said by the environment."""
    url = "http://127.0.0.1:9"
    env = {hosted.key: "k-usual-0123456789"}
    with pytest.raises(ftsdk.ConfigError, match="FTSDK_KEY_127_0_0_1"):
        load_backend(hosted.name)(Context(home=home, env=env, base_url=url)).transport.key()
    env[hosted.url] = "http://127.0.0.1:10"
    made = load_backend(hosted.name)(Context(home=home, env=env, base_url=url))
    assert made.transport.key().reveal(url) == "k-usual-0123456789"


def test_a_key_for_openai_is_not_sent_to_azure(home) -> None:
    """Azure's own variable gives its key; OpenAI's does where its address names the same place."""
    pytest.importorskip("openai")
    url = "https://house.openai.azure.com/openai/v1"
    env = {"AZURE_OPENAI_ENDPOINT": url, "OPENAI_API_KEY": "k-openai-0123456789"}

    def key() -> str:
        return load_backend("azure")(Context(home=home, env=env)).transport.key().reveal(url)

    with pytest.raises(ftsdk.ConfigError, match="AZURE_OPENAI_API_KEY"):
        key()
    env["OPENAI_BASE_URL"] = url
    assert key() == "k-openai-0123456789"
    env["AZURE_OPENAI_API_KEY"] = "k-azure-0123456789"
    assert key() == "k-azure-0123456789"


@pytest.mark.parametrize("url", ["http://api.example.com", "https://u:p@x.example", "ftp://x"])
def test_a_base_url_that_must_not_carry_a_key_is_refused(hosted, url: str, home, clock) -> None:
    env = {hosted.url: url, hosted.key: "k-000000"}
    with ftsdk.Client(home=home, env=env, clock=clock) as one, pytest.raises(ftsdk.ConfigError):
        hosted.new(one)


def test_a_reply_that_repeats_the_key_is_stored_without_it(hosted, client, double) -> None:
    job = hosted.new(client)
    key = double.variables()[hosted.key]
    double.faults.add("set", method="GET", field="note", value=f"by {key}")
    result = client.backend(hosted.name).get(str(job.provider_job_id))
    assert "[secret]" in str(result.raw)
    assert key not in str(result.raw)


def test_a_stream_gives_the_pieces_of_the_same_answer(hosted, client, double) -> None:
    model = hosted.new(client).wait().result()
    if not model.callable_now:
        model = model.deploy().wait()
    whole = model.chat("hello there")
    sent = double.count("POST")
    stream = model.chat("hello there", stream=True)
    pieces = list(stream)
    assert "".join(pieces) == whole.text == stream.text
    assert stream.answer.usage == whole.usage
    assert stream.answer.finish_reason == whole.finish_reason
    assert list(stream) == [], "the end stays the end"
    heard: list[str] = []
    assert model.chat("hello there", on_text=heard.append).text == "".join(heard)
    assert double.count("POST") > sent


# --- without a network ---


def test_nothing_imports_the_sdk_to_read_capabilities(hosted) -> None:
    code = (
        "import sys; from ftsdk.backends.registry import load_backend;"
        f"load_backend({hosted.name!r}).capabilities; assert {hosted.name!r} not in sys.modules;"
        "assert 'httpx' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_plan_needs_no_key_and_explains_itself(hosted, home) -> None:
    asked = {"epochs": 3, "batch_size": 4}
    spec = ftsdk.JobSpec.build(provider=hosted.name, hyperparameters=asked, **hosted.job)
    plan = load_backend(hosted.name)(Context(home=home)).plan(spec)
    result = plan.explain()
    for field in plan.fields:
        assert f"\n{field.name}: " in result
    name = next(one.sent_as for one in plan.fields if one.name == "epochs")
    assert f"epochs: 3 → 3 as {name}" in result
    assert all(note in result for note in (*plan.notes, *plan.warnings))


# --- key_variable ---------------------------------------------------------------------------------


def test_a_profile_names_the_variable_of_its_key(hosted, home):
    env = {hosted.key: "the-usual-key-000000", f"WORK_{hosted.key}": "the-key-of-work-00000"}
    made = load_backend(hosted.name)(Context(home=home, env=env, key_variable=f"WORK_{hosted.key}"))
    assert made.transport.key().reveal(made.base_url) == "the-key-of-work-00000"
    missing = Context(
        home=home, env={hosted.key: "the-usual-key-000000"}, key_variable=f"WORK_{hosted.key}"
    )
    with pytest.raises(ConfigError) as caught:
        load_backend(hosted.name)(missing).transport.key()
    assert f"the variable WORK_{hosted.key}" in caught.value.where
    assert f"ftsdk/WORK_{hosted.key}" in caught.value.where


@pytest.mark.parametrize(
    "variable",
    [
        "GITHUB_TOKEN",
        "AZURE_OPENAI_API_KEY",
        "NEBIUS_API_KEY",
        "AZURE_TOGETHER_KEY",
        "KEY",
        "AWS_REPLICATED",
    ],
)
def test_a_file_sends_no_other_services_key(hosted, home, variable):
    """A project's file names the variable, so it must not be able to name any."""
    env = {variable: "another-services-key-0"}
    made = load_backend(hosted.name)(Context(home=home, env=env, key_variable=variable))
    with pytest.raises(ConfigError) as caught:
        made.transport.key()
    assert "another-services-key-0" not in str(caught.value)
    assert variable in caught.value.what
    assert hosted.key in caught.value.hint


def test_a_file_that_names_address_and_variable_gets_only_that_hosts_key(hosted, home):
    url, own = "https://gateway.example.com/v1", "FTSDK_KEY_GATEWAY_EXAMPLE_COM"
    usual = f"WORK_{hosted.key}"
    env = {
        usual: "the-key-of-work-00000",
        own: "gateway-key-0000000",
        f"{own}__WORK": "gateway-work-key-00",
    }
    for variable in (usual, own + "_WORK"):
        made = load_backend(hosted.name)(
            Context(
                home=home, env={**env, own + "_WORK": "x" * 20}, base_url=url, key_variable=variable
            )
        )
        with pytest.raises(ConfigError) as caught:
            made.transport.key()
        assert f"{own}__NAME" in caught.value.hint
    made = load_backend(hosted.name)(
        Context(home=home, env=env, base_url=url, key_variable=f"{own}__WORK")
    )
    assert made.transport.key().reveal(made.base_url) == "gateway-work-key-00"


def test_azure_takes_its_own_variable_and_not_openais(home):
    env = {
        "AZURE_OPENAI_ENDPOINT": "https://acme.openai.azure.com",
        "WORK_AZURE_OPENAI_KEY": "k" * 20,
    }
    made = load_backend("azure")(Context(home=home, env=env, key_variable="WORK_AZURE_OPENAI_KEY"))
    assert made.transport.key().reveal(made.base_url) == "k" * 20
    env["WORK_OPENAI_KEY"] = "o" * 20
    made = load_backend("azure")(Context(home=home, env=env, key_variable="WORK_OPENAI_KEY"))
    with pytest.raises(ConfigError, match="WORK_OPENAI_KEY"):
        made.transport.key()
