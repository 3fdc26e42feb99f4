"""What can go wrong with a Postgres server that is copied from, followed, or written to.

    PostgresError
    ├── InvalidAddress         a URL that cannot be read
    ├── Unavailable            no answer in time, or the connection was lost: it may be tried again
    ├── Refused                the role lacks a right, or its password is wrong
    ├── StatementFailed        the server refused a statement or its values
    ├── Malformed              the server said what the protocol does not know
    ├── SlotLost               the replication slot is gone, or the server dropped WAL that it still needed
    ├── Conflict               a change could not be applied: the two sides differ already
    ├── Drift                  the two schemas differ, or one changed under way
    └── Stopped                told to stop before it was through: it goes on where it was

psycopg's exceptions never leave adapters/postgres and adapters/database.
"""

from __future__ import annotations


class PostgresError(Exception):
    """The root of all errors of a server. No text holds a password."""


class InvalidAddress(PostgresError, ValueError):
    """A URL that cannot be read. The text does not repeat it, for it may hold a password."""


class Unavailable(PostgresError):
    """No answer in time, or the connection was lost. What was under way may have happened or not."""


class Refused(PostgresError):
    """The role lacks a right, or its password is wrong."""


class StatementFailed(PostgresError):
    """The server refused a statement or its values."""


class Malformed(PostgresError):
    """The server said what the protocol does not know."""


class SlotLost(PostgresError):
    """The replication slot is gone, or the server dropped WAL that it still needed: what followed it must be copied
    anew."""


class Conflict(PostgresError):
    """A change could not be applied: the two sides differ already."""


class Drift(PostgresError):
    """The two schemas differ, or one changed under way."""


class Stopped(PostgresError):
    """Told to stop before it was through. The next run goes on where it was."""
