"""`python -m ftsdk` is the command line."""

from __future__ import annotations

from ftsdk.cli import main

if __name__ == "__main__":
    main()
