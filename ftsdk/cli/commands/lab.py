"""`lab`: local servers that imitate providers, for rehearsals without a key."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ftsdk.cli.group import CONTEXT_SETTINGS, Command, Group
from ftsdk.cli.options import Json, pairs
from ftsdk.cli.view.output import columns, command, emit, note, say
from ftsdk.config import default_home
from ftsdk.errors import UsageError
from ftsdk.testing.lab import DOUBLES, Lab
from ftsdk.util.files import atomic_write_json, make_private_folder
from ftsdk.util.names import nearest

app = typer.Typer(
    cls=Group,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Run local servers that imitate providers, for rehearsals without a key.",
    context_settings=CONTEXT_SETTINGS,
)
_FILE = "lab.json"
_FIRST_PORT = 48_100


def _state_file() -> Path:
    return default_home() / _FILE


def _names(wanted: list[str] | None) -> list[str]:
    for name in wanted or []:
        if name not in DOUBLES:
            raise UsageError(
                f"The lab has no double of {name!r}{nearest(name, DOUBLES)}",
                where="ftsdk lab up",
                hint=f"one of {', '.join(DOUBLES)}",
            )
    return list(wanted or DOUBLES)


@app.command("up", cls=Command)
def up(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROVIDER", help="The providers; all by default."),
    ] = None,
    port: Annotated[
        int,
        typer.Option(metavar="N", help="The first port; 0, or a default in use, uses free ones."),
    ] = _FIRST_PORT,
    as_json: Json = False,
) -> None:
    """Start the servers and run until interrupted."""
    chosen = _names(names)
    terminated = _on_termination()
    lab = _started(chosen, port)
    doubles = {
        name: {
            "url": lab[name].base_url,
            "env": lab[name].variables(),
            "create": f"ftsdk create DATA {lab[name].rehearsal} --yes",
        }
        for name in chosen
    }
    path = _state_file()
    make_private_folder(path.parent)
    atomic_write_json(path, {"pid": os.getpid(), "doubles": doubles})
    try:
        if as_json:
            emit({"lab": doubles})
        else:
            columns([[(name, "bold"), facts["url"]] for name, facts in doubles.items()])
            _print_next_steps([facts["create"] for facts in doubles.values()])
        _wait(terminated)
    finally:
        lab.stop()
        _remove_state(path)


def _started(chosen: list[str], port: int) -> Lab:
    """Return the running servers, on free ports where the default ones are in use.

    Raises `UsageError` when they cannot listen.
    """
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
            hint="stop the other one, or choose another --port (0 uses free ones)",
        ) from error
    return lab


def _remove_state(path: Path) -> None:
    """Remove the state file, unless a lab that started later wrote it."""
    try:
        ours = json.loads(path.read_bytes())["pid"] == os.getpid()
    except (OSError, ValueError, KeyError):
        return
    if ours:
        path.unlink(missing_ok=True)


def _print_next_steps(creates: Sequence[str]) -> None:
    note(
        ("  in another shell: ", "dim"), ('eval "$(ftsdk lab env)"', "cyan"),
        ("   then, for example", "dim"),
    )  # fmt: skip
    for line in creates:
        note("    ", command(line))
    note(("  Ctrl-C stops the lab and its jobs", "dim"))


def _on_termination() -> threading.Event:
    """Return an event that SIGTERM sets, so that the servers stop in order."""
    terminated = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    return terminated


def _wait(terminated: threading.Event) -> None:
    try:
        while not terminated.wait(0.5):
            pass
    except KeyboardInterrupt:
        return


def _running() -> dict[str, Any]:
    """Return what `lab up` wrote. Raises `UsageError` when no lab is running."""
    try:
        state: dict[str, Any] = json.loads(_state_file().read_bytes())
        os.kill(int(state["pid"]), 0)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            "No lab is running",
            where=str(_state_file()),
            hint="start it in another shell: ftsdk lab up",
        ) from error
    doubles: dict[str, Any] = state["doubles"]
    return doubles


@app.command("env", cls=Command)
def env(as_json: Json = False) -> None:
    """Print the variables that point the official SDKs and ftsdk at the lab."""
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


@app.command("fault", cls=Command)
def fault(
    provider: Annotated[
        str, typer.Argument(metavar="PROVIDER", help="The provider whose responses fail.")
    ],
    behaviour: Annotated[
        str,
        typer.Argument(
            metavar="FAULT",
            help="refuse, reset, close, hang, drip, cut, html, empty, status, set, rename, drop, "
            "plant, repeat, twice; or none.",
        ),
    ],
    method: Annotated[
        str | None, typer.Option(metavar="VERB", help="Only requests with this method.")
    ] = None,
    path: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Only requests whose path matches.")
    ] = None,
    times: Annotated[int, typer.Option(metavar="N", help="How many requests fail.")] = 1,
    acted: Annotated[
        bool, typer.Option("--acted", help="The server does the work; only the response is lost.")
    ] = False,
    status: Annotated[
        int, typer.Option(metavar="CODE", help="The status code of the fault `status`.")
    ] = 503,
    retry_after: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Send a Retry-After header.")
    ] = None,
    field: Annotated[
        str,
        typer.Option(metavar="NAME", help="The response field for set, rename, drop and plant."),
    ] = "id",
    value: Annotated[
        str | None,
        typer.Option(
            metavar="VALUE", help="The new value for set and plant, the new name for rename."
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(metavar="N", help="How long `refuse` accepts no connection.")
    ] = 30.0,
    as_json: Json = False,
) -> None:
    """Make the next matching requests to a server of the lab fail.

    `none` removes all faults. `refuse` accepts no connection until its seconds are over.
    """
    given = {
        "behaviour": behaviour, "method": method, "path": path, "times": times, "acted": acted,
        "status": status, "retry_after": retry_after, "field": field,
        "value": None if value is None else _value(value), "seconds": seconds,
    }  # fmt: skip
    reply = _post(provider, "faults", given)
    if as_json:
        emit(reply)
    elif behaviour == "refuse":
        say(f"{provider}: accepts no connection for {seconds:g} s")
    else:
        say(f"{provider}: {reply['waiting']} fault(s) wait for a request")


@app.command("set", cls=Command)
def set_(
    provider: Annotated[
        str, typer.Argument(metavar="PROVIDER", help="The provider whose server changes.")
    ],
    values: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=VALUE", help="Settings such as closed=true or jobs_at_once=1."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Change how a server of the lab behaves.

    `closed=true` refuses new jobs; `jobs_at_once=1` sets a quota.
    """
    reply = _post(
        provider, "state", {name: _value(text) for name, text in pairs(values, "lab set").items()}
    )
    if as_json:
        emit(reply)
    else:
        columns([[name, ("set to", "dim"), json.dumps(value)] for name, value in reply.items()])


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _post(provider: str, resource: str, given: dict[str, Any]) -> dict[str, Any]:
    """Send a request to the control address of a server of the lab and return its reply."""
    doubles = _running()
    if provider not in doubles:
        raise UsageError(f"The running lab has no {provider}", hint=f"one of {', '.join(doubles)}")
    url = "/".join(doubles[provider]["url"].split("/")[:3]) + f"/_lab/{resource}"
    request = urllib.request.Request(  # noqa: S310  # the lab's own loopback address
        url, data=json.dumps(given).encode(), method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310  # as above
            reply: dict[str, Any] = json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            why = json.loads(error.read()).get("error", "")
        raise UsageError(
            f"The lab refuses: {why}", where=f"the lab's {provider}", hint="correct what it names"
        ) from error
    except OSError as error:
        raise UsageError(
            "The lab does not respond",
            where=url,
            hint="if you set the fault `refuse`, wait until it is over; else start it again: ftsdk lab up",
        ) from error
    return reply
