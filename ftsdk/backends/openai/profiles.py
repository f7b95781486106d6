"""What differs between the services that speak OpenAI's fine-tuning API: one record for each."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from ftsdk.backends.capabilities import OPENAI_ENVELOPE, Capabilities, FindBy, PaceRefusal, Range
from ftsdk.backends.hosted.key_trust import Service, is_loopback
from ftsdk.backends.openai import limits
from ftsdk.dataset.provider_limits import Limits

_SPEC = "openai/openai-openapi openapi.yaml @f85dbe22 (2026-08-21)"

_REGIONS = ("us", "eu", "ae", "au", "in", "jp")
"""The regions with a host of their own; openai-python 3.57.0, `_data_residency.py`."""
_SHOWS_SUFFIX = "a list of jobs shows the suffix that was sent, or a model name that contains it"
_COMPANIONS = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS")

_HYPERPARAMETERS: Mapping[str, Range] = {
    "epochs": Range(low=1, high=50, default="auto", sent_as="n_epochs", source=_SPEC),
    "batch_size": Range(low=1, high=256, default="auto", source=_SPEC),
    "learning_rate_multiplier": Range(low=0, default="auto", source=_SPEC),
    "beta": Range(low=0, high=2, source=_SPEC),
}

_CAPABILITIES = Capabilities(
    methods=frozenset({"sft", "dpo"}),
    adapters=frozenset({"lora"}),
    formats=frozenset({"chat", "preference"}),
    hyperparameters=_HYPERPARAMETERS,
    instead={"learning_rate": "learning_rate_multiplier, a factor on their own"},
    find_by=FindBy.METADATA,
    can_cancel=True,
    can_pause=True,
    can_resume=True,
    can_delete=True,
    can_chat=True,
    can_chat_many=True,
    json_mode=True,
    can_read_files=True,
    has_events=True,
    has_metrics=True,
    has_checkpoints=True,
    has_logs=True,
    lists_models=True,
    reports_model_ends=True,
    price="catalogue",
    poll_s=10.0,
    min_rows=10,
    max_file_bytes=512 << 20,
    key_variables=("OPENAI_API_KEY",),
    extra="openai",
    packages=("openai",),
)


@dataclass(frozen=True)
class Profile:
    """How one service differs. Facts without a source were not confirmed by the service's own
    pages.

    `hosts` are suffixes of its host names. `find_by` in the capabilities says whether its list can
    be filtered by our tag in the metadata, or must be searched for the suffix that contains it.
    `result` is what a finished job leaves: a model that can be called by name (`hosted`), one that
    must be deployed (`needs_deployment`), or an adapter to download (`adapter`).
    """

    name: str
    title: str
    capabilities: Capabilities
    limits: Limits
    """The rows it accepts."""
    url: str | None = None
    url_variables: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    shared_keys: Mapping[str, str] = field(default_factory=dict)
    companions: tuple[str, ...] = ()
    one_account_a_host: bool = False
    """Whether each account has a host name, which all its keys share."""
    id_pattern: str = r"[A-Za-z0-9][A-Za-z0-9_.:-]{2,127}"
    takes_suffix: bool = True
    longest_suffix: int = 64
    suffix_letters: str = r"[A-Za-z0-9_-]"
    takes_metadata: bool = True
    hyperparameters_in: Literal["method", "hyperparameters"] = "method"
    fixed_fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the create body that this service needs beside OpenAI's."""
    own_hyperparameters: frozenset[str] = frozenset()
    """Names that `provider_options["hyperparameters"]` may contain."""
    byte_order_mark: bool = False
    one_call_bytes: int = 512 << 20
    """Files up to this size are sent in one call; larger ones in parts, where possible."""
    takes_parts: bool = False
    result: Literal["hosted", "needs_deployment", "adapter"] = "hosted"
    billed_in_events: bool = False

    @property
    def service(self) -> Service:
        """The service's address and key variables."""
        return Service(
            name=self.name,
            title=self.title,
            keys=self.capabilities.key_variables,
            shared_keys=self.shared_keys,
            companions=self.companions,
            one_account_a_host=self.one_account_a_host,
            project_variable="OPENAI_PROJECT_ID" if self.companions else None,
            url_variables=self.url_variables,
            hosts=self.hosts,
            url=self.url,
            extra="openai",
        )

    def id_ok(self, value: object) -> bool:
        """Whether `value` has the shape of this service's job ids."""
        return isinstance(value, str) and re.fullmatch(self.id_pattern, value) is not None


