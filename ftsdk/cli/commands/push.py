"""`push`: put an export into a repository of the model hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftsdk.cli.commands.export import (
    TARGETS,
    Base,
    BaseId,
    Dtype,
    Onto,
    Probes,
    Source,
    form_of,
    is_folder,
)
from ftsdk.cli.context import find_model, open_client
from ftsdk.cli.options import Json, Profile
from ftsdk.cli.view.formatting import clean, size
from ftsdk.cli.view.output import busy, columns, emit, note, say
from ftsdk.errors import UsageError
from ftsdk.exporting.push import push as push_folder
from ftsdk.exporting.source import PASSPORT
from ftsdk.types.pushed import Pushed

Repository = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository of the hub.")]
Form = Annotated[
    str | None,
    typer.Option(
        "--form",
        metavar="FORM",
        help=f"What a job is pushed as: {', '.join(TARGETS)}; adapter by default.",
        autocompletion=lambda: list(TARGETS),
    ),
]
Public = Annotated[
    bool, typer.Option("--public", help="Make or use a repository that all can read.")
]


def push(
    source: Source,
    repository: Repository,
    form: Form = None,
    public: Public = False,
    dtype: Dtype = None,
    base: Base = None,
    base_id: BaseId = None,
    onto_trained_base: Onto = False,
    probes: Probes = 16,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Push a model to a private repository of the model hub, with its card.

    A folder is pushed as `ftsdk export` wrote it; a job is exported first. The key is the hub's own:
    HF_TOKEN, or what `hf auth login` stored.
    """
    client = open_client(profile)
    with busy("pushing", quiet=as_json):
        if is_folder(source) or (Path(source) / PASSPORT).is_file():
            _refuse_options(form, dtype, base, base_id, onto=onto_trained_base)
            done = _push_folder(Path(source), repository, public=public)
        else:
            done = find_model(client, source).push(
                repository,
                form=form_of(form or "adapter"),
                public=public,
                dtype=dtype,
                base=base,
                base_id=base_id,
                onto_trained_base=onto_trained_base,
                probes=probes,
                on_step=note,
            )
    if as_json:
        emit(done.model_dump(mode="json", exclude={"folder"}))
    else:
        _show(done)


def _push_folder(folder: Path, repository: str, *, public: bool) -> Pushed:
    return push_folder(folder, repository, public=public, on_step=note)


def _refuse_options(*options: str | None, onto: bool) -> None:
    if onto or any(one is not None for one in options):
        raise UsageError(
            "A folder is pushed as it was exported, so these options have no use",
            where="ftsdk push",
            hint="give them to ftsdk export, or name the job instead of the folder",
        )


def _show(done: Pushed) -> None:
    seen = "private" if done.private else "public"
    if not done.sent and not done.removed:
        say(f"{clean(done.url)}   {seen}; it has this export already")
        return
    say(f"{clean(done.url)}   {seen}, {len(done.sent)} files sent, {size(done.size_bytes)}")
    rows = [["commit", done.commit]]
    if done.unchanged:
        rows.append(["there before", ", ".join(map(clean, done.unchanged))])
    if done.removed:
        rows.append(["removed", f"{', '.join(map(clean, done.removed))} (of the export before)"])
    columns([*rows, *(["note", one] for one in done.notes)], fold=True)
