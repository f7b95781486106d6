"""Answers of a model that lies in a folder: a training result, or a base model itself.

torch is imported when the first answer is asked for, and a loaded model stays for the next one.
The adapter is kept beside its base and not merged into it: a bf16 weight is too coarse to take up
all of a small change, and the answers would drift from what was trained.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ftsdk.dataset.tokenize.chat_template import ChatTokenizer, TemplateFailed
from ftsdk.dataset.tokenize.render import render_prompt, stop_ids
from ftsdk.errors import MissingExtra, NotFound, UsageError
from ftsdk.types.model import ChatAnswer

if TYPE_CHECKING:
    from ftsdk.backends.local.training.hardware import Hardware

__all__ = ["Answer", "LocalModel", "base_folder", "chat", "forget_models", "load_model"]

Messages = Sequence[Mapping[str, Any]]
KEPT_MODELS = 2
DEFAULT_MAX_TOKENS = 512
BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; `finish_reason` is `length` when `max_tokens` cut it."""

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int

    @property
    def usage(self) -> dict[str, int]:
        """Token counts with the names that hosted providers give them."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


@dataclass
class LocalModel:
    """A loaded model with its tokenizer; use `load_model`, which keeps it for the next call."""

    network: Any
    tokenizer: ChatTokenizer
    hardware: Hardware
    stops: frozenset[int]
    context: int

    @classmethod
    def load(cls, folder: Path, *, base: Path | None = None, device: str = "auto") -> LocalModel:
        """Load a result folder (adapter or full weights) or the folder of a base model.

        An adapter's base is where `ftsdk.json` says, or `base`. Raises `NotFound` when it is not
        there, `MissingExtra` without the training stack.
        """
        _need_torch()
        from transformers import AutoModelForCausalLM

        from ftsdk.backends.local.training.hardware import choose

        hardware = choose({"device": device})
        is_adapter = (folder / "adapter_config.json").is_file()
        weights = (base or base_folder(folder)) if is_adapter else folder
        if not (weights / "config.json").is_file():
            raise NotFound(
                "There is no model in this folder.",
                where=str(weights),
                hint="name a result folder or a model folder; `ftsdk models` lists what is here",
            )
        network: Any = AutoModelForCausalLM.from_pretrained(
            weights,
            dtype=hardware.dtype,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
        )
        network = network.to(hardware.device)
        if is_adapter:
            network = _with_adapter(network, folder, hardware)
        network.eval()
        tokenizer = ChatTokenizer.from_folder(
            folder if (folder / "tokenizer.json").is_file() else weights
        )
        config = network.config.get_text_config()
        context = int(getattr(config, "max_position_embeddings", 0) or 1 << 20)
        stops = set(stop_ids(tokenizer))
        told = getattr(network.generation_config, "eos_token_id", None)
        stops.update(told if isinstance(told, list) else [] if told is None else [told])
        return cls(network, tokenizer, hardware, frozenset(stops), context)

    def chat(
        self,
        messages: Messages,
        *,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
        tools: Sequence[Any] | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Answer one conversation; greedy unless `temperature` is above 0.

        `on_text` is given each new piece of the text as it is written.
        """
        prompt = self._prompt(messages, tools)
        streamer = None if on_text is None else _Streamer(self, on_text)
        [answer] = self._generate([prompt], max_tokens, temperature, seed, streamer)
        return answer

    def chat_many(
        self,
        conversations: Sequence[Messages],
        *,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
        batch_size: int = BATCH_SIZE,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Answer]:
        """Answer many conversations, batch by batch, in the order given.

        `on_progress` is given how many are answered, and of how many.
        """
        prompts = [self._prompt(messages, None) for messages in conversations]
        order = sorted(range(len(prompts)), key=lambda k: len(prompts[k]))
        answers: dict[int, Answer] = {}
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            made = self._generate([prompts[k] for k in batch], max_tokens, temperature, seed, None)
            answers.update(zip(batch, made, strict=True))
            if on_progress is not None:
                on_progress(len(answers), len(order))
        return [answers[k] for k in range(len(prompts))]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer's tokens, special ones left out."""
        plain = [token for token in ids if token not in self.tokenizer.special_ids]
        return self.tokenizer.decode(plain)

    def _prompt(self, messages: Messages, tools: Sequence[Any] | None) -> list[int]:
        if not messages:
            raise UsageError("There is nothing to answer.", hint="give at least one message")
        try:
            prompt = render_prompt(messages, self.tokenizer, tools=tools)
        except TemplateFailed as error:
            raise UsageError(
                f"The chat template of this model cannot render these messages: {error}",
                hint="use roles and content that the model knows",
            ) from error
        if len(prompt) >= self.context:
            raise UsageError(
                f"The conversation has {len(prompt)} tokens, and the model takes {self.context}.",
                hint="leave out the oldest messages",
            )
        return prompt

    def _generate(
        self,
        prompts: Sequence[Sequence[int]],
        max_tokens: int | None,
        temperature: float,
        seed: int | None,
        streamer: _Streamer | None,
    ) -> list[Answer]:
        import torch
        from transformers import GenerationConfig

        longest = max(len(prompt) for prompt in prompts)
        room = min(max_tokens or DEFAULT_MAX_TOKENS, self.context - longest)
        stops = sorted(self.stops)
        pad = stops[0] if stops else 0
        ids = torch.full((len(prompts), longest), pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for k, prompt in enumerate(prompts):  # on the left, so that all answers start together
            ids[k, longest - len(prompt) :] = torch.tensor(list(prompt))
            mask[k, longest - len(prompt) :] = 1
        sampling = {"do_sample": True, "temperature": temperature} if temperature > 0 else {}
        settings = GenerationConfig(  # type: ignore[no-untyped-call]  # theirs
            max_new_tokens=room, eos_token_id=stops or None, pad_token_id=pad, **sampling
        )
        device = self.hardware.device
        with torch.inference_mode(), _seeded(seed, self.hardware):
            output = self.network.generate(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                generation_config=settings,
                streamer=streamer,
            )
        tails = output[:, longest:].tolist()
        return [self._answer(len(p), tail) for p, tail in zip(prompts, tails, strict=True)]

    def _answer(self, prompt_tokens: int, tail: Sequence[int]) -> Answer:
        end = next((k for k, token in enumerate(tail) if token in self.stops), None)
        said = tail if end is None else tail[:end]
        used = len(tail) if end is None else end + 1
        return Answer(self.decode(said), "length" if end is None else "stop", prompt_tokens, used)


class _Streamer:
    """Hands on new text as tokens come; holds back what may be half a character."""

    def __init__(self, model: LocalModel, on_text: Callable[[str], None]) -> None:
        self._model, self._on_text = model, on_text
        self._ids: list[int] = []
        self._shown = 0
        self._prompt_seen = False

    def put(self, value: Any) -> None:
        if not self._prompt_seen:  # transformers shows the prompt first
            self._prompt_seen = True
            return
        self._ids.extend(value.reshape(-1).tolist())
        text = self._model.decode(self._ids)
        if not text.endswith("\ufffd"):
            self._show(text)

    def end(self) -> None:
        self._show(self._model.decode(self._ids))

    def _show(self, text: str) -> None:
        if len(text) > self._shown:
            self._on_text(text[self._shown :])
            self._shown = len(text)


def _need_torch() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("torch", "transformers", "peft") if find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"Answering with a local model needs {', '.join(missing)}, not installed here.",
            hint="pip install 'ftsdk[local]'",
        )


