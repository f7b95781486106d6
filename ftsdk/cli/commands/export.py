"""`export`: write a job's model, or a downloaded one, in the form that another program takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

import typer

from ftsdk.artifacts.portability import check_portability
from ftsdk.cli.context import find_model, open_client
from ftsdk.cli.options import Json, Profile
from ftsdk.cli.view.formatting import clean, size
from ftsdk.cli.view.output import busy, columns, command, emit, note, say
from ftsdk.client import Client
from ftsdk.errors import UsageError
from ftsdk.exporting.export import ExportOptions
from ftsdk.exporting.export import export as export_folder
from ftsdk.exporting.source import ExportSource
from ftsdk.jobs.exporting import base_folder
from ftsdk.types.export import Export, ExportTarget
from ftsdk.types.portability import Portability
from ftsdk.util.names import nearest

TARGETS: tuple[ExportTarget, ...] = get_args(ExportTarget)
_WORDS = f"What to write: {', '.join(TARGETS)}."

Source = Annotated[
    str, typer.Argument(metavar="JOB|FOLDER", help="A job, or the folder of a downloaded model.")
]
Target = Annotated[
    str | None,
    typer.Argument(metavar="FORM", help=_WORDS, autocompletion=lambda: list(TARGETS)),
]
Folder = Annotated[Path | None, typer.Argument(metavar="OUT", help="A new or empty folder.")]
Check = Annotated[bool, typer.Option("--check", help="Only say where the model can be used.")]
Dtype = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How weights are stored: float16 (the default), float32, bfloat16; for GGUF f16, f32, "
        "bf16, q8_0, q5_1, q5_0, q4_1, q4_0.",
    ),
]
Base = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The base model's name or folder, where it is not known."),
]
BaseId = Annotated[
    str | None, typer.Option("--base-id", metavar="ID", help="The base model's id on the hub.")
]
Onto = Annotated[
    bool,
    typer.Option(
        "--onto-trained-base",
        help="Merge a QLoRA onto the 4-bit base that it was trained on, unpacked.",
    ),
]
Probes = Annotated[
    int,
    typer.Option(
        min=0, max=16, help="Answers to compare with the trained model's; 0 compares none."
    ),
]


def export(
    source: Source,
    target: Target = None,
    folder: Folder = None,
    check: Check = False,
    dtype: Dtype = None,
    base: Base = None,
    base_id: BaseId = None,
    onto_trained_base: Onto = False,
    probes: Probes = 16,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Write a model as other programs take it, and compare its answers.

    Forms: `adapter` (peft), `merged` (one safetensors model), `gguf`, `gguf-adapter` (llama.cpp) and
    `ollama`. What was written is loaded again, and must answer as the trained model does.
    """
    client = open_client(profile)
    if check:
        _show_portability(_portability(client, source, base, base_id), as_json=as_json)
        return
    form = form_of(target)
    if folder is None:
        raise UsageError(
            "There is no folder to write into",
            where="ftsdk export",
            hint=f"ftsdk export {source} {form} OUT",
        )
    options = ExportOptions(dtype, onto_trained_base, probes)
    with busy("exporting", quiet=as_json):
        done = _export(client, source, form, folder, options, base, base_id)
    if as_json:
        emit(done.model_dump(mode="json"))
    else:
        _show(done)


def form_of(target: str | None) -> ExportTarget:
    """The form of this name. Raises `UsageError` for another, or for none."""
    for known in TARGETS:
        if target == known:
            return known
    raise UsageError(
        "There is no form to write" if target is None else f"There is no form {target!r}",
        where="ftsdk export",
        hint=f"one of {', '.join(TARGETS)}{nearest(target or '', TARGETS)}; --check says where each "
        "can be used",
    )


def is_folder(source: str) -> bool:
    """Whether the argument names the folder of a model, not a job."""
    path = Path(source)
    return any(
        (path / name).is_file()
        for name in ("adapter_config.json", "config.json", "model.gguf", "adapter.gguf")
    )


def _export(
    client: Client,
    source: str,
    target: ExportTarget,
    folder: Path,
    options: ExportOptions,
    base: str | None,
    base_id: str | None,
) -> Export:
    if is_folder(source):
        found = ExportSource.read(
            Path(source), base=base_folder(client.session, base), base_id=base_id
        )
        return export_folder(found, target, folder, options, on_step=note)
    return find_model(client, source).export(
        target,
        folder,
        dtype=options.dtype,
        base=base,
        base_id=base_id,
        onto_trained_base=options.onto_trained_base,
        probes=options.probes,
        on_step=note,
    )


def _portability(
    client: Client, source: str, base: str | None, base_id: str | None
) -> Sequence[Portability]:
    if is_folder(source):
        found = ExportSource.read(
            Path(source), base=base_folder(client.session, base), base_id=base_id
        )
        return check_portability(found.model_facts())
    return find_model(client, source).check_portability(base_id=base_id)


def _show_portability(verdicts: Sequence[Portability], *, as_json: bool) -> None:
    if as_json:
        emit({
            "portability": [{**one.model_dump(mode="json"), "ok": one.ok} for one in verdicts]
        })  # fmt: skip
        return
    counts = Counter(text for one in verdicts for text in one.notes)
    common = [text for text, count in counts.items() if count > 2]
    rows = []
    for one in verdicts:
        own = [text for text in one.notes if text not in common]
        words = "; ".join(map(str, one.problems) if one.problems else own)
        rows.append([one.target, one.form, "✓" if one.ok else "✗", words])
    columns(rows, head=("for", "as", "", ""), fold=True)
    for text in common:
        say(f"  note  {text}")


def _show(done: Export) -> None:
    stored = f" as {done.dtype}" if done.dtype else ""
    say(f"{clean(done.folder)}   {len(done.files)} files, {size(done.size_bytes)}{stored}")
    rows: list[list[str]] = []
    if done.agreement is not None:
        found = done.agreement
        words = f"{found.same} of {found.probes} greedy answers equal to the trained model's"
        if found.same < found.probes:
            words += (
                f"; the others differ where it was sure by {found.surest_difference:g} nats at most"
            )
        rows.append(["compared", f"{words} ({found.runtime})"])
    if done.merge_loss is not None:
        lost = done.merge_loss
        words = f"{lost.median:.3f} of the trained change (median of {lost.layers} layers; largest "
        rows.append(["rounding", f"{words}{lost.largest:.3f})"])
    rows += [["note", one] for one in done.notes]
    works = _works_for(done)
    if works:
        rows.append(["for", ", ".join(works)])
    columns(rows, fold=True)
    for line in done.commands:
        say(("  ", ""), command(line))


def _works_for(done: Export) -> list[str]:
    """The programs and providers that take what was written."""
    form = "adapter" if done.target in ("adapter", "gguf-adapter") else "merged"
    gguf = done.target in ("gguf", "gguf-adapter", "ollama")
    return [
        one.target
        for one in done.portability
        if one.form == form and one.ok and (one.target in ("llama.cpp", "ollama")) == gguf
    ]
