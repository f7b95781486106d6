"""The script that runs on every hosted provider also runs here, with a two-layer model."""

from __future__ import annotations

import ftsdk
from ftsdk.config import Config
from tests.backends.test_one_script import story
from tests.train import tiny


def test_the_same_script_on_local(tmp_path, tiny_model, monkeypatch):
    import json

    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, tiny.rows(20))) + "\n")
    monkeypatch.chdir(tmp_path)
    data = {"provider": "local", "model": str(tiny_model)}
    client = ftsdk.Client(home=tmp_path / "home", config=Config(data=data, env={}), env={})
    job, text = story(client)
    client.close()
    assert (job.provider, job.status) == ("local", "succeeded")
    assert isinstance(text, str)
