"""Rules for the contents of a row: unknown keys, images, and deceptive text."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from ftsdk.dataset.findings.finding import Hit
from ftsdk.dataset.findings.registry import row_rule
from ftsdk.dataset.formats.learned import LEARNED_KEYS, MASKED_KEYS, OTHER_REASONING
from ftsdk.dataset.row import (
    MESSAGE_KEYS,
    REASONING_KEYS,
    ROW_KEYS,
    images_of,
    messages_of,
    placed_messages,
    texts_of,
)

Row = dict[str, Any]

_OTHERS_KEYS = frozenset(("generationConfig", "toolConfig"))
"""Known keys of Gemini's and Converse's rows; formats without them refuse them by name."""
MAX_IMAGE_BYTES = 10 << 20

SPECIAL_TOKEN = re.compile(
    r"<\|[A-Za-z][A-Za-z0-9_▁| ]{0,40}\|>"  # <|im_end|>, <|endoftext|>, <|start_header_id|> …
    r"|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>|<｜[^｜<>]{1,40}｜>|\[(?:EOS|BOS)\]"
)
"""Texts that tokenizers of the common model families read as one control token."""

# Characters that are not visible: bidi controls, zero width, tags.
UNSEEN = re.compile(
    "[\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
    "|(?<=[!-~])[\u200c\u200d](?=[!-~])"
)


@row_rule("FT120", "notice", "remove it, or check its spelling")
def keys_are_known(row: Row) -> Iterator[Hit]:
    """An unknown key in a chat row.

    Some providers refuse the row, others drop the key. A misspelt key (`wieght`, `tool_call`) is
    lost silently.
    """
    for key in row:
        if key not in ROW_KEYS and key not in _OTHERS_KEYS and not _is_named(key, row[key]):
            yield unknown_key(key, row[key])
    for i, message in messages_of(row):
        for key in message:
            if key in MESSAGE_KEYS or _is_media(key, message[key]) or key in LEARNED_IN_MESSAGES:
                continue
            yield Hit(f"messages[{i}].{key}", f"the message has an unknown key {key[:40]!r}",
                      message[key], droppable=True)  # fmt: skip


def unknown_key(key: str, value: Any) -> Hit:
    """The hit about one unknown key of a row."""
    return Hit(key, f"the row has an unknown key {key[:40]!r}", value, droppable=True)


_MEDIA_KEYS = frozenset(("image", "images", "video", "videos", "audio", "audios"))
_LABEL_KEYS = frozenset(("label", "kto_tag"))


def _is_media(key: str, value: Any) -> bool:
    return key in _MEDIA_KEYS and bool(value)


def may_be_dropped(key: str) -> bool:
    """Whether rows without the key mean the same: `label` says which answers are bad."""
    return key not in _LABEL_KEYS


def _is_label(key: str, value: Any) -> bool:
    return key in _LABEL_KEYS and type(value) is bool


def _is_named(key: str, value: Any) -> bool:
    """Whether another rule reports the key by what it means."""
    return (
        _is_media(key, value) or _is_label(key, value) or (key in LEARNED_IN_ROWS and bool(value))
    )


@row_rule("FT130", "fault", "put each image into its message as a part of type image_url, or remove the key",
          shape="any")  # fmt: skip
def media_are_in_messages(row: Row) -> Iterator[Hit]:
    """Images, audio or video beside the messages, which would be left out of training.

    `images` with `<image>` in the text is the format of TRL and LLaVA. No format here has a place
    for it, so the row would be trained as text alone. `null` and empty lists are accepted.
    """
    for key, value in row.items():
        if _is_media(key, value):
            yield Hit(key, f"the row has {key} beside its messages, which are not trained", value,
                      droppable=True)  # fmt: skip
    for place, message in placed_messages(row):
        for key, value in message.items():
            if _is_media(key, value):
                yield Hit(f"{place}.{key}", f"the message has {key} beside its content, which are not trained",
                          value, droppable=True)  # fmt: skip


LEARNED_IN_ROWS = frozenset(
    ("rejected_response", "rejected_messages", "loss", "loss_mask", "completion_mask", "train",
     "trainable", "masked", "tool_defs", "tool_definitions", "available_tools", *REASONING_KEYS,
     *OTHER_REASONING)
)  # fmt: skip
LEARNED_IN_MESSAGES = LEARNED_KEYS | MASKED_KEYS | OTHER_REASONING | {"train_detail", "loss_scale"}
KEYS_WITH_RULES = ROW_KEYS.union(
    _OTHERS_KEYS, _MEDIA_KEYS, _LABEL_KEYS, LEARNED_IN_ROWS, LEARNED_IN_MESSAGES
)
"""Every key of a row that a rule here, or another part, looks at."""


@row_rule("FT133", "fault", "say it in the way of the page, or leave it out", shape="any")
def what_is_learned_is_read(row: Row) -> Iterator[Hit]:
    """A key that changes what is learned, with a meaning that is not certain here.

    `train`, `training`, `trainable`, `loss` and `loss_mask` (true where learned), `masked` and `mask` (true
    where not) of an assistant's message are read as its `weight` when they are true, false, 1 or 0.
    `thought`, `thoughts`, `think`, `cot` and the like are read as its `reasoning_content`. Any other value,
    two that contradict each other, or such a key beside the messages, is refused: leaving it out would
    train something else.
    """
    for key, value in row.items():
        if key in LEARNED_IN_ROWS and value:
            yield Hit(key, f"the row has {key!r} beside its messages, which is not trained", value,
                      droppable=True)  # fmt: skip
    for place, message in placed_messages(row):
        for key in LEARNED_IN_MESSAGES & message.keys():
            if message[key] is not None:
                yield Hit(f"{place}.{key}", f"{key!r} says what is learned, but not how", message[key],
                          droppable=True)  # fmt: skip


@row_rule("FT131", "fault", "train them with --method kto, or keep the good answers, without the label",
          shape="any")  # fmt: skip
def answers_have_no_label(row: Row) -> Iterator[Hit]:
    """A label that says whether the answer is good, as in rows for KTO.

    With `label: false` the answer is a bad one, and every method but `kto` would train it as a good one.
    A label that is a text or a number is an unknown key (FT120).
    """
    for key, value in row.items():
        if _is_label(key, value):
            what = "good" if value else "bad"
            yield Hit(
                key, f"the row says that its answer is {what}; only kto reads the label", value
            )


@row_rule(
    "FT121",
    "fault",
    "use a public https URL, a data: URL with the image's bytes, or gs:// or s3://",
    shape="any",
)
def image_urls_are_public(row: Row) -> Iterator[Hit]:
    """An image URL that names a file, a private address, or nothing that a provider could read.

    `gs://` and `s3://` are accepted here; whether a provider reads them is FT209. Nothing is fetched. A path or a `file:` URL would leak a local file or mean nothing
    to the provider; private and link-local addresses (`169.254.169.254`) reach inside a network.
    """
    for place, _, url in images_of(row):
        if url.startswith("data:"):
            continue
        why = _why_not_public(url)
        if why:
            yield Hit(f"{place}.url", f"the image URL {why}", url)


def _why_not_public(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return "is not a URL"
    if parts.scheme in ("gs", "s3"):
        return (
            "" if parts.netloc and parts.path.strip("/") else "does not name an object in a bucket"
        )
    if parts.scheme not in ("http", "https"):
        return f"has the scheme {parts.scheme!r}, not https" if parts.scheme else "is a path"
    if not host:
        return "has no host"
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return "points into a private network"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # 2130706433 and 0x7f.1 are addresses, too, for many resolvers.
        return "hides an address" if re.fullmatch(r"[0-9.]+|0x[0-9a-f.x]+", host) else ""
    return "" if address.is_global else "points into a private network"


_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"RIFF": "webp",
    b"GIF8": "gif",
}


@row_rule("FT122", "fault", "embed a PNG, JPEG or WEBP of at most 10 MB", shape="any")
def embedded_images_are_images(row: Row) -> Iterator[Hit]:
    """An embedded image (`data:`) that is not a PNG, JPEG or WEBP, is too large, or is not base64."""
    for place, _, url in images_of(row):
        if not url.startswith("data:"):
            continue
        head, comma, data = url.partition(",")
        kind = head[5:].split(";")[0].lower()
        where = f"{place}.url"
        if kind not in ("image/png", "image/jpeg", "image/webp"):
            yield Hit(where, f"an embedded image of type {kind or 'none'}", head)
        elif not comma or ";base64" not in head.lower():
            yield Hit(where, "an embedded image that is not base64", head)
        elif len(data) * 3 // 4 > MAX_IMAGE_BYTES:
            yield Hit(where, f"an embedded image of {len(data) * 3 // 4 / 1e6:.0f} MB")
        else:
            why = _why_no_image(data, kind.partition("/")[2])
            if why:
                yield Hit(where, why, url)


def _why_no_image(data: str, kind: str) -> str:
    try:
        start = base64.b64decode(data[:64], validate=True)
        base64.b64decode(data[-(len(data) % 4 + 64) :][-64:], validate=True)
    except (binascii.Error, ValueError):
        return "an embedded image whose base64 is broken"
    found = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
    if found is None:
        return "an embedded image whose bytes are no image"
    return "" if found == kind else f"an embedded {found} image that says it is {kind}"


@row_rule("FT123", "fault", "move the image into a user message", shape="any")
def images_are_the_users(row: Row) -> Iterator[Hit]:
    """An image in a message that is not the user's: providers accept none there."""
    for place, role, _ in images_of(row):
        if role != "user":
            yield Hit(place, f"an image in the {role}'s message")


