"""`init`: a first ftsdk.toml and, on request, sample data; an existing file is never overwritten."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

import ftsdk
from ftsdk.cli.options import Json
from ftsdk.cli.view.output import command, emit, say
from ftsdk.errors import ConfigError

__all__ = ["TEMPLATE", "init"]

TEMPLATE = """\
# Which provider and model ftsdk uses. No keys in this file: each is read when a call needs it, from
# the provider's usual variable (TOGETHER_API_KEY, OPENAI_API_KEY, …) or from the keyring.
# An argument wins over the environment (FTSDK_PROFILE, FTSDK_PROVIDER, FTSDK_MODEL), which wins over
# this file.

profile = "dev"

[profiles.dev]                      # this machine, no key, no cost
provider = "local"
model = "smollm2-135m"

[profiles.prod]                     # needs TOGETHER_API_KEY
provider = "together"
model = "Qwen/Qwen3-8B"
max_cost = "10.00"                  # US dollars; refused before anything is sent when it may cost more

[profiles.test]                     # a rehearsal: nothing is trained
provider = "fake"
model = "smollm2-135m"
"""


def init(
    example: Annotated[
        bool,
        typer.Option(
            "--example", help="Also write the sample data: support.jsonl and its held-out rows."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
    show: Annotated[
        bool, typer.Option("--print", help="Print ftsdk.toml and write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write ftsdk.toml with a profile for this machine, one for Together AI, one for rehearsals.

    `--example` adds sample data to the folder: 320 chat rows of a support desk and 33 held-out
    ones. Files that exist are left as they are, unless `--force`.
    """
    if show:
        if as_json:
            emit({"path": None, "written": False, "text": TEMPLATE})
        else:
            sys.stdout.write(TEMPLATE)
        return
    path = Path.cwd() / "ftsdk.toml"
    wanted = {path: TEMPLATE.encode()}
    if example:
        wanted |= {Path.cwd() / file.name: file.read_bytes() for file in example_files()}
    elif path.exists() and not force:
        raise ConfigError(
            "There is an ftsdk.toml already; it was not changed",
            where=str(path),
            hint="ftsdk init --print shows a fresh one; --force overwrites it",
        )
    written = _write(wanted, force=force)
    if as_json:
        files = [{"path": one, "written": one in written} for one in wanted if one != path]
        document = {"path": path, "written": path in written, "text": TEMPLATE}
        emit(document | ({"example": files} if example else {}))
        return
    if path in written:
        say("Wrote ftsdk.toml: profile ", ("dev", "bold"), " = local · smollm2-135m, ",
            ("prod", "bold"), " = together (needs TOGETHER_API_KEY), ", ("test", "bold"), " = fake")  # fmt: skip
    for file, data in wanted.items():
        if file not in written:
            say(f"Kept {file.name}: it exists already", (" (--force overwrites it)", "dim"))
        elif file != path:
            rows = data.count(b"\n")
            say(f"Wrote {file.name}: {rows} rows")
    say(("Next: ", "dim"), command("ftsdk doctor"), (" · ", "dim"),
        command(f"ftsdk validate {'support.jsonl' if example else 'DATA'}"))  # fmt: skip


def example_files() -> list[Path]:
    """The sample data: beside the package's modules in a wheel, in `examples/` of a checkout."""
    package = Path(ftsdk.__path__[0])
    for folder in (package / "_examples", package.parent / "examples" / "data"):
        if found := sorted(folder.glob("*.jsonl")):
            return found
    raise ConfigError(
        "This installation of ftsdk has no sample data",
        where=str(package / "_examples"),
        hint="pip install --force-reinstall ftsdk",
    )


def _write(wanted: Mapping[Path, bytes], *, force: bool) -> set[Path]:
    """Write each file that does not exist, with `force` all of them; the ones that were written."""
    from ftsdk.util.files import atomic_write_bytes

    written = set()
    for path, data in wanted.items():
        if path.exists() and not force:
            continue
        try:
            atomic_write_bytes(path, data, mode=0o644)
        except OSError as error:
            raise ConfigError(
                f"{path.name} cannot be written: {error.strerror or error}",
                where=str(path),
                hint="go to a folder that is writable, or `ftsdk init --print > ftsdk.toml`",
            ) from error
        written.add(path)
    return written
