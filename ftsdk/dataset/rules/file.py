"""The codes of files, bytes and lines: fired by the reader, described here."""

from __future__ import annotations

from ftsdk.dataset.findings.registry import note

note("FT001", "fault", "The file does not exist", "check the path")
note(
    "FT002",
    "fault",
    "Not a regular file",
    "name a regular file",
    "Folders, pipes, devices and sockets are refused before they are opened.",
)
note("FT003", "fault", "The file cannot be read", "check the file and its permissions")
note("FT004", "fault", "The file has no rows", "write one JSON object a line")
note(
    "FT005",
    "fault",
    "The content does not match the file's name",
    "rename the file, or write it again",
    "Gzip, zstd or Parquet data under another name, a JSON array or indented JSON under `.jsonl`, "
    "lines that end in CR only.",
)
note(
    "FT006",
    "fault",
    "Compressed data is damaged, cut off, or a bomb",
    "compress the file again",
    "Data that grows more than 200 times (beyond 64 MiB) is refused.",
)
note("FT007", "fault", "The file is UTF-16 or UTF-32", "save it as UTF-8")
note(
    "FT008",
    "fault",
    "The file changed while it was read",
    "wait until its writer is done",
)
note(
    "FT009",
    "fault",
    "A row is too long",
    "split it, or pass max_row_bytes=",
    "The default limit is 8 MiB; a longer row is skipped with bounded memory.",
)
note(
    "FT010",
    "fault",
    "A row is not JSON",
    "write one JSON object a line; a JSON library does it right",
)
note(
    "FT011",
    "fault",
    "Bytes that are not UTF-8",
    "save the file as UTF-8",
    "Overlong sequences and surrogates written as bytes (CESU-8) count, too: other readers may "
    "accept them with another meaning.",
)
note(
    "FT012",
    "fault",
    "Half of a surrogate pair",
    "write the whole character, as UTF-8",
    r"`\ud83d` without `\ude00` is not a character and cannot be written as UTF-8.",
)
note(
    "FT013",
    "fault",
    "A number that JSON or its readers cannot represent",
    "write it as a string",
    "NaN, Infinity, 1e999, and integers beyond 64 bits.",
)
note(
    "FT014",
    "fault",
    "A key appears twice in one object",
    "keep one of them",
    "Readers disagree on which one counts, so a provider may train on the other.",
)
note("FT015", "fault", "Nested too deep", "flatten the row", "More than 64 containers.")
note(
    "FT016",
    "fault",
    "A raw control character or NUL byte",
    "write it as an escape, or remove it",
)
note(
    "FT017",
    "fault",
    "More than one value on a line",
    "put each row on its own line",
    "A comma after each row, as between the elements of an array, is one.",
    fixable=True,
)
note("FT018", "fault", "A row is cut off", "write the row in full")
note("FT019", "fault", "A row is not an object", 'write {"messages": […]}')
note(
    "FT020",
    "notice",
    "A byte order mark (BOM)",
    "save as UTF-8 without BOM",
    "At the start of the file it is skipped; anywhere else it is a fault.",
    fixable=True,
)
note("FT022", "fault", "A key is too long", "keys have at most 1,024 characters")
note(
    "FT024",
    "fault",
    "A row has values that JSON cannot represent",
    "use dicts with string keys, lists, strings, numbers, booleans and None",
)
note("FT025", "fault", "A table cannot be read", "check quotes and columns")
note(
    "FT026",
    "notice",
    "Something in the rows is read as something else",
    "check that it is meant; --map, --drop and --format say it, and `ftsdk fix` or `ftsdk convert` writes it out",
    """Columns under other names (`question` and `answer`), JSON texts in columns, tool calls as turns or
    as texts, answers that repeat the prompt, an index column: they are read as what they most likely
    are, and named here, with the first line that has them. `ftsdk fix` writes columns under their
    standard names and their JSON texts as values; `ftsdk convert DATA --to chat` writes the rest too.""",
)
note(
    "FT027",
    "fault",
    "The rows are within one object",
    "write the rows as JSON lines, or as one array",
    """A file with `{"data": [rows]}`, or one that pandas wrote by columns: the columns of such a file are
    objects of `"0"`, `"1"`, … Its rows are written by `frame.to_json(path, orient="records", lines=True)`.""",
)
note(
    "FT312",
    "notice",
    "A cell starts like a spreadsheet formula",
    "quote it before a spreadsheet opens it",
    "Cells that start with `=`, `+`, `-`, `@`, a tab or CR run as formulas in spreadsheets.",
)
