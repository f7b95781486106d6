"""The trainer, which runs in a process of its own."""
