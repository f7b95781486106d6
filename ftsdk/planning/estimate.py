"""What a fine-tune would cost, here and elsewhere, before anything is sent."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ftsdk.dataset
from ftsdk.errors import FtsdkError, Unsupported
from ftsdk.planning.prepare import spec_of
from ftsdk.spending.reserve import catalogue_of, today_of
from ftsdk.types.cost import Cost
from ftsdk.types.plan import Plan
from ftsdk.types.spec import JobSpec, Method

if TYPE_CHECKING:
    from ftsdk.backends.capabilities import Capabilities
    from ftsdk.catalogue import Option, Target
    from ftsdk.client import Client
    from ftsdk.dataset import Dataset, DatasetReport
    from ftsdk.planning.prepare import AdapterArgument, Rows

__all__ = [
    "Comparison", "billed", "capabilities_of", "compare", "counted", "counts_for_bill", "estimate",
]  # fmt: skip

_FASTER, _SLOWER = 0.7, 1.6
"""How far a run's time may be from what an earlier one's speed says: other work, other lengths."""
_BYTES_PER_TOKEN = 4
"""English text in today's vocabularies; only where no tokenizer is at hand, and then with a range."""


@dataclass(frozen=True)
class Comparison:
    """The same rows at several places. `tokens` is a range where no exact count could be made."""

    dataset: str
    rows: int
    method: str
    epochs: float | None
    options: tuple[Option, ...]
    as_of: dt.date


def estimate(
    client: Client,
    dataset: Rows,
    *,
    provider: str | None = None,
    model: str | None = None,
    method: Method | None = None,
    adapter: AdapterArgument = "default",
    epochs: float | None = None,
) -> Cost:
    """What training on these rows would cost at one provider; nothing is sent.

    A backend's own estimate is taken where it knows one, else the catalogue's. Rows with faults
    are counted as they are: `validate` tells of them.
    """
    spec = spec_of(
        client.config,
        model=model,
        provider=provider,
        method=method,
        adapter=adapter,
        hyperparameters=None if epochs is None else {"epochs": epochs},
    )
    train = ftsdk.dataset.Dataset.load(dataset)
    target = _target(client, spec, train, _Counts())
    told = _compared(client, [target], spec.method, spec.hyperparameters.epochs, train)
    return told.options[0].training


def compare(
    client: Client,
    dataset: Rows,
    *,
    places: Sequence[str] = (),
    method: Method | None = None,
    adapter: AdapterArgument = "default",
    epochs: float | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    everything: bool = False,
) -> Comparison:
    """What the same fine-tune would cost elsewhere; nothing is sent.

    `places` are `provider` or `provider:model`; without them, those of the profiles, and of each
    installed provider its two cheapest models (all of them with `everything`). A place that does
    not take one of the `hyperparameters` says so in `unsupported`.
    """
    train, counts = ftsdk.dataset.Dataset.load(dataset), _Counts()
    given = {**(hyperparameters or {}), **({} if epochs is None else {"epochs": epochs})}
    chosen = places or _places(client, method or "sft", everything=everything)
    targets, how = [], method or "sft"
    for place in dict.fromkeys(chosen):
        provider, _, model = place.partition(":")
        for name in [model] if model else _models(client, provider, how, everything=everything):
            spec = spec_of(
                client.config,
                model=name,
                provider=provider,
                method=method,
                adapter=adapter,
                hyperparameters=given,
            )
            how, epochs = spec.method, spec.hyperparameters.epochs
            targets.append(_target(client, spec, train, counts))
    return _compared(client, targets, how, epochs, train)


def counted(plan: Plan, report: DatasetReport, tokens_per_s: float | None = None) -> Plan:
    """The plan with the tokens of one epoch, and how long it may take where a speed is known.

    The report may be of more rows than the plan trains on (a share is set aside for validation):
    then their part of its tokens is an estimate.
    """
    told = report.tokens
    if told is None or not report.rows or plan.rows is None:
        return plan
    whole = plan.rows >= report.rows
    tokens = told.total if whole else round(told.total * plan.rows / report.rows)
    changes: dict[str, Any] = {
        "tokens": tokens,
        "tokens_basis": "exact" if told.exact and whole else "estimated",
    }
    epochs = _epochs(plan)
    if tokens_per_s and epochs is not None:
        seconds = tokens * epochs / tokens_per_s
        changes["duration_s"] = (seconds * _FASTER, seconds * _SLOWER)
    return plan.model_copy(update=changes)


