"""The log of a training: its lines, the numbers in a line, and the progress bar."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ftsdk.types.events import MetricPoint, Progress

_PAIRS = re.compile(r"['\"](\w+)['\"]: ['\"]?(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)['\"]?")
BAR = re.compile(r"(\d+)/(\d+) \[")


def log_lines(data: Mapping[str, Any]) -> list[str]:
    """Return the log's lines; a bar that rewrites its line counts as its newest state."""
    text = data.get("logs")
    if not isinstance(text, str) or not text:
        return []
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.rstrip("\r").rpartition("\r")[2] for line in lines]


def numbers_in(line: str, how: str) -> dict[str, float]:
    """Return the numbers of a line, by our names; empty where it has none."""
    if how == "huggingface":
        found = {key: float(value) for key, value in _PAIRS.findall(line)}
        if "loss" not in found and "eval_loss" not in found:
            return {}
        names = {
            "loss": "train_loss",
            "eval_loss": "validation_loss",
            "learning_rate": "learning_rate",
            "epoch": "epoch",
            "grad_norm": "grad_norm",
            "step": "step",
        }
        return {names[k]: v for k, v in found.items() if k in names and math.isfinite(v)}
    match = re.search(how, line[:2000])
    values = {}
    for name, text in (match.groupdict() if match else {}).items():
        try:
            value = float(text)
        except (TypeError, ValueError):
            continue
        if math.isfinite(value):
            values["train_loss" if name == "loss" else name] = value
    known = set(MetricPoint.model_fields) - {"raw", "time"}
    return {k: v for k, v in values.items() if k in known}


def progress_of(data: Mapping[str, Any]) -> Progress | None:
    """Return the newest progress bar of the log, where there is one."""
    bars = BAR.findall(str(data.get("logs") or "")[-4000:])
    if not bars:
        return None
    done, total = int(bars[-1][0]), int(bars[-1][1])
    if not 0 < total < 10**9 or done > total:
        return None
    return Progress(fraction=done / total, step=done, total_steps=total)
