"""Twenty files as people really bring them, and the whole report that each must give."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsdk.dataset import validate

Expected = list[tuple[str, int, str]]


def m(role: str, content: str) -> str:
    return f'{{"role": "{role}", "content": "{content}"}}'


def chat(*messages: str, more: str = "") -> str:
    return f'{{"messages": [{", ".join(messages)}]{more}}}'


FINE = chat(m("system", "You are the help desk of a bookshop."), m("user", "Where is my order?"),
            m("assistant", "Could you give me the order number?"))  # fmt: skip
FINE2 = chat(m("user", "Do you sell maps?"), m("assistant", "Yes, on the second floor."))
TOOLS = ', "tools": [{"type": "function", "function": {"name": "find_order", "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}}}]'


def call(arguments: str, name: str = "find_order") -> str:
    return (f'{{"role": "assistant", "content": null, "tool_calls": [{{"id": "c1", "type": "function", '
            f'"function": {{"name": "{name}", "arguments": {arguments}}}}}]}}')  # fmt: skip


RESULT = '{"role": "tool", "tool_call_id": "c1", "content": "shipped"}'
ASK = m("user", "Order 17?")
DONE = m("assistant", "It has been shipped.")

FILES: dict[str, tuple[str, bytes | str, Expected]] = {
    "an export that lost its last line": ("export.jsonl", f"{FINE}\n{FINE2}\n{FINE[:70]}", [("FT018", 3, "")]),
    "edited in a spreadsheet": ("sheet.csv", 'prompt,completion\nHello,Hi there\n"=HYPERLINK(""http://x"")",Link\nonly one cell\n,Empty prompt\n',
                                [("FT312", 2, "prompt"), ("FT025", 3, ""), ("FT105", 4, "prompt")]),
    "saved by Notepad as Unicode": ("notes.jsonl", FINE.encode("utf-16"), [("FT007", 0, "")]),
    "saved by Excel as UTF-8 with BOM": ("bom.jsonl", b"\xef\xbb\xbf" + FINE.encode(), [("FT020", 1, "")]),
    "Latin-1 umlauts": ("alt.jsonl", f"{FINE}\n".encode() + chat(m("user", "Grüße"), DONE).encode("latin-1"), [("FT011", 2, "")]),
    "pretty-printed by an editor": ("pretty.jsonl", '{\n  "messages": []\n}\n', [("FT005", 0, "")]),
    "an API dump with ids": ("dump.jsonl", f'{FINE[:-1]}, "id": "conv_1", "created": 1700000000}}\n{FINE2}',
                             [("FT120", 1, "id"), ("FT120", 1, "created")]),
    "roles from another tool": ("roles.jsonl", "\n".join([chat(m("User", "Hi"), m("Assistant", "Hello")), chat(m("human", "Hi"), m("bot", "Hello"))]),
                                [("FT104", 1, "messages[0].role"), ("FT104", 1, "messages[1].role"),
                                 ("FT104", 2, "messages[0].role"), ("FT104", 2, "messages[1].role"), ("FT108", 2, "messages")]),
    "trailing commas by hand": ("hand.jsonl", f"{FINE}\n{FINE2[:-1]},}}\n", [("FT010", 2, "")]),
    "Python repr instead of JSON": ("repr.jsonl", FINE2.replace('"', "'"), [("FT010", 1, "")]),
    "a merge with another format": ("merged.jsonl", f'{FINE}\n{{"prompt": "Hi", "completion": "Hello"}}\n{{"instruction": "Greet", "output": "Hello"}}',
                                    [("FT101", 2, ""), ("FT101", 3, "")]),
    "answers still to be written": ("todo.jsonl", "\n".join([chat(m("user", "Opening hours?"), m("assistant", "TODO")),
                                                             chat(m("user", "Returns?"), m("assistant", "")), chat(m("user", "Gift cards?"))]),
                                    [("FT306", 1, ""), ("FT109", 2, "messages[1].content"), ("FT108", 3, "messages")]),
    "tool calls as dicts, twice encoded, misspelt": (
        "tools.jsonl",
        "\n".join([chat(ASK, call('{"number": 17}'), RESULT, DONE, more=TOOLS), chat(ASK, call(r'"\"{\\\"number\\\": 17}\""'), RESULT, DONE, more=TOOLS),
                   chat(ASK, call(r'"{\"number\": \"17\"}"'), RESULT, DONE, more=TOOLS), chat(ASK, call(r'"{\"number\": 17}"', "findOrder"), RESULT, DONE, more=TOOLS)]),
        [("FT026", 0, ""), ("FT114", 2, "messages[1].tool_calls[0].function.arguments"),
         ("FT118", 3, "messages[1].tool_calls[0].function.arguments"), ("FT117", 4, "messages[1].tool_calls[0].function.name") ]),
    "a tool result that got lost": ("lost.jsonl", chat(ASK, call(r'"{\"number\": 17}"'), DONE, more=TOOLS), [("FT115", 1, "messages[1].tool_calls[0].id")]),
    "support logs with people in them": (
        "support.jsonl",
        "\n".join([chat(m("user", "I am Ann, ann.lee@mail.parcel-desk.net, call +1 415-863-2132"), m("assistant", "Thank you, Ann.")),
                   chat(m("user", "My card is 4111 1111 1111 1145"), m("assistant", "Please never send card numbers."))]),
        [("FT406", 1, "messages[0].content"), ("FT407", 1, "messages[0].content"), ("FT402", 2, "messages[0].content")]),
    "code with a key left in": ("code.jsonl", chat(m("user", "Fix it: client = OpenAI(api_key='sk-proj-" + "aB3dE5fG7h" * 7 + "')"), m("assistant", "Use an environment variable.")),
                                [("FT401", 1, "messages[0].content"), ("FT408", 1, "messages[0].content")]),
    "the same row pasted again, and once changed": ("again.jsonl", "\n".join([FINE2, FINE, FINE2, chat(m("user", "Do you sell maps?"), m("assistant", "No, we never do."))]),
                                                    [("FT301", 1, ""), ("FT302", 1, "")]),
    "a model's raw output": ("raw.jsonl", chat(m("user", "Hi"), m("assistant", "Hello<|im_end|>")), [("FT311", 1, "messages[1].content")]),
    "copied from a web page": ("web.jsonl", chat(m("user", "What is\\u200b this?"), m("assistant", "A zero width space.")), [("FT310", 1, "messages[0].content")]),
    "preferences under their old names": (
        "pairs.jsonl",
        '{"input": {"messages": [' + ASK + ']}, "preferred_completion": [' + DONE + '], "non_preferred_completion": [' + m("assistant", "No idea.") + "]}\n"
        + '{"input": {"messages": [' + ASK + ']}, "preferred_output": [' + DONE + '], "non_preferred_output": [' + DONE + "]}",
        [("FT126", 1, "preferred_output"), ("FT126", 1, "non_preferred_output"), ("FT128", 2, "non_preferred_output")]),
    "keys twice by a script": ("twice.jsonl", FINE2[:-1] + ', "messages": []}', [("FT014", 1, "")]),
    "contents whose model is called assistant": (
        "gemini.jsonl",
        ('{"systemInstruction": {"parts": [{"text": "Help."}]}, "contents": [{"role": "user", "parts": [{"text": "Do you sell maps?"}]}, '
        '{"role": "assistant", "parts": [{"text": "Yes, on the second floor."}]}]}\n'
        '{"contents": [{"role": "user", "parts": [{"fileData": {"mimeType": "application/pdf", "fileUri": "gs://shop/list.pdf"}}]}, '
        '{"role": "model", "parts": [{"text": "A price list."}]}]}'),
        [("FT104", 1, "contents[1].role"), ("FT106", 2, "contents[0].parts[0]")]),
    "Converse rows with the results in a turn of their own": (
        "converse.jsonl",
        ('{"schemaVersion": "bedrock-conversation-2024", "system": [{"text": "Help."}], "messages": [{"role": "user", "content": [{"text": "Order 17?"}]}, '
        '{"role": "assistant", "content": [{"toolUse": {"toolUseId": "u1", "name": "find_order", "input": {"number": 17}}}]}, '
        '{"role": "tool", "content": [{"toolResult": {"toolUseId": "u1", "content": [{"text": "shipped"}]}}]}, '
        '{"role": "assistant", "content": "It has been shipped."}]}'),
        [("FT117", 1, "messages[1].tool_calls[0].function.name"), ("FT104", 1, "messages[2].role"), ("FT105", 1, "messages[3].content")]),
    "a conversation that ends with the user": ("ends.jsonl", chat(m("user", "Hi"), m("assistant", "Hello"), m("user", "Bye")), [("FT110", 1, "messages[2].role")]),
}  # fmt: skip


@pytest.mark.parametrize("title", FILES)
def test_the_report_is_as_expected(tmp_path: Path, title: str) -> None:
    name, data, expected = FILES[title]
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    report = validate(path, near_duplicates=False, tokens=False)
    found = [(f.code, f.line, f.field) for f in (*report.faults, *report.notices)]
    assert sorted(found) == sorted(expected)
    assert all(f.message and f.hint for f in (*report.faults, *report.notices))


def test_there_are_twenty_and_more() -> None:
    assert len(FILES) >= 20
