"""Export a result: write it in another form, load what was written, compare it, and say what it is.

An export gets its name only after the comparison. One that disagrees is kept under a name of its own
and is an error.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ftsdk.artifacts.portability import check_portability
from ftsdk.backends.local.models.quiet import quiet_libraries
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.errors import MissingExtra, Unsupported, UsageError
from ftsdk.exporting import llama_cpp
from ftsdk.exporting.model_card import model_card
from ftsdk.exporting.ollama import modelfile, own_template
from ftsdk.exporting.passport import passport
from ftsdk.exporting.probes import (
    ANSWER_TOKENS,
    COARSE_MARGIN,
    EXACT_MARGIN,
    TEXTS,
    ReferenceAnswer,
    compare,
    greedy,
    prompts_of,
    stops_of,
)
from ftsdk.exporting.source import PASSPORT, ExportSource
from ftsdk.exporting.start_commands import start_commands
from ftsdk.types.export import Agreement, Export, ExportTarget, MergeLoss
from ftsdk.types.portability import WeightsForm
from ftsdk.util.files import atomic_folder, sha256_file

OnStep = Callable[[str], None]
_GGUF_FILE = "model.gguf"
_ADAPTER_GGUF_FILE = "adapter.gguf"
_QUANTIZATIONS = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
DTYPES: Mapping[ExportTarget, tuple[str, ...]] = {
    "adapter": (),
    "merged": ("float16", "float32", "bfloat16"),
    "gguf": _QUANTIZATIONS,
    "gguf-adapter": ("f32", "f16"),
    "ollama": _QUANTIZATIONS,
}
"""What each target can be written as. K kinds of GGUF need llama.cpp's own quantizer."""
_ALLOWED = {"bfloat16": COARSE_MARGIN, "bf16": COARSE_MARGIN, "q8_0": COARSE_MARGIN}
_EXACT = ("float16", "float32", "f16", "f32")


@dataclass(frozen=True)
class ExportOptions:
    """How to export. `dtype` None is float16, or f16 for GGUF; `probes` 0 compares nothing.

    `onto_trained_base` merges a QLoRA onto the 4-bit base that it was trained on, unpacked, instead of
    the published 16-bit one.
    """

    dtype: str | None = None
    onto_trained_base: bool = False
    probes: int = 16
    job: Mapping[str, Any] = field(default_factory=dict)


def export(
    source: ExportSource,
    target: ExportTarget,
    folder: Path,
    options: ExportOptions | None = None,
    *,
    on_step: OnStep = lambda _: None,
) -> Export:
    """Write the result into `folder`, which must not exist or be empty; returns what was written.

    `on_step` is called with a line before each step. Raises `UsageError` for arguments that do not go
    together, `Unsupported` for a model that has no such form, `MissingExtra` without the training stack,
    and `UsageError` when what was written does not answer as the trained model does.
    """
    given = options or ExportOptions()
    check_arguments(source, target, given)
    require_packages(target)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            "The folder is not empty, and nothing is overwritten",
            where=str(folder),
            hint="give a new or empty folder",
        )
    if folder.exists():
        folder.rmdir()
    with atomic_folder(folder) as made, quiet_libraries():
        work = _Work(source, target, given, made, on_step, name=folder.name)
        done = work.run()
    return done.model_copy(update={"folder": folder})


