"""The last step: which model answers in place of the old one, and how to call it today."""

from __future__ import annotations

from ftsdk.types.migration import CandidatePlan


def alias_of(old: str, plan: CandidatePlan, job_id: str | None) -> dict[str, str | None]:
    """Return the alias as it is recorded: the old name, and what answers to it."""
    return {
        "alias": old,
        "candidate": plan.name,
        "provider": plan.provider,
        "model": plan.model,
        "job": job_id,
    }


def snippet(old: str, plan: CandidatePlan, job_id: str | None) -> str:
    """Return three lines of Python that call the replacement."""
    if job_id is None:
        return (
            "from openai import OpenAI\n"
            f"client = OpenAI()  # {plan.model} in place of {old}\n"
            f'answer = client.chat.completions.create(model="{plan.model}", messages=messages)'
        )
    if plan.lease is None:
        return (
            "import ftsdk\n"
            f'model = ftsdk.get_job("{job_id}").result()  # in place of {old}\n'
            "answer = model.chat(messages).text"
        )
    return (
        "import ftsdk\n"
        f'model = ftsdk.get_job("{job_id}").deploy(hours=24).wait()  # in place of {old}\n'
        "answer = model.chat(messages).text"
    )
