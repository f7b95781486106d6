"""Estimate what a fine-tune would cost at one or several providers. Nothing is sent."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftsdk.backends.capabilities import Capabilities
from ftsdk.backends.refusals import adapter_kind
from ftsdk.backends.registry import backend_names
from ftsdk.catalogue.comparison import Option, Target, targets_of
from ftsdk.catalogue.comparison import compare as options_of
from ftsdk.catalogue.load import canonical_name
from ftsdk.errors import FtsdkError, Unsupported
from ftsdk.planning.arguments import (
    DEFAULT,
    AdapterArgument,
    EstimateOptions,
    ReadingOptions,
    Rows,
    spec_of,
)
from ftsdk.planning.prepare import load_rows
from ftsdk.planning.token_bill import TokenCounts
from ftsdk.session import Session
from ftsdk.types.cost import Cost
from ftsdk.types.spec import Hyperparameters, JobSpec, Method

if TYPE_CHECKING:
    from ftsdk.dataset import Dataset


@dataclass(frozen=True)
class Comparison:
    """The comparison of one fine-tune at several providers; the cheapest open option comes first."""

    dataset: str
    rows: int
    method: str
    epochs: float | None
    options: tuple[Option, ...]
    as_of: dt.date


def estimate(session: Session, dataset: Rows, options: EstimateOptions) -> Cost:
    """Estimate the cost of training on these rows at one provider.

    The result is a range with its assumptions: the catalogue's estimate, or the backend's own for a
    provider that is not in the catalogue. Faulty rows are counted too; `validate` reports them.
    """
    epochs = options.get("epochs")
    spec = spec_of(
        session.config,
        {
            "model": options.get("model"),
            "provider": options.get("provider"),
            "method": options.get("method"),
            "adapter": options.get("adapter", DEFAULT),
            "hyperparameters": None if epochs is None else {"epochs": epochs},
        },
    )
    train = load_rows(dataset, options, spec.method)
    target = _target(session, spec, train, TokenCounts(train))
    found = _compared(session, [target], spec.method, spec.hyperparameters.epochs, train)
    return found.options[0].training


def compare(
    session: Session,
    dataset: Rows,
    *,
    places: Sequence[str] = (),
    method: Method | None = None,
    adapter: AdapterArgument = DEFAULT,
    epochs: float | None = None,
    hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
    everything: bool = False,
    reading: ReadingOptions | None = None,
) -> Comparison:
    """Estimate the cost of the same fine-tune at several providers.

    `places` are `provider` or `provider:model`. The default is those of the profiles, and the two
    cheapest models of each installed provider (all models with `everything`). Hyperparameters that
    an option does not support are listed in its `unsupported`. A model that is named in two spellings
    is one option.
    """
    train = load_rows(dataset, reading or {}, method or "sft")
    counts = TokenCounts(train)
    given = hyperparameters or {}
    if isinstance(given, Hyperparameters):
        given = given.given()
    given = {**given, **({} if epochs is None else {"epochs": epochs})}
    chosen = places or _places(session, method or "sft", everything=everything)
    targets, chosen_method = {}, method or "sft"
    for place in dict.fromkeys(chosen):
        provider, _, model = place.partition(":")
        names = (
            [model]
            if model
            else models_to_compare(session, provider, chosen_method, everything=everything)
        )
        for name in names:
            same_model = (provider, canonical_name(provider, name, session.catalogue))
            if same_model in targets:
                continue
            spec = spec_of(
                session.config,
                {
                    "model": name,
                    "provider": provider,
                    "method": method,
                    "adapter": adapter,
                    "hyperparameters": given,
                },
            )
            chosen_method, epochs = spec.method, spec.hyperparameters.epochs
            targets[same_model] = _target(session, spec, train, counts)
    return _compared(session, list(targets.values()), chosen_method, epochs, train)


def _compared(
    session: Session, targets: Sequence[Target], method: str, epochs: float | None, train: Dataset
) -> Comparison:
    catalogue = session.catalogue
    options = options_of(
        targets,
        method=method,
        epochs=epochs,
        rows=train.rows,
        today=session.today,
        catalogue=catalogue,
    )
    return Comparison(train.name, train.rows, method, epochs, tuple(options), catalogue.as_of)


def _places(session: Session, method: str, *, everything: bool) -> list[str]:
    """Return the default places: those of the profiles, then every installed provider."""
    found = []
    for table in (session.config.data, *session.config.profiles.values()):
        provider, model = table.get("provider"), table.get("model")
        if isinstance(provider, str) and isinstance(model, str):
            found.append(f"{provider}:{model}")
    for name in backend_names():
        if not _is_rehearsal(session, name):
            models = models_to_compare(session, name, method, everything=everything)
            found += [f"{name}:{model}" for model in models]
    return [
        place for place in found if not _is_rehearsal(session, place.partition(":")[0])
    ] or found


def _is_rehearsal(session: Session, provider: str) -> bool:
    """Return whether a backend trains nothing; False for one that cannot be loaded."""
    capabilities = _capabilities(session, provider)
    return capabilities is not None and capabilities.is_rehearsal


def _capabilities(session: Session, provider: str) -> Capabilities | None:
    with contextlib.suppress(FtsdkError):
        return session.capabilities_of(provider)
    return None


def models_to_compare(
    session: Session, provider: str, method: str, *, everything: bool = False
) -> list[str]:
    """Return the models to compare at a provider: the two cheapest that can be tuned, or all."""
    capabilities = _capabilities(session, provider)
    if capabilities is not None and capabilities.default_models:
        return list(capabilities.default_models)
    catalogue = session.catalogue
    found = options_of(
        targets_of(provider, method=method, catalogue=catalogue),
        method=method,
        tokens=1_000_000,
        epochs=1,
        today=session.today,
        catalogue=catalogue,
    )
    if everything:
        return [option.model for option in found]
    open_options = [option for option in found if option.is_open]
    priced = [option.model for option in open_options if option.training.high is not None]
    return priced[:2] or [option.model for option in open_options[:1]]


def _target(session: Session, spec: JobSpec, train: Dataset, counts: TokenCounts) -> Target:
    """Return a target with its backend's refusals and duration; a backend's error becomes a note."""
    unsupported: tuple[str, ...] = ()
    note, duration, cost, custom_address = "", None, None, False
    try:
        backend = session.backend(spec.provider)
        custom_address = backend.dated_as is None
        plan = backend.plan(spec, train)
        duration, cost = plan.duration_s, plan.cost
    except Unsupported as error:
        unsupported = tuple(getattr(error, "faults", ())) or (error.what,)
    except FtsdkError as error:
        note = error.what
    known = spec.provider in session.catalogue.providers and not custom_address
    hardware = spec.provider_options.get("hardware")
    return Target(
        provider=spec.provider,
        model=spec.model,
        adapter_kind=adapter_kind(spec),
        tokens=counts.of(spec.provider, spec.model),
        hardware=hardware if isinstance(hardware, str) else None,
        duration_s=duration,
        unsupported=unsupported,
        cost=None if known else cost,
        custom_address=custom_address,
        note=note,
    )
