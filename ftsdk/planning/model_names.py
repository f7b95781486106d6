"""Find a misspelt name of a hosted model before a job that names it is journaled."""

from __future__ import annotations

import difflib

from ftsdk.backends.base import Backend
from ftsdk.catalogue.load import has_name, lookup
from ftsdk.catalogue.schema import Catalogue
from ftsdk.errors import RateLimited, Unavailable
from ftsdk.types.plan import Plan
from ftsdk.types.spec import JobSpec


def check_model_name(backend: Backend, spec: JobSpec, catalogue: Catalogue) -> None:
    """Ask the provider for a name that the catalogue does not have. Raises `UnknownModel`.

    A provider that is out of reach is asked again by the job itself, which waits and retries.
    """
    if has_name(backend.name, spec.model, catalogue):
        return
    try:
        backend.check_model(spec)
    except (RateLimited, Unavailable):
        return


def with_near_models(plan: Plan, spec: JobSpec, owner: str | None, catalogue: Catalogue) -> Plan:
    """Return the plan with a warning where the catalogue has only similar names. Asks nobody."""
    near = near_models(owner, spec.model, catalogue)
    if not near:
        return plan
    warning = (
        f"the catalogue of {catalogue.as_of} has no {spec.model}; did you mean "
        f"{' or '.join(near)}? The provider is asked before the job is created"
    )
    return plan.model_copy(update={"warnings": (*plan.warnings, warning)})


def near_models(owner: str | None, model: str, catalogue: Catalogue) -> list[str]:
    """Return the catalogue's names that are close to a model it does not have, the closest first."""
    if owner is None or owner not in catalogue.providers or _is_known(owner, model, catalogue):
        return []
    names = {name.casefold(): name for name in catalogue.providers[owner].models}
    own = model.rpartition("/")[2].casefold()
    return [names[one] for one in difflib.get_close_matches(own, names, n=3, cutoff=0.85)]


def _is_known(owner: str, model: str, catalogue: Catalogue) -> bool:
    entry = lookup(owner, model, catalogue)
    return entry is not None and entry.model is not None
