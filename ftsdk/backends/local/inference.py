"""Chat with a model in a folder: a training result, or the base model that it was trained from.

torch is imported at the first call, and a loaded model is kept for the next ones.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.chat_outcomes import Ask, OnOutcome, outcome_of
from ftsdk.backends.local.local_model import (
    Answer,
    LocalModel,
    Messages,
    base_folder,
    require_inference_packages,
    trained_quantization,
)
from ftsdk.backends.local.models.quiet import quiet_libraries
from ftsdk.errors import Unsupported, UsageError
from ftsdk.types.chat import ChatOutcome, ChatRequest
from ftsdk.types.model import ChatAnswer

_log = logging.getLogger("ftsdk")
_MODELS_KEPT = 2
_OPTIONS = (
    "max_tokens", "temperature", "top_p", "stop", "seed", "tools", "on_text", "device"
)  # fmt: skip

_models: OrderedDict[tuple[str, str, str, str, int], LocalModel] = OrderedDict()
_lock = threading.RLock()


def load_model(
    folder: Path | str,
    *,
    base: Path | None = None,
    device: str = "auto",
    quantize: str | None = None,
) -> LocalModel:
    """Load the model of a folder, or return it when it is loaded; the last two stay in memory.

    `quantize` packs a base model; that of an adapter is packed as it was in training. Raises what `LocalModel.load` raises.
    """
    path = Path(folder).resolve()
    weights = [path / name for name in ("adapter_model.safetensors", "model.safetensors")]
    changed = max((w.stat().st_mtime_ns for w in weights if w.is_file()), default=0)
    key = (str(path), str(base or ""), device, quantize or "", changed)
    with _lock:
        if key not in _models:
            require_inference_packages()
            _log.info("loading the model of %s", path)
            with quiet_libraries():
                _models[key] = LocalModel.load(path, base=base, device=device, quantize=quantize)
            while len(_models) > _MODELS_KEPT:
                _models.popitem(last=False)
        _models.move_to_end(key)
        return _models[key]


def load_base_of(folder: Path, *, device: str = "auto") -> LocalModel:
    """Load the base model of a result, packed as it was in training. Raises what `load_model` raises."""
    return load_model(base_folder(folder), device=device, quantize=trained_quantization(folder))


@contextlib.contextmanager
def using_model(folder: Path, *, device: str = "auto", tuned: bool = True) -> Iterator[LocalModel]:
    """Yield the loaded model of a folder, or the base of a result; nobody else uses one meanwhile."""
    with _lock:
        yield load_model(folder, device=device) if tuned else load_base_of(folder, device=device)


def forget_models() -> None:
    """Free every loaded model and its memory."""
    with _lock:
        _models.clear()


def chat(
    folder: Path, messages: Messages, options: Mapping[str, Any], *, tuned: bool = True
) -> ChatAnswer:
    """Answer with the result in `folder`, or with `tuned=False` with its base model.

    `options` are those of `LocalModel.chat`, and `device`. Calls in one process run one after the
    other. Raises `Unsupported` for an unknown option, and what `load_model` and `chat` raise.
    """
    check_options(options)
    given = {name: value for name, value in options.items() if value is not None}
    device = str(given.pop("device", "auto"))
    with _lock:
        model = load_model(folder, device=device) if tuned else load_base_of(folder, device=device)
        answer = model.chat(messages, **given)
    return _answer(answer)


def chat_many(
    folder: Path,
    requests: Iterable[ChatRequest],
    *,
    at_once: int,
    on_outcome: OnOutcome | None = None,
) -> Iterator[ChatOutcome]:
    """Yield the outcome of each request; up to `at_once` with equal options are one batch.

    Only greedy answers are batched: what is sampled depends on what is beside it, and a seed would
    not give the same answer again. Raises what `chat` raises for an option.
    """

    def ask(request: ChatRequest) -> ChatAnswer:
        return chat(folder, request.messages, request.options)

    for batch in _batches(requests, at_once):
        for outcome in _outcomes(folder, batch, ask):
            if on_outcome is not None:
                on_outcome(outcome)
            yield outcome


def _batches(requests: Iterable[ChatRequest], most: int) -> Iterator[list[ChatRequest]]:
    """Yield requests in groups that one batch can answer."""
    batch: list[ChatRequest] = []
    for request in requests:
        joins = batch and _may_join(request) and request.options == batch[0].options
        if batch and (not joins or len(batch) >= most):
            yield batch
            batch = []
        batch.append(request)
    if batch:
        yield batch


def _may_join(request: ChatRequest) -> bool:
    options = request.options
    return (
        not options.get("temperature")
        and not options.get("tools")
        and not {"on_text", "stop"} & options.keys()
    )


def _outcomes(folder: Path, batch: list[ChatRequest], ask: Ask) -> Iterator[ChatOutcome]:
    if len(batch) > 1:
        try:
            answers = _batch_answers(folder, batch)
        except UsageError:
            pass  # one of them cannot be answered: each is asked by itself, to see which
        else:
            for request, answer in zip(batch, answers, strict=True):
                yield ChatOutcome(request.id, answer=answer)
            return
    for request in batch:
        yield outcome_of(ask, request)


def _batch_answers(folder: Path, batch: list[ChatRequest]) -> list[ChatAnswer]:
    options = batch[0].options
    check_options(options)
    with _lock:
        model = load_model(folder, device=str(options.get("device") or "auto"))
        found = model.chat_many(
            [request.messages for request in batch],
            max_tokens=options.get("max_tokens"),
            batch_size=len(batch),
        )
    return [_answer(one) for one in found]


def check_options(options: Mapping[str, Any]) -> None:
    """Raise `Unsupported` for an option that a local model does not take."""
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise Unsupported(
            f"A local model does not take {', '.join(unknown)}.",
            hint=f"it takes {', '.join(_OPTIONS)}",
        )


def _answer(answer: Answer) -> ChatAnswer:
    return ChatAnswer(
        text=answer.text,
        message={"role": "assistant", "content": answer.text},
        usage=answer.usage,
        finish_reason=answer.finish_reason,
    )
