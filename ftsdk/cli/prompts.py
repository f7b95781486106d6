"""Questions before something starts, spends or is fetched; and the refusal where nobody can answer."""

from __future__ import annotations

import sys

import typer

from ftsdk.cli.view.output import console, text
from ftsdk.errors import NeedsDecision

__all__ = ["decide", "stop"]


def decide(
    question: str, *, yes: bool, no_input: bool, default: bool, unasked: str, hint: str
) -> bool:
    """The answer to a yes-or-no question on standard error; `yes` answers it beforehand.

    Raises `NeedsDecision` (exit code 7, nothing was submitted) with `no_input`, or where standard
    input is no terminal and has no answer.
    """
    if yes:
        return True
    if no_input:
        raise _undecided(unasked, hint)
    screen = console(stderr=True)
    screen.print(
        text(question, (" [Y/n] " if default else " [y/N] ", "dim")), end="", soft_wrap=True
    )
    sys.stderr.flush()
    while True:
        answer = sys.stdin.readline()
        if not answer:
            screen.print()
            raise _undecided(unasked, hint)
        word = answer.strip().lower()
        if not word:
            return default
        if word in ("y", "yes", "n", "no"):
            return word.startswith("y")
        screen.print(text("y or n? "), end="")
        sys.stderr.flush()


def _undecided(unasked: str, hint: str) -> NeedsDecision:
    return NeedsDecision(unasked, where="nobody was there to ask", hint=hint, submitted="no")


def stop(message: str) -> typer.Exit:
    """Say why nothing happened, and give the exit to raise: not 0, since what was asked is not done."""
    console(stderr=True).print(text((message, "dim")))
    return typer.Exit(1)
