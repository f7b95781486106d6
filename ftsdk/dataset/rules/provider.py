"""Rules that depend on the provider: its limits, checked for each row and for the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ftsdk.dataset.findings.finding import Fault, Hit
from ftsdk.dataset.findings.registry import RULES, note
from ftsdk.dataset.formats.registry import FORMATS
from ftsdk.dataset.provider_limits import Fact, Limits
from ftsdk.dataset.row import (
    MESSAGE_KEYS,
    ROLES,
    ROW_KEYS,
    images_of,
    messages_of,
    shape_of,
    texts_of,
)
from ftsdk.dataset.rules.content import SPECIAL_TOKEN, may_be_dropped
from ftsdk.types.spec import PAIR_METHODS

Row = dict[str, Any]

note("FT201", "fault", "Fewer rows than the provider requires", "add rows")
note("FT202", "fault", "More rows than the provider accepts", "split the file, or sample it")
note("FT203", "fault", "The file is larger than the provider accepts", "split it, or shorten rows")
note("FT204", "fault", "A row has more tokens than the provider trains on", "split or shorten the row",
     "Providers truncate a longer row at its end, where the answer is. With an estimated count the "
     "finding is a notice.")  # fmt: skip
note("FT205", "fault", "The method does not accept rows of this shape", "convert the rows, or choose another method or provider",
     "SFT accepts chat rows (some providers also plain text); DPO accepts preference rows.")  # fmt: skip
note("FT206", "fault", "The provider cannot carry a feature of the row", "remove it, or choose a provider that has it",
     "Nothing is dropped silently: `name`, `weight`, tools, images, reasoning, refusals, the old "
     "`functions` and `function_call`, and unknown keys are refused by name where the provider has "
     "no place for them.")  # fmt: skip
note(
    "FT207",
    "fault",
    "A special token in the text, which fails the file at this provider",
    "write it another way",
)
note(
    "FT208", "fault", "More images than the provider accepts", "use fewer images, or split the row"
)
note("FT209", "fault", "An image URL that the provider does not read", "put the image where the provider reads it",
     "Some providers accept only embedded images (`data:`), some only URLs, some only their own "
     "storage (`gs://`, `s3://`).")  # fmt: skip
note("FT211", "fault", "A word that the provider reserves", "write it another way",
     "Nova's own validator refuses texts with `System:`, `User:`, `Bot:`, `Assistant:`, `Thought:`, "
     "`[EOS]`, `<image>` and `<video>`.")  # fmt: skip
note("FT212", "fault", "A role that the provider does not accept", "use system, user and assistant")
note(
    "FT213",
    "fault",
    "A tool call id of another length than the provider requires",
    "use ids of that length",
)
note(
    "FT214",
    "fault",
    "User and assistant do not alternate, which the provider requires",
    "join messages, or add the missing turn",
)
note("FT215", "fault", "A row that fits two formats", "remove the keys of one of them",
     "Together refuses a row that matches two of its formats.")  # fmt: skip


note("FT900", "fault", "The provider's own check refuses the rows", "fix the row that it names",
     "The provider's own message about an uploaded file. No job is created then, and nothing is "
     "billed.")  # fmt: skip
note("FT217", "notice", "Tokenized rows in a file that the provider does not read as such",
     "to upload it by hand, write it as Parquet: `convert --to tokenized`",
     "`create` writes them as the provider reads them, whatever file they come in.")  # fmt: skip


_Found = tuple[str, Fact, Hit]


def at_provider(fault: Fault, fact: Fact) -> Fault:
    """The finding with the source of its limit; a notice when the source is not the provider's own."""
    read = f", read {fact.as_of}" if fact.as_of else ""
    return replace(
        fault,
        severity=fault.severity if fact.sure else "notice",
        hint=f"{fault.hint} (source: {fact.source}{read})",
    )


