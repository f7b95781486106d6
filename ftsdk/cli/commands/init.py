"""`init`: write a first ftsdk.toml and, on request, sample data."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

import ftsdk
from ftsdk.cli.options import Json
from ftsdk.cli.view.output import command, emit, say
from ftsdk.config import working_folder
from ftsdk.errors import ConfigError
from ftsdk.util.files import atomic_write_bytes

TEMPLATE = """\
# Which provider and model ftsdk uses. Arguments come first, then the environment (FTSDK_PROFILE,
# FTSDK_PROVIDER, FTSDK_MODEL), then this file. API keys do not belong here: ftsdk reads them from
# the provider's variable (TOGETHER_API_KEY, OPENAI_API_KEY, …) or the keyring at each call.

profile = "dev"

[profiles.dev]                      # this machine, no key, no cost
provider = "local"
model = "smollm2-135m"

[profiles.prod]                     # needs TOGETHER_API_KEY
provider = "together"
model = "Qwen/Qwen3-8B"
max_cost = "10.00"                  # US dollars; a job that may cost more is refused

[profiles.test]                     # a dry run: nothing is trained
provider = "fake"
model = "smollm2-135m"
"""


def init(
    example: Annotated[
        bool,
        typer.Option(
            "--example", help="Also write sample data: support.jsonl and support_heldout.jsonl."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    show: Annotated[
        bool, typer.Option("--print", help="Print ftsdk.toml instead of writing it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a first ftsdk.toml.

    It has a profile for this machine, one for Together AI, and one for dry runs. With --example,
    also write 320 chat rows of a support desk and 33 held-out rows. Existing files are kept.
    """
    if show:
        if as_json:
            emit({"path": None, "written": False, "text": TEMPLATE})
        else:
            sys.stdout.write(TEMPLATE)
        return
    path = working_folder() / "ftsdk.toml"
    files = {path: TEMPLATE.encode()}
    if example:
        files |= {working_folder() / file.name: file.read_bytes() for file in example_files()}
    elif path.exists() and not force:
        raise ConfigError(
            "ftsdk.toml already exists and was not changed",
            where=str(path),
            hint="`ftsdk init --print` prints a new one; --force overwrites it",
        )
    written = _write(files, force=force)
    if as_json:
        examples = [{"path": one, "written": one in written} for one in files if one != path]
        document = {"path": path, "written": path in written, "text": TEMPLATE}
        emit(document | ({"example": examples} if example else {}))
        return
    if path in written:
        say("Wrote ftsdk.toml: profile ", ("dev", "bold"), " = local · smollm2-135m, ",
            ("prod", "bold"), " = together (needs TOGETHER_API_KEY), ", ("test", "bold"), " = fake")  # fmt: skip
    for file, data in files.items():
        if file not in written:
            say(f"Kept {file.name}, which already exists", (" (--force overwrites it)", "dim"))
        elif file != path:
            rows = data.count(b"\n")
            say(f"Wrote {file.name}: {rows} rows")
    say(("Next: ", "dim"), command("ftsdk doctor"), (" · ", "dim"),
        command(f"ftsdk validate {'support.jsonl' if example else 'DATA'}"))  # fmt: skip


def example_files() -> list[Path]:
    """Return the sample data: `ftsdk/_examples` of a wheel, `examples/data` of a checkout.

    Raises `ConfigError` when the installation has none.
    """
    package = Path(ftsdk.__path__[0])
    for folder in (package / "_examples", package.parent / "examples" / "data"):
        if found := sorted(folder.glob("*.jsonl")):
            return found
    raise ConfigError(
        "This installation of ftsdk has no sample data",
        where=str(package / "_examples"),
        hint="pip install --force-reinstall ftsdk",
    )


def _write(files: Mapping[Path, bytes], *, force: bool) -> set[Path]:
    """Write the files that do not exist, or all of them with `force`; return those written."""
    written = set()
    for path, data in files.items():
        if path.exists() and not force:
            continue
        try:
            atomic_write_bytes(path, data, mode=0o644)
        except OSError as error:
            raise ConfigError(
                f"{path.name} cannot be written: {error.strerror or error}",
                where=str(path),
                hint="change to a writable folder, or `ftsdk init --print > ftsdk.toml`",
            ) from error
        written.add(path)
    return written
