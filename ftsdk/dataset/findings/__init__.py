"""Findings of a dataset check, the registry of their codes, and the report."""
