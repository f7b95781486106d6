"""Which modules are changed, and the tests that are to see it, the likeliest and quickest first.

Every mutant runs the list of its module from the start to the first failure. Only a mutant that
survives pays for the whole list, so a list holds what is written about the module and no more.
"""

from __future__ import annotations

from pathlib import Path

# Imported once, before the tests run in forks.
PRELOADED = (
    *(
        "pydantic",
        "typer",
        "rich.table",
        "rich.progress",
        "orjson",
        "tenacity",
        "anyio",
        "hypothesis",
    ),
    *("httpx", "openai", "together", "replicate", "jsonschema", "bpe_openai", "apsw"),
    *("tokenizers", "jinja2", "pyarrow.parquet", "transformers"),
    *("scipy.stats", "scipy.optimize", "regex", "statsmodels.stats.multitest"),
)

GROUPS: dict[str, tuple[str, ...]] = {
    "money": (
        "ftsdk/spending/",
        "ftsdk/store/accounting.py",
        "ftsdk/store/duplicates.py",
        "ftsdk/store/limits.py",
        "ftsdk/store/open_costs.py",
        "ftsdk/store/reservation_rows.py",
        "ftsdk/store/reservations.py",
        "ftsdk/planning/estimate.py",
        "ftsdk/planning/token_bill.py",
        "ftsdk/catalogue/comparison.py",
        "ftsdk/catalogue/hosting_cost.py",
        "ftsdk/catalogue/load.py",
        "ftsdk/catalogue/schema.py",
        "ftsdk/catalogue/training_cost.py",
    ),
    "rendering": (
        "ftsdk/dataset/tokenize/",
        "ftsdk/dataset/formats/",
        "ftsdk/dataset/rules/token_counts.py",
        "ftsdk/dataset/rules/tokenized.py",
        "ftsdk/dataset/findings/secret_patterns.py",
        "ftsdk/dataset/findings/token_summary.py",
    ),
    "backends": (
        "ftsdk/backends/hosted/",
        "ftsdk/backends/openai/",
        "ftsdk/backends/together/",
        "ftsdk/backends/replicate/",
        "ftsdk/backends/local/limits.py",
        "ftsdk/backends/local/result.py",
        "ftsdk/backends/local/status.py",
        "ftsdk/backends/local/runs/state.py",
        "ftsdk/webhooks.py",
    ),
    "evaluation": (
        "ftsdk/evaluation/statistics/",
        "ftsdk/evaluation/metrics/",
        "ftsdk/evaluation/flips.py",
        "ftsdk/evaluation/gate.py",
        "ftsdk/evaluation/pairs.py",
        "ftsdk/evaluation/slices.py",
        "ftsdk/evaluation/table.py",
    ),
    "submission": (
        "ftsdk/jobs/actions.py",
        "ftsdk/jobs/adopt.py",
        "ftsdk/jobs/pending_cancel.py",
        "ftsdk/jobs/reconcile.py",
        "ftsdk/jobs/remote_update.py",
        "ftsdk/jobs/search.py",
        "ftsdk/jobs/spending_guard.py",
        "ftsdk/jobs/sub",
        "ftsdk/store/journal.py",
    ),
}

