"""Our mask against the hand-made training counterparts of real chat templates, token by token.

The package `trl` carries real templates and, for many, a counterpart that marks what the assistant wrote.
For each pair and each conversation our text and mask (from the real template alone) are compared
with the counterpart's. What differs is listed here, with the reason why ours is right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ftsdk.dataset.tokenize.chat_template import ChatTokenizer, TemplateFailed
from ftsdk.dataset.tokenize.message_adapter import fit_messages
from ftsdk.dataset.tokenize.render import Rendered, RowFault, render_parts

trl = pytest.importorskip("trl", reason="trl carries the templates to compare with")
FOLDER = Path(trl.__file__).parent / "chat_templates"
PAIRS = sorted(
    p.stem for p in FOLDER.glob("*.jinja") if p.with_name(f"{p.stem}_training.jinja").is_file()
)

_SPECIAL = re.compile(
    r"<\|[^|<>]{1,40}\|>|<｜[^｜<>]{1,40}｜>|</?s>|<bos>|<(?:start|end)_of_turn>"
    r"|<end_of_utterance>|<\|[a-z_]+>|<[a-z_]+\|>|\[/?INST\]"
)
_FIRST_SPECIAL = 0x200000
_ENDS = ("<|im_end|>", "<|return|>", "<|end|>", "<|eot_id|>", "<｜end▁of▁sentence｜>", "<end_of_turn>",
         "<|END_OF_TURN_TOKEN|>", "<end_of_utterance>", "<turn|>", "</s>")  # fmt: skip


@dataclass
class Letters:
    """A tokenizer of one token a character, and one for each special token."""

    ids: dict[str, int] = field(default_factory=dict)

    def encode(self, text: str) -> list[int]:
        found: list[int] = []
        at = 0
        for match in _SPECIAL.finditer(text):
            found += map(ord, text[at : match.start()])
            found.append(self.ids.setdefault(match.group(), _FIRST_SPECIAL + len(self.ids)))
            at = match.end()
        return found + list(map(ord, text[at:]))

    def decode(self, ids: Any) -> str:
        names = {v: k for k, v in self.ids.items()}
        return "".join(names.get(i) or chr(i) for i in ids)


class Specials(frozenset):  # type: ignore[type-arg]
    def __contains__(self, item: object) -> bool:
        return isinstance(item, int) and item >= _FIRST_SPECIAL


def tokenizer_of(stem: str, end_from: str) -> ChatTokenizer:
    text = (FOLDER / f"{end_from}.jinja").read_text(encoding="utf-8")
    end = next((e for e in _ENDS if e in text), "<eos>")
    letters = Letters()
    return ChatTokenizer(
        name=stem,
        template=(FOLDER / f"{stem}.jinja").read_text(encoding="utf-8"),
        special_tokens={"bos_token": "<bos>", "eos_token": end, "pad_token": "<pad>"},
        encode=letters.encode,
        decode=letters.decode,
        special_ids=Specials(),
        eos_id=letters.encode(end)[0],
    )


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


TOOL = {"type": "function", "function": {
    "name": "weather", "description": "The weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}  # fmt: skip
CALL = {"id": "call12345", "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}  # fmt: skip
SYSTEM = {"role": "system", "content": "Be brief."}
CONVERSATIONS: dict[str, dict[str, Any]] = {
    "single": {"messages": [user("Hi there"), said("Hello, friend!")]},
    "system": {"messages": [SYSTEM, user("Hi there"), said("Hello!")]},
    "multi": {"messages": [user("Hi"), said("Hello!"), user("How are you?"), said("Fine.\n\nThanks.")]},
    "long": {"messages": [SYSTEM, user("a"), said("b  c"), user("d\n"), said("é 🙂"), user("e"), said("f.")]},
    "reasoning": {"messages": [user("2+2?"), said("4", reasoning_content="two and two")]},
    "reasoning-multi": {"messages": [
        user("2+2?"), said("4", reasoning_content="two and two"),
        user("3+3?"), said("6", reasoning_content="three and three")]},
    "tool": {"tools": [TOOL], "messages": [
        user("Weather?"), said("", tool_calls=[CALL]),
        {"role": "tool", "tool_call_id": "call12345", "name": "weather", "content": "rain"},
        said("It rains.")]},
}  # fmt: skip


def with_mask(tokenizer: ChatTokenizer, rendered: Rendered) -> tuple[str, str]:
    pieces = [tokenizer.decode([i]) for i in rendered.ids]
    mask = [("1" if m else "0") * len(p) for p, m in zip(pieces, rendered.trained, strict=True)]
    return "".join(pieces), "".join(mask)


def counterpart(stem: str, row: dict[str, Any]) -> tuple[str, str]:
    tokenizer = tokenizer_of(f"{stem}_training", stem)
    text, spans = tokenizer.render(fit_messages(row["messages"], tokenizer), tools=row.get("tools"))
    mask = ["0"] * len(text)
    for start, end in spans:
        mask[start:end] = "1" * (end - start)
    return text, "".join(mask)


def prompts(tokenizer: ChatTokenizer, row: dict[str, Any]) -> list[str]:
    """The text before each answer at inference."""
    clean = fit_messages(row["messages"], tokenizer)
    return [
        tokenizer.render(clean[:i], tools=row.get("tools"), add_generation_prompt=True)[0]
        for i, message in enumerate(row["messages"])
        if message["role"] == "assistant"
    ]


def reasons(
    tokenizer: ChatTokenizer, row: dict[str, Any], text: str, mine: str, theirs: str
) -> set[str]:
    """Why each differing character differs; `unexplained` fails the test."""
    given = prompts(tokenizer, row)
    found: set[str] = set()
    for match in re.finditer(
        r"[AB]+",
        "".join(
            "=" if a == b else "A" if a == "1" else "B" for a, b in zip(mine, theirs, strict=True)
        ),
    ):
        start, end = match.span()
        piece = text[start:end]
        if match.group()[0] == "B" and piece.isspace() and mine[start - 1] == "1":
            found.add("blanks after the end token")
        elif match.group()[0] == "B" and any(p[:end] == text[:end] for p in given):
            found.add("header given at inference")
        elif match.group()[0] == "A" and _SPECIAL.fullmatch(piece) and mine[start - 1] == "1":
            found.add("the token that stops the turn")
        elif match.group()[0] == "A" and any(
            p == text[: len(p)] and len(p) == start for p in given
        ):
            found.add("header that inference does not give")
        else:
            found.add(f"unexplained: {piece!r}")
    return found


def verdict(stem: str, name: str) -> str:
    """One word a pair and conversation: equal, why not, split, or refused."""
    row = CONVERSATIONS[name]
    tokenizer = tokenizer_of(stem, stem)
    try:
        parts = render_parts(row, tokenizer)
    except RowFault as fault:
        try:
            counterpart(stem, row)
        except TemplateFailed:
            return "both refuse"
        return f"refused: {fault.code}"
    if len(parts) > 1:
        for part, prompt in zip(parts, prompts(tokenizer, row), strict=True):
            text, mask = with_mask(tokenizer, part)
            start = mask.index("1")
            assert prompt[:start] == text[:start], (
                "an answer follows another prompt than at inference"
            )
        return "one piece per answer"
    text, mine = with_mask(tokenizer, parts[0])
    their_text, theirs = counterpart(stem, row)
    if text != their_text:
        return "other text"
    return " + ".join(sorted(reasons(tokenizer, row, text, mine, theirs))) or "equal"


EXPLAINED = {
    "blanks after the end token": "the template writes a line feed after the end token; the model has stopped by then",
    "header given at inference": "the generation prompt holds it, so the model never has to say it",
    "the token that stops the turn": "without it the model does not learn to stop",
    "header that inference does not give": "after a tool result this template's prompt has no header, so the model says it",
}
OTHER_TEXT = {
    # The counterpart writes <|user|> after each answer to teach the stop; the real template does not write
    # it after the last one. Ours trains it where it is (it opens the next turn).
    "glm4moe": {"single", "system", "multi", "long", "reasoning", "tool"},
}
BOTH_REFUSE = {
    # No place for tools in these templates (alternating roles, or calls that are dropped).
    **{key: {"tool"} for key in ("cohere", "cohere2", "gemma3", "idefics3", "lfm2", "llama3", "llava_next", "phi3", "phi3_5", "qwen2_5_vl", "smolvlm")},
    "gemma": {"tool", "system", "long"},  # and none for a system message
}  # fmt: skip
IN_PIECES = {
    # Earlier turns lose their thinking once more messages follow.
    "diffusion_gemma": {"reasoning-multi"},
    "glm4moe": {"reasoning-multi"},
    "gptoss": {"reasoning-multi"},
    **{key: {"reasoning-multi"} for key in ("nemotron_3_5_lightning", "nemotron_3_nano", "nemotron_3_super", "nemotron_3_ultra")},
    "qwen3": {"multi", "long", "reasoning-multi", "tool"},
    **{key: {"multi", "long", "reasoning-multi"} for key in ("qwen3_5_nothink", "qwen3_5_think", "qwen3_6")},
}  # fmt: skip


@pytest.mark.parametrize("stem", PAIRS)
def test_the_mask_is_the_twins_or_the_difference_is_explained(stem: str) -> None:
    for name in CONVERSATIONS:
        found = verdict(stem, name)
        if name in OTHER_TEXT.get(stem, ()):
            assert found == "other text", name
        elif name in BOTH_REFUSE.get(stem, ()):
            assert found == "both refuse", name
        elif name in IN_PIECES.get(stem, ()):
            assert found == "one piece per answer", name
        else:
            assert set(found.split(" + ")) <= {"equal", *EXPLAINED}, name


def test_there_are_pairs_to_compare() -> None:
    assert len(PAIRS) >= 30


def test_a_wrong_mask_is_caught() -> None:
    row = CONVERSATIONS["multi"]
    tokenizer = tokenizer_of("qwen2_5", "qwen2_5")
    text, mine = with_mask(tokenizer, render_parts(row, tokenizer)[0])
    theirs = counterpart("qwen2_5", row)[1]
    for wrong in ("0" + mine[:-1], mine[1:] + "0", mine.replace("0", "1"), mine.replace("1", "0")):
        assert any("unexplained" in r for r in reasons(tokenizer, row, text, wrong, theirs))
