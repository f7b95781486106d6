"""`serve`: OpenAI's API on this machine, over the jobs and models of every backend."""

from __future__ import annotations

import secrets
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from ftsdk.cli.context import find, open_client
from ftsdk.cli.options import Profile, pairs
from ftsdk.cli.serve_address import serve_address
from ftsdk.cli.view.output import command, note, say
from ftsdk.client import Client
from ftsdk.config import Environment
from ftsdk.errors import MissingExtra, UsageError

Host = Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")]
Alias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=JOB",
        help="A further name of a job's model, or NAME=JOB:90,OTHER:10 with shares; may be repeated.",
    ),
]
LogAnswers = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="For names with shares, ask all their models and write the answers to FILE. "
        "This doubles the cost (with three models it is three times as high).",
    ),
]
ReportFolders = Annotated[
    list[Path] | None,
    typer.Option(
        "--reports",
        metavar="FOLDER",
        exists=True,
        file_okay=False,
        help="List the reports in this folder on the page: of migrations, and of evaluations that were "
        "written as HTML; may be repeated.",
    ),
]
Certificate = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Encrypt with this certificate (PEM, the whole chain)."),
]
Key = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The private key of the certificate (PEM).")
]
BehindProxy = Annotated[
    bool,
    typer.Option(
        "--behind-proxy",
        help="A proxy in front encrypts, and nobody else reaches this port: listen beyond this "
        "machine without TLS.",
    ),
]
Name = Annotated[
    list[str] | None,
    typer.Option(metavar="HOST", help="A name by which others reach this server; may be repeated."),
]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8765,
    alias: Alias = None,
    log_answers: LogAnswers = None,
    reports: ReportFolders = None,
    tls_cert: Certificate = None,
    tls_key: Key = None,
    behind_proxy: BehindProxy = False,
    name: Name = None,
    profile: Profile = None,
) -> None:
    """Serve OpenAI's API over your jobs and their models, and a page to see them.

    The page shows the jobs of all providers, live; open the address that is shown in a browser.

    Official clients work when only `base_url` and the key are changed: upload files, create and
    follow jobs at the configured provider, chat with their models. The key is the server's token:
    FTSDK_SERVE_TOKEN, or one that is made and shown. It listens on this machine only,
    unless `--host` says otherwise: with a certificate, or behind a proxy.
    """
    address = serve_address(host, cert=tls_cert, key=tls_key, behind_proxy=behind_proxy, names=name)
    uvicorn = _uvicorn()
    from ftsdk.async_client import AsyncClient
    from ftsdk.serve.app import serve_app
    from ftsdk.serve.settings import TOKEN_VARIABLE, ServeSettings

    client = AsyncClient(profile)
    session = client.session
    given = Environment(session.env).get(TOKEN_VARIABLE)
    if given is not None and len(given) < 16:
        raise UsageError(
            f"{TOKEN_VARIABLE} is shorter than 16 characters",
            where="the environment",
            hint="leave it out, and one is made",
        )
    token = given or secrets.token_urlsafe(24)
    aliases = _aliases(open_client(profile), alias)
    listener = address.listen(port)
    bound = listener.getsockname()[1]
    settings = ServeSettings(
        token,
        session.home / "serve",
        port=bound,
        hosts=address.hosts(bound),
        is_encrypted=address.is_encrypted,
        aliases=aliases,
        answer_log=log_answers,
        report_folders=tuple(folder.resolve() for folder in reports or ()),
    )
    shown = address.url(bound)
    say(f"OpenAI's API at {shown}/v1")
    say("  ", command(f"OPENAI_BASE_URL={shown}/v1"))
    if given is None:
        say("  ", command(f"OPENAI_API_KEY={token}"))
    else:
        note(f"the key is the value of {TOKEN_VARIABLE}")
    if log_answers is not None:
        note(
            f"requests to names with shares ask all their models and cost as much; see {log_answers}"
        )
    running: list[Any] = []
    app = serve_app(client, settings, is_closing=lambda: any(one.should_exit for one in running))
    # The link signs in once and holds no token, so it does no harm in a browser's history.
    say("Your jobs in a browser, by a link that works once, for ten minutes:")
    say("  ", command(f"{shown}/sign-in?code={app.access.new_link()}"))
    certificate, private_key = address.certificate or (None, None)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ssl_certfile=certificate,
        ssl_keyfile=private_key,
    )
    running.append(uvicorn.Server(config))
    running[0].run(sockets=[listener])


def _aliases(client: Client, given: list[str] | None) -> dict[str, str]:
    """The jobs of each alias by their ids. Raises `UnknownJob` and `UsageError`."""
    from ftsdk.serve.aliases import parse_alias

    found: dict[str, str] = {}
    for name, jobs in pairs(given, "--alias").items():
        shares = [(find(client, one.job).id, one.percent) for one in parse_alias(jobs)]
        known = ",".join(f"{job}:{percent}" for job, percent in shares)
        found[name] = known if len(shares) > 1 else shares[0][0]
        parse_alias(found[name])  # two names may be one job
    return found


def _uvicorn() -> Any:
    """The server's package. Raises `MissingExtra` where it or what it needs is not installed."""
    names = ("starlette", "uvicorn", "python_multipart")
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"ftsdk serve needs {', '.join(missing)}, not installed here.",
            hint="pip install 'ftsdk[serve]'",
        )
    return import_module("uvicorn")
