"""The passport of an export: `ftsdk.json`, where the model comes from and what is known of it.

It is written for other machines: it names no path of this one, and no row of the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk.exporting.source import ExportSource
from ftsdk.types.export import Agreement, MergeLoss
from ftsdk.types.portability import Portability

_PRIVATE = ("path",)
_KNOWN = (
    "job_id", "method", "adapter", "hyperparameters", "seed", "parent", "chat_template_sha256",
    "chat_template_is_own", "added_tokens", "embedding_rows", "steps", "epochs", "trained_tokens", "train_s", "train_loss",
    "validation_loss", "train_metrics", "validation_metrics", "trained_on", "versions",
)  # fmt: skip


def passport(
    source: ExportSource,
    *,
    target: str,
    dtype: str | None,
    files: Mapping[str, str],
    agreement: Agreement | None,
    merge_loss: MergeLoss | None,
    portability: tuple[Portability, ...],
    job: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of `ftsdk.json`. `files` are digests by name; `job` is what the journal knows."""
    base = {k: v for k, v in source.facts.get("base_model", {}).items() if k not in _PRIVATE}
    base["published_as"] = source.hub_id
    base["license"] = source.license
    base["unpacked"] = source.unpacked
    return {
        "format": 1,
        **{name: source.facts[name] for name in _KNOWN if name in source.facts},
        "base_model": base,
        "job": dict(job),
        "export": {
            "target": target,
            "dtype": dtype,
            "files": dict(files),
            "agreement": None if agreement is None else agreement.model_dump(mode="json"),
            "merge_loss": None if merge_loss is None else merge_loss.model_dump(mode="json"),
            "portability": [
                {
                    "target": one.target,
                    "form": one.form,
                    "ok": one.ok,
                    "problems": [str(problem) for problem in one.problems],
                    "notes": list(one.notes),
                }
                for one in portability
            ],
        },
    }
