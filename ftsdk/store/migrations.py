"""The journal's schema as numbered steps. Steps are only ever added; a written one never changes."""

from __future__ import annotations

__all__ = ["MIGRATIONS"]

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    # 1: jobs, and every status they have had
    (
        """
        CREATE TABLE jobs (
            id              TEXT PRIMARY KEY,
            key             TEXT UNIQUE,
            provider        TEXT NOT NULL,
            provider_job_id TEXT,
            status          TEXT NOT NULL,
            fingerprint     TEXT NOT NULL,
            tag             TEXT NOT NULL UNIQUE,
            created_at      TEXT NOT NULL,
            updated_at      TEXT NOT NULL,
            snapshot        TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE UNIQUE INDEX jobs_by_provider_id ON jobs (provider, provider_job_id)
            WHERE provider_job_id IS NOT NULL
        """,
        "CREATE INDEX jobs_by_status ON jobs (status)",
        """
        CREATE TABLE moves (
            seq        INTEGER PRIMARY KEY AUTOINCREMENT,
            job_id     TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            time       TEXT NOT NULL,
            old        TEXT,
            new        TEXT NOT NULL,
            raw_status TEXT NOT NULL,
            why        TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX moves_by_job ON moves (job_id, seq)",
    ),
)
