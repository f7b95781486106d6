"""A model loaded from a folder (a training result, or a base model) and the answers it generates.

The adapter is not merged into its base: bf16 weights are too coarse for small changes, and the
answers would differ from what was trained.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ftsdk.backends.local.compute.base_model import load_base
from ftsdk.backends.local.compute.hardware import Hardware, choose_hardware
from ftsdk.backends.local.text_pieces import TextPieces
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer, TemplateFailed
from ftsdk.dataset.tokenize.render import render_prompt, stop_ids
from ftsdk.errors import MissingExtra, NotFound, UsageError

if TYPE_CHECKING:
    import torch

Messages = Sequence[Mapping[str, Any]]
_DEFAULT_MAX_TOKENS = 512
_BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; `finish_reason` is `length` when `max_tokens` cut it."""

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int

    @property
    def usage(self) -> dict[str, int]:
        """Token counts under the names that hosted providers use."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


@dataclass
class LocalModel:
    """A loaded model with its tokenizer. `inference.load_model` keeps it for the next call."""

    network: Any
    tokenizer: ChatTokenizer
    hardware: Hardware
    stops: frozenset[int]
    context: int
    batched: list[tuple[int, int]] = field(default_factory=list, repr=False)
    """Lengths of prompts, shortest and longest, that a batch was found not to change."""

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        base: Path | None = None,
        device: str = "auto",
        quantize: str | None = None,
        hardware: Hardware | None = None,
    ) -> LocalModel:
        """Load a result folder (adapter or full weights) or the folder of a base model.

        The base of an adapter is the folder that `ftsdk.json` names, or `base`, packed as it was in
        training; that of another folder as `quantize` says. `hardware` is what to compute with
        where it is not the folder's own choice. Raises `NotFound` when there is no model,
        `MissingExtra` without the training stack.
        """
        from ftsdk.backends.local.compute.adapters import grow_embedding

        is_adapter = (folder / "adapter_config.json").is_file()
        quantize = trained_quantization(folder) if is_adapter else quantize
        require_inference_packages(quantize)
        hardware = hardware or hardware_for(folder, device, packed=quantize is not None)
        weights = (base or base_folder(folder)) if is_adapter else folder
        if not (weights / "config.json").is_file():
            raise NotFound(
                "There is no model in this folder.",
                where=str(weights),
                hint="name a result folder or a model folder; `ftsdk models` lists what is here",
            )
        network = load_base(weights, hardware, quantize)
        if is_adapter:
            grow_embedding(network, _embedding_rows(folder))
            network = _with_adapter(network, folder, hardware)
        network.eval()
        config = network.config.get_text_config()
        if getattr(config, "output_router_logits", False):
            config.output_router_logits = False  # only training has a use for them
        tokenizer = ChatTokenizer.from_folder(
            folder if (folder / "tokenizer.json").is_file() else weights
        )
        context = int(getattr(config, "max_position_embeddings", 0) or 1 << 20)
        return cls(network, tokenizer, hardware, stops_of(tokenizer, network), context)

    def chat(
        self,
        messages: Messages,
        *,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_p: float | None = None,
        stop: str | Sequence[str] = (),
        seed: int | None = None,
        tools: Sequence[Any] | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Answer one conversation, with at most `max_tokens` tokens (512); greedy at temperature 0.

        The answer ends before a text of `stop`. `on_text` is called with each new piece of the text.
        Raises `UsageError` for messages that
        the chat template refuses or that exceed the context.
        """
        prompt = self._prompt(messages, tools)
        texts = [stop] if isinstance(stop, str) else list(stop)
        streamer = None
        if on_text is not None or texts:
            streamer = _Streamer(TextPieces(self.decode, texts), on_text or (lambda _: None))
        [answer] = self._generate([prompt], max_tokens, temperature, seed, streamer, top_p)
        if streamer is not None and streamer.pieces.is_stopped:
            return replace(answer, text=streamer.pieces.text, finish_reason="stop")
        return answer

    def chat_many(
        self,
        conversations: Sequence[Messages],
        *,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
        batch_size: int = _BATCH_SIZE,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Answer]:
        """Answer many conversations in batches; returns the answers in the order given.

        A model whose answers would change in a batch answers one conversation at a time.
        `on_progress(done, total)` is called after each batch. Raises what `chat` raises.
        """
        prompts = [self._prompt(messages, None) for messages in conversations]
        order = sorted(range(len(prompts)), key=lambda k: len(prompts[k]))
        if len(order) < 2 or not self._may_batch(prompts[order[0]], prompts[order[-1]]):
            batch_size = 1
        answers: dict[int, Answer] = {}
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            made = self._generate([prompts[k] for k in batch], max_tokens, temperature, seed, None)
            answers.update(zip(batch, made, strict=True))
            if on_progress is not None:
                on_progress(len(answers), len(order))
        return [answers[k] for k in range(len(prompts))]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer's tokens, without special tokens."""
        return answer_text(ids, self.tokenizer)

    def _prompt(self, messages: Messages, tools: Sequence[Any] | None) -> list[int]:
        return prompt_ids(messages, tools, self.tokenizer, self.context)

    def _generate(
        self,
        prompts: Sequence[Sequence[int]],
        max_tokens: int | None,
        temperature: float,
        seed: int | None,
        streamer: _Streamer | None,
        top_p: float | None = None,
    ) -> list[Answer]:
        import torch
        from transformers import GenerationConfig

        longest = max(len(prompt) for prompt in prompts)
        room = min(max_tokens or _DEFAULT_MAX_TOKENS, self.context - longest)
        stops = sorted(self.stops)
        inputs, pad = self._padded(prompts)
        sampling: dict[str, Any] = {"do_sample": temperature > 0}
        if temperature > 0:
            sampling["temperature"] = temperature
            sampling |= {} if top_p is None else {"top_p": top_p}
        settings = GenerationConfig(  # type: ignore[no-untyped-call]  # theirs
            max_new_tokens=room, eos_token_id=stops or None, pad_token_id=pad, **sampling
        )
        with torch.inference_mode(), _seeded(seed, self.hardware):
            output = self.network.generate(
                **inputs,
                generation_config=settings,
                streamer=streamer,
                stopping_criteria=None if streamer is None else [streamer.is_over],
            )
        tails = output[:, longest:].tolist()
        return [self._answer(len(p), tail) for p, tail in zip(prompts, tails, strict=True)]

    def _padded(self, prompts: Sequence[Sequence[int]]) -> tuple[dict[str, Any], int]:
        """The ids and mask of a batch, padded on the left so that all answers start at one place.

        Also returns the token that fills it up.
        """
        import torch

        longest = max(len(prompt) for prompt in prompts)
        pad = min(self.stops, default=0)
        ids = torch.full((len(prompts), longest), pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for k, prompt in enumerate(prompts):
            ids[k, longest - len(prompt) :] = torch.tensor(list(prompt))
            mask[k, longest - len(prompt) :] = 1
        device = self.hardware.device
        return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}, pad

    def _may_batch(self, shortest: Sequence[int], longest: Sequence[int]) -> bool:
        """True when the shortest prompt has the same next tokens beside the longest as alone.

        It has not in models with a state that ignores the mask, or whose rotary frequencies depend
        on the longest prompt of a batch. What was found holds for all lengths in between.
        """
        low, high = len(shortest), len(longest)
        if any(first <= low and high <= last for first, last in self.batched):
            return True
        try:
            alone = self._next_tokens([shortest])
            beside = self._next_tokens([shortest, longest])
        except (RuntimeError, ValueError, TypeError, IndexError):
            return False  # one at a time, the conversations say what is wrong with them
        change = 0.5 * float((alone - beside[: len(alone)]).abs().sum(-1).max())
        same = change <= (1e-3 if str(self.hardware.dtype) == "torch.float32" else 0.05)
        self.batched += [(low, high)] if same else []
        return same

    def _next_tokens(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Probabilities of the tokens after the first of these prompts, [up to 3, vocabulary]."""
        import torch
        from transformers import GenerationConfig

        inputs, pad = self._padded(prompts)
        settings = GenerationConfig(  # type: ignore[no-untyped-call]  # theirs
            max_new_tokens=3,
            pad_token_id=pad,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
        with torch.inference_mode():
            output = self.network.generate(**inputs, generation_config=settings)
        return torch.stack([step[0] for step in output.scores]).float().softmax(-1)

    def _answer(self, prompt_tokens: int, tail: Sequence[int]) -> Answer:
        end = next((k for k, token in enumerate(tail) if token in self.stops), None)
        kept = tail if end is None else tail[:end]
        used = len(tail) if end is None else end + 1
        return Answer(self.decode(kept), "length" if end is None else "stop", prompt_tokens, used)


class _Streamer:
    """Passes new text on as tokens arrive, and ends an answer at a stop text."""

    def __init__(self, pieces: TextPieces, on_text: Callable[[str], None]) -> None:
        self.pieces, self._on_text = pieces, on_text
        self._prompt_seen = False

    def put(self, value: Any) -> None:
        if not self._prompt_seen:  # transformers passes the prompt first
            self._prompt_seen = True
            return
        for token in value.reshape(-1).tolist():
            self._show(self.pieces.add(token))

    def end(self) -> None:
        self._show(self.pieces.end())

    def is_over(self, ids: Any, *_: Any, **__: Any) -> Any:
        """What transformers asks after each token: for each row, whether it ends here."""
        return ids.new_full((ids.shape[0],), self.pieces.is_stopped).bool()

    def _show(self, text: str) -> None:
        if text:
            self._on_text(text)


def prompt_ids(
    messages: Messages, tools: Sequence[Any] | None, tokenizer: ChatTokenizer, context: int
) -> list[int]:
    """The tokens of a conversation up to where the model answers.

    Raises `UsageError` for messages that the chat template refuses or that exceed the context.
    """
    if not messages:
        raise UsageError("There is nothing to answer.", hint="give at least one message")
    try:
        prompt = render_prompt(messages, tokenizer, tools=tools)
    except TemplateFailed as error:
        raise UsageError(
            f"The chat template of this model cannot render these messages: {error}",
            hint="use roles and content that the model knows",
        ) from error
    if len(prompt) >= context:
        raise UsageError(
            f"The conversation has {len(prompt)} tokens, and the model takes {context}.",
            hint="leave out the oldest messages",
        )
    return prompt


def stops_of(tokenizer: ChatTokenizer, network: Any) -> frozenset[int]:
    """The tokens that end an answer: those of the chat template, and those of the model."""
    ends = getattr(network.generation_config, "eos_token_id", None)
    found = ends if isinstance(ends, list) else [] if ends is None else [ends]
    return frozenset({*stop_ids(tokenizer), *found})


def answer_text(ids: Sequence[int], tokenizer: ChatTokenizer) -> str:
    """The text of an answer's tokens, without special tokens."""
    return tokenizer.decode([token for token in ids if token not in tokenizer.special_ids])


def require_inference_packages(quantize: str | None = None) -> None:
    """Raise `MissingExtra` when a package that inference needs is not installed."""
    names = ("torch", "transformers", "peft", *(("bitsandbytes",) if quantize else ()))
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"Chat with a local model needs {', '.join(missing)}, not installed here.",
            hint="pip install 'ftsdk[local]'",
        )


