"""Check a job against a backend's capabilities, before anything is sent."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ftsdk.backends.capabilities import Capabilities
from ftsdk.errors import Unsupported, WrongAccount
from ftsdk.types.account import account_name, may_be_same
from ftsdk.types.plan import PlannedField
from ftsdk.types.spec import Hyperparameters, JobSpec


def adapter_kind(spec: JobSpec) -> str:
    """Return the kind of training as capabilities name it: `lora`, `nf4` or `full`."""
    if spec.adapter is None:
        return "full"
    return spec.adapter.quantize or "lora"


def generic_hint(name: str) -> str:
    """Return the hint for what the backend `name` does not support."""
    return (
        f"leave them out, or choose another provider; `ftsdk backends {name}` lists what it takes"
    )


def refuse(faults: Sequence[str], *, where: str, hint: str) -> None:
    """Raise one `Unsupported` (`submitted="no"`) that lists all faults; do nothing without any."""
    if faults:
        raise Unsupported(
            faults[0] if len(faults) == 1 else f"{len(faults)} things: " + "; ".join(faults),
            where=where,
            hint=hint,
            faults=tuple(faults),
            submitted="no",
        )


def refuse_other_account(found: str | None, wanted: Collection[str], *, provider: str) -> None:
    """Raise `WrongAccount` when `found` is known to be none of the accounts `wanted`."""
    if not wanted or any(may_be_same(found, one) for one in wanted):
        return
    theirs = " or ".join(sorted(account_name(one) for one in wanted))
    raise WrongAccount(
        f"The key in use is of another account of {provider}",
        where=f"account {theirs} is asked for, the key is of account {account_name(found)} and was "
        "not used",
        hint="use a key of that account (key_variable in a profile names its variable), or declare "
        f"this one a new key of it: ftsdk accounts --same {min(map(account_name, wanted))}",
    )


def refusals(name: str, able: Capabilities, spec: JobSpec) -> list[str]:
    """Return one line for each part of `spec` that the backend `name` does not support."""
    faults = []
    if spec.method not in able.methods:
        faults.append(f"method {spec.method!r} (it has {', '.join(sorted(able.methods))})")
    kind = adapter_kind(spec)
    if kind not in able.adapters:
        faults.append(f"training kind {kind!r} (it has {', '.join(sorted(able.adapters))})")
    variants = {} if spec.adapter is None else spec.adapter.variants()
    faults += [
        f"adapter {field}={value!r} is not taken by {name}"
        for field, value in variants.items()
        if field not in able.adapter_settings
    ]
    if spec.seed and not able.takes_seed:
        faults.append(f"seed={spec.seed} is not taken by {name}")
    for field, value in spec.hyperparameters.given().items():
        allowed = able.hyperparameters.get(field)
        if allowed is None:
            instead = f"; it has {able.instead[field]}" if field in able.instead else ""
            faults.append(f"hyperparameter {field}={value!r} is not taken by {name}{instead}")
            continue
        fault = allowed.fault(value)
        if fault is not None:
            faults.append(f"hyperparameter {field}={value!r} must be {fault}")
    return faults


def planned_fields(able: Capabilities, asked: Hyperparameters) -> Iterator[PlannedField]:
    """Yield, for each hyperparameter the backend accepts, the value asked for and the value sent."""
    given = asked.given()
    for name, allowed in able.hyperparameters.items():
        value = given.get(name, allowed.default)
        if value is None and name not in given:
            continue
        yield PlannedField(
            name=name,
            asked=given.get(name),
            sent=value,
            sent_as=allowed.sent_as or name,
            note="" if name in given else "default",
        )
