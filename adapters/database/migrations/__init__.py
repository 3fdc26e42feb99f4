"""The schema's migrations: plain SQL files, applied in the order of their names.

A file that has been applied anywhere is never edited: what changes is a new file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its name, its text, and the hash that shows later edits."""

    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """The SHA-256 of the text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load_migrations() -> tuple[Migration, ...]:
    """All migrations, in order."""
    files = [entry for entry in resources.files(__package__).iterdir() if entry.name.endswith(".sql")]
    return tuple(Migration(entry.name, entry.read_text("utf-8")) for entry in sorted(files, key=lambda e: e.name))


def pending(applied: dict[str, str], migrations: tuple[Migration, ...]) -> tuple[Migration, ...]:
    """The migrations still to run, given name -> hash of those that `applied`.

    Raises ValueError where an applied one was edited, or one is missing before an applied one.
    """
    for migration in migrations:
        if applied.get(migration.name, migration.sha256) != migration.sha256:
            raise ValueError(
                f"migration {migration.name} was edited after it was applied: the schema may differ from what this "
                "version expects. Restore the file, and put the change into a new one"
            )
    todo = tuple(migration for migration in migrations if migration.name not in applied)
    late = [migration.name for migration in todo if applied and migration.name < max(applied)]
    if late:
        raise ValueError(
            f"migrations {', '.join(late)} come before {max(applied)}, which is applied already: "
            "their effects would not be in order. Give them names after it"
        )
    return todo
