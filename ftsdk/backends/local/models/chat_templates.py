"""Chat templates to train with: a file, a text, or a known one by its name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from ftsdk.errors import Unsupported
from ftsdk.util.names import nearest

_CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_LLAMA_3 = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    " + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
    "{% endif %}"
)
_GEMMA = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
_ZEPHYR = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)

KNOWN_TEMPLATES: Mapping[str, str] = {
    "chatml": _CHATML,
    "gemma": _GEMMA,
    "llama-3": _LLAMA_3,
    "zephyr": _ZEPHYR,
}
"""Templates by name: the plain forms, without tools."""

_MOST_BYTES = 1 << 20
_MARK = re.compile(r"<\|[A-Za-z0-9_]+\|>|<(?:start|end)_of_turn>")


def template_text(asked: str) -> str:
    """The text of a template: of a known one, of a file, or `asked` itself where that is one.

    Raises `Unsupported` for a name that is none of these.
    """
    if asked in KNOWN_TEMPLATES:
        return KNOWN_TEMPLATES[asked]
    if "{{" in asked or "{%" in asked:
        return asked
    path = Path(asked).expanduser()
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            raise FileNotFoundError(asked)
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise Unsupported(
            f"chat_template={asked[:100]!r} is no template: no known name{nearest(asked, KNOWN_TEMPLATES)}"
            " and no readable file",
            where="provider_options of local",
            hint=f"give {', '.join(KNOWN_TEMPLATES)}, a Jinja file, or its text",
            submitted="no",
        ) from error


def lost_tokens(template: str, tokenizer: Path) -> tuple[str, ...]:
    """Marks of turns that the template writes and the tokenizer has no token for, in order."""
    written = json.loads((tokenizer / "tokenizer.json").read_bytes())
    known = {token["content"] for token in written.get("added_tokens", ())}
    return tuple(dict.fromkeys(mark for mark in _MARK.findall(template) if mark not in known))