def check_arguments(source: ExportSource, target: ExportTarget, options: ExportOptions) -> None:
    """Raise `UsageError` for arguments that do not go together; nothing is loaded."""
    if target in ("adapter", "gguf-adapter") and source.adapter is None:
        raise UsageError(
            "All weights of this model were trained; it has no adapter",
            where=f"export {target}",
            hint="export it merged, or as gguf",
        )
    known = DTYPES[target]
    if options.dtype is not None and options.dtype not in known:
        raise UsageError(
            f"{target} is not written as {options.dtype!r}",
            where="dtype",
            hint=f"it can be {', '.join(known)}" if known else "leave dtype out",
        )
    if target in ("gguf", "gguf-adapter", "ollama"):
        form = "adapter" if target == "gguf-adapter" else "merged"
        verdicts = check_portability(source.model_facts(), ["llama.cpp"])
        problems = [problem for one in verdicts if one.form == form for problem in one.problems]
        if problems:
            raise Unsupported(
                "; ".join(problem.what for problem in problems),
                where=f"export {target}",
                hint=problems[0].fix,
            )
    if options.onto_trained_base and source.quantized is None:
        raise UsageError(
            "The base was not packed in training, so there is no other one to merge onto",
            where="onto_trained_base",
            hint="leave it out",
        )


def require_packages(target: ExportTarget) -> None:
    """Raise `MissingExtra` when a package that the export needs is not installed."""
    from importlib.util import find_spec

    names = ("torch", "transformers", "peft", "safetensors")
    wanted = (*names, "gguf") if target in ("gguf", "gguf-adapter", "ollama") else names
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"An export needs {', '.join(missing)}, not installed here.",
            hint="pip install 'ftsdk[local]'",
        )


