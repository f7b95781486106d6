"""Chat with a model in a folder: a training result, or the base model that it was trained from.

torch is imported at the first call, and a loaded model is kept for the next ones.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.local.local_model import (
    LocalModel,
    Messages,
    base_folder,
    require_inference_packages,
)
from ftsdk.backends.local.models.quiet import quiet_libraries
from ftsdk.errors import UsageError
from ftsdk.types.model import ChatAnswer

_MODELS_KEPT = 2
_OPTIONS = ("max_tokens", "temperature", "seed", "tools", "on_text", "device")

_models: OrderedDict[tuple[str, str, str, int], LocalModel] = OrderedDict()
_lock = threading.RLock()


def load_model(folder: Path | str, *, base: Path | None = None, device: str = "auto") -> LocalModel:
    """Load the model of a folder, or return it when it is loaded; the last two stay in memory.

    Raises what `LocalModel.load` raises.
    """
    path = Path(folder).resolve()
    weights = [path / name for name in ("adapter_model.safetensors", "model.safetensors")]
    changed = max((w.stat().st_mtime_ns for w in weights if w.is_file()), default=0)
    key = (str(path), str(base or ""), device, changed)
    with _lock:
        if key not in _models:
            require_inference_packages()
            with quiet_libraries():
                _models[key] = LocalModel.load(path, base=base, device=device)
            while len(_models) > _MODELS_KEPT:
                _models.popitem(last=False)
        _models.move_to_end(key)
        return _models[key]


def forget_models() -> None:
    """Free every loaded model and its memory."""
    with _lock:
        _models.clear()


def chat(
    folder: Path, messages: Messages, options: Mapping[str, Any], *, tuned: bool = True
) -> ChatAnswer:
    """Answer with the result in `folder`, or with `tuned=False` with its base model.

    `options` are those of `LocalModel.chat`, and `device`. Calls in one process run one after the
    other. Raises `UsageError` for an unknown option, and what `load_model` and `chat` raise.
    """
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise UsageError(
            f"A local model does not take {', '.join(unknown)}.",
            hint=f"it takes {', '.join(_OPTIONS)}",
        )
    given = {name: value for name, value in options.items() if value is not None}
    device = str(given.pop("device", "auto"))
    with _lock:
        model = load_model(folder if tuned else base_folder(folder), device=device)
        answer = model.chat(messages, **given)
    return ChatAnswer(
        text=answer.text,
        message={"role": "assistant", "content": answer.text},
        usage=answer.usage,
        finish_reason=answer.finish_reason,
    )
