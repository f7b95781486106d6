"""The command line: the only part of the package that prints. Starts light; commands import late."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line with this process's arguments, and exit with its code."""
    from ftsdk.cli.app import app

    app(prog_name="ftsdk")
