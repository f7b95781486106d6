"""Every command of `ftsdk`: the heading it is listed under, its one-line help, where it is defined.

The lines are repeated here so that `ftsdk --help` imports no command; a test compares them with
the commands' own docstrings.
"""

from __future__ import annotations

from dataclasses import dataclass

_PACKAGE = "ftsdk.cli.commands"


@dataclass(frozen=True)
class CommandEntry:
    """One command: the function, or Typer application, that defines it, and its line of help."""

    module: str
    attribute: str
    panel: str = ""
    """The heading in the list of commands; empty for a hidden command."""
    summary: str = ""


def _entries() -> dict[str, CommandEntry]:
    found = {
        name: CommandEntry(f"{_PACKAGE}.{module}", attribute, panel, summary)
        for panel, commands in _PANELS.items()
        for name, (module, attribute, summary) in commands.items()
    }
    for name, (module, attribute) in _FORMER_NAMES.items():
        found[name] = CommandEntry(f"{_PACKAGE}.{module}", attribute)
    return found


_PANELS = {
    "Set up": {
        "init": ("init", "init", "Write a first ftsdk.toml."),
        "doctor": ("doctor", "doctor", "Check Python, configuration, keys, extras, hardware and the journal."),
        "schema": ("schema", "schema", "Print a JSON Schema: of ftsdk.toml, or of what --json prints."),
        "path": ("path", "path", "Print the folder of the journal, models and runs (FTSDK_HOME)."),
        "backends": ("backends", "backends", "Show what each provider can do."),
        "models": ("models", "app", "List the base models that have a short name, or pull one."),
        "lab": ("lab", "app", "Run local servers that imitate providers, for rehearsals without a key."),
    },
    "Prepare": {
        "validate": ("validate", "validate", "Check a dataset and list every fault with its line."),
        "inspect": ("inspect_rows", "inspect", "Show rows as the model sees them: text, tokens, loss mask."),
        "convert": ("data", "convert", "Write a dataset in another format."),
        "split": ("data", "split", "Split a dataset into training and validation files."),
        "fix": ("data", "fix", "Write a corrected copy of a dataset."),
        "plan": ("plan", "plan", "Show what `create` would send and what it may cost."),
        "estimate": ("estimate", "estimate", "Estimate the cost of training, here or at other providers."),
    },
    "Jobs": {
        "create": ("create", "create", "Check the data, show the plan, ask, then start one job."),
        "list": ("list_jobs", "list_", "List jobs with their current status, newest first."),
        "show": ("show", "show", "Show one job: data, settings, loss, model, next steps."),
        "watch": ("watch", "watch", "Follow jobs until they end."),
        "wait": ("watch", "wait", "Wait until jobs end, without output."),
        "logs": ("feeds", "logs", "Print a job's log."),
        "metrics": ("feeds", "metrics", "Show a job's training curve."),
        "events": ("feeds", "events", "Print a job's events, oldest first."),
        "checkpoints": ("feeds", "checkpoints", "List a job's checkpoints."),
        "cancel": ("actions", "cancel", "Cancel a job."),
        "pause": ("actions", "pause", "Pause a job, where the provider can."),
        "resume": ("actions", "resume", "Resume a paused, interrupted, failed or cancelled job, where the provider can."),
    },
    "Jobs in doubt": {
        "reconcile": ("actions", "reconcile", "Look for jobs whose create call got no answer. Sends nothing."),
        "resolve": ("actions", "resolve", "Decide a job in doubt: adopt an id, send again, or give up."),
        "adopt": ("actions", "adopt", "Add a job that was created elsewhere to the journal."),
        "accounts": ("accounts", "accounts", "Show the accounts of your jobs, and declare a new key of one."),
        "journal": ("journal", "app", "Export, back up or check the journal, or forget old jobs."),
    },
    "Result": {
        "chat": ("chat", "chat", "Chat with a job's model."),
        "evaluate": ("evaluate", "evaluate", "Compare models on the same rows, with a verdict."),
        "download": ("actions", "download", "Download a job's model into a folder."),
        "export": ("export", "export", "Write a model as other programs take it, and compare its answers."),
        "push": ("push", "push", "Push a model to a private repository of the model hub, with its card."),
        "serve": ("serve", "serve", "Serve OpenAI's API over your jobs and their models, and a page to see them."),
        "delete": ("actions", "delete", "Delete a job's result at its provider. The journal keeps the job."),
        "deploy": ("deployments", "deploy", "Deploy a job's model for a limited time."),
        "undeploy": ("deployments", "undeploy", "End a deployment now."),
    },
    "Leave a provider": {
        "inventory": ("inventory", "inventory", "Fetch an account's jobs, models and files before its provider closes."),
        "capture": ("capture", "capture", "Keep a model's answers to your rows before it is gone."),
        "migrate": ("migrate", "migrate", "Replace a provider's fine-tunes, and show that the new ones are as good."),
        "forget": ("forget", "forget", "Remove what was captured or fetched: answers, bundles, evaluations, migrations."),
    },
    "Money": {
        "costs": ("costs", "costs", "Show estimated and actual costs by day, provider or tag."),
        "deployments": ("deployments", "deployments", "List deployments with their hourly price and the end of their lease."),
        "retirements": ("retirements", "retirements", "Show when each fine-tune retires, and the last day to retrain it."),
    },
}  # fmt: skip
_FORMER_NAMES = {"leases": ("deployments", "leases"), "radar": ("retirements", "radar")}
"""Hidden aliases with the JSON keys they always had: cron jobs and CI pipelines run them."""

COMMANDS = _entries()
"""Commands by name, in the order in which they are listed."""