def row_hits(row: Row, limits: Limits) -> Iterator[_Found]:
    """Every `(code, fact, hit)` of one canonical row at this provider."""
    page = Fact(None, limits.source, limits.as_of)
    both = _other_format(row) if limits.one_format is not None else ()
    if both and limits.one_format is not None:
        hit = Hit(both[0], f"the row has the keys of two of {limits.title}'s formats", row[both[0]])
        yield "FT215", limits.one_format, hit
    for place, feature in _features(row):
        if feature in limits.features or place in both:
            continue
        if feature == "extra" and place in limits.row_keys:
            continue
        fact = Fact(None, limits.lacks.get(feature, limits.source), limits.as_of)
        yield "FT206", fact, Hit(place, f"{limits.title} cannot carry {_words(feature, place)}",
                                 droppable=feature == "extra" and may_be_dropped(place))  # fmt: skip
    for i, message in messages_of(row):
        role = message.get("role")
        if role in ROLES and role not in limits.roles:
            yield "FT212", page, Hit(f"messages[{i}].role", f"{limits.title} has no role {role!r}")
    if limits.must_alternate is not None:
        yield from _alternation(row, limits, limits.must_alternate)
    yield from _texts(row, limits)
    if limits.images_per_row is not None:
        count = sum(1 for _ in images_of(row))
        if count > limits.images_per_row.value:
            yield "FT208", limits.images_per_row, Hit(
                "messages", f"{count} images, {limits.title} accepts {limits.images_per_row.value} a row")  # fmt: skip
    if limits.image_urls is not None:
        for place, _, url in images_of(row):
            if not url.lower().startswith(limits.image_urls.value):
                taken = " or ".join(limits.image_urls.value)
                yield "FT209", limits.image_urls, Hit(f"{place}.url", f"{limits.title} reads images at {taken} only", url)  # fmt: skip
    if limits.call_id_chars is not None:
        yield from _call_ids(row, limits, limits.call_id_chars)


_FEATURE_WORDS = {
    "sample_weight": "a weight of the whole row",
    "name": "a message's name",
    "weight": "a message's weight",
    "functions": "functions and function_call (write them as tools and tool_calls)",
    "refusal": "a refusal beside the content",
}


def _words(feature: str, place: str) -> str:
    """The name of a feature in messages."""
    if feature == "extra":
        return f"the key {place.rpartition('.')[2][:40]!r}"
    return _FEATURE_WORDS.get(feature, feature)


_FORMAT_KEYS = (
    ("messages",),
    ("prompt", "completion"),
    ("text",),
    ("preferred_output", "non_preferred_output"),
)


def _other_format(row: Row) -> tuple[str, ...]:
    """The keys of another format that a canonical row has beside its own."""
    shape = shape_of(row)
    own = {"chat": "messages", "preference": "preferred_output", "text": "text"}.get(shape)
    found = (keys for keys in _FORMAT_KEYS if own not in keys and all(k in row for k in keys))
    return next(found, ())


_OWN_KEYS = {
    "chat": ROW_KEYS,
    "preference": frozenset(("input", "preferred_output", "non_preferred_output", "weight")),
    "text": frozenset(("text", "weight")),
}
"""Top-level keys of a canonical row by its shape; the columns of tokenized rows have a rule."""


def _features(row: Row) -> Iterator[tuple[str, str]]:
    shape = shape_of(row)
    inner = row.get("input") if shape == "preference" else row
    inner = inner if isinstance(inner, dict) else {}
    prefix = "input." if shape == "preference" else ""
    if inner.get("tools"):
        yield f"{prefix}tools", "tools"
    if inner.get("functions"):
        yield f"{prefix}functions", "functions"
    if "parallel_tool_calls" in inner:
        yield f"{prefix}parallel_tool_calls", "parallel_tool_calls"
    if "weight" in row:
        yield "weight", "sample_weight"
    for key in row:
        if key not in _OWN_KEYS.get(shape, row):
            yield key, "extra"
    if shape == "preference":
        for key in inner:
            if key not in ROW_KEYS:
                yield f"input.{key}", "extra"
    groups = [(f"{prefix}messages", inner.get("messages"))]
    groups += [(n, row.get(n)) for n in ("preferred_output", "non_preferred_output")]
    for place, messages in groups:
        for i, message in enumerate(messages if isinstance(messages, list) else []):
            if isinstance(message, dict):
                for where, feature in _message_features(
                    f"{place}[{i}]", message, with_tools=not inner.get("tools")
                ):
                    is_pair = shape == "preference" and feature == "images"
                    yield where, "images in preference rows" if is_pair else feature