def _epochs(plan: Plan) -> float | None:
    """How often the rows are seen: as sent, or by the steps that were asked for."""
    sent = plan.sent()
    steps, batch = sent.get("max_steps"), sent.get("batch_size")
    if isinstance(steps, int) and isinstance(batch, int) and batch and plan.rows:
        return float(steps * batch * (sent.get("gradient_accumulation_steps") or 1) / plan.rows)
    epochs = sent.get("epochs")
    # A provider may choose by itself ("auto"); then nobody knows.
    return float(epochs) if isinstance(epochs, int | float) else None


def billed(client: Client, report: DatasetReport, method: str) -> DatasetReport:
    """The report with what its provider would bill for these rows: tokens, epochs, minimum, price.

    Epochs are the configured ones, else the default of our backend, else the provider's; packing is
    on unless it is configured off. Nothing is asked of anybody; what is not known is said.
    """
    from ftsdk.catalogue import estimate_training, token_range, training_tokens
    from ftsdk.dataset.findings.token_summary import BilledTokens

    told, provider, model = report.tokens, report.provider, report.model or ""
    able = None if provider is None else capabilities_of(provider)
    if told is None or provider is None or (able is not None and able.price == "free"):
        return report
    book = catalogue_of(client)
    tokens = token_range(told.kept, "exact" if told.exact else "estimated")
    given = client.config.table("hyperparameters").get("epochs")
    if given is None and able is not None and "epochs" in able.hyperparameters:
        given = able.hyperparameters["epochs"].default
    epochs = None if isinstance(given, str) else given  # "auto": the provider chooses
    packed = client.config.table("provider_options").get("packing", True) is not False
    facts: dict[str, Any] = {
        "method": method, "tokens": tokens, "epochs": epochs, "rows": report.rows, "catalogue": book,
        "packed": packed or report.format == "tokenized",  # tokens are taken as they are
        "max_length": told.max_length,
    }  # fmt: skip
    found = training_tokens(provider, model, **facts)
    if isinstance(found, str):
        line = BilledTokens(provider, model, None, None, assumptions=(found,))
    else:
        cost = estimate_training(provider, model, **facts, today=today_of(client))
        priced = [one for one in cost.assumptions if one not in found[2]]
        said = (*found[2], *_cut(report), *priced)
        line = BilledTokens(provider, model, found[0], found[1], cost.low, cost.high, said)
    return dataclasses.replace(report, billed_tokens={**report.billed_tokens, provider: line})


def counts_for_bill(provider: str | None) -> bool:
    """Whether rows for this provider are to be counted, if need be by a rough measure."""
    import importlib.util

    able = None if provider is None else capabilities_of(provider)
    paid = able is not None and able.price != "free"
    return paid and importlib.util.find_spec("bpe_openai") is not None


def capabilities_of(provider: str) -> Capabilities | None:
    """The record of a provider's backend; None where we have only its limits."""
    from ftsdk.backends.registry import backend_names, load_backend

    return load_backend(provider).capabilities if provider in backend_names() else None


def _cut(report: DatasetReport) -> list[str]:
    """What is said of rows that are cut, and of validation rows that are billed as well."""
    tokens, said = report.tokens, []
    if tokens is not None and tokens.kept < tokens.total:
        lost = tokens.total - tokens.kept
        said.append(
            f"rows are cut at {tokens.cut_at:,} tokens: {lost:,} are neither seen nor billed"
        )
    if report.validation_tokens:
        said.append(
            f"{report.validation_tokens:,} validation tokens, billed at each evaluation where a "
            "provider does so, are not in it"
        )
    return said


def _compared(
    client: Client, targets: Sequence[Target], method: str, epochs: float | None, train: Dataset
) -> Comparison:
    """The rows of a comparison, for targets that are made already."""
    from ftsdk.catalogue import compare as options_of

    book = catalogue_of(client)
    options = options_of(
        targets,
        method=method,
        epochs=epochs,
        rows=train.rows,
        today=today_of(client),
        catalogue=book,
    )
    return Comparison(train.name, train.rows, method, epochs, tuple(options), book.as_of)


