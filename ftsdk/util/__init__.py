"""Helpers that know nothing of fine-tuning: files, locks, clock, identifiers."""