OPENAI = Profile(
    name="openai",
    title="OpenAI",
    limits=limits.OPENAI,
    capabilities=replace(
        _CAPABILITIES,
        can_batch=True,
        has_stored_chats=True,
        max_file_bytes=8 << 30,
        pace_refusal=PaceRefusal(
            statuses=frozenset({429}),
            text_at=("error", "message"),
            named_at=OPENAI_ENVELOPE,
            pattern=r"rate_limit|^slow_down$|^requests$|^tokens$",
            out_of_credit=r"insufficient_quota|spend_limit|usage_limit|credit_balance",
            source="developers.openai.com/api/docs/guides/error-codes and /rate-limits (2026-11): "
            "429 refuses a request over the rate limit; wait as Retry-After says and send it again",
        ),
        closed_to_new_accounts_on=dt.date(2026, 5, 7),
        no_new_jobs_from=dt.date(2027, 1, 6),
        note="winding down: no new jobs from 2027-01-06, and every fine-tune ends 2027-01-14",
        unconfirmed={
            "find_by": "a list of jobs filtered by metadata has only the jobs with that tag "
            "(documented, not seen on an account)",
            "can_batch": "a batch takes a fine-tuned model (`ft:…`), as the help centre says of most "
            "models",
            "has_stored_chats": "the messages of a stored chat are those that were sent, without "
            "the answer; an answer at their end is left out",
        },
    ),
    url="https://api.openai.com/v1",
    url_variables=("OPENAI_BASE_URL",),
    companions=_COMPANIONS,
    hosts=("api.openai.com", *(f"{region}.api.openai.com" for region in _REGIONS)),
    id_pattern=r"ftjob-[A-Za-z0-9_-]{3,120}",
    takes_parts=True,
)
"""Developer docs and schema of 2026; deprecations page, entry of 2026-05-07. Batches and stored chats:
openai 3.57.0, `resources/batches.py` and `resources/chat/completions`.
"""

AZURE = Profile(
    name="azure",
    title="Azure OpenAI",
    limits=limits.AZURE,
    capabilities=replace(
        _CAPABILITIES,
        find_by=FindBy.SUFFIX,
        can_chat=False,
        can_chat_many=False,
        json_mode=False,
        key_variables=("AZURE_OPENAI_API_KEY",),
        note="a tuned model needs its own deployment, which costs by the hour and is created with "
        "Azure's own tools; chat(…, deployment=NAME) calls it",
        unconfirmed={
            "find_by": "a list of jobs can be filtered by metadata, as at OpenAI",
            "lists_models": "the list at /openai/v1 has the account's fine-tunes, as that of API "
            "version 2024-10-21 has",
            "reports_model_ends": "it also has `deprecation`, with the day on which a fine-tune ends",
        },
    ),
    url_variables=("AZURE_OPENAI_ENDPOINT", "OPENAI_BASE_URL"),
    shared_keys={"OPENAI_API_KEY": "OPENAI_BASE_URL"},
    hosts=(".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com"),
    id_pattern=r"ftjob-[A-Za-z0-9_-]{3,120}",
    one_account_a_host=True,
    longest_suffix=40,
    fixed_fields={"trainingType": "GlobalStandard"},
    byte_order_mark=True,
    result="needs_deployment",
    billed_in_events=True,
)
"""MicrosoftDocs/azure-ai-docs, fine-tuning.md (October 2026). Leaving `trainingType` out can cause
a false "base model does not support fine-tuning". That its list filters by metadata is
UNCONFIRMED, so the suffix contains the tag as well. The content of a file, also of an uploaded one:
Foundry REST reference, `GET /openai/v1/files/{file_id}/content` (2026), and data-plane authoring
2024-10-21, `Files_GetContent`. Models: the same two, of which only the older shows fine-tunes and
`deprecation`.
"""

