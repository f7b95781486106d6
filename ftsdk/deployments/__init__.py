"""Deploying models, and their leases."""