_IMAGE_KEYS = {"media_type": "media type", "bucket_owner": "bucket owner"}
"""Keys of an image in Gemini's and Bedrock's rows that other formats have no place for."""


_MESSAGE_FEATURES = {
    "reasoning_content": "reasoning",
    "reasoning": "reasoning",
    "thinking": "reasoning",
    "function_call": "functions",
    "refusal": "refusal",
    "audio": "audio",
}
"""Keys of a message that carry text or calls, and the feature that they are."""


def _message_features(place: str, message: Row, *, with_tools: bool) -> Iterator[tuple[str, str]]:
    if "name" in message and message.get("role") not in ("tool", "function"):
        yield f"{place}.name", "name"
    if "weight" in message:
        yield f"{place}.weight", "weight"
    if message.get("role") == "function":
        yield f"{place}.role", "functions"
    if with_tools and (message.get("tool_calls") or message.get("role") == "tool"):
        yield f"{place}.tool_calls" if message.get("tool_calls") else place, "tools"
    for key, feature in _MESSAGE_FEATURES.items():
        if message.get(key):
            yield f"{place}.{key}", feature
    for key in message.keys() - MESSAGE_KEYS:
        yield f"{place}.{key}", "extra"
    content = message.get("content")
    images = [
        (j, p.get("image_url"))
        for j, p in enumerate(content if isinstance(content, list) else [])
        if isinstance(p, dict) and p.get("type") == "image_url"
    ]
    if images:
        yield f"{place}.content", "images"
    for j, image in images:
        for key in _IMAGE_KEYS.keys() & (image if isinstance(image, dict) else {}):
            yield f"{place}.content[{j}].image_url.{key}", _IMAGE_KEYS[key]


def _alternation(row: Row, limits: Limits, fact: Fact) -> Iterator[_Found]:
    expected = "user"
    for at, (i, message) in enumerate(messages_of(row)):
        role = message.get("role")
        if role in ("system", "developer"):
            if at:
                hit = Hit(
                    f"messages[{i}].role", f"{limits.title} takes a system message only first"
                )
                yield "FT214", fact, hit
            continue
        if role == "tool":
            expected = "assistant"
            continue
        if role in ("user", "assistant"):
            if role != expected:
                yield "FT214", fact, Hit(
                    f"messages[{i}].role", f"{limits.title} expects the {expected} here, not the {role}")  # fmt: skip
            expected = "assistant" if role == "user" else "user"


def _texts(row: Row, limits: Limits) -> Iterator[_Found]:
    special, reserved = limits.special_tokens, limits.reserved_words
    if special is None and reserved is None:
        return
    for place, text in texts_of(row):
        if special is not None and "<" in text:
            match = SPECIAL_TOKEN.search(text)
            if match and match.group().startswith("<|"):
                yield "FT207", special, Hit(
                    place, f"{limits.title} fails the whole file when a text has {match.group()!r}", match.group())  # fmt: skip
        if reserved is not None:
            word = next((w for w in reserved.value if w in text), None)
            if word is not None:
                yield "FT211", reserved, Hit(place, f"{limits.title} reserves {word!r}", word)


def _call_ids(row: Row, limits: Limits, fact: Fact) -> Iterator[_Found]:
    wanted = fact.value
    for i, message in messages_of(row):
        calls = message.get("tool_calls")
        for j, call in enumerate(calls if isinstance(calls, list) else []):
            name = call.get("id") if isinstance(call, dict) else None
            if isinstance(name, str) and len(name) != wanted:
                yield "FT213", fact, Hit(
                    f"messages[{i}].tool_calls[{j}].id", f"{limits.title} requires ids of {wanted} characters", name)  # fmt: skip