def base_folder(folder: Path) -> Path:
    """The folder of a result's base model. Raises `NotFound` when it does not exist any more."""
    facts_path = folder / "ftsdk.json"
    if not facts_path.is_file():
        raise NotFound(
            "This result does not name its base model.",
            where=str(facts_path),
            hint="name the base model's folder",
        )
    base = json.loads(facts_path.read_bytes())["base_model"]
    path = Path(base["path"])
    if not (path / "config.json").is_file():
        raise NotFound(
            f"The base model {base['name']} of this result is not on this machine any more.",
            where=str(path),
            hint=f"ftsdk models pull {base['name']}",
        )
    return path


def _embedding_rows(folder: Path) -> int:
    """Rows of the embedding that an adapter was trained on; 0 where they are those of the base."""
    path = folder / "ftsdk.json"
    facts = json.loads(path.read_bytes()) if path.is_file() else {}
    return int(facts["embedding_rows"]) if facts.get("added_tokens") else 0


def trained_quantization(folder: Path) -> str | None:
    """How the base of a result was packed in training: `nf4`, or None for not at all."""
    adapter = _result_facts(folder).get("adapter") or {}
    quantize: str | None = adapter.get("quantize")
    return quantize


def _result_facts(folder: Path) -> dict[str, Any]:
    """The `ftsdk.json` of a result; nothing for another folder."""
    path = folder / "ftsdk.json"
    facts: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    return facts


