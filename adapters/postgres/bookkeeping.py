"""What the move writes into both databases beside the data: one small schema, and names.

- `mark`: how far a stream from the other side is applied here. Its row is written first in each transaction that
  applies something. It is published: so the stream that leads back sees at the first row that a transaction is one
  of ours, and drops it. No right on replication origins is needed for that, which hosted servers do not give.
- `heartbeat`: a row a side, written by that side alone, carried to the other: it proves a direction before it is
  needed, and moves a slot of a quiet database on.
- `chunk`: which parts of which tables were copied here, each written in the transaction of its rows: so a copy that
  was killed goes on where it was.
- `stray`, where one was settled: what was decided of it (strays.py).
- `counted`: how far the sequences of the other side were when they were looked at last (counting.py).
- `unfollowed`: tables of the other side that are not followed (unfollowed.py).
- `compared`: what comparisons of rows that are not over have found the same so far (compared.py).
"""

from __future__ import annotations

from adapters.postgres.driver import Connection

SCHEMA = "crossover"
PUBLICATION = "crossover"
MARK, HEARTBEAT, CHUNK, COUNTED, STRAY = "mark", "heartbeat", "chunk", "counted", "stray"
UNFOLLOWED, COMPARED = "unfollowed", "compared"
BROKEN_OFF = (1 << 64) - 1
"""The mark of a stream that was ended for good (breaking_off.py): no commit ever lies beyond it."""
_STATEMENTS = (
    f"create schema if not exists {SCHEMA}",
    f"""create table if not exists {SCHEMA}.{MARK} (
          stream text primary key, applied pg_catalog.pg_lsn not null, at timestamptz not null)""",
    f"""create table if not exists {SCHEMA}.{HEARTBEAT} (
          side text primary key, beat bigint not null, at timestamptz not null)""",
    f"""create table if not exists {SCHEMA}.{CHUNK} (
          relation text not null, part integer not null, cut text not null, lower text, upper text,
          copied_rows bigint, copied_bytes bigint, seen pg_catalog.pg_lsn, done timestamptz,
          primary key (relation, part))""",
    f"""create table if not exists {SCHEMA}.{COUNTED} (
          name text primary key, last bigint not null, at timestamptz not null)""",
    f"create table if not exists {SCHEMA}.{UNFOLLOWED} (name text primary key, at timestamptz not null)",
    f"""create table if not exists {SCHEMA}.{COMPARED} (
          comparison text primary key, state text not null, at timestamptz not null)""",
)


def slot_name(source: str) -> str:
    """The slot at `source` (a backend's name) from which its changes are carried to the other side; the stream's
    name in `mark`, too."""
    return f"crossover_from_{source}"


def ensure(connection: Connection) -> None:
    """Make what is missing. Raises Refused where the role may not create a schema."""
    for statement in _STATEMENTS:
        connection.execute(statement)
