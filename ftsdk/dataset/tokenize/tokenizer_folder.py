"""Finds a model's tokenizer on this machine: a folder, or a pulled model by its short name."""

from __future__ import annotations

import os
from pathlib import Path

from ftsdk.config import default_home


def model_folder(name: str | Path | None) -> Path | None:
    """The folder with the tokenizer of `name`; None when it is not on this machine.

    A short name is looked for where `ftsdk models pull` puts it: `FTSDK_HOME/models`.
    """
    if name is None or not str(name):
        return None
    text = str(name)
    if "\x00" in text:
        return None
    try:
        folder = Path(name)
        if folder.is_dir():
            return folder
        if "/" in text or os.sep in text:
            return None
        pulled = default_home() / "models" / text
        return pulled if (pulled / "tokenizer.json").is_file() else None
    except OSError:  # a name too long for a file
        return None
