"""Mutation tests: change one line of the package at a time, and see a test fail (`make mutants`)."""