# The first prefix that fits a module gives its tests.
_TESTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ftsdk/evaluation/statistics/", (
        "tests/unit/evaluation/statistics/test_paired.py",
        "tests/unit/evaluation/statistics/test_compare.py", "tests/unit/evaluation/statistics")),
    ("ftsdk/evaluation/metrics/", (
        "tests/unit/evaluation/metrics", "tests/unit/evaluation/statistics/test_compare.py")),
    *((f"ftsdk/evaluation/{name}.py", (
        "tests/unit/evaluation/test_gate.py", "tests/unit/evaluation/test_pairs.py",
        "tests/unit/evaluation/test_slices.py"))
      for name in ("flips", "gate", "pairs", "slices", "table")),
    ("ftsdk/spending/ledger.py", (
        "tests/unit/spending", "tests/unit/jobs/test_adopted_costs.py", "tests/unit/jobs/test_quotes.py",
        "tests/unit/cli/commands/test_costs.py")),
    ("ftsdk/spending/", (
        "tests/unit/spending", "tests/unit/jobs/test_quotes.py", "tests/unit/planning/test_plan_budget.py",
        "tests/unit/deployments")),
    ("ftsdk/store/journal.py", (
        "tests/unit/store", "tests/unit/jobs/test_job.py", "tests/unit/jobs/test_submitter.py",
        "tests/unit/test_homes_from_before.py", "tests/unit/cli/commands/test_list_show.py")),
    ("ftsdk/store/duplicates.py", (
        "tests/unit/store/test_duplicates.py", "tests/unit/jobs/test_same_job.py")),
    ("ftsdk/store/", (
        "tests/unit/store/test_accounting.py", "tests/unit/spending", "tests/unit/store",
        "tests/unit/jobs/test_quotes.py")),
    ("ftsdk/planning/", (
        "tests/unit/planning/test_token_bill.py", "tests/unit/planning", "tests/unit/spending/test_budget.py",
        "tests/backends/test_together_tokens.py")),
    ("ftsdk/catalogue/", ("tests/unit/catalogue", "tests/unit/planning", "tests/unit/spending")),
    ("ftsdk/dataset/tokenize/", (
        "tests/unit/dataset/tokenize/test_counters.py", "tests/unit/dataset/tokenize/test_render.py",
        "tests/unit/dataset/rules/test_template_notices.py", "tests/unit/dataset/tokenize/test_mask_parity.py",
        "tests/unit/dataset/rules", "tests/unit/planning/test_token_bill.py",
        "tests/unit/dataset/inspection")),
    ("ftsdk/dataset/formats/", (
        "tests/unit/dataset/formats/test_registry.py", "tests/unit/dataset/formats/test_formats.py",
        "tests/unit/dataset/conversion",
        "tests/unit/dataset/rules/test_rules.py", "tests/unit/dataset/formats",
        "tests/unit/dataset/validation/test_validate.py")),
    ("ftsdk/dataset/findings/secret", (
        "tests/unit/dataset/findings", "tests/unit/dataset/rules")),
    ("ftsdk/dataset/", (
        "tests/unit/dataset/findings/test_token_summary.py",
        "tests/unit/dataset/tokenize/test_counters.py", "tests/unit/dataset/rules/test_rules.py",
        "tests/unit/dataset/rules", "tests/unit/dataset/inspection",
        "tests/unit/dataset/validation/test_validate.py")),
    *((f"ftsdk/backends/{name}", ("tests/backends/test_doctor_live.py",))
      for name in ("hosted/live/", "openai/live.py", "together/live.py", "replicate/live.py")),
    ("ftsdk/backends/openai/", (
        "tests/backends/test_openai_mapping.py", "tests/backends/test_openai_behaviour.py",
        "tests/backends/test_openai_many.py", "tests/backends/test_openai.py")),
    ("ftsdk/backends/together/", (
        "tests/backends/test_together_bounds.py", "tests/backends/test_together_mapping.py",
        "tests/backends/test_together_options.py",
        "tests/backends/test_together.py",
        "tests/backends/test_together_tokens.py", "tests/backends/test_together_kit.py")),
    ("ftsdk/backends/replicate/", (
        "tests/backends/test_replicate_bounds.py", "tests/backends/test_replicate_mapping.py",
        "tests/backends/test_replicate.py",
        "tests/backends/test_replicate_kit.py")),
    *((f"ftsdk/backends/hosted/{name}.py", (
        "tests/unit/backends/hosted/test_replies.py",
        "tests/backends/test_openai_mapping.py", "tests/backends/test_together_bounds.py",
        "tests/backends/test_hosted_common.py", "tests/backends/test_together.py",
        "tests/backends/test_openai_behaviour.py", "tests/backends/test_polling_many_jobs.py"))
      for name in ("backend", "results", "response_checks", "uploads")),
    *((f"ftsdk/backends/hosted/{name}.py", (
        "tests/unit/backends/hosted/test_replies.py", "tests/unit/backends/hosted/test_errors.py",
        "tests/backends/test_hosted_common.py"))
      for name in ("errors", "error_facts", "exception_table")),
    *((f"ftsdk/backends/hosted/{name}.py", (
        "tests/unit/backends/hosted/test_rate_limits.py", "tests/unit/backends/hosted/test_pacer.py",
        "tests/unit/backends/hosted/test_chat_many.py", "tests/backends/test_chat_answer.py",
        "tests/faults/test_chat_many.py"))
      for name in ("chat_answer", "chat_many", "chat_retry", "pacer", "rate_limits")),
    ("ftsdk/backends/hosted/", (
        "tests/unit/backends/hosted/test_polling.py", "tests/unit/backends/hosted/test_retries.py",
        "tests/unit/backends/hosted/test_errors.py", "tests/unit/backends/hosted/test_redact.py",
        "tests/unit/backends/hosted/test_account.py", "tests/unit/backends/hosted/test_replies.py",
        "tests/backends/test_hosted_common.py",
        "tests/backends/test_address_and_key.py", "tests/backends/test_openai_behaviour.py",
        "tests/backends/test_together.py")),
    ("ftsdk/backends/local/", (
        "tests/unit/backends/local/test_status.py", "tests/unit/backends/local/runs")),
    ("ftsdk/webhooks.py", ("tests/unit/test_webhooks.py",)),
    ("ftsdk/jobs/spending_guard.py", (
        "tests/unit/jobs/test_spending_guard.py", "tests/unit/deployments")),
    ("ftsdk/jobs/", (
        "tests/unit/jobs/test_submitter.py", "tests/unit/jobs/test_same_job.py",
        "tests/unit/jobs/test_pace.py", "tests/unit/jobs", "tests/unit/spending/test_budget.py", "tests/unit/test_async_cancellation.py",
        "tests/unit/deployments", "tests/unit/cli/commands/test_actions.py",
        "tests/faults/test_submission_simulation.py")),
)  # fmt: skip


def modules(root: Path) -> list[str]:
    """Return the modules of all groups, as paths below the checkout."""
    prefixes = tuple(prefix for group in GROUPS.values() for prefix in group)
    every = (path.relative_to(root).as_posix() for path in (root / "ftsdk").rglob("*.py"))
    return sorted(path for path in every if path.startswith(prefixes))


def suite_of(module: str) -> tuple[str, ...]:
    """Return the test files and folders for a module."""
    return next(tests for prefix, tests in _TESTS if module.startswith(prefix))
