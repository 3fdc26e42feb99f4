"""Makes rows of one side as they are at the other, or does at the serving side what a stray did.

Rows that are put right count as copied anew: they are read in a snapshot and written in one transaction, with a part in
crossover.chunk that says up to where the snapshot may hold what the stream brings, too (copying.py has the argument).
The first row of that transaction is the stream's mark, so that the stream which leads back takes it for ours, and no
carrier applies anything meanwhile.
"""

# ruff: noqa: S608 - what is put into statements are constants

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

from adapters.postgres import applying, bookkeeping
from adapters.postgres.applying import Shape, Statement
from adapters.postgres.driver import Address, TupleRow
from adapters.postgres.errors import Conflict, Drift
from adapters.postgres.masks import Masks
from adapters.postgres.pgoutput import UNCHANGED, Delete, Insert, Relation, Row, Update
from adapters.postgres.strays import Stray, Touched, touched
from adapters.postgres.target import Writer

APPLICATION = "crossover-strays"
_MARK = f"{bookkeeping.SCHEMA}.{bookkeeping.MARK}"
_MARKED = f"""
insert into {_MARK} values ($1, '0/0', pg_catalog.now()) on conflict (stream) do update set at = excluded.at
"""
_SEEN = f"""
insert into {bookkeeping.SCHEMA}.{bookkeeping.CHUNK} (relation, part, cut, seen, done)
values ($1, 0, '', $2::pg_catalog.pg_lsn, pg_catalog.now())
on conflict (relation, part) do update set seen = greatest(chunk.seen, excluded.seen), done = excluded.done
"""
MENDED = "crossover.stray"
"""The part under which rows that were put right stand in crossover.chunk."""
_POSITION = Statement("select pg_catalog.pg_current_wal_insert_lsn()::text", (), None, "")
_SNAPSHOT = Statement("set transaction isolation level repeatable read, read only", (), None, "")
_ACTING = """
select n.nspname || '.' || c.relname || ': ' || t.tgname
  from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where not t.tgisinternal and t.tgenabled <> 'D' and n.nspname = $1 and c.relname = $2
union all
select n.nspname || '.' || c.relname || ': ' || r.rulename
  from pg_catalog.pg_rewrite r join pg_catalog.pg_class c on c.oid = r.ev_class
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r' and r.ev_enabled <> 'D' and n.nspname = $1 and c.relname = $2
"""


