"""`ftsdk lab`: up, env, fault, down; in processes of its own, as a person uses it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys

import pytest

import ftsdk
from ftsdk.errors import FtsdkError

pytest.importorskip("openai")


def run(home, *arguments):
    env = {**os.environ, "FTSDK_HOME": str(home)}
    command = [sys.executable, "-m", "ftsdk", "lab", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture
def lab(tmp_path):
    env = {**os.environ, "FTSDK_HOME": str(tmp_path / "lab"), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "ftsdk", "lab", "up", "openai", "--port", "0"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert "http://127.0.0.1:" in process.stdout.readline()
        yield tmp_path / "lab"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_up_env_fault_and_down(lab, tmp_path):
    ran = run(lab, "env")
    lines = [shlex.split(line) for line in ran.stdout.strip().split("\n")]
    variables = dict(word.split("=", 1) for _, word in lines)
    assert variables["OPENAI_API_KEY"] == "lab-openai-key"
    assert json.loads(run(lab, "env", "--json").stdout)["env"] == variables
    gone = run(
        lab, "fault", "openai", "status", "--method", "POST", "--path", "jobs$", "--status", "422"
    )
    assert gone.returncode == 0
    rows = [
        {"messages": [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "a"}]}
        for i in range(10)
    ]
    client = ftsdk.Client(home=tmp_path / "home", env=variables)
    with pytest.raises(FtsdkError) as caught:
        client.create_job(rows, provider="openai", model="gpt-4.1-mini-2025-04-14")
    assert caught.value.status_code == 422
    job = client.create_job(rows, provider="openai", model="gpt-4.1-mini-2025-04-14")
    assert job.provider_job_id.startswith("ftjob-")
    assert json.loads(run(lab, "set", "openai", "closed=true", "--json").stdout)["closed"] is True
    with pytest.raises(ftsdk.ProviderClosed):
        client.create_job(rows, provider="openai", model="gpt-4.1-2025-04-14")
    client.close()
    assert "cannot be set" in run(lab, "set", "openai", "jobs=1").stderr
    odd = run(lab, "fault", "openai", "nonsense")
    assert odd.returncode == 2
    assert "Traceback" not in odd.stderr


def test_env_without_a_running_lab(tmp_path):
    ran = run(tmp_path, "env")
    assert ran.returncode == 2
    assert "No lab is running" in ran.stderr
    assert run(tmp_path, "up", "nobody").returncode == 2


def test_env_is_of_the_lab_that_started_last(lab, tmp_path):
    env = {**os.environ, "FTSDK_HOME": str(lab), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "ftsdk", "lab", "up", "replicate", "--port", "0"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert "replicate" in process.stdout.readline()
        second = (lab / "lab.json").read_bytes()
        (lab / "lab.json").write_bytes(second.replace(str(process.pid).encode(), b"1"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert (lab / "lab.json").exists()  # it was not this one's any more
    (lab / "lab.json").unlink()


def test_up_prints_a_create_command_for_each_provider(tmp_path):
    env = {**os.environ, "FTSDK_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "ftsdk", "lab", "up", "openai", "replicate", "--port", "0"]
    command = [*command, "--json"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        document = json.loads("".join([*iter(process.stdout.readline, "}\n"), "}"]))["lab"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    for name, facts in document.items():
        words = shlex.split(facts["create"])
        assert words[:3] == ["ftsdk", "create", "DATA"]
        assert words[words.index("--provider") + 1] == name


def test_default_ports_in_use_give_way_to_free_ones(monkeypatch):
    import socket

    from ftsdk.cli.commands import lab

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ftsdk.UsageError, match="cannot listen"):
            lab._started(["openai"], port)
        monkeypatch.setattr(lab, "_FIRST_PORT", port)
        started = lab._started(["openai"], port)
        assert not started["openai"].base_url.startswith(f"http://127.0.0.1:{port}/")
        started.stop()
