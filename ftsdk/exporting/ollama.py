"""A folder that `ollama create` takes: the GGUF, and a Modelfile that keeps the trained template."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_CONTEXT = 8192
_GUARD = (
    "{# The chat template that the model was trained with. Ollama compares templates with those that "
    "it knows, and would replace one that is close to another. This comment keeps them apart. #}"
)


def own_template(template: str) -> str:
    """The chat template behind a comment, so that Ollama uses it and no similar one of its own."""
    return _GUARD + template


def modelfile(
    gguf: str,
    *,
    stops: Sequence[str],
    context: int,
    license: str | None,  # noqa: A002  # the word of Modelfiles
) -> str:
    """The Modelfile. Ollama 0.30.0 is the first that renders the GGUF's own template.

    The context is the model's, at most 8,192 tokens: Ollama's default is 2,048, and memory for it is
    taken at once.
    """
    lines = [
        f"FROM ./{gguf}",
        "REQUIRES 0.30.0",
        f"PARAMETER num_ctx {min(context, _MOST_CONTEXT)}",
        "PARAMETER temperature 0",
        *(f"PARAMETER stop {_quoted(stop)}" for stop in stops if stop),
    ]
    if license:
        lines.append(f"LICENSE {_quoted(license)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'