def file_faults(
    limits: Limits,
    *,
    method: str,
    format_name: str | None,
    rows: int,
    size_bytes: int | None,
    image_rows: int,
    container: str = "",
) -> Iterator[Fault]:
    """Findings of the provider's limits for the file as a whole."""
    if format_name is not None:
        shape = FORMATS[format_name].shape
        taken = limits.shapes.get(method)
        if taken is None:
            yield _file(
                "FT205", f"{limits.title} does not train by {method}", limits.source, limits.as_of
            )
        elif shape not in taken:
            found = _file(
                "FT205", f"{method} at {limits.title} accepts {' or '.join(sorted(taken))} rows, these are {shape} rows",
                limits.source, limits.as_of)  # fmt: skip
            other = next((name for name, shapes in limits.shapes.items() if shape in shapes), None)
            ask = f"--method {other} trains {shape} rows; or {found.hint}"
            yield found if other is None else replace(found, hint=ask)
        else:
            yield from _unlabelled(method, format_name)
        if (
            shape == "tokens"
            and limits.tokens_in is not None
            and container not in ("rows", limits.tokens_in.value)
        ):
            yield _limit("FT217", f"tokenized rows in {container}, {limits.title} accepts them as {limits.tokens_in.value}",
                         limits.tokens_in)  # fmt: skip
    if rows and limits.min_rows is not None and rows < limits.min_rows.value:
        yield _limit(
            "FT201",
            f"{rows} rows, {limits.title} requires at least {limits.min_rows.value}",
            limits.min_rows,
        )
    if limits.max_rows is not None and rows > limits.max_rows.value:
        yield _limit(
            "FT202",
            f"{rows:,} rows, {limits.title} accepts at most {limits.max_rows.value:,}",
            limits.max_rows,
        )
    if (
        size_bytes is not None
        and limits.max_file_bytes is not None
        and size_bytes > limits.max_file_bytes.value
    ):
        yield _limit(
            "FT203", f"{size_bytes / 1e6:,.0f} MB, {limits.title} accepts at most {limits.max_file_bytes.value / 1e6:,.0f} MB",
            limits.max_file_bytes)  # fmt: skip
    if limits.max_image_rows is not None and image_rows > limits.max_image_rows.value:
        yield _limit(
            "FT208", f"{image_rows:,} rows with images, {limits.title} accepts {limits.max_image_rows.value:,}", limits.max_image_rows)  # fmt: skip


def method_faults(method: str, format_name: str | None) -> Iterator[Fault]:
    """The fault of rows that a method cannot train, whoever the provider is."""
    shape = None if format_name is None else FORMATS[format_name].shape
    if shape is None or format_name is None:
        return
    if method in PAIR_METHODS and shape != "preference":
        yield _other_rows(method, "pairs of answers", format_name)
    yield from _unlabelled(method, format_name)


def _unlabelled(method: str, format_name: str) -> Iterator[Fault]:
    if method == "kto" and format_name != "kto":
        yield _other_rows(method, "answers with a label of true or false", format_name)


def _other_rows(method: str, wanted: str, format_name: str) -> Fault:
    message = f"{method} trains {wanted}, these are {FORMATS[format_name].title} rows"
    return Fault("FT205", "fault", 0, message, RULES["FT205"].hint)


def validation_faults(limits: Limits, rows: int) -> Iterator[Fault]:
    """Findings of the provider's limits for the validation rows as a whole."""
    most = limits.max_validation_rows
    if most is not None and rows > most.value:
        yield _limit(
            "FT202", f"{rows:,} rows, {limits.title} accepts at most {most.value:,} of them", most
        )


def _limit(code: str, message: str, fact: Fact) -> Fault:
    rule = RULES[code]
    return at_provider(Fault(code, rule.severity, 0, message, rule.hint), fact)


def _file(code: str, message: str, source: str, as_of: str) -> Fault:
    return _limit(code, message, Fact(None, source, as_of))
