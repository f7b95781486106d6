"""How other programs are started with an export, one line each."""

from __future__ import annotations

from collections.abc import Iterator

from ftsdk.artifacts.portability import check_portability, vllm_rank
from ftsdk.exporting.source import ExportSource
from ftsdk.types.export import ExportTarget


def start_commands(source: ExportSource, target: ExportTarget, folder: str) -> list[str]:
    """The lines for the programs that take this export; they are run in the folder above it."""
    return list(_lines(source, target, folder))


def _lines(source: ExportSource, target: ExportTarget, folder: str) -> Iterator[str]:
    if target == "adapter":
        yield from _adapter_lines(source, folder)
    elif target == "merged":
        yield f"vllm serve {folder} --chat-template {folder}/chat_template.jinja"
        yield f"python -m sglang.launch_server --model-path {folder}"
    elif target == "gguf":
        yield f"llama-server -m {folder}/model.gguf --jinja"
    elif target == "gguf-adapter":
        yield f"llama-server -m BASE.gguf --lora {folder}/adapter.gguf --jinja"
    else:
        yield f"ollama create NAME -f {folder}/Modelfile"
        yield "ollama run NAME"


def _adapter_lines(source: ExportSource, folder: str) -> Iterator[str]:
    base = source.hub_id or "BASE"
    facts = source.model_facts()
    verdicts = check_portability(facts, ["vllm", "sglang"])
    works = {one.target for one in verdicts if one.form == "adapter" and one.ok}
    if "vllm" in works:
        yield (
            f"vllm serve {base} --enable-lora --max-lora-rank {vllm_rank(facts.rank or 1)} "
            f"--lora-modules NAME={folder} --chat-template {folder}/chat_template.jinja"
        )
    if "sglang" in works:
        yield f"python -m sglang.launch_server --model-path {base} --lora-paths NAME={folder}"
