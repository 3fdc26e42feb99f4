"""How far the sequences of the side that serves have come, noted at the other side: for an emergency, in which the one
is asked nothing any more. Only noted: a sequence itself is moved by a run of the cutover alone, never by one that may
come late."""

# ruff: noqa: S608 - what is put into statements are constants

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from adapters.postgres import bookkeeping, sequences
from adapters.postgres.bookkeeping import COUNTED, SCHEMA
from adapters.postgres.catalog import SequenceState
from adapters.postgres.driver import translated
from adapters.postgres.sequences import Setting
from adapters.postgres.side import Side

_TABLE = f"{SCHEMA}.{COUNTED}"
_NOTE = f"""
insert into {_TABLE} as c
select n, l, %s from unnest(%s::text[], %s::bigint[]) as given (n, l)
on conflict (name) do update set last = excluded.last, at = excluded.at where c.at < excluded.at
"""
_NOTED = f"""
select name, last, extract(epoch from pg_catalog.clock_timestamp() - at)::float8 from {_TABLE}
"""
VALUES_A_SECOND = 10_000
"""What a sequence is taken to give out at most, since it was looked at last."""
SLACK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Advanced:
    """What was set: `oldest` is how long ago the sequence that was looked at least lately was. `short`: those that
    would have ended, and skip less than they should."""

    settings: tuple[Setting, ...]
    oldest: float
    short: tuple[str, ...]


def note(source: Side, target: Side, schemas: Sequence[str]) -> int:
    """Note at `target` how far the sequences of `source` are; how many."""
    at: datetime = target.row("select pg_catalog.clock_timestamp()")[0]  # first: never younger than what is noted
    found = sequences.read(source, schemas)
    target.run(_NOTE, (at, [state.qualified for state in found], [state.last for state in found]))
    return len(found)


def advance(side: Side, schemas: Sequence[str], unknown: float) -> Advanced:
    """Move the sequences of `side` beyond all that the other one gave out, as far as is noted; `unknown`: seconds for
    which one that is not noted was out of sight."""
    with translated(side.address):
        bookkeeping.ensure(side.connection)  # what an older version joined may lack the table
    noted = {name: (last, max(0.0, age)) for name, last, age in side.rows(_NOTED)}
    settings, oldest, short = [], 0.0, []
    for state in sequences.read(side, schemas):
        last, age = noted.get(state.qualified, (state.last, unknown))
        setting, enough = beyond(state, last, age)
        settings.append(setting)
        oldest = max(oldest, age)
        if not enough:
            short.append(state.qualified)
    sequences.put(side, settings)
    return Advanced(tuple(settings), oldest, tuple(short))


def beyond(here: SequenceState, last: int, age: float) -> tuple[Setting, bool]:
    """Where a sequence has to stand of which `last` was seen given out at the other side, `age` s ago; whether that is
    as far as it should be."""
    farthest = max(last, here.last) if here.increment > 0 else min(last, here.last)
    headroom = int(VALUES_A_SECOND * (age + SLACK_SECONDS))
    # Also one that had given out nothing: it may have begun since.
    setting = sequences.ahead(replace(here, last=farthest, called=True), headroom)
    return setting, here.cycles or (setting.value - farthest) // here.increment >= headroom
