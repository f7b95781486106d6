"""The report of a dataset for the configured provider, with the tokens it would bill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ftsdk.planning.arguments import InspectOptions, Rows, ValidateOptions
from ftsdk.planning.token_bill import counts_tokens, with_bill
from ftsdk.session import Session
from ftsdk.types.spec import JobSpec

if TYPE_CHECKING:
    from ftsdk.dataset import DatasetReport, InspectionReport


def report_for(session: Session, dataset: Rows, options: ValidateOptions) -> DatasetReport:
    """Return a report with all faults and notices. Faulty rows do not raise, and nothing is sent.

    Provider, model and method are read from the configuration if not given. For a provider
    that bills by the token, tokens are counted and priced.
    """
    from ftsdk.dataset import validate  # reading rows is not needed to list jobs

    provider = session.config.setting("provider", options.get("provider"))
    model = session.config.setting("model", options.get("model"))
    method = session.config.setting("method", options.get("method"))
    target = None if provider is None else str(provider.value)
    method_name = "sft" if method is None else str(method.value)
    capabilities = None if target is None else session.capabilities_of(target)
    tokens = options.get("tokens")
    model_name = None if model is None else str(model.value)
    report = validate(
        dataset,
        provider=target,
        model=model_name,
        method=None if method is None else method_name,
        validation=options.get("validation"),
        format=options.get("format"),
        map=options.get("map"),
        drop=options.get("drop"),
        allow_findings=options.get("allow_findings", False),
        tokenizer=options.get("tokenizer") or _tokenizer(session, target, model_name),
        tokens=True if tokens is None and counts_tokens(capabilities) else tokens,
        near_duplicates=options.get("near_duplicates"),
        max_length=_longest_row(session, target, model_name, options.get("max_length")),
        on_bytes=options.get("on_bytes"),
    )
    if report.tokens is None:
        return report
    return with_bill(
        report, method_name, capabilities, session.config, session.catalogue, session.today
    )


def _longest_row(
    session: Session, provider: str | None, model: str | None, asked: int | None
) -> int | None:
    """The tokens of the longest row that a job of this provider and model would take, as a plan has it."""
    capabilities = None if provider is None else session.capabilities_of(provider)
    if capabilities is None or model is None or "max_length" not in capabilities.hyperparameters:
        return asked
    spec = JobSpec.build(provider=str(provider), model=model, hyperparameters={"max_length": asked})
    return session.backend(provider).max_length_for(spec)


def _tokenizer(session: Session, provider: str | None, model: str | None) -> Path | None:
    """The tokenizer that a job of this provider would use, where the configuration changes it.

    It does so by the provider's options, such as a chat template in place of the model's.
    """
    options = session.config.table("provider_options")
    if provider is None or model is None or not options:
        return None
    backend = session.backend(provider)
    spec = JobSpec.build(provider=provider, model=model, provider_options=options)
    return backend.tokenizer_for(spec)


def inspection_of(session: Session, dataset: Rows, options: InspectOptions) -> InspectionReport:
    """Return the rows as the model sees them; provider and model come from the configuration."""
    from ftsdk.backends.local.models.resolve import pulled_folder  # rarely needed
    from ftsdk.dataset import inspect  # reading rows is not needed to list jobs

    provider = session.config.setting("provider", options.get("provider"))
    model = session.config.setting("model", options.get("model"))
    name = None if model is None else str(model.value)
    tokenizer = options.get("tokenizer")
    target = None if provider is None else str(provider.value)
    if tokenizer is None:
        tokenizer = _tokenizer(session, target, name)
    if tokenizer is None and name is not None:
        tokenizer = pulled_folder(name, home=session.home)
    return inspect(
        dataset,
        model=name,
        tokenizer=tokenizer,
        provider=target,
        format=options.get("format"),
        map=options.get("map"),
        drop=options.get("drop"),
        max_length=options.get("max_length"),
        rows=options.get("rows", 200),
        line=options.get("line"),
    )
