"""Helpers that are not about fine-tuning: files, locks, clock, identifiers."""
