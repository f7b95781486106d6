"""`init`: write a first ftsdk.toml and, on request, sample data."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import ftsdk
from ftsdk.cli.commands.schema import schema_text
from ftsdk.cli.options import Json
from ftsdk.cli.view.output import columns, command, emit, say
from ftsdk.config import working_folder
from ftsdk.errors import ConfigError
from ftsdk.util.files import atomic_write_bytes

_HEAD = """\
# Which provider and model ftsdk uses. Arguments come first, then the environment (FTSDK_PROFILE,
# FTSDK_PROVIDER, FTSDK_MODEL), then this file. API keys do not belong here: ftsdk reads them from
# the provider's variable (TOGETHER_API_KEY, OPENAI_API_KEY, …) or the keyring at each call.

"""

_HERE = """\
profile = "dev"

[profiles.dev]                      # this machine, no key, no cost
provider = "local"
model = "smollm2-135m"

"""

_ELSEWHERE = """\
profile = "test"                    # local training needs Linux or macOS; WSL counts as Linux

"""

_REST = """\
[profiles.prod]                     # needs TOGETHER_API_KEY
provider = "together"
model = "Qwen/Qwen3-8B"
max_cost = "10.00"                  # US dollars; a job that may cost more is refused

[profiles.test]                     # a dry run: nothing is trained
provider = "fake"
model = "smollm2-135m"
"""


_SCHEMA = ".ftsdk/config.schema.json"
"""Beside ftsdk.toml, so that a team shares it; editors that know Taplo read it."""


def template(system: str = sys.platform) -> str:
    """Return the first `ftsdk.toml`; its profile trains here where this system can."""
    return _HEAD + (_ELSEWHERE if system == "win32" else _HERE) + _REST


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
    text = template()
    if show:
        if as_json:
            emit({"path": None, "written": False, "text": text})
        else:
            sys.stdout.write(text)
        return
    path, text = working_folder() / "ftsdk.toml", f"#:schema ./{_SCHEMA}\n{text}"
    files = {path: text.encode()}
    if example:
        files |= {working_folder() / file.name: file.read_bytes() for file in example_files()}
    elif path.exists() and not force:
        raise ConfigError(
            "ftsdk.toml already exists and was not changed",
            where=str(path),
            hint="`ftsdk init --print` prints a new one; --force overwrites it",
        )
    written = _write(files, force=force)
    if path in written:
        _write_schema(path.parent / _SCHEMA)
    if as_json:
        examples = [{"path": one, "written": one in written} for one in files if one != path]
        document = {"path": path, "written": path in written, "text": text}
        emit(document | ({"example": examples} if example else {}))
        return
    if path in written:
        say("Wrote ftsdk.toml", (f", and for editors {_SCHEMA}", "dim"))
        chosen = tomllib.loads(text)
        columns([
            [(f"profile {name}", "bold"), f"{one['provider']} · {one['model']}", (_PROFILES[name], "dim"),
             ("in use", "green") if name == chosen["profile"] else ""]
            for name, one in chosen["profiles"].items()
        ])  # fmt: skip
    for file, data in files.items():
        if file not in written:
            say(f"Kept {file.name}, which already exists", (" (--force overwrites it)", "dim"))
        elif file != path:
            rows = data.count(b"\n")
            say(f"Wrote {file.name}: {rows} rows")
    _guide("support.jsonl" if example else "DATA", chosen_here=path in written and "dev" in text)


_PROFILES = {
    "dev": "this machine, no key, no cost",
    "prod": "needs TOGETHER_API_KEY",
    "test": "a rehearsal, trains nothing",
}


def _write_schema(path: Path) -> None:
    """Write the schema by which an editor checks and completes ftsdk.toml, for this release."""
    path.parent.mkdir(exist_ok=True)
    _write({path: schema_text("config").encode()}, force=True)


def _guide(data: str, *, chosen_here: bool) -> None:
    """Print the next steps, each with what it does."""
    steps = [
        ("ftsdk doctor", "check this machine, keys and packages"),
        (f"ftsdk validate {data}", "find every fault in the rows; nothing is sent"),
        (f"ftsdk plan {data}", "see what would be sent, and its cost"),
        (f"ftsdk create {data}", "train, after a question"),
        ("ftsdk chat", "talk to the result"),
    ]
    if chosen_here and find_spec("torch") is None:
        steps.insert(0, ("pip install 'ftsdk[local]'", "the packages that train on this machine"))
    say("Next")
    columns(
        [
            [(str(n), "dim"), command(words), (why, "dim")]
            for n, (words, why) in enumerate(steps, 1)
        ],
        fold=True,
    )


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
