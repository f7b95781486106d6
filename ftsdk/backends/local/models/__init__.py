"""Base models on this machine: find, fetch, convert."""
