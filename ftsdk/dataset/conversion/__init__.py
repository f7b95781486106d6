"""Rows written in another format."""
