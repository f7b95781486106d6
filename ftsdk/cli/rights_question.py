"""Ask where the answers in a training file came from."""

from __future__ import annotations

from ftsdk.cli.prompts import choose
from ftsdk.cli.view.output import note
from ftsdk.errors import UsageError
from ftsdk.migration.options import rights_of
from ftsdk.types.capture import Rights

_ORIGINS = {
    "own": "people wrote them, or a model whose terms allow it",
    "internal-classifier": "the provider's models, for a classifier that is not distributed",
    "cleared": "somebody has cleared it; type `cleared: REASON`",
    "unknown": "decide later; nothing is trained on captured answers until then",
}


def ask_rights() -> Rights:
    """Ask until the answer can be read; an empty line is `unknown`."""
    while True:
        typed = choose(
            "Where did the answers in the training file come from?", _ORIGINS, default="unknown"
        )
        try:
            return rights_of(typed)
        except UsageError as error:
            note(f"  {error.hint}")