class Shapes:
    """How rows of tables are written at one side. Remembers them."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._known: dict[tuple[str, str], Shape] = {}

    def __call__(self, relation: Relation) -> Shape:
        """Of the table that a stream calls `relation`. Raises Drift where it is not there, or is another."""
        place = (relation.schema, relation.name)
        if place not in self._known:
            found = self._writer.tables(relation.schema).get(relation.name)
            if found is None:
                raise Drift(f"{relation}: there is no such table at the other side")
            self._known[place] = applying.shape_of(relation, *found, hidden=self._writer.masks.hidden(found[0]))
        return self._known[place]


@contextmanager
def writing(address: Address, *, carries: bool, masks: Masks | None = None) -> Iterator[Writer]:
    """A session for as long as a block lasts; what it did not commit is undone. No error tells what `masks` hide."""
    with closing(Writer(address, application=APPLICATION, carries=carries, masks=masks)) as writer:
        yield writer


def mend(serving: Address, mended: Address, stream: str, strays: Sequence[Stray], masks: Masks) -> int:
    """Make the rows that `strays` changed at `mended` as they are at `serving`; how many these are. `stream`: that
    from `serving`. May be done again."""
    with writing(mended, carries=True, masks=masks) as writer:
        rows = touched(strays, Shapes(writer))
        _begin(writer, stream)
        _mend(serving, writer, rows)
        writer.end()
    return len(rows)


def apply(
    serving: Address,
    mended: Address,
    stream: str,
    strays: Sequence[Stray],
    notes: Sequence[Statement],
    caught_up: Callable[[], None],
    masks: Masks,
) -> int:
    """Do at `serving` what `strays` did at `mended`, in one transaction with `notes`, as a client would; how many rows
    these are. `caught_up` returns once all that was committed at `serving` is at `mended`. Raises Conflict where the
    serving side wrote one of the rows since: nothing was changed then."""
    with (
        writing(serving, carries=False, masks=masks) as here,
        writing(mended, carries=True, masks=masks) as there,
    ):
        shapes = Shapes(here)
        _refuse_acting(here, strays)
        rows = touched(strays, shapes)
        for each in rows:
            here.rows(applying.look(each.shape, each.key, lock=True))
        caught_up()
        left = touched(strays, Shapes(there))
        _begin(there, stream)
        for each in left:
            _refuse_other(each, _look(there, each))
        here.execute([statement for stray in strays for statement in _done_again(stray, shapes)] + list(notes))
        here.end()
        _mend(serving, there, left)
        there.end()
    return len(rows)


def shared(at: Address, some: Sequence[Stray], others: Sequence[Stray]) -> tuple[Stray, ...]:
    """Those of `others` that changed a row at `at` which `some` changed, too."""
    with writing(at, carries=False) as writer:
        shapes = Shapes(writer)
        taken = {each.place for each in touched(some, shapes)}
        return tuple(one for one in others if not taken.isdisjoint(each.place for each in touched([one], shapes)))


def rows_of(at: Address, stray: Stray, most: int) -> tuple[tuple[Touched, Row | None], ...]:
    """The first `most` rows that `stray` changed, each as it is at `at` now."""
    with writing(at, carries=False) as writer:
        rows = touched([stray], Shapes(writer))
        return tuple((each, _look(writer, each)) for each in rows[:most])


def note(at: Address, notes: Sequence[Statement]) -> None:
    """Write `notes`."""
    with writing(at, carries=False) as writer:
        writer.execute(notes)
        writer.end()


def _begin(writer: Writer, stream: str) -> None:
    first = [Statement(_MARKED, (stream,), 1, _MARK)]
    if not writer.replica_role:
        first.append(Statement("set constraints all deferred", (), None, _MARK))
    writer.execute(first)


def _mend(serving: Address, writer: Writer, rows: Sequence[Touched]) -> None:
    """In the writer's transaction."""
    with writing(serving, carries=False) as reader:
        reader.execute([_SNAPSHOT])
        ((seen,),) = reader.rows(_POSITION)
        found = [(each, _look(reader, each)) for each in rows]
    gone = [applying.removal(each.shape, each.key) for each in rows]
    there = [one for each, row in found if row is not None for one in applying.insert(each.shape, [row], False)]
    writer.execute([*gone, *there, Statement(_SEEN, (MENDED, seen), 1, MENDED)])


def _look(writer: Writer, each: Touched) -> Row | None:
    found: list[TupleRow] = writer.rows(applying.look(each.shape, each.key))
    return tuple(found[0]) if found else None


def _refuse_other(each: Touched, row: Row | None) -> None:
    left = each.left
    same = left is None if row is None else left is not None and all(
        value is UNCHANGED or value == now for value, now in zip(left, row, strict=True)
    )  # fmt: skip
    if not same:
        raise Conflict(
            f"{each.shape.table}: {each.shape.told(each.key)} was written at the side that serves since: to apply the "
            "stray would undo that. Discard it, and do what it meant as a client does"
        )


def _refuse_acting(writer: Writer, strays: Sequence[Stray]) -> None:
    """What a trigger did at the other side is among the changes already."""
    relations = {(seen.relation.schema, seen.relation.name) for stray in strays for seen in stray.changes}
    acting = [row[0] for place in sorted(relations) for row in writer.rows(Statement(_ACTING, place, None, ""))]
    if acting:
        raise Conflict(
            f"triggers or rules would act a second time: {', '.join(acting)}. Discard the stray, and do what it meant "
            "as a client does"
        )


def _done_again(stray: Stray, shapes: Shapes) -> Iterator[Statement]:
    for seen in stray.changes:
        change, shape = seen.change, shapes(seen.relation)
        if isinstance(change, Insert):
            yield from applying.insert(shape, [change.row], False)
        elif isinstance(change, Update):
            yield from applying.update(shape, change, False)
        elif isinstance(change, Delete):
            yield applying.removal(shape, change.old)  # it may be gone with the row that it refers to
