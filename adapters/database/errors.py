"""What can go wrong with the database, as callers see it.

    DatabaseError
    ├── PermanentDatabaseError      trying again as it is cannot help
    │   ├── DatabaseAccessDenied    the role lacks a right
    │   ├── SchemaMismatch          tables are not what this version's migrations make
    │   └── InvalidRequest          the statement or its values are refused
    └── RetryableDatabaseError      the transaction did not happen, or it is not known
        └── DatabaseUnavailable     no answer in time, however often it was tried

psycopg's exceptions never leave adapters/database/postgres.py.
"""

from __future__ import annotations


class DatabaseError(Exception):
    """The root of all errors of the database."""


class PermanentDatabaseError(DatabaseError):
    """Trying again as it is cannot help."""


class DatabaseAccessDenied(PermanentDatabaseError):
    """The role lacks a right. (Credentials that are refused count as unavailable: they may be in rotation.)"""


class SchemaMismatch(PermanentDatabaseError):
    """Tables are not what this version's migrations make."""


class InvalidRequest(PermanentDatabaseError):
    """The statement or its values are refused."""


class RetryableDatabaseError(DatabaseError):
    """The transaction did not happen, or it is not known whether it did."""


class DatabaseUnavailable(RetryableDatabaseError):
    """The database did not answer in time, however often it was tried."""
