"""Run directories, and the supervisor that keeps a trainer going."""
