"""One script on the same rows: the profile alone selects the provider, and each result can chat."""

from __future__ import annotations

import datetime as dt
import json

import pytest

import ftsdk
from ftsdk.config import load_config
from ftsdk.testing.lab import Lab
from ftsdk.testing.lab.replicate.double import TRAINER, VERSION
from ftsdk.util.clock import ManualClock

for needed in ("openai", "together", "replicate"):
    pytest.importorskip(needed)

START = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
CONFIG = f"""
[profiles.openai]
provider = "openai"
model = "gpt-4.1-mini-2025-04-14"

[profiles.together]
provider = "together"
model = "Qwen/Qwen3.5-9B"

[profiles.replicate]
provider = "replicate"
model = "{TRAINER}:{VERSION}"

[profiles.replicate.provider_options]
destination = "lab/tuned"

[profiles.replicate.provider_options.trainer]
data = "train_data"
rows = "prompt_completion"
adapters = ["lora", "full"]

[profiles.replicate.provider_options.trainer.inputs]
epochs = "num_train_epochs"
seed = "seed"

[profiles.fake]
provider = "fake"
model = "smollm2-135m"

[profiles.local]
provider = "local"
model = "./base"
"""
QUESTION = "where is parcel number 7"


def story(client):
    """The script. It does not know where it runs."""
    job = client.create_job("rows.jsonl", hyperparameters={"epochs": 2}, seed=3)
    job.wait()
    handle = job.result()
    if not handle.callable_now:
        handle = job.deploy(hours=1).wait()
    text = handle.chat(QUESTION).text
    if client.backend(job.provider).capabilities.can_deploy:
        job.undeploy()
    return job, text


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "ftsdk.toml").write_text(CONFIG)
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"where is parcel number {number}"},
                {"role": "assistant", "content": f"parcel {number} is on its way"},
            ]
        }
        for number in range(20)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("profile", ["openai", "together", "replicate", "fake"])
def test_the_profile_selects_the_provider(project, profile):
    clock = ManualClock(START)
    with Lab(clock=clock) as lab:
        env = lab.env()
        config = load_config(profile=profile, env=env)
        client = ftsdk.Client(home=project / "home", clock=clock, env=env, config=config)
        job, text = story(client)
        client.close()
    assert (job.provider, job.status) == (profile, "succeeded")
    assert text == "parcel 7 is on its way"


def test_by_profile_on_this_machine(project):
    pytest.importorskip("torch", reason="needs the extra `local`")
    from tests.train.tiny import write_model

    write_model(project / "base")
    config = load_config(profile="local", env={})
    client = ftsdk.Client(home=project / "home", env={}, config=config)
    job, text = story(client)
    client.close()
    assert (job.provider, job.status) == ("local", "succeeded")
    assert isinstance(text, str)  # a toy of some thousand weights, whose words mean nothing
    assert job.result().path.is_dir()
