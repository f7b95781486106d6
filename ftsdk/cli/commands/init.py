"""`init`: a first ftsdk.toml, never over another one unasked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ftsdk.cli.options import Json
from ftsdk.cli.view.output import command, emit, say
from ftsdk.errors import ConfigError

__all__ = ["TEMPLATE", "init"]

TEMPLATE = """\
# Which provider and model ftsdk uses. Keys never stand here: they are read from the provider's
# usual variable (TOGETHER_API_KEY, OPENAI_API_KEY, …) or the keyring, at the moment of the call.
# An argument beats the environment (FTSDK_PROFILE, FTSDK_PROVIDER, FTSDK_MODEL), which beats this.

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
    force: Annotated[bool, typer.Option("--force", help="Write over an ftsdk.toml.")] = False,
    show: Annotated[bool, typer.Option("--print", help="Print it, write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Write ftsdk.toml with a profile for this machine, one for Together AI, one for rehearsals."""
    from ftsdk.util.files import atomic_write_bytes

    if show:
        if as_json:
            emit({"path": None, "written": False, "text": TEMPLATE})
        else:
            sys.stdout.write(TEMPLATE)
        return
    path = Path.cwd() / "ftsdk.toml"
    if path.exists() and not force:
        raise ConfigError(
            "There is an ftsdk.toml already, and it was left alone",
            where=str(path),
            hint="ftsdk init --print shows a fresh one; --force writes over it",
        )
    try:
        atomic_write_bytes(path, TEMPLATE.encode(), mode=0o644)
    except OSError as error:
        raise ConfigError(
            f"ftsdk.toml cannot be written: {error.strerror or error}",
            where=str(path),
            hint="go to a folder that is writable, or `ftsdk init --print > ftsdk.toml`",
        ) from error
    if as_json:
        emit({"path": path, "written": True, "text": TEMPLATE})
        return
    say("Wrote ftsdk.toml: profile ", ("dev", "bold"), " = local · smollm2-135m, ",
        ("prod", "bold"), " = together (needs TOGETHER_API_KEY), ", ("test", "bold"), " = fake")  # fmt: skip
    say(("Next: ", "dim"), command("ftsdk doctor"), (" · ", "dim"), command("ftsdk validate DATA"))
