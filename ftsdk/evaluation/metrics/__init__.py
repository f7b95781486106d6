"""Metrics: each scores one answer against the reference answer of its row."""
