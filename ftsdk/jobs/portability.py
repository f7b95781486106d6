"""Where a job's model can be used, read from its files; loads no weights and asks nobody."""

from __future__ import annotations

from ftsdk.artifacts.portability import check_portability
from ftsdk.errors import Unsupported
from ftsdk.exporting.source import ExportSource
from ftsdk.types.model import ModelHandle, ModelKind
from ftsdk.types.portability import Portability


def portability_of(handle: ModelHandle, *, base_id: str | None = None) -> tuple[Portability, ...]:
    """Where the model behind `handle` can be used. Raises `Unsupported` without weights to carry."""
    if handle.path is None:
        require_weights(handle)
        raise Unsupported(
            "The weights are not on this machine, and the rules read them",
            where=f"model {handle.id}",
            hint="download them and name the folder: ftsdk export FOLDER --check",
        )
    return check_portability(ExportSource.read(handle.path, base_id=base_id).model_facts())


def require_weights(handle: ModelHandle) -> None:
    """Raise `Unsupported` for a model whose weights stay with its provider."""
    if handle.path is None and handle.kind is ModelKind.HOSTED:
        raise Unsupported(
            f"{handle.provider} keeps the weights of this model, so they cannot be exported",
            where=f"model {handle.id}",
            hint="train at a provider that gives them out: ftsdk backends shows which",
        )
