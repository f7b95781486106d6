"""What cannot be carried over from the old model, and what each means for its user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from ftsdk.catalogue.hosting_cost import hosting_cost
from ftsdk.catalogue.inference_cost import chat_price
from ftsdk.dataset import Dataset
from ftsdk.migration.old_model import OldModel
from ftsdk.session import Session
from ftsdk.types.migration import CandidatePlan, LostFeature

_LOOKED_AT = 200
_SHOWN = 5


def lost_features(
    session: Session, old: OldModel, candidates: Sequence[CandidatePlan], data: Any
) -> Iterator[LostFeature]:
    """Yield what the candidates do not have of the old model; `data` are the rows that are asked."""
    tuned = [one for one in candidates if one.kind == "tuned" and one.can_run]
    yield LostFeature(
        what="The weights",
        old="at the provider, never to be downloaded",
        new="trained again from the rows" if tuned else "not needed by a prompt",
        meaning="The new model is another model; only the comparison says how close it is.",
    )
    yield from _settings(tuned)
    yield from _prices(session, old, candidates)
    yield from _strictness(data)
    yield LostFeature(
        what="The name",
        old=old.name,
        new="another name",
        meaning="Your code calls another model; the alias is recorded beside the report.",
    )
    yield LostFeature(
        what="Moderation",
        old="by the provider",
        new="none by ftsdk",
        meaning="Put your own before the model, if you relied on it.",
    )
    if old.not_converted:
        places = "; ".join(old.not_converted[:_SHOWN])
        yield LostFeature(
            what=f"{len(old.not_converted)} places of the training rows",
            old="functions",
            new="tools, not converted",
            meaning=f"A person has to change them: {places}",
        )


def _settings(tuned: Sequence[CandidatePlan]) -> Iterator[LostFeature]:
    for one in tuned:
        for setting in one.settings:
            if setting.change in ("dropped", "chosen") and setting.old != "–":
                yield LostFeature(
                    what=setting.name,
                    old=setting.old,
                    new=f"{one.name}: {setting.new}",
                    meaning=f"{setting.why[:1].upper()}{setting.why[1:]}.",
                )


def _prices(
    session: Session, old: OldModel, candidates: Sequence[CandidatePlan]
) -> Iterator[LostFeature]:
    before, able = chat_price(old.provider, old.name, session.catalogue), [c for c in candidates if c.can_run]  # fmt: skip
    if before is None:
        return
    dear = [one.name for one in able if _cached_price(session, one) is None]
    if before.cached_input is not None and dear:
        yield LostFeature(
            what="Cheaper cached input",
            old=f"${before.cached_input:g} per 1M",
            new=f"none at {', '.join(dear)}",
            meaning="A prompt that repeats costs the same each time.",
        )
    single = [one.name for one in able if not session.backend(one.provider).capabilities.can_batch]
    if before.batch_factor is not None and single:
        yield LostFeature(
            what="Batches at half price",
            old="within 24 hours",
            new=f"none at {', '.join(single)}",
            meaning="Work that can wait costs the full price.",
        )


def _cached_price(session: Session, one: CandidatePlan) -> Decimal | None:
    if one.kind == "tuned":
        found = hosting_cost(one.provider, one.model, session.catalogue)
        return Decimal(0) if found.kind == "free" else found.cached_input_per_mtok
    price = chat_price(one.provider, one.model, session.catalogue)
    return None if price is None else price.cached_input


def _strictness(data: Any) -> Iterator[LostFeature]:
    """Yield the guarantee of a strict schema, where the rows show that answers are JSON or tool calls."""
    if not any(_is_structured(row) for row, _ in zip(Dataset.load(data), range(_LOOKED_AT), strict=False)):  # fmt: skip
        return
    yield LostFeature(
        what="Strict JSON",
        old="guaranteed, where strict schemas were used",
        new="not guaranteed",
        meaning="Validity is measured, not promised: see the metrics json and tool_calls.",
    )


def _is_structured(row: Mapping[str, Any]) -> bool:
    if row.get("tools"):
        return True
    messages = row.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else {}
    text = last.get("content") if isinstance(last, Mapping) and last.get("role") == "assistant" else None  # fmt: skip
    if not isinstance(text, str) or not text.strip().startswith(("{", "[")):
        return False
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True
