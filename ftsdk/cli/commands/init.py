"""`init`: write a first ftsdk.toml."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ftsdk.cli.options import Json
from ftsdk.cli.view.output import command, emit, say
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
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite an existing ftsdk.toml.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--print", help="Print the file instead of writing it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a first ftsdk.toml.

    It has a profile for this machine, one for Together AI, and one for dry runs.
    """
    if show:
        if as_json:
            emit({"path": None, "written": False, "text": TEMPLATE})
        else:
            sys.stdout.write(TEMPLATE)
        return
    path = Path.cwd() / "ftsdk.toml"
    if path.exists() and not force:
        raise ConfigError(
            "ftsdk.toml already exists and was not changed",
            where=str(path),
            hint="`ftsdk init --print` prints a new one; --force overwrites it",
        )
    try:
        atomic_write_bytes(path, TEMPLATE.encode(), mode=0o644)
    except OSError as error:
        raise ConfigError(
            f"ftsdk.toml cannot be written: {error.strerror or error}",
            where=str(path),
            hint="change to a writable folder, or `ftsdk init --print > ftsdk.toml`",
        ) from error
    if as_json:
        emit({"path": path, "written": True, "text": TEMPLATE})
        return
    say("Wrote ftsdk.toml: profile ", ("dev", "bold"), " = local · smollm2-135m, ",
        ("prod", "bold"), " = together (needs TOGETHER_API_KEY), ", ("test", "bold"), " = fake")  # fmt: skip
    say(("Next: ", "dim"), command("ftsdk doctor"), (" · ", "dim"), command("ftsdk validate DATA"))
