"""Build the body of the create call; what cannot be sent is refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ftsdk.backends.capabilities import FindBy
from ftsdk.backends.openai.job_mapping import TAG_KEY
from ftsdk.backends.openai.profiles import Profile
from ftsdk.backends.refusals import adapter_kind
from ftsdk.types.plan import PlannedField
from ftsdk.types.spec import JobSpec, LoRA

_OURS = ("model", "training_file", "validation_file", "seed", "method")
_OF_CLIENT = ("extra_headers", "extra_query", "extra_body", "timeout")
"""Parameters of the SDK's `fine_tuning.jobs.create` that are no fields of the request. The others are
`_OURS`, and `hyperparameters`, `integrations`, `metadata` and `suffix`, which are options."""
_ADAPTER = ("rank", "alpha", "dropout", "target_modules")


def faults_of(profile: Profile, spec: JobSpec) -> list[str]:
    """Return what the service does not accept beyond its capabilities, each by name."""
    return [*_adapter(profile, spec), *_hyperparameters(spec), *_options(profile, spec)]


def _adapter(profile: Profile, spec: JobSpec) -> Iterator[str]:
    """Yield settings of the adapter that the service chooses itself; defaults ask for nothing."""
    if spec.adapter is None:
        return
    usual = LoRA(rank=spec.adapter.rank, quantize=spec.adapter.quantize)  # alpha follows the rank
    theirs = ("target_modules",) if profile.own_hyperparameters else _ADAPTER
    for name in theirs:
        value = getattr(spec.adapter, name)
        if value != (LoRA().rank if name == "rank" else getattr(usual, name)):
            yield f"adapter {name}={value!r} ({profile.title} chooses it itself)"


def _hyperparameters(spec: JobSpec) -> Iterator[str]:
    asked = spec.hyperparameters
    if asked.epochs is not None and not float(asked.epochs).is_integer():
        yield f"hyperparameter epochs={asked.epochs!r} must be a whole number"
    if asked.beta is not None and spec.method != "dpo":
        yield f"hyperparameter beta={asked.beta!r} is for method 'dpo' alone"


def _options(profile: Profile, spec: JobSpec) -> Iterator[str]:
    options = spec.provider_options
    for name in _OURS:
        if name in options:
            yield f"provider_options.{name} (give it as the job's own argument)"
    for name in _OF_CLIENT:
        if name in options:
            yield f"provider_options.{name} (an option of OpenAI's SDK, not of a job)"
    for name, accepted in profile.capabilities.hyperparameters.items():
        for theirs in {name, accepted.sent_as or name} & set(options):
            yield f"provider_options.{theirs} (give it as the job's hyperparameter {name})"
    if "suffix" in options and spec.name:
        yield "provider_options.suffix beside name, which becomes the suffix"
    metadata = options.get("metadata", {})
    if not isinstance(metadata, Mapping):
        yield "provider_options.metadata that is no table"
    elif TAG_KEY in metadata or len(metadata) > 15:
        yield f"provider_options.metadata with {TAG_KEY} or more than 15 entries"
    given = options.get("hyperparameters")
    if given is not None:
        if not isinstance(given, Mapping):
            yield "provider_options.hyperparameters that is no table"
            return
        for name in sorted(set(given) - profile.own_hyperparameters):
            yield f"provider_options.hyperparameters.{name} (give it as the job's hyperparameter)"


def suffix_for(profile: Profile, spec: JobSpec, tag: str) -> str | None:
    """Return the suffix of the model's name: the job's name, with its tag where it is found by it."""
    if not profile.takes_suffix:
        return None
    asked = spec.name or spec.provider_options.get("suffix") or ""
    letters = re.sub(rf"(?:(?!{profile.suffix_letters}).)+", "-", str(asked), flags=re.DOTALL)
    letters = letters.strip("-")
    if profile.capabilities.find_by is not FindBy.SUFFIX:
        return letters[: profile.longest_suffix] or None
    room = profile.longest_suffix - len(tag) - 1
    return f"{letters[:room]}-{tag}" if letters else tag


def create_body(
    profile: Profile, spec: JobSpec, tag: str, train: str, validation: str | None
) -> dict[str, Any]:
    """Return the body of the create call."""
    options = dict(spec.provider_options)
    known = profile.capabilities.hyperparameters
    hyperparameters = {
        **{
            known[name].sent_as or name: int(value) if name == "epochs" else value
            for name, value in spec.hyperparameters.given().items()
            if name in known
        },
        **_own(profile, spec, options.pop("hyperparameters", None) or {}),
    }
    body: dict[str, Any] = {
        **profile.fixed_fields,
        "model": spec.model,
        "training_file": train,
        "seed": spec.seed,
    }
    if profile.hyperparameters_in == "method":
        kind = "dpo" if spec.method == "dpo" else "supervised"
        inner = {"hyperparameters": hyperparameters} if hyperparameters else {}
        body["method"] = {"type": kind, kind: inner} if inner else {"type": kind}
    elif hyperparameters:
        body["hyperparameters"] = hyperparameters
    if validation is not None:
        body["validation_file"] = validation
    suffix = suffix_for(profile, spec, tag)
    options.pop("suffix", None)
    if suffix is not None:
        body["suffix"] = suffix
    if profile.takes_metadata:
        body["metadata"] = {**dict(options.pop("metadata", {})), TAG_KEY: tag}
    return {**body, **options}


def _own(profile: Profile, spec: JobSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what only this service takes: the adapter, where it can be chosen."""
    own = dict(given)
    if "lora" in profile.own_hyperparameters:
        own.setdefault("lora", spec.adapter is not None)
        if spec.adapter is not None:
            own.setdefault("lora_r", spec.adapter.rank)
            own.setdefault("lora_alpha", spec.adapter.alpha)
            own.setdefault("lora_dropout", spec.adapter.dropout)
    return own


def plan_fields(profile: Profile, spec: JobSpec) -> Iterator[PlannedField]:
    """Yield the value asked for and the value sent, for everything but hyperparameters."""
    example = "ft" + "·" * 12
    body = create_body(profile, spec, example, "(uploaded)", None)
    yield PlannedField(name="method", asked=spec.method, sent=body.get("method", {}).get("type"))
    yield PlannedField(name="seed", asked=spec.seed, sent=spec.seed)
    if "suffix" in body:
        yield PlannedField(name="name", asked=spec.name, sent=body["suffix"], sent_as="suffix")
    if profile.takes_metadata:
        yield PlannedField(
            name="tag", sent=example, sent_as=f"metadata.{TAG_KEY}", note="how it is found again"
        )
    if not profile.own_hyperparameters:
        yield PlannedField(
            name="adapter",
            asked=adapter_kind(spec),
            sent="the service's own",
            note=f"{profile.title} chooses how weights are adapted",
        )
    for name in {**profile.fixed_fields, **spec.provider_options}:
        if name not in ("metadata", "suffix", "hyperparameters"):
            yield PlannedField(name=name, asked=spec.provider_options.get(name), sent=body[name])