@row_rule("FT310", "notice", "remove the characters, unless they are meant", shape="any",
          fixable=False)  # fmt: skip
def nothing_is_hidden(row: Row) -> Iterator[Hit]:
    """Invisible characters: bidi controls, zero width, tag characters.

    They can hide instructions, break tokens apart, or make text read differently than it is
    stored.
    """
    for place, text in texts_of(row):
        match = None if text.isascii() else UNSEEN.search(text)
        if match:
            at = text[max(0, match.start() - 15) : match.end() + 15]
            yield Hit(place, f"an invisible character U+{ord(match.group()):04X}", at)


@row_rule("FT311", "notice", "write it another way, or escape it", shape="any")
def no_special_tokens(row: Row) -> Iterator[Hit]:
    """Text that a tokenizer may read as a control token.

    `<|im_end|>`, `<|endoftext|>`, `[INST]`, `</s>` and the like inside content end a turn early or
    open another role. OpenAI fails the whole file when a message has one (seen 2026-02-12); for
    OpenAI and Azure it is a fault (FT207).
    """
    for place, text in texts_of(row):
        if "<" in text or "[" in text:
            match = SPECIAL_TOKEN.search(text)
            if match:
                yield Hit(place, f"the text has {match.group()!r}", match.group())


@row_rule("FT021", "notice", "remove it", shape="any", fixable=True)
def no_nul_in_text(row: Row) -> Iterator[Hit]:
    r"""An escaped NUL (`\u0000`) inside a text.

    Legal JSON, but providers that store C strings cut or refuse the text there. `--fix` takes it
    out.
    """
    for place, text in texts_of(row):
        if "\x00" in text:
            yield Hit(place, "the text has a NUL character")
