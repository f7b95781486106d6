"""`lab up`, `lab env`, `lab fault`: providers on this machine's loopback, for rehearsals without a key."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftsdk.cli.options import Json
from ftsdk.cli.view.output import columns, command, emit, note, say

if TYPE_CHECKING:
    from ftsdk.testing.lab import Lab

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Providers on this machine, for rehearsals: real servers for the real SDKs, no key.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_FILE = "lab.json"
_FIRST_PORT = 48_100


def _state_file() -> Path:
    from ftsdk.config import default_home

    return default_home() / _FILE


def _names(wanted: list[str] | None) -> list[str]:
    from ftsdk.config import nearest
    from ftsdk.errors import UsageError
    from ftsdk.testing.lab import DOUBLES

    for name in wanted or []:
        if name not in DOUBLES:
            raise UsageError(
                f"The lab has no double of {name!r}{nearest(name, DOUBLES)}",
                where="ftsdk lab up",
                hint=f"one of {', '.join(DOUBLES)}",
            )
    return list(wanted or DOUBLES)


@app.command("up")
def up(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[PROVIDER]...", help="Which; all by default.")
    ] = None,
    port: Annotated[
        int,
        typer.Option(metavar="N", help="The first port; 0, or a default in use, takes free ones."),
    ] = _FIRST_PORT,
    as_json: Json = False,
) -> None:
    """Start the doubles and serve until interrupted."""
    from ftsdk.util.files import atomic_write_json, make_private_folder

    chosen = _names(names)
    over = _stopped()
    lab = _started(chosen, port)
    told = {
        name: {
            "url": lab[name].base_url,
            "env": lab[name].variables(),
            "create": f"ftsdk create DATA {lab[name].rehearsal} --yes",
        }
        for name in chosen
    }
    path = _state_file()
    make_private_folder(path.parent)
    atomic_write_json(path, {"pid": os.getpid(), "doubles": told})
    try:
        if as_json:
            emit({"lab": told})
        else:
            columns([[(name, "bold"), facts["url"]] for name, facts in told.items()])
            _how_to_go_on([facts["create"] for facts in told.values()])
        _wait(over)
    finally:
        lab.stop()
        _forget(path)


def _started(chosen: list[str], port: int) -> Lab:
    """The doubles, listening; on free ports when the default ones are in use."""
    from ftsdk.errors import UsageError
    from ftsdk.testing.lab import Lab

    lab = Lab(*chosen, ports={n: port + i if port else 0 for i, n in enumerate(chosen)})
    try:
        lab.start()
    except OSError as error:
        lab.stop()
        if port == _FIRST_PORT:
            return _started(chosen, 0)
        raise UsageError(
            f"The lab cannot listen: {error.strerror or error}",
            where=f"127.0.0.1, ports {port} to {port + len(chosen) - 1}",
            hint="stop the other one, or choose another --port (0 takes free ones)",
        ) from error
    return lab


def _forget(path: Path) -> None:
    """Remove what this lab wrote; another that began later has written its own."""
    try:
        ours = json.loads(path.read_bytes())["pid"] == os.getpid()
    except (OSError, ValueError, KeyError):
        return
    if ours:
        path.unlink(missing_ok=True)


def _how_to_go_on(creates: Sequence[str]) -> None:
    note(
        ("  in another shell: ", "dim"), ('eval "$(ftsdk lab env)"', "cyan"),
        ("   then, for instance", "dim"),
    )  # fmt: skip
    for line in creates:
        note("    ", command(line))
    note(("  Ctrl-C ends the lab and its jobs", "dim"))


def _stopped() -> threading.Event:
    """What is set when the process is asked to end: then the doubles stop in order."""
    over = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: over.set())
    return over


def _wait(over: threading.Event) -> None:
    try:
        while not over.wait(0.5):
            pass
    except KeyboardInterrupt:
        return


def _running() -> dict[str, Any]:
    """What `lab up` wrote. Raises `UsageError` when no lab is up."""
    from ftsdk.errors import UsageError

    try:
        told: dict[str, Any] = json.loads(_state_file().read_bytes())
        os.kill(int(told["pid"]), 0)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            "No lab is up", where=str(_state_file()), hint="start it in another shell: ftsdk lab up"
        ) from error
    doubles: dict[str, Any] = told["doubles"]
    return doubles


@app.command("env")
def env(as_json: Json = False) -> None:
    """Print the variables that point the official SDKs, and ftsdk, at the lab."""
    doubles = _running()
    merged = {name: value for one in doubles.values() for name, value in one["env"].items()}
    if as_json:
        emit({"env": merged})
        return
    if sys.platform == "win32":
        for name, value in merged.items():
            say(f"$env:{name} = '{value}'")
        return
    for name, value in merged.items():
        say(f"export {name}={shlex.quote(value)}")


@app.command("fault")
def fault(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="Whose answers go wrong.")],
    behaviour: Annotated[
        str,
        typer.Argument(
            metavar="FAULT",
            help="refuse, reset, close, hang, drip, cut, html, empty, status, set, rename, drop, "
            "repeat, twice; or none.",
        ),
    ],
    method: Annotated[str | None, typer.Option(metavar="VERB", help="Only such requests.")] = None,
    path: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Only paths in which this is found.")
    ] = None,
    times: Annotated[int, typer.Option(metavar="N", help="How many requests go wrong.")] = 1,
    acted: Annotated[
        bool, typer.Option("--acted", help="The provider does it; only the answer is lost.")
    ] = False,
    status: Annotated[int, typer.Option(metavar="CODE", help="For the fault status.")] = 503,
    retry_after: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="A Retry-After header with it.")
    ] = None,
    field: Annotated[
        str, typer.Option(metavar="NAME", help="Which field of the answer: set, rename, drop.")
    ] = "id",
    value: Annotated[
        str | None,
        typer.Option(metavar="VALUE", help="What it is set to, or its new name: set, rename."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(metavar="N", help="How long nobody is let in: refuse.")
    ] = 30.0,
    as_json: Json = False,
) -> None:
    """Let the next such request to a double of the lab go wrong; `none` ends all faults.

    `refuse` takes no connection at all, whatever the request, until its seconds are over.
    """
    given = {
        "behaviour": behaviour, "method": method, "path": path, "times": times, "acted": acted,
        "status": status, "retry_after": retry_after, "field": field,
        "value": None if value is None else _value(value), "seconds": seconds,
    }  # fmt: skip
    told = _tell(provider, "faults", given)
    if as_json:
        emit(told)
    elif behaviour == "refuse":
        say(f"{provider}: takes no connection for {seconds:g} s")
    else:
        say(f"{provider}: {told['waiting']} fault(s) wait for their request")


@app.command("set")
def set_(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="Whose state changes.")],
    values: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="closed=true, jobs_at_once=1, …")
    ],
    as_json: Json = False,
) -> None:
    """Change how a double behaves: `closed=true` takes no new jobs, `jobs_at_once=1` is a quota."""
    from ftsdk.cli.options import pairs

    told = _tell(
        provider, "state", {name: _value(text) for name, text in pairs(values, "lab set").items()}
    )
    if as_json:
        emit(told)
    else:
        columns([[name, ("set to", "dim"), json.dumps(value)] for name, value in told.items()])


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _tell(provider: str, door: str, given: dict[str, Any]) -> dict[str, Any]:
    """Send something to the lab's own door of a double, and give its answer."""
    import urllib.error
    import urllib.request

    from ftsdk.errors import UsageError

    doubles = _running()
    if provider not in doubles:
        raise UsageError(
            f"The lab that is up has no {provider}", hint=f"one of {', '.join(doubles)}"
        )
    url = "/".join(doubles[provider]["url"].split("/")[:3]) + f"/_lab/{door}"
    request = urllib.request.Request(  # noqa: S310  # the lab's own loopback address
        url, data=json.dumps(given).encode(), method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # as above
            told: dict[str, Any] = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            why = json.loads(error.read()).get("error", "")
        raise UsageError(
            f"The lab refuses: {why}", where=f"the lab's {provider}", hint="correct what it names"
        ) from error
    except OSError as error:
        raise UsageError(
            "The lab does not answer",
            where=url,
            hint="wait until it has refused for long enough, if you told it to; else start it again: "
            "ftsdk lab up",
        ) from error
    return told
