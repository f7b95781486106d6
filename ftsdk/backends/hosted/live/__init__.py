"""Asking a provider how it really answers: reads, the expected shapes, and the facts to confirm."""
