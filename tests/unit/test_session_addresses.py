"""A job is read at the address where it was created, even if the configuration changes."""

from __future__ import annotations

import pytest

import ftsdk
from ftsdk.config import Config
from ftsdk.testing.lab import Lab
from ftsdk.util.clock import ManualClock

pytest.importorskip("openai")
ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"q {i}"},
            {"role": "assistant", "content": f"a {i}"},
        ]
    }
    for i in range(10)
]


def test_a_job_remembers_its_base_url(tmp_path):
    clock = ManualClock()
    with Lab("openai", clock=clock) as first, Lab("openai", clock=clock) as second:
        made = {"home": tmp_path, "clock": clock}
        client = ftsdk.Client(**made, env=first.env())
        job = client.create_job(ROWS, provider="openai", model="gpt-4.1-mini-2025-04-14")
        elsewhere = ftsdk.Client(**made, env=second.env())
        other = elsewhere.create_job(ROWS, provider="openai", model="gpt-4.1-2025-04-14")
        both = elsewhere.list_jobs()
        clock.advance(60)
        for one in both:
            assert one.refresh().status == "succeeded"
        assert first["openai"].count("GET", f"{job.provider_job_id}$") == 1
        assert second["openai"].count("GET", f"{other.provider_job_id}$") == 1
        adopted = ftsdk.Client(home=tmp_path / "b", clock=clock, env=first.env()).adopt_job(
            "openai", job.provider_job_id
        )
        assert adopted.snapshot.dataset["base_url"] == first["openai"].base_url


def test_a_backend_without_a_key_refuses_a_variable_for_it(tmp_path):
    config = Config(
        data={"profiles": {"p": {"provider": "fake", "key_variable": "FAKE_KEY"}}}, profile="p"
    )
    with (
        ftsdk.Client(home=tmp_path, env={}, config=config) as client,
        pytest.raises(ftsdk.ConfigError, match="fake reads no key from FAKE_KEY"),
    ):
        client.backend("fake")
