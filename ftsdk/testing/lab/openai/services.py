"""How the services that speak OpenAI's fine-tuning API differ from it, for their doubles.

Azure's ways are documented. Of Nebius and Crusoe little is public: where their pages say nothing
(what a list filters by, where the suffix is shown again), the double is unhelpful on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["SERVICES", "Service"]


@dataclass(frozen=True)
class Service:
    """One service's ways; the defaults are OpenAI's."""

    name: str = "openai"
    prefix: str = "/v1"
    url_variable: str = "OPENAI_BASE_URL"
    key_variable: str = "OPENAI_API_KEY"
    own_fields: frozenset[str] = frozenset()
    """Fields of the create body beside OpenAI's."""
    needs_field: str | None = None
    """Without it the service says that the base cannot be tuned."""
    own_hyperparameters: Mapping[str, type] = field(default_factory=dict)
    takes_method: bool = True
    takes_dots: bool = True
    keeps_metadata: bool = True
    """Shows metadata again, and filters its list by it."""
    suffix_shown_as: str | None = None
    least_rows: int = 10
    any_model: bool = False
    can_pause: bool = True
    names_result: bool = True
    """Gives the result a name in `fine_tuned_model`."""
    is_azure: bool = False
    """Nulls, `error: {}`, the billed tokens in an event alone."""


SERVICES: Mapping[str, Service] = {
    "openai": Service(),
    "azure": Service(
        name="azure",
        prefix="/openai/v1",
        url_variable="AZURE_OPENAI_ENDPOINT",
        key_variable="AZURE_OPENAI_API_KEY",
        own_fields=frozenset({"trainingType"}),
        needs_field="trainingType",
        takes_dots=False,
        suffix_shown_as="user_provided_suffix",
        is_azure=True,
    ),
    "nebius": Service(
        name="nebius",
        url_variable="NEBIUS_BASE_URL",
        key_variable="NEBIUS_API_KEY",
        own_hyperparameters={
            "lora": bool,
            "lora_r": int,
            "lora_alpha": float,
            "lora_dropout": float,
            "packing": bool,
            "context_length": int,
            "max_grad_norm": float,
        },
        takes_method=False,
        keeps_metadata=False,
        suffix_shown_as="suffix",
        least_rows=1,
        any_model=True,
        can_pause=False,
    ),
    "crusoe": Service(
        name="crusoe",
        url_variable="CRUSOE_BASE_URL",
        key_variable="CRUSOE_API_KEY",
        takes_method=False,
        keeps_metadata=False,
        suffix_shown_as="suffix",
        least_rows=1,
        any_model=True,
        can_pause=False,
        names_result=False,
    ),
}