def trained_dtype(folder: Path) -> str | None:
    """The number format that a result was trained in; None where its folder does not say."""
    dtype: str | None = _result_facts(folder).get("dtype")
    return dtype


def hardware_for(folder: Path, device: str, *, packed: bool = False) -> Hardware:
    """What a model answers with: the best there is, but float32 where it was trained in float32."""
    best = choose_hardware(device, unchecked="bitsandbytes") if packed else choose_hardware(device)
    if best.dtype_name != "float32" and trained_dtype(folder) == "float32":
        return choose_hardware(device, "float32")
    return best


def _with_adapter(network: Any, folder: Path, hardware: Hardware) -> Any:
    from peft import PeftModel

    from ftsdk.backends.local.compute.fused_lora import fuse_adapters

    with warnings.catch_warnings():
        # peft looks for the rank patterns of experts among modules only, and then applies them.
        warnings.filterwarnings("ignore", ".*_pattern keys did not match", RuntimeWarning)
        owner = PeftModel.from_pretrained(
            network, str(folder), autocast_adapter_dtype=False, torch_device="cpu"
        )
    for name, tensor in owner.named_parameters():
        if ".lora_" in name or tensor.is_floating_point():  # packed weights stay as they are
            tensor.data = tensor.data.to(hardware.device, hardware.dtype)
    fuse_adapters(owner)
    return owner.get_base_model()


@contextlib.contextmanager
def _seeded(seed: int | None, hardware: Hardware) -> Iterator[None]:
    """Seed the sampling inside the block; the application's random state is restored after it."""
    import torch

    if seed is None:
        yield
        return
    devices = [hardware.device] if hardware.on_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