def _places(client: Client, method: str, *, everything: bool) -> list[str]:
    """Where to look when nobody said: the profiles' choices, then every installed provider."""
    from ftsdk.backends.registry import backend_names

    found = []
    for table in (client.config.data, *client.config.profiles.values()):
        provider, model = table.get("provider"), table.get("model")
        if isinstance(provider, str) and isinstance(model, str):
            found.append(f"{provider}:{model}")
    for name in backend_names():
        if not _is_rehearsal(name):
            models = _models(client, name, method, everything=everything)
            found += [f"{name}:{model}" for model in models]
    return [place for place in found if not _is_rehearsal(place.partition(":")[0])] or found


def _is_rehearsal(provider: str) -> bool:
    """Whether a backend trains nothing; a backend that cannot be loaded is compared, with a note."""
    with contextlib.suppress(FtsdkError):
        able = capabilities_of(provider)
        return able is not None and able.is_rehearsal
    return False


def _models(client: Client, provider: str, method: str, *, everything: bool) -> list[str]:
    """The models to show for a provider: the two cheapest that can still be tuned, or all."""
    from ftsdk.catalogue import compare as options_of
    from ftsdk.catalogue import targets_of

    with contextlib.suppress(FtsdkError):
        able = capabilities_of(provider)
        if able is not None and able.default_models:
            return list(able.default_models)
    book = catalogue_of(client)
    found = options_of(
        targets_of(provider, method=method, catalogue=book),
        method=method,
        tokens=1_000_000,
        epochs=1,
        today=today_of(client),
        catalogue=book,
    )
    if everything:
        return [one.model for one in found]
    can = [one for one in found if one.is_open]
    known = [one.model for one in can if one.training.high is not None]
    return known[:2] or [one.model for one in can[:1]]


class _Counts:
    """Tokens of one dataset, counted once for each tokenizer."""

    def __init__(self) -> None:
        self._by_name: dict[str, int] = {}
        self._text_bytes: int | None = None

    def of(self, train: Dataset, provider: str, model: str) -> int | tuple[int, int]:
        """Exact where the tokenizer is at hand, else a range from the size of the text."""
        from ftsdk.catalogue import token_range
        from ftsdk.dataset.provider_limits import limits_for
        from ftsdk.dataset.rules.token_counts import counter_for

        limits = limits_for(provider, model)
        counting = counter_for(None, model=model, limits=limits, wanted=False)
        if counting is not None and counting.counter.exact:
            counter = counting.counter
            if counter.name not in self._by_name:
                self._by_name[counter.name] = sum(counter.count(row)[0] for row in train)
            return self._by_name[counter.name]
        if self._text_bytes is None:
            self._text_bytes = sum(_text_bytes(row) for row in train)
        guess = token_range(self._text_bytes // _BYTES_PER_TOKEN, "estimated")
        assert guess is not None  # noqa: S101  # only an unknown basis gives None
        return guess


def _text_bytes(value: Any) -> int:
    """The bytes of every string in a row, and a little for what a template puts around each."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass")) + _BYTES_PER_TOKEN
    if isinstance(value, Mapping):
        return sum(_text_bytes(item) for item in value.values())
    if isinstance(value, list | tuple):
        return sum(_text_bytes(item) for item in value)
    return 0


def _target(client: Client, spec: JobSpec, train: Dataset, counts: _Counts) -> Target:
    """One place with what its backend says: refusals, time; a backend that is away is a note."""
    from ftsdk.backends.refusals import adapter_kind
    from ftsdk.catalogue import Target

    unsupported: tuple[str, ...] = ()
    note, duration, cost, elsewhere = "", None, None, False
    try:
        backend = client.backend(spec.provider)
        elsewhere = backend.dated_as is None
        plan = backend.plan(spec, train)
        duration, cost = plan.duration_s, plan.cost
    except Unsupported as error:
        unsupported = tuple(getattr(error, "faults", ())) or (error.what,)
    except FtsdkError as error:
        note = error.what
    known = spec.provider in catalogue_of(client).providers and not elsewhere
    hardware = spec.provider_options.get("hardware")
    return Target(
        provider=spec.provider,
        model=spec.model,
        adapter_kind=adapter_kind(spec),
        tokens=counts.of(train, spec.provider, spec.model),
        hardware=hardware if isinstance(hardware, str) else None,
        duration_s=duration,
        unsupported=unsupported,
        cost=None if known else cost,
        elsewhere=elsewhere,
        note=note,
    )
