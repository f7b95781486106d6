"""The tokenizer that a run uses: the base model's, or a copy with another template or more tokens.

Planning and training make the copy with the same function, so that what is counted is what is
trained.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsdk.errors import MissingExtra, Unsupported
from ftsdk.util.files import atomic_folder, make_private_folder

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "additional_chat_templates/tool_use.jinja",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
_TEMPLATES = ("chat_template.jinja", "additional_chat_templates/tool_use.jinja")


@dataclass(frozen=True)
class TokenIds:
    """The ids of the tokens whose rows of the embedding are trained: of the tokenizer, and new ones."""

    known: tuple[int, ...] = ()
    new: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """Rows that the embedding needs for the new tokens; 0 without any."""
        return max(self.new) + 1 if self.new else 0


def changed_tokenizer(
    folder: Path, cache: Path, *, template: str | None, add_tokens: Sequence[str]
) -> Path:
    """Return a copy of the tokenizer in `folder` with these changes; `folder` itself without any.

    The copy is made once in `cache`, under a name of its content. Raises `Unsupported` for a token
    that the tokenizer has already, and `MissingExtra` without the package tokenizers.
    """
    if template is None and not add_tokens:
        return folder
    target = cache / _digest(folder, template, add_tokens) / folder.name
    if not target.is_dir():
        make_private_folder(target.parent)
        with atomic_folder(target) as made:
            copy_tokenizer(folder, made)
            if template is not None:
                _set_template(made, template)
            if add_tokens:
                _add_tokens(made, add_tokens)
    return target


def copy_tokenizer(folder: Path, target: Path) -> None:
    """Copy the files of a tokenizer, as far as there are any."""
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(folder / name, target / name)


def _digest(folder: Path, template: str | None, add_tokens: Sequence[str]) -> str:
    digest = hashlib.sha256(json.dumps([template, list(add_tokens)]).encode())
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            digest.update(name.encode() + hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()[:32]


def _set_template(folder: Path, template: str) -> None:
    for name in _TEMPLATES:
        (folder / name).unlink(missing_ok=True)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_bytes()) if path.is_file() else {}
    config.pop("chat_template", None)
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _add_tokens(folder: Path, tokens: Sequence[str]) -> None:
    try:
        from tokenizers import AddedToken, Tokenizer
    except ImportError as error:
        raise MissingExtra(
            "New tokens need the package tokenizers, which is not installed.",
            hint="pip install 'ftsdk[local]'",
        ) from error
    path = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    known = [token for token in tokens if tokenizer.token_to_id(token) is not None]
    if known:
        raise Unsupported(
            f"add_tokens: {', '.join(map(repr, known))} is a token of this model already",
            where="provider_options of local",
            hint="name it in the adapter's trainable_token_indices to train its embedding",
            submitted="no",
        )
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in tokens]
    )
    tokenizer.save(str(path))


def token_ids(
    folder: Path, trained: Sequence[int | str], add_tokens: Sequence[str], *, where: str
) -> TokenIds:
    """Return the ids of the tokens that are trained, by the tokenizer in `folder`.

    It has the new tokens already. Raises `Unsupported`, which names every token that it does not
    have.
    """
    if not trained and not add_tokens:
        return TokenIds()
    ids = _vocabulary(folder / "tokenizer.json")
    known = {ids.get(one) if isinstance(one, str) else one for one in trained}
    faults = [one for one in trained if isinstance(one, str) and one not in ids]
    faults += [str(one) for one in trained if isinstance(one, int) and one not in ids.values()]
    if faults:
        raise Unsupported(
            f"trainable_token_indices: the tokenizer has no token {', '.join(map(repr, faults))}",
            where=where,
            hint="give tokens as the tokenizer has them, or add new ones with the option add_tokens",
            submitted="no",
        )
    new = tuple(sorted(ids[token] for token in add_tokens))
    return TokenIds(tuple(sorted(one for one in known if one is not None)), new)


def _vocabulary(path: Path) -> dict[str, int]:
    written: dict[str, Any] = json.loads(path.read_bytes())
    found = written["model"].get("vocab", {})
    if isinstance(found, list):  # pairs of token and score, in order
        found = {token: place for place, (token, _) in enumerate(found)}
    added = {token["content"]: int(token["id"]) for token in written.get("added_tokens", ())}
    return {**found, **added}
