"""Rules for a chat row: its messages, their order, and what is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ftsdk.dataset.findings.finding import Hit
from ftsdk.dataset.findings.registry import note, row_rule
from ftsdk.dataset.row import ROLES, Row, has_text, kind_of, messages_of

note(
    "FT100",
    "fault",
    "The format of the rows is not known",
    'use chat rows: {"messages": [{"role": …, "content": …}, …]}, or name one with --format',
    """A row is recognized by its keys: `messages` (chat), `prompt` and `completion`,
     `instruction` and `output` (Alpaca), `conversations` (ShareGPT), `text`, `input` with
     `preferred_output` and `non_preferred_output`, `prompt` with `chosen` and `rejected`,
     `contents` (Gemini).""",
)
note(
    "FT134",
    "fault",
    "A row that cannot be read as its format",
    "write it in one way",
    """Two columns would be read as the same one, a JSON text in a column is broken, or the prompt of a pair
     is given twice and differs.""",
)
note(
    "FT101",
    "fault",
    "A row in another format than the file",
    "put rows of one format into one file",
    "The first row decides the format of the file. Providers refuse files of mixed formats.",
)


@row_rule("FT102", "fault", "give every row a non-empty list of messages")
def messages_are_a_list(row: Row) -> Iterator[Hit]:
    """The messages of a row are missing, empty, or not a list."""
    messages = row.get("messages")
    if not isinstance(messages, list):
        what = "missing" if messages is None else f"{kind_of(messages)}, not a list"
        yield Hit("messages", f"the messages are {what}", messages)
    elif not messages:
        yield Hit("messages", "the list of messages is empty")


@row_rule("FT103", "fault", 'write each message as {"role": …, "content": …}')
def message_is_an_object(row: Row) -> Iterator[Hit]:
    """A message is not an object."""
    messages = row.get("messages")
    if isinstance(messages, list):
        for i, message in enumerate(messages):
            if not isinstance(message, dict):
                yield Hit(
                    f"messages[{i}]",
                    f"a message is {kind_of(message)}, not an object",
                    message,
                )


@row_rule("FT104", "fault", "use system, developer, user, assistant or tool", fixable=True)
def role_is_known(row: Row) -> Iterator[Hit]:
    """An unknown role.

    Roles are lower case and plain ASCII. `function`, the old form of `tool`, is FT132. A letter that only
    looks Latin (Cyrillic `а`) is named with its code point. `--fix` writes roles in lower case.
    """
    for i, message in messages_of(row):
        role = message.get("role")
        if role in ROLES or role == "function":
            continue
        if role is None:
            yield Hit(f"messages[{i}].role", "the role is missing")
        else:
            yield Hit(f"messages[{i}].role", f"unknown role {_shown_role(role)}", role)


def _shown_role(role: Any) -> str:
    if not isinstance(role, str):
        return f"({kind_of(role)})"
    odd = [ch for ch in role if not ch.isascii()]
    if odd:
        return f"{role!r} ({odd[0]!r} is U+{ord(odd[0]):04X}, not a Latin letter)"
    if role.lower() in ROLES:
        return f"{role!r} (roles are lower case)"
    return repr(role)


@row_rule("FT105", "fault", "give the message a text, or a list of parts")
def content_is_there(row: Row) -> Iterator[Hit]:
    """The content of a message is missing, or neither text nor a list of parts.

    Only an assistant's message with tool calls may leave it out (or null).
    """
    for i, message in messages_of(row):
        content = message.get("content")
        if isinstance(content, (str, list)):
            if content == [] or (
                content == "" and message.get("role") in ("system", "user", "developer")
            ):
                yield Hit(f"messages[{i}].content", "the content is empty")
            continue
        if content is None:
            if message.get("role") == "assistant":
                continue  # FT109 reports it, unless there are tool calls
            yield Hit(f"messages[{i}].content", "the content is missing")
        else:
            yield Hit(
                f"messages[{i}].content",
                f"the content is {kind_of(content)}, neither text nor a list of parts",
                content,
            )


@row_rule("FT106", "fault", "use parts of type text or image_url")
def parts_are_known(row: Row) -> Iterator[Hit]:
    """A content part of an unknown type.

    Known parts are `{"type": "text", "text": …}` and
    `{"type": "image_url", "image_url": {"url": …}}`; their equivalents in
    Gemini's and Bedrock's formats are read as these. Audio, video and documents are not supported.
    """
    for i, message in messages_of(row):
        content = message.get("content")
        for j, part in enumerate(content if isinstance(content, list) else []):
            place = f"messages[{i}].content[{j}]"
            if not isinstance(part, dict):
                yield Hit(place, f"a part is {kind_of(part)}, not an object", part)
            elif part.get("type") == "text":
                if not isinstance(part.get("text"), str):
                    yield Hit(f"{place}.text", "the text of a part is missing or not a string")
            elif part.get("type") == "image_url":
                image = part.get("image_url")
                url = image.get("url") if isinstance(image, dict) else image
                if not isinstance(url, str) or not url:
                    yield Hit(f"{place}.image_url", "the image has no URL")
            elif "type" in part:
                yield Hit(f"{place}.type", f"unknown part type {part['type']!r}", part["type"])
            else:
                keys = ", ".join(repr(k) for k in list(part)[:3]) or "none"
                yield Hit(place, f"an unknown part, its keys are {keys}")


@row_rule("FT107", "fault", "use the number 0 or 1", fixable=True)
def weight_is_zero_or_one(row: Row) -> Iterator[Hit]:
    """A message weight that is neither 0 nor 1.

    `weight` on an assistant message says whether it is trained on. `true`, `"1"` and `0.5` are
    refused by the providers that read it. `--fix` writes `true`, `1.0` and `"1"` as 1.
    """
    for i, message in messages_of(row):
        if "weight" not in message:
            continue
        weight = message["weight"]
        if type(weight) is not int or weight not in (0, 1):
            yield Hit(f"messages[{i}].weight", f"the weight is {weight!r}, not 0 or 1", weight)
        elif message.get("role") != "assistant":
            yield Hit(f"messages[{i}].weight", "only an assistant's message has a weight")


@row_rule("FT108", "fault", "add the assistant's answer that the model should learn")
def an_assistant_speaks(row: Row) -> Iterator[Hit]:
    """No assistant message: there is nothing to learn."""
    messages = messages_of(row)
    if messages and not any(_is_assistant(m.get("role")) for _, m in messages):
        yield Hit("messages", "there is no assistant message: nothing to learn")


def _is_assistant(role: Any) -> bool:
    """Whether a role is the assistant's; in capitals it is a fault of its own (FT104)."""
    return isinstance(role, str) and role.strip().lower() == "assistant"


