"""Tables that were made at the side that serves after the sides were joined, and are not followed yet: their rows are
at no other side. Looked for while it serves, and noted at the other one, for an emergency in which it is asked nothing
any more. The next run of the cutover adds them (adding.py)."""

# ruff: noqa: S608 - what is put into statements are constants, and names that catalog.quoted quotes

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.postgres import bookkeeping, slots
from adapters.postgres.bookkeeping import SCHEMA, UNFOLLOWED
from adapters.postgres.catalog import Table, tables
from adapters.postgres.content_facts import owned_schemas
from adapters.postgres.driver import translated
from adapters.postgres.side import Side

_TABLE = f"{SCHEMA}.{UNFOLLOWED}"
_FORGET = f"delete from {_TABLE} where name <> all(%s)"
_NOTE = f"""
insert into {_TABLE} select n, pg_catalog.clock_timestamp() from unnest(%s::text[]) as given (n)
on conflict do nothing
"""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Scope:
    """Which tables move: those of `schemas`, or, where none are named, of the schemas in which `role` owns tables
    (None: the one that asks)."""

    schemas: tuple[str, ...] = ()
    role: str | None = None

    def tables(self, side: Side) -> tuple[Table, ...]:
        """As `side` has them."""
        with translated(side.address):
            return tables(side.connection, self.schemas or owned_schemas(side.connection, self.role))


def among(wanted: Sequence[Table], *sides: Side) -> tuple[Table, ...]:
    """Those that not all of `sides` publish: when one is added, the side that does not serve publishes it last."""
    followed = frozenset.intersection(*(_published(side) for side in sides))
    return tuple(table for table in wanted if (table.schema, table.name) not in followed)


def _published(side: Side) -> frozenset[tuple[str, str]]:
    with translated(side.address):
        return slots.published(side.connection)


def note(other: Side, names: Sequence[str]) -> None:
    """Note that it is these; what else was noted is followed, or gone."""
    other.run(_FORGET, (list(names),))
    other.run(_NOTE, (list(names),))


def noted(side: Side) -> tuple[str, ...]:
    """What was noted last of the other side."""
    with translated(side.address):
        bookkeeping.ensure(side.connection)  # what an older version joined may lack the table
    return tuple(name for (name,) in side.rows(f"select name from {_TABLE} order by 1"))


def only_there(back: Side, serving: Side, scope: Scope) -> tuple[Table, ...]:
    """Tables that `back` does not publish and that have rows there, while the one that serves has none in them: to
    fill `back` anew would take those rows away for good."""
    found = among(scope.tables(back), back)
    return tuple(table for table in found if _filled(back, table) and not _filled(serving, table))


def _filled(side: Side, table: Table) -> bool:
    there = side.row("select pg_catalog.to_regclass(%s) is not null", (table.qualified,))[0]
    return bool(there and side.row(f"select exists (select from only {table.qualified})")[0])


def told(names: Sequence[str]) -> str:
    """For people: the first, and how many more."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
