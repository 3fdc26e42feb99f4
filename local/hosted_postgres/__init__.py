"""A plain Postgres made to look like a Supabase project: seed.sql, and what it is told."""

from __future__ import annotations

from pathlib import Path

SEED = Path(__file__).parent / "seed.sql"
MIGRATION_ROLE = "hosted"
SETTINGS = {
    "wal_level": "logical",
    "max_wal_senders": "10",
    "max_replication_slots": "5",
    "max_slot_wal_keep_size": "512MB",
    "shared_preload_libraries": "pg_stat_statements",
}
"""Of the server, as Supabase's small instances have them."""


def seed(
    *, database: str = "trading", migration_role: str = MIGRATION_ROLE, application_role: str = "trading_app",
    subscriptions: bool = True, sample: bool = True,
) -> str:  # fmt: skip
    """seed.sql with its variables set: one script for psql. Names hold letters, digits and underscores only."""
    given = {
        "database": database,
        "migration_role": migration_role,
        "application_role": application_role,
        "subscriptions": "on" if subscriptions else "off",
        "sample": "on" if sample else "off",
    }
    return "".join(f"\\set {name} {value}\n" for name, value in given.items()) + SEED.read_text()