_ANSWERS = ("tool_calls", "function_call", "refusal")
"""Keys of an assistant's message that say something without content."""


@row_rule("FT109", "fault", "write the answer, or remove the row")
def assistant_says_something(row: Row) -> Iterator[Hit]:
    """An assistant message is empty.

    It teaches the model to answer nothing. Tool calls count as an answer, and so do the old
    `function_call` and a `refusal`; providers that have no place for them report FT206.
    """
    for i, message in messages_of(row):
        if message.get("role") != "assistant" or any(map(message.get, _ANSWERS)):
            continue
        content = message.get("content")
        if content is None or (isinstance(content, (str, list)) and not has_text(content)):
            yield Hit(f"messages[{i}].content", "the assistant's message is empty")


@row_rule("FT110", "fault", "end the row with the assistant's answer, or remove what follows it")
def assistant_has_the_last_word(row: Row) -> Iterator[Hit]:
    """The last message is not the assistant's: text after the last answer is never trained."""
    messages = messages_of(row)
    if not messages or not any(m.get("role") == "assistant" for _, m in messages):
        return
    i, last = messages[-1]
    if last.get("role") != "assistant":
        yield Hit(
            f"messages[{i}].role",
            f"the last message is the {last.get('role')}'s, not the assistant's",
            last.get("role"),
        )


@row_rule("FT111", "fault", "give at least one assistant message the weight 1")
def some_weight_is_one(row: Row) -> Iterator[Hit]:
    """All weights are 0: nothing in this row is trained."""
    weights = [m.get("weight", 1) for _, m in messages_of(row) if m.get("role") == "assistant"]
    if weights and all(w == 0 and type(w) is int for w in weights):
        yield Hit("messages", "every assistant message has weight 0: nothing to learn")


@row_rule("FT124", "notice", "put the system message first")
def system_comes_first(row: Row) -> Iterator[Hit]:
    """A system message that is not the first message.

    Several chat templates refuse it or move it; Together and Bedrock refuse the row.
    """
    for i, message in messages_of(row):
        if i and message.get("role") in ("system", "developer"):
            yield Hit(f"messages[{i}].role", "a system message comes after other messages")


@row_rule("FT125", "notice", "join the two messages, or add the turn between them")
def turns_alternate(row: Row) -> Iterator[Hit]:
    """Two user or two assistant messages in a row.

    OpenAI accepts it. Together, Bedrock and many chat templates require that user and assistant
    alternate.
    """
    previous = None
    for i, message in messages_of(row):
        role = message.get("role")
        if role in ("user", "assistant") and role == previous:
            yield Hit(f"messages[{i}].role", f"two {role} messages follow one another")
        previous = None if message.get("tool_calls") else role  # a lost result is FT115
