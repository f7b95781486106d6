"""How the services with OpenAI's fine-tuning API differ from OpenAI, for their doubles.

Azure documents its differences. Little is public about Nebius and Crusoe: where their pages do not
say (whether a list can be filtered, where the suffix is returned), the double assumes the worst.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Service:
    """The behaviour of one service; the defaults are OpenAI's."""

    name: str = "openai"
    prefix: str = "/v1"
    url_variable: str = "OPENAI_BASE_URL"
    key_variable: str = "OPENAI_API_KEY"
    own_fields: frozenset[str] = frozenset()
    """Fields of the create body in addition to OpenAI's."""
    needs_field: str | None = None
    """A field without which the service reports that the base model cannot be tuned."""
    own_hyperparameters: Mapping[str, type] = field(default_factory=dict)
    takes_method: bool = True
    takes_dots: bool = True
    keeps_metadata: bool = True
    """True when jobs show their metadata and lists can be filtered by it."""
    suffix_field: str | None = None
    least_rows: int = 10
    any_model: bool = False
    can_pause: bool = True
    names_result: bool = True
    """True when `fine_tuned_model` has the name of the result."""
    has_batches: bool = False
    stores_chats: bool = False
    """True when a chat sent with `store: true` is kept and listed."""
    is_azure: bool = False
    """Null fields, `error: {}`, and billed tokens only in an event."""


SERVICES: Mapping[str, Service] = {
    "openai": Service(has_batches=True, stores_chats=True),
    "azure": Service(
        name="azure",
        prefix="/openai/v1",
        url_variable="AZURE_OPENAI_ENDPOINT",
        key_variable="AZURE_OPENAI_API_KEY",
        own_fields=frozenset({"trainingType"}),
        needs_field="trainingType",
        takes_dots=False,
        suffix_field="user_provided_suffix",
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
        suffix_field="suffix",
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
        suffix_field="suffix",
        least_rows=1,
        any_model=True,
        can_pause=False,
        names_result=False,
    ),
}