class _Work:
    """One export, step by step, into the folder `made`."""

    def __init__(
        self,
        source: ExportSource,
        target: ExportTarget,
        options: ExportOptions,
        made: Path,
        on_step: OnStep,
        *,
        name: str,
    ) -> None:
        self.name = name
        self.source, self.target, self.options = source, target, options
        self.made, self.on_step = made, on_step
        self.tokenizer = ChatTokenizer.from_folder(source.tokenizer_folder)
        self.notes: list[str] = []
        self.merge_loss: MergeLoss | None = None
        self.dtype = options.dtype or self._usual_dtype()

    def run(self) -> Export:
        network, reference = self._reference()
        agreement = self._write(network, reference)
        del network
        gc.collect()
        if agreement is not None and not agreement.ok:
            raise UsageError(
                f"The {self.target} does not answer as the trained model: {agreement.same} of "
                f"{agreement.probes} answers are equal, and one differs where the model was surer "
                f"than {agreement.allowed} nats ({agreement.surest_difference})",
                where=f"{self.target}, loaded by {agreement.runtime}",
                hint="export it with another dtype (float32, f16); please report it if that fails too",
            )
        return self._finish(agreement)

    def _usual_dtype(self) -> str | None:
        if self.target == "adapter":
            return None
        if self.target == "gguf-adapter":
            return "f32"
        return "float16" if self.target == "merged" else "f16"

    def _reference(self) -> tuple[Any, list[ReferenceAnswer]]:
        """The trained model in float32, and its answers."""
        from ftsdk.exporting.weights import load_reference

        self.on_step("loading the trained model in float32")
        network = load_reference(self.source, onto_trained=self.options.onto_trained_base)
        if self.source.quantized and not self.options.onto_trained_base:
            self.notes.append(
                "training saw the base packed to 4 bits; the export uses the published weights"
            )
        if not self.options.probes:
            self.notes.append("nothing was compared, as asked")
            return network, []
        self.on_step(f"asking it {self.options.probes} questions")
        prompts = prompts_of(self.tokenizer, self.options.probes)
        return network, greedy(network, prompts, stops_of(self.tokenizer, network))

    # --- one way for each target ---

    def _write(self, network: Any, reference: Sequence[ReferenceAnswer]) -> Agreement | None:
        if self.target == "adapter":
            return self._write_adapter(reference)
        if self.target == "gguf-adapter":
            return self._write_gguf_adapter(network, reference)
        merged = self._merged(network)
        if self.target == "merged":
            return self._write_merged(merged, reference)
        return self._write_gguf(merged, reference)

    def _write_adapter(self, reference: Sequence[ReferenceAnswer]) -> Agreement | None:
        from ftsdk.exporting.safetensors_files import write_adapter
        from ftsdk.exporting.weights import load_reference

        self.on_step("writing the adapter")
        self.notes += write_adapter(self.source, self.made)
        again = replace(self.source, folder=self.made)
        return self._ask_here(lambda: load_reference(again), reference, "peft, float32")

    def _merged(self, network: Any) -> Any:
        from ftsdk.exporting.stored import rounding_of
        from ftsdk.exporting.weights import fits_float16, merge

        self.on_step("merging in float32")
        merged, self.merge_loss = merge(network, rounding_of(str(self.dtype)))
        if self.dtype in ("float16", "f16") and not fits_float16(merged):
            if self.options.dtype is not None:
                raise UsageError(
                    "Some weights are beyond the range of float16",
                    where="dtype",
                    hint="leave dtype out, or give float32 (f32 for GGUF)",
                )
            self.dtype = "float32" if self.target == "merged" else "f32"
            self.merge_loss = None
            self.notes.append("written as float32: some weights are beyond the range of float16")
        return merged

    def _write_merged(self, merged: Any, reference: Sequence[ReferenceAnswer]) -> Agreement | None:
        import torch

        from ftsdk.exporting.safetensors_files import write_merged
        from ftsdk.exporting.weights import load_plain

        self.on_step(f"writing the merged model as {self.dtype}")
        self._carry_stops(merged)
        write_merged(self.source, merged, getattr(torch, str(self.dtype)), self.made)
        del merged
        gc.collect()
        return self._ask_here(lambda: load_plain(self.made), reference, "transformers, float32")

    def _carry_stops(self, merged: Any) -> None:
        """Let other programs stop where ours does: at the end of a turn, too."""
        stops = stops_of(self.tokenizer, merged)
        if stops and merged.generation_config is not None:
            merged.generation_config.eos_token_id = stops if len(stops) > 1 else stops[0]

    def _write_gguf(self, merged: Any, reference: Sequence[ReferenceAnswer]) -> Agreement | None:
        from ftsdk.exporting.gguf_files import write_model
        from ftsdk.exporting.safetensors_files import write_tokenizer

        self.on_step(f"writing GGUF as {self.dtype}")
        write_tokenizer(self.source, self.made)
        is_ollama = self.target == "ollama"
        template = own_template(self.tokenizer.template) if is_ollama else None
        path = self.made / _GGUF_FILE
        write_model(self.source, merged, str(self.dtype), path, template=template)
        if is_ollama:
            stops = stops_of(self.tokenizer, merged)
            texts = [self.tokenizer.decode([stop]) for stop in stops]
            context = int(merged.config.max_position_embeddings)
            (self.made / "Modelfile").write_text(
                modelfile(_GGUF_FILE, stops=texts, context=context, license=self.source.license),
                encoding="utf-8",
            )
        self._remove_tokenizer()
        return self._ask_llama_cpp(path, None, reference)

    def _write_gguf_adapter(
        self, network: Any, reference: Sequence[ReferenceAnswer]
    ) -> Agreement | None:
        from ftsdk.exporting.gguf_files import write_adapter, write_model
        from ftsdk.exporting.safetensors_files import write_tokenizer
        from ftsdk.exporting.weights import load_plain

        self.on_step("writing the adapter as GGUF")
        path = self.made / _ADAPTER_GGUF_FILE
        self.notes += write_adapter(self.source, path, dtype=str(self.dtype))
        del network
        gc.collect()
        if not reference or not llama_cpp.is_installed() or self.source.base is None:
            return self._ask_llama_cpp(path, path, reference)
        self.on_step("writing its base as GGUF, for the comparison")
        base = self.made / "base.gguf"
        write_tokenizer(self.source, self.made)
        halves = str(self.source.config.get("dtype") or "") in ("float16", "bfloat16")
        write_model(self.source, load_plain(self.source.base), "f16" if halves else "f32", base)
        self._remove_tokenizer()
        try:
            return self._ask_llama_cpp(base, path, reference)
        finally:
            base.unlink()

    def _remove_tokenizer(self) -> None:
        """A GGUF has its tokenizer inside; the files beside it were only read."""
        for path in self.made.iterdir():
            if path.suffix in (".json", ".jinja", ".txt") or path.name == "tokenizer.model":
                path.unlink()

    # --- comparing ---

    def _ask_here(
        self, load: Callable[[], Any], reference: Sequence[ReferenceAnswer], runtime: str
    ) -> Agreement | None:
        if not reference:
            return None
        self.on_step("loading what was written, and asking it the same")
        network = load()
        stops = stops_of(self.tokenizer, network)
        found = greedy(network, [one.prompt for one in reference], stops)
        answers = [one.tokens for one in found]
        return compare(reference, answers, runtime=runtime, allowed=self._allowed())

    def _ask_llama_cpp(
        self, model: Path, adapter: Path | None, reference: Sequence[ReferenceAnswer]
    ) -> Agreement | None:
        if not reference:
            return None
        if not llama_cpp.is_installed():
            self.notes.append(
                "not loaded by llama.cpp, which is not installed here: pip install 'ftsdk[llamacpp]'"
            )
            return None
        self.on_step("loading what was written in llama.cpp, and asking it the same")
        found = llama_cpp.ask(
            model,
            adapter=adapter,
            prompts=[one.prompt for one in reference],
            texts=TEXTS,
            max_tokens=ANSWER_TOKENS,
        )
        self._require_same_tokens(found.texts, model)
        return compare(
            reference,
            found.answers,
            runtime="llama.cpp",
            allowed=self._allowed(),
            tokenization_checked=True,
        )

    def _require_same_tokens(self, found: Sequence[Sequence[int]], model: Path) -> None:
        for text, ids in zip(TEXTS, found, strict=True):
            if list(ids) != self.tokenizer.encode(text):
                raise UsageError(
                    f"llama.cpp tokenizes {text!r} otherwise than the model's own tokenizer",
                    where=str(model),
                    hint="please report it with the model's name; the merged export is not affected",
                )

    def _allowed(self) -> float | None:
        if self.dtype is None or self.dtype in _EXACT:
            return EXACT_MARGIN
        return _ALLOWED.get(self.dtype)

    # --- what goes beside it ---

    def _finish(self, agreement: Agreement | None) -> Export:
        portability = check_portability(self.source.model_facts())
        commands = start_commands(self.source, self.target, self.name)
        files = {path.name: sha256_file(path) for path in self._files()}
        facts = passport(
            self.source,
            target=self.target,
            dtype=self.dtype,
            files=files,
            agreement=agreement,
            merge_loss=self.merge_loss,
            portability=portability,
            job=self.options.job,
        )
        text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)
        (self.made / PASSPORT).write_text(text + "\n", encoding="utf-8")
        name = str(self.options.job.get("name") or self.source.facts.get("job_id") or "model")
        card = model_card(
            facts,
            name=name,
            agreement=agreement,
            merge_loss=self.merge_loss,
            portability=[one for one in portability if one.form == self._form],
            commands=commands,
        )
        (self.made / "README.md").write_text(card, encoding="utf-8")
        written = list(self._files())
        return Export(
            target=self.target,
            folder=self.made,
            files=tuple(path.name for path in written),
            size_bytes=sum(path.stat().st_size for path in written),
            dtype=self.dtype,
            agreement=agreement,
            merge_loss=self.merge_loss,
            portability=portability,
            notes=tuple(self.notes),
            commands=tuple(commands),
        )

    @property
    def _form(self) -> WeightsForm:
        return "adapter" if self.target in ("adapter", "gguf-adapter") else "merged"

    def _files(self) -> Iterator[Path]:
        yield from sorted(path for path in self.made.iterdir() if path.is_file())