NEBIUS = Profile(
    name="nebius",
    title="Nebius Token Factory",
    limits=limits.NEBIUS,
    capabilities=replace(
        _CAPABILITIES,
        methods=frozenset({"sft"}),
        adapters=frozenset({"lora", "full"}),
        formats=frozenset({"chat"}),
        hyperparameters={
            "epochs": _HYPERPARAMETERS["epochs"],
            "batch_size": _HYPERPARAMETERS["batch_size"],
            # Its examples put an absolute rate under this name.
            "learning_rate": Range(low=0, high=1, sent_as="learning_rate_multiplier"),
        },
        find_by=FindBy.SUFFIX,
        can_pause=False,
        can_resume=False,
        can_delete=False,
        price="unknown",
        min_rows=1,
        max_file_bytes=5_000_000_000,
        key_variables=("NEBIUS_API_KEY",),
        unconfirmed={
            "find_by": _SHOWS_SUFFIX,
            "hyperparameters": "its own hyperparameters are called lora_r, lora_alpha, lora_dropout",
        },
    ),
    url="https://api.tokenfactory.nebius.com/v1",
    url_variables=("NEBIUS_BASE_URL",),
    hosts=("api.tokenfactory.nebius.com", "api.studio.nebius.ai"),
    hyperparameters_in="hyperparameters",
    own_hyperparameters=frozenset(
        {
            "lora",
            "lora_r",
            "lora_alpha",
            "lora_dropout",
            "packing",
            "context_length",
            "max_grad_norm",
        }
    ),
    one_call_bytes=5_000_000_000,
)
"""Docs quoted in third-party pages (2026-03); the exact extra fields are UNCONFIRMED."""

CRUSOE = Profile(
    name="crusoe",
    title="Crusoe Intelligence Foundry",
    limits=limits.CRUSOE,
    capabilities=replace(
        _CAPABILITIES,
        methods=frozenset({"sft"}),
        formats=frozenset({"chat"}),
        hyperparameters={key: value for key, value in _HYPERPARAMETERS.items() if key != "beta"},
        find_by=FindBy.SUFFIX,
        can_pause=False,
        can_resume=False,
        can_delete=False,
        can_chat=False,
        can_chat_many=False,
        json_mode=False,
        price="unknown",
        min_rows=1,
        max_file_bytes=3_000_000_000,
        key_variables=("CRUSOE_API_KEY",),
        unconfirmed={"find_by": _SHOWS_SUFFIX},
    ),
    url="https://api.intelligence.crusoecloud.com/v1",
    url_variables=("CRUSOE_BASE_URL",),
    hosts=("api.intelligence.crusoecloud.com",),
    hyperparameters_in="hyperparameters",
    one_call_bytes=3_000_000_000,
    result="adapter",
)
"""docs.crusoecloud.com/serverless-fine-tuning (2026): LoRA SFT, checkpoints as files."""

GENERIC = Profile(
    name="openai",
    title="the OpenAI-shaped service",
    limits=limits.OPENAI,
    capabilities=replace(
        _CAPABILITIES,
        adapters=frozenset({"lora", "full"}),
        find_by=FindBy.METADATA,
        price="unknown",
        min_rows=1,
        max_file_bytes=None,
        note="what this service takes is not known to ftsdk; it may refuse more",
    ),
    url_variables=("OPENAI_BASE_URL",),
    companions=_COMPANIONS,
)

PROFILES: Mapping[str, Profile] = {
    "openai": OPENAI,
    "azure": AZURE,
    "nebius": NEBIUS,
    "crusoe": CRUSOE,
    "generic": GENERIC,
}


def profile_for(chosen: Profile, base_url: str) -> Profile:
    """Return the profile for a base URL: the service that has the host, else a cautious one.

    A loopback address (a rehearsal) keeps the profile of the service it plays. End dates apply only
    at a service's own hosts: see `Backend.dated_as`.
    """
    host = (urlsplit(base_url).hostname or "").lower()
    for profile in (OPENAI, AZURE, NEBIUS, CRUSOE):
        if profile.service.owns(host):
            return profile
    if is_loopback(base_url):
        return chosen
    return chosen if chosen is not OPENAI else GENERIC
