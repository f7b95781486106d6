"""Submitting, following and managing jobs."""