def base_folder(folder: Path) -> Path:
    """Where the base model of a result is; `NotFound` when it is not there any more."""
    facts_path = folder / "ftsdk.json"
    if not facts_path.is_file():
        raise NotFound(
            "This result does not say where its base model is.",
            where=str(facts_path),
            hint="name the base model's folder",
        )
    told = json.loads(facts_path.read_bytes())["base_model"]
    path = Path(told["path"])
    if not (path / "config.json").is_file():
        raise NotFound(
            f"The base model {told['name']} of this result is not on this machine any more.",
            where=str(path),
            hint=f"ftsdk models pull {told['name']}",
        )
    return path


def _with_adapter(network: Any, folder: Path, hardware: Hardware) -> Any:
    from peft import PeftModel

    from ftsdk.backends.local.training.fused_lora import fuse_adapters

    owner = PeftModel.from_pretrained(
        network, str(folder), autocast_adapter_dtype=False, torch_device="cpu"
    )
    owner = owner.to(device=hardware.device, dtype=hardware.dtype)
    fuse_adapters(owner)
    return owner.get_base_model()


@contextlib.contextmanager
def _seeded(seed: int | None, hardware: Hardware) -> Iterator[None]:
    """Sampling from a seed, without disturbing the random numbers of the application."""
    import torch

    if seed is None:
        yield
        return
    devices = [hardware.device] if hardware.on_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


# --- one loaded model for many calls ----------------------------------------------------------

_models: OrderedDict[tuple[str, str, str, int], LocalModel] = OrderedDict()
_lock = threading.RLock()


def load_model(folder: Path | str, *, base: Path | None = None, device: str = "auto") -> LocalModel:
    """The model of a folder, loaded once; the last few stay in memory."""
    path = Path(folder).resolve()
    weights = [path / name for name in ("adapter_model.safetensors", "model.safetensors")]
    changed = max((w.stat().st_mtime_ns for w in weights if w.is_file()), default=0)
    key = (str(path), str(base or ""), device, changed)
    with _lock:
        if key not in _models:
            _need_torch()
            from ftsdk.backends.local.models.quiet import quietly

            with quietly():
                _models[key] = LocalModel.load(path, base=base, device=device)
            while len(_models) > KEPT_MODELS:
                _models.popitem(last=False)
        _models.move_to_end(key)
        return _models[key]


def forget_models() -> None:
    """Let go of every loaded model, and of its memory."""
    with _lock:
        _models.clear()


OPTIONS = ("max_tokens", "temperature", "seed", "tools", "on_text", "device")
"""What `chat` takes, with the meaning it has in `LocalModel.chat`."""


def chat(
    folder: Path, messages: Messages, options: Mapping[str, Any], *, tuned: bool = True
) -> ChatAnswer:
    """Answer with the result in `folder`, or with `tuned=False` with the base it was made from.

    One call at a time in this process. Raises `UsageError` for an option that is not known.
    """
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise UsageError(
            f"A local model does not take {', '.join(unknown)}.",
            hint=f"it takes {', '.join(OPTIONS)}",
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
