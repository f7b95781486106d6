"""The rows of a run as the model sees them, or one failure that names every row it cannot be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.training.batches import read_rows
from ftsdk.backends.local.training.outcome import Failed
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.render import Rendered, RowFault, render_rows

__all__ = ["load_rows", "tokenizer_folder_of"]


def tokenizer_folder_of(run: RunDir, spec: Mapping[str, Any]) -> Path:
    """The base model's folder, or a folder beside with its slow tokenizer turned into a fast one."""
    folder = Path(spec["base_model"]["path"])
    if (folder / "tokenizer.json").is_file():
        return folder
    converted = run.path / "tokenizer"
    if not (converted / "tokenizer.json").is_file():
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        tokenizer.save_pretrained(converted)
    return converted


def load_rows(path: Path, tokenizer: ChatTokenizer, spec: Mapping[str, Any]) -> list[Rendered]:
    """All rows as ids and masks; every fault of every row stops the run, all named at once."""
    rows, faults = render_rows(
        read_rows(path),
        tokenizer,
        max_length=int(spec["hyperparameters"]["max_length"]),
        truncate=bool(spec["options"]["truncate"]),
    )
    if faults:
        raise _bad_rows(path.name, faults)
    if not rows:
        raise Failed(f"{path.name} has no rows.", "nothing_to_learn", "give at least one chat row")
    return rows


def _bad_rows(name: str, faults: Sequence[RowFault]) -> Failed:
    """One failure for all rows that cannot be trained on."""
    first = faults[0]
    others = f" ({len(faults)} such rows)" if len(faults) > 1 else ""
    numbers = ", ".join(str(f.row) for f in faults[:10]) + (", …" if len(faults) > 10 else "")
    hint = f"mend rows {numbers} of {name}"
    if all(fault.code == "too_long" for fault in faults):
        longest = max(fault.tokens or 0 for fault in faults)
        hint = (
            f"raise max_length to {longest}, shorten or drop rows {numbers}, "
            "or set the option truncate to cut their ends off"
        )
    learns_nothing = all(f.code in ("no_assistant", "nothing_trained") for f in faults)
    listed = [{"row": f.row, "code": f.code, "message": f.message} for f in faults]
    kind = "nothing_to_learn" if learns_nothing else first.code
    return Failed(f"{name}, {first}{others}.", kind, hint, faults=listed)
