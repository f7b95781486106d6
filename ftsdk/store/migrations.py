"""The journal's schema as numbered migrations. New ones are appended; released ones never change."""

from __future__ import annotations

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    # 1: jobs and their status changes
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
    # 2: reservations, leases of deployments, acknowledged notices
    (
        """
        CREATE TABLE reservations (
            job_id         TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
            month          TEXT NOT NULL,
            profile        TEXT,
            low            TEXT,
            high           TEXT,
            basis          TEXT NOT NULL,
            source         TEXT NOT NULL,
            usd_per_hour   TEXT,
            cap            TEXT,
            failed_is_free INTEGER NOT NULL,
            settled        TEXT,
            settled_why    TEXT,
            created_at     TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX reservations_by_month ON reservations (month)",
        """
        CREATE TABLE leases (
            id            TEXT PRIMARY KEY,
            job_id        TEXT REFERENCES jobs (id) ON DELETE SET NULL,
            profile       TEXT,
            provider      TEXT NOT NULL,
            model         TEXT NOT NULL,
            deployment_id TEXT,
            usd_per_hour  TEXT,
            state         TEXT NOT NULL CHECK (state IN ('opening', 'open', 'closed')),
            started_at    TEXT NOT NULL,
            ends_at       TEXT NOT NULL,
            closed_at     TEXT,
            why           TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX leases_by_state ON leases (state)",
        """
        CREATE TABLE acknowledgements (
            kind    TEXT NOT NULL,
            subject TEXT NOT NULL,
            time    TEXT NOT NULL,
            note    TEXT NOT NULL,
            PRIMARY KEY (kind, subject)
        ) STRICT
        """,
    ),
    # 3: the provider's own quote for a job
    (
        "ALTER TABLE reservations ADD COLUMN quoted TEXT",
        "ALTER TABLE reservations ADD COLUMN quoted_source TEXT",
    ),
    # 4: the account of a job, and accounts that were declared to be the same
    (
        "ALTER TABLE jobs ADD COLUMN account TEXT",
        """
        CREATE TABLE same_accounts (
            provider TEXT NOT NULL,
            account  TEXT NOT NULL,
            same_as  TEXT NOT NULL,
            time     TEXT NOT NULL,
            PRIMARY KEY (provider, account, same_as)
        ) STRICT
        """,
    ),
    # 5: what chats cost, and what is reserved for runs of many chats
    (
        """
        CREATE TABLE chats (
            id                TEXT NOT NULL,
            month             TEXT NOT NULL,
            profile           TEXT,
            provider          TEXT NOT NULL,
            model             TEXT NOT NULL,
            what              TEXT NOT NULL,
            held              TEXT NOT NULL,
            cap               TEXT,
            low               TEXT,
            high              TEXT,
            source            TEXT NOT NULL,
            spent             TEXT NOT NULL,
            calls             INTEGER NOT NULL,
            unknown           INTEGER NOT NULL,
            prompt_tokens     INTEGER NOT NULL,
            cached_tokens     INTEGER NOT NULL,
            completion_tokens INTEGER NOT NULL,
            is_open           INTEGER NOT NULL,
            created_at        TEXT NOT NULL,
            updated_at        TEXT NOT NULL,
            PRIMARY KEY (id, month)
        ) STRICT
        """,
        "CREATE INDEX chats_by_month ON chats (month)",
    ),
    # 6: what is booked already, by its name, such as a batch that is read again after a kill
    (
        """
        CREATE TABLE booked (
            run_id TEXT NOT NULL,
            what   TEXT NOT NULL,
            time   TEXT NOT NULL,
            PRIMARY KEY (run_id, what)
        ) STRICT, WITHOUT ROWID
        """,
    ),
    # 7: pages of jobs by time, and jobs by tag and by name. A job is in the last two when its `indexed`
    # is its `updated_at`: a process of an older version that has the journal open writes neither.
    (
        "CREATE INDEX jobs_by_time ON jobs (created_at, id, provider, status)",
        "ALTER TABLE jobs ADD COLUMN indexed TEXT",
        "CREATE INDEX jobs_to_index ON jobs (id) WHERE indexed IS NOT updated_at",
        """
        CREATE TABLE job_tags (
            name       TEXT NOT NULL,
            created_at TEXT NOT NULL,
            job_id     TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            value      TEXT NOT NULL,
            PRIMARY KEY (name, created_at, job_id)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX job_tags_by_job ON job_tags (job_id)",
        """
        CREATE TABLE job_names (
            name   TEXT NOT NULL,
            kind   TEXT NOT NULL,
            job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            PRIMARY KEY (name, kind, job_id)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX job_names_by_job ON job_names (job_id)",
    ),
)
