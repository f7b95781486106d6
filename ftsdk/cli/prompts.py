"""Questions before a command starts, spends or deletes, and the refusal where nobody can answer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from decimal import Decimal

import typer

from ftsdk.cli.view.output import console, note, text
from ftsdk.errors import NeedsDecision


def decide(
    question: str, *, yes: bool, no_input: bool, default: bool, unasked: str, hint: str
) -> bool:
    """Ask a yes-or-no question on standard error and return the answer; `yes` answers it.

    Raises `NeedsDecision` (exit code 7, nothing was submitted) with `no_input`, and at the end of
    standard input. Its text is `unasked`.
    """
    if yes:
        return True
    if no_input:
        raise _undecided(unasked, hint)
    _ask(question, (" [Y/n] " if default else " [y/N] ", "dim"))
    while True:
        answer = sys.stdin.readline()
        if not answer:
            note()
            raise _undecided(unasked, hint)
        choice = answer.strip().lower()
        if not choice:
            return default
        if choice in ("y", "yes", "n", "no"):
            return choice.startswith("y")
        _ask("y or n? ")


def agree_to_spend(
    what: str, requests: int, cost: Decimal | None, *, yes: bool, no_input: bool
) -> None:
    """Ask whether `what` may ask so many requests for up to `cost` US dollars; None is unknown.

    Exits with 1 where the answer is no. Nothing is asked for what is free. Raises `NeedsDecision`
    where nobody can answer.
    """
    if requests and cost != 0:
        ask_to_spend(what, cost, requests=requests, yes=yes, no_input=no_input)


def ask_to_spend(
    what: str, cost: Decimal | None, *, requests: int | None = None, yes: bool, no_input: bool
) -> None:
    """Ask the same without looking whether it is free; `requests` is None where others spend as well."""
    question, verb, past = "Spend", "spends", "spent"
    if requests is not None:
        question, verb, past = f"Ask {requests:,} requests and spend", "asks", "asked"
    amount = "an unknown amount" if cost is None else f"up to ${cost:.2f}"
    if not decide(
        f"{question} {amount}?",
        yes=yes,
        no_input=no_input,
        default=False,
        unasked=f"The {what} would spend {amount}, and nobody could be asked",
        hint=f"--yes {verb} without a question, --budget USD limits what it costs",
    ):
        raise stop(f"Nothing was {past}.")


def choose(question: str, choices: Mapping[str, str], *, default: str) -> str:
    """Ask which of `choices` (name to explanation) and return the line that was typed.

    An empty line, and the end of standard input, are the default. The line starts with one of the
    names; what follows a colon is the caller's to read.
    """
    note(question)
    for name, what in choices.items():
        note(f"  {name:<20}", (what, "dim"))
    _ask("? ", (f"[{default}] ", "dim"))
    while True:
        answer = sys.stdin.readline()
        typed = answer.strip()
        if not typed:
            note(*([] if answer else [""]))
            return default
        if typed.partition(":")[0].strip() in choices:
            return typed
        _ask(f"one of {', '.join(choices)}? ")


def _ask(*parts: str | tuple[str, str]) -> None:
    console(stderr=True).print(text(*parts), end="", soft_wrap=True)
    sys.stderr.flush()


def _undecided(unasked: str, hint: str) -> NeedsDecision:
    return NeedsDecision(unasked, where="nobody could answer", hint=hint, submitted="no")


def stop(message: str) -> typer.Exit:
    """Print why nothing was done and return the exit to raise, with code 1."""
    note((message, "dim"))
    return typer.Exit(1)
