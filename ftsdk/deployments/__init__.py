"""Deployed models and their leases."""
