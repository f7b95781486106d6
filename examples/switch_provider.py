"""One function, several providers: compare the plans of all profiles, then run one.

    cd examples
    FTSDK_PROFILE=test python switch_provider.py

The application (`support_job`) does not know which provider it uses. Add a profile to ftsdk.toml,
for instance `[profiles.prod]` with `provider = "together"`, and it appears in the comparison.
Planning sends nothing; only the last lines start a job.
"""

from __future__ import annotations

from typing import Any

import ftsdk

SETTINGS: dict[str, Any] = {
    "dataset": "data/support.jsonl",
    "hyperparameters": {"epochs": 3, "learning_rate": 1e-3, "batch_size": 8},
    "name": "support-bot",
}


def support_job(client: ftsdk.Client) -> ftsdk.FineTuneJob:
    """The application names what to train; the client knows where."""
    return client.create_job(**SETTINGS)


def compare(profiles: list[str]) -> None:
    """Print, for every profile, what would be sent and what it would cost.

    For a profile that cannot be used yet (no key, no base model) print what is missing.
    """
    for profile in profiles:
        try:
            plan = ftsdk.Client(profile=profile).plan(**SETTINGS)
        except ftsdk.FtsdkError as error:
            print(f"{profile}: {error}")
            continue
        print(f"{profile}: {plan.provider} · {plan.model} · {plan.rows} rows · {plan.cost}")
        for field in plan.fields:
            if field.asked is not None:
                name = field.sent_as or field.name
                print(f"  {field.name} {field.asked} → {name} {field.sent}  {field.note}".rstrip())


def main() -> None:
    """Compare all profiles, then run the job with the active one."""
    client = ftsdk.Client()
    compare(sorted(client.config.profiles))
    job = support_job(client)
    print(f"\nprofile {client.config.profile}: {job.id} on {job.provider}")
    job.wait()
    model = job.result()
    if not model.callable_now:  # some providers answer only while a model is deployed
        model = model.deploy(hours=1).wait()
    print(model.chat("I was charged twice for one order").text)


if __name__ == "__main__":
    main()
