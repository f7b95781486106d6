"""The fields of an outcome."""

from __future__ import annotations

from ftsdk.backends.local.runs.outcome import ended


def test_every_outcome_has_every_field() -> None:
    assert set(ended("failed", "x")) == {
        "outcome",
        "message",
        "error",
        "exit_code",
        "signal",
        "log_tail",
        "finished_at",
        "trained_tokens",
        "steps",
        "train_s",
    }
