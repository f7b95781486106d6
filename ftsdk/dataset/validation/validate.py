"""`validate`: the call itself; the work is in `run`, which is only imported when it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ftsdk.dataset.findings.report import DatasetReport
from ftsdk.dataset.provider_limits import Limits
from ftsdk.dataset.readers.lines import DEFAULT_MAX_ROW_BYTES

__all__ = ["validate"]


def validate(
    source: Any,
    *,
    provider: str | None = None,
    model: str | None = None,
    method: str = "sft",
    capabilities: Any = None,
    limits: Limits | None = None,
    tokenizer: Any = None,
    validation: Any = None,
    format: str | None = None,  # noqa: A002  # the public word for it
    name: str | None = None,
    tokens: bool | None = None,
    near_duplicates: bool | None = None,
    max_length: int | None = None,
    max_row_bytes: int = DEFAULT_MAX_ROW_BYTES,
    on_bytes: Callable[[int], None] | None = None,
) -> DatasetReport:
    """Every fault and notice of a dataset, for one target, in one run. Nothing is sent anywhere.

    `source` is whatever `Dataset.load` takes. Never raises for what is in the data: also a missing
    file is a fault of the report. `limits` are the provider's dataset limits; without them they are
    looked up by `provider` and `model`. `capabilities` is a backend's record, whose numbers replace
    those of the limits. `tokenizer` is a model folder, the name of an OpenAI encoding, or a `ChatTokenizer`;
    without one it is looked for by `model`. `tokens=False` leaves counting out, and so does None
    where no exact tokenizer is at hand. `validation` rows are judged too, and compared with the
    training rows. `near_duplicates` needs the extra `data`; None looks for them in small files
    when it is installed. `on_bytes` is told how many bytes were read, for a progress bar.
    """
    from ftsdk.dataset.validation.checker import judge

    return judge(
        source,
        provider=provider,
        model=model,
        method=method,
        capabilities=capabilities,
        limits=limits,
        tokenizer=tokenizer,
        validation=validation,
        format_name=format,
        name=name,
        tokens=tokens,
        near_duplicates=near_duplicates,
        max_length=max_length,
        max_row_bytes=max_row_bytes,
        on_bytes=on_bytes,
    )
