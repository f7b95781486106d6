"""The command groups of `ftsdk`: commands are imported when they run, and help is plain text.

`ftsdk --help`, the completion of command names and the suggestion after a typo read the table of
commands alone. Typer's rich help is not used: importing it takes longer than all the rest of
`ftsdk --help`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ftsdk.cli.command_table import COMMANDS, CommandEntry
from ftsdk.cli.errors import guarded, wants_json
from ftsdk.cli.startup import end_imports

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Command(TyperCommand):
    """A command whose help is plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and the options."""
        _write_parameters(self, ctx, formatter)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The parts of the usage line, with a required argument as `DATA`."""
        return [
            piece.removeprefix("{").removesuffix("}") for piece in super().collect_usage_pieces(ctx)
        ]

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        end_imports()
        return super().invoke(ctx)


class Group(TyperGroup):
    """A group of commands whose help is plain text."""

    def invoke(self, ctx: Any) -> Any:
        """Run the group's own function, then its command."""
        end_imports()
        return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the options."""
        rows = [(name, command.get_short_help_str(200)) for name, command in self.commands.items()]
        _write_section(formatter, "Commands", rows)
        _write_parameters(self, ctx, formatter)


class CommandTable(MutableMapping[str, Any]):
    """Commands by name; a command is imported when it is looked up, not when names are listed."""

    def __init__(self, entries: Mapping[str, CommandEntry]) -> None:
        self._entries = dict(entries)
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = _load(name, self._entries[name])
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _load(name: str, entry: CommandEntry) -> Any:
    found = getattr(importlib.import_module(entry.module), entry.attribute)
    if isinstance(found, typer.Typer):
        group = get_command(found)
        group.name = name
        return group
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, hidden=not entry.panel, cls=Command)(found)
    return get_command(single)


class RootGroup(TyperGroup):
    """The group of all commands. It lets no traceback through: see `errors.guarded`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = CommandTable(COMMANDS)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # the base's signature
        """The names of the commands, as they are listed."""
        return list(self.commands)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands by subject, then the options."""
        width = max(map(len, COMMANDS))  # one column for the names under all headings
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, entry in COMMANDS.items():
            if entry.panel:
                panels.setdefault(entry.panel, []).append((name.ljust(width), entry.summary))
        for panel, rows in panels.items():
            _write_section(formatter, panel, rows)
        _write_parameters(self, ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The commands and options that begin with `incomplete`; imports no command."""
        table = self.commands
        self.commands = {
            name: Command(name, help=entry.summary, hidden=not entry.panel)
            for name, entry in COMMANDS.items()
        }
        try:
            return list(super().shell_complete(ctx, incomplete))
        finally:
            self.commands = table

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,  # noqa: ARG002  # the base's signature; no globs here
        **extra: Any,
    ) -> Any:
        """Run the command line with `args`; exits with its code, or returns it."""
        words = list(sys.argv[1:] if args is None else args)

        def run() -> None:
            self._main_shell_completion(extra, prog_name or "ftsdk", complete_var)
            with self.make_context(prog_name or "ftsdk", words, **extra) as context:
                self.invoke(context)

        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")  # an old locale must not end a command
        code = guarded(run, as_json=wants_json(words))
        if standalone_mode:
            sys.exit(code)
        return code


def _write_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        name, text = record
        if parameter.param_type_name == "argument":
            rows["Arguments"].append((name.partition(" <")[0], text))  # without its Python type
        else:
            rows["Options"].append((_without_type(name), text))
    for title, records in rows.items():
        _write_section(formatter, title, records)


def _without_type(name: str) -> str:
    """Return `--seed N` for `--seed <int>`, and a flag without `<bool>`."""
    option, space, kind = name.partition(" <")
    if not space:
        return name
    return (
        option
        if kind.startswith("bool")
        else f"{option} {'TEXT' if kind.startswith(('str', 'text')) else 'N'}"
    )


def _write_section(formatter: Any, title: str, rows: Iterable[tuple[str, str]]) -> None:
    listed = list(rows)
    if not listed:
        return
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    with formatter.section(typer.style(title, bold=True) if colours else title):
        formatter.write_dl(listed)
