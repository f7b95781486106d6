"""`ftsdk.inspect` reads provider and model from the configuration, and sends nothing."""

from __future__ import annotations

import ftsdk


def test_rows_are_shown_as_the_configured_model_sees_them(client, rows) -> None:
    seen = client.inspect(rows(12), rows=5)
    assert seen.summary is None or seen.summary.rows == 12
    assert "<html" in seen.to_html()


def test_the_module_has_it(monkeypatch, rows) -> None:
    monkeypatch.setenv("FTSDK_PROVIDER", "fake")
    monkeypatch.setenv("FTSDK_MODEL", "m")
    assert ftsdk.inspect(rows(3), line=2).headline()
