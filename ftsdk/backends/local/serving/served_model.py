"""The model of a worker: a base with many adapters beside it, or one result by itself."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ftsdk.backends.local.local_model import (
    LocalModel,
    answer_text,
    base_folder,
    hardware_for,
    prompt_ids,
    stops_of,
    trained_quantization,
)
from ftsdk.backends.local.models.quiet import quiet_libraries
from ftsdk.backends.local.serving.engine import Conversation, Engine, EngineLimits
from ftsdk.backends.local.serving.sampling import Sampler, Sampling, unusual_settings
from ftsdk.backends.local.text_pieces import TextPieces
from ftsdk.backends.resident import ResidentLimits
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.errors import UsageError

_DEFAULT_MAX_TOKENS = 512
_PROBE = (7, 23)
"""Lengths of the two prompts that show whether a batch changes answers."""


class ServedModel:
    """A loaded model, and how a request becomes a conversation of its engine.

    `is_shared`: the base model is loaded, and the adapters of results beside it. Otherwise the result
    is loaded as `chat` loads it, whatever was trained.
    """

    def __init__(self, model: LocalModel, limits: ResidentLimits, *, is_shared: bool) -> None:
        self.model, self.is_shared = model, is_shared
        self._limits = limits
        self._device = model.hardware.device
        self._defaults: dict[str, Any] = {}
        if model.network.generation_config is not None:
            self._defaults = model.network.generation_config.to_dict()
        self._tokenizers: dict[str, tuple[ChatTokenizer, frozenset[int]]] = {}
        self._loaded: OrderedDict[str, None] = OrderedDict()
        self.one_by_one = _why_one_by_one(model)
        """Why conversations are not answered together; None where they are."""
        rows = EngineLimits(limits.rows, limits.tokens)
        self.engine = None if self.one_by_one else Engine(
            model.network, self._device, rows, time.monotonic
        )  # fmt: skip

    @classmethod
    def load(cls, folder: Path, limits: ResidentLimits, *, is_shared: bool) -> ServedModel:
        """Load what the result in `folder` needs. Raises what `LocalModel.load` raises."""
        with quiet_libraries():
            if not is_shared:
                return cls(LocalModel.load(folder), limits, is_shared=False)
            quantize = trained_quantization(folder)
            hardware = hardware_for(folder, "auto", packed=quantize is not None)
            base = LocalModel.load(base_folder(folder), quantize=quantize, hardware=hardware)
            return cls(base, limits, is_shared=True)

    def conversation(self, request: Mapping[str, Any]) -> Conversation:
        """The conversation that a request asks for; its adapter is loaded.

        Raises `UsageError` for messages that cannot be rendered, and `NotBatchable`.
        """
        folder = Path(request["folder"])
        tuned = bool(request.get("tuned", True))
        tokenizer, stops = self._tokenizer(folder if tuned else None)
        prompt = prompt_ids(
            request["messages"], request.get("tools"), tokenizer, self.model.context
        )
        wanted = int(request.get("max_tokens") or _DEFAULT_MAX_TOKENS)
        room = min(wanted, self.model.context - len(prompt))
        if len(prompt) + room > self._limits.tokens:
            raise UsageError(
                f"The conversation may get {len(prompt) + room:,} tokens, and there is room for "
                f"{self._limits.tokens:,}",
                hint="lower max_tokens, or leave out the oldest messages",
            )
        sampling = Sampling(
            float(request.get("temperature") or 0.0), request.get("top_p"), request.get("seed")
        )
        stop = request.get("stop") or ()
        texts = [stop] if isinstance(stop, str) else list(stop)
        return Conversation(
            id=int(request["id"]),
            prompt=prompt,
            adapter=self._adapter(folder) if tuned and self.is_shared else None,
            sampler=Sampler(sampling, self._defaults, self._device),
            pieces=TextPieces(lambda ids: answer_text(ids, tokenizer), texts),
            stops=stops,
            max_tokens=room,
            deadline=time.monotonic() + self._limits.chat_s,
        )

    def _tokenizer(self, folder: Path | None) -> tuple[ChatTokenizer, frozenset[int]]:
        if folder is None or not self.is_shared or not (folder / "tokenizer.json").is_file():
            return self.model.tokenizer, self.model.stops
        key = str(folder)
        if key not in self._tokenizers:
            tokenizer = ChatTokenizer.from_folder(folder)
            self._tokenizers[key] = tokenizer, stops_of(tokenizer, self.model.network)
        return self._tokenizers[key]

    def _adapter(self, folder: Path) -> str:
        """The name of the result's adapter, which is loaded; the one unused for longest makes room."""
        if self.engine is None:
            raise RuntimeError("a shared model without an engine")
        weights = folder / "adapter_model.safetensors"
        name = f"{folder}@{weights.stat().st_mtime_ns}"
        if name not in self._loaded:
            self.engine.adapters.load(name, folder)
            self._loaded[name] = None
        self._loaded.move_to_end(name)
        unused = [one for one in self._loaded if one != name and one not in self.engine.in_use]
        while len(self._loaded) > self._limits.adapters and unused:
            gone = unused.pop(0)
            del self._loaded[gone]
            self._tokenizers.pop(gone.rpartition("@")[0], None)
            self.engine.adapters.remove(gone)
        return name


def _why_one_by_one(model: LocalModel) -> str | None:
    """Why a batch would change the answers of a model; None where it does not.

    Two prompts are computed alone as transformers computes them, and together in an engine.
    """
    unusual = unusual_settings(model.network.generation_config)
    if unusual:
        return f"its generation has {', '.join(unusual)}"
    before = model.network.config._attn_implementation
    try:
        change = _change(model)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError) as error:
        change, reason = 2.0, f"{type(error).__name__}: {error}"
    else:
        reason = f"a batch changes its answers (by {change:.2g})"
    is_exact = model.hardware.dtype_name == "float32"
    if change <= (1e-3 if is_exact else 0.05):
        return None
    model.network.set_attn_implementation(before)
    return reason.split("\n")[0]


@torch.inference_mode()
def _change(model: LocalModel) -> float:
    """How far the probabilities of next tokens move, at most, by computing prompts together."""
    device, network = model.hardware.device, model.network
    rows = int(network.get_input_embeddings().weight.shape[0])
    prompts = [[(7 * k + 11 * length) % rows for k in range(length)] for length in _PROBE]
    alone = []
    for prompt in prompts:
        ids = torch.tensor([[*prompt, prompt[0]]], device=device)
        alone.append(network(input_ids=ids).logits[0, -2:].float().softmax(-1))
    engine = Engine(network, device, EngineLimits(), time.monotonic)
    made = [_probe(number, prompt, device) for number, prompt in enumerate(prompts)]
    for one in made:
        engine.add(one)
    first = engine.forced([prompt[0] for prompt in prompts])
    second = engine.forced([prompt[0] for prompt in prompts])
    together = torch.stack([first, second], dim=1).float().softmax(-1)
    return 0.5 * float((torch.stack(alone) - together).abs().sum(-1).max())


def _probe(number: int, prompt: list[int], device: torch.device) -> Conversation:
    sampler = Sampler(Sampling(), {}, device)
    return Conversation(number, prompt, None, sampler, TextPieces(lambda _: ""), frozenset(), 8)
