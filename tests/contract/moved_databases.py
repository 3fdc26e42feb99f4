"""What is moved in tests of copying: a schema with something of every kind, and how two databases are compared."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from adapters.postgres import chunks, schema
from adapters.postgres.bookkeeping import ensure
from adapters.postgres.carrying import READING, WRITING
from adapters.postgres.catalog import Table, quoted, tables
from adapters.postgres.copying import Copied, Copy, CopySettings
from adapters.postgres.driver import SESSION, Address, connect
from adapters.postgres.planning import plan
from adapters.postgres.progress import Progress
from adapters.postgres.schema import Schema
from adapters.postgres.side import opened
from tests.contract.two_postgres import HOSTED_ROLE, OWN_ROLE, Pair

TYPES = (
    "create schema kinds",
    "create type kinds.mood as enum ('fine', 'so ''so''', 'Ünwohl')",
    "create domain kinds.positive as numeric(12, 3) check (value > 0)",
    'create type kinds.point3 as (x int, y numeric, "the z" text)',
    "create type kinds.span as range (subtype = numeric)",
    """create table kinds.every (
         id bigint generated always as identity primary key, small smallint, mid int, flag boolean, f4 real,
         f8 double precision, n numeric, n2 numeric(20, 6), t text, v varchar(20), c char(7), one "char", nm name,
         raw bytea, day date, at timestamptz, local timestamp(3), tm time, tmz timetz, span interval, j json, jb jsonb,
         u uuid, ip inet, net cidr, mac macaddr, bits bit(5), vbits varbit, money money, x xml, pt point, poly polygon,
         words tsvector, query tsquery, ints int[], texts text[][], moods kinds.mood[], mood kinds.mood,
         positive kinds.positive, pair kinds.point3, pairs kinds.point3[], spans int4multirange, own kinds.span,
         era tstzrange, class regclass, doubled int generated always as (mid * 2) stored)""",
    r"""insert into kinds.every (small, mid, flag, f4, f8, n, n2, t, v, c, one, nm, raw, day, at, local, tm, tmz, span,
           j, jb, u, ip, net, mac, bits, vbits, money, x, pt, poly, words, query, ints, texts, moods, mood, positive,
           pair, pairs, spans, own, era, class)
         values (-32768, 2147483, true, 'NaN', '-0', 'NaN', 1.100000, E'tab\tnew\nback\\slash "é" \\N', '', 'ab', 'q',
           'nm', '\x00015c6e00ff0a', 'infinity', '-infinity', '2020-02-29 23:59:59.999', '24:00:00', '01:02:03+05:45',
           '1 year 2 mons -3 days 04:05:06.7', '{"b": 1,  "a": [1, null]}', '{"b": 1.10, "a": 1.1, "b": 2}',
           'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '::1/64', '10.1.0.0/16', '08:00:2b:01:02:03', B'10101', B'',
           '-1.25', '<a b="c">&lt;</a>', '(1.5,-0)', '((0,0),(1,1),(1,0))', 'a:1A fat:2B,4C', 'a & !b', '{1,NULL,3}',
           '{{a,"b,c"},{"",NULL}}', '{fine,"Ünwohl"}', 'so ''so''', 12.345, row(1, 2.50, '(,)"'),
           array[row(1, null, null)::kinds.point3, null], '{[1,3), [7,9)}', '[1.50,2.5]', '[2020-01-01, infinity)',
           'kinds.every'),
           (null, 7, false, 'infinity', 1e-300, 'infinity', -0.000001, '', null, '', '', '', '', '0044-03-15 BC',
           '4714-11-24 00:00:00+00 BC', '294276-12-31 23:59:59', '00:00', '00:00+00', '-178000000 years', 'null', '0',
           '00000000-0000-0000-0000-000000000000', '1.2.3.4', '::/0', 'ff:ff:ff:ff:ff:ff', B'00000', B'1', '0', '',
           '(NaN,infinity)', '((0,0))', '', 'x', '{}', '{}', '{}', 'fine', 0.001, row(null, null, null), '{}', '{}',
           'empty', '(,)', 'pg_class')""",
    """insert into kinds.every (mid, f4, f8, n, t, raw) select g, g / 3.0::real, sqrt(g), g / 7.0, repeat('ü', g),
           pg_catalog.sha256(g::text::bytea) from generate_series(1, 200) g""",
    # Without what travels as text only: regclass, xml, composite types, ranges of one's own.
    """create table kinds.plain as select id, small, mid, flag, f4, f8, n, n2, t, v, c, one, nm, raw, day, at, local,
         tm, tmz, span, j, jb, u, ip, net, mac, bits, vbits, money, pt, poly, words, query, ints, texts, moods, mood,
         positive, spans, era from kinds.every""",
    "alter table kinds.plain add primary key (id)",
)
SHAPES = (
    "create schema shapes",
    'create schema "Größe ""x"" select"',
    'create table "Größe ""x"" select"."order" ("from" int primary key, "ÄÖ"" -- x" text, "Name: a; Type: TABLE" text)',
    """insert into "Größe ""x"" select"."order" values (1, 'it''s', 'b'), (2, null, '$$')""",
    "create table shapes.nothing ()",
    "insert into shapes.nothing default values",
    "insert into shapes.nothing default values",
    "create table shapes.empty (id int primary key)",
    "create table shapes.computed (a int generated always as (1 + 1) stored)",
    "insert into shapes.computed default values",
    "create table shapes.parent (id int primary key, t text)",
    "create table shapes.child (extra int) inherits (shapes.parent)",
    "insert into shapes.parent values (1, 'p')",
    "insert into shapes.child values (1, 'c', 5)",
    "create table shapes.parted (id int, at date, primary key (id, at)) partition by range (at)",
    "create table shapes.early partition of shapes.parted for values from (minvalue) to ('2020-01-01')",
    "create table shapes.late partition of shapes.parted default partition by hash (id)",
    "create table shapes.late0 partition of shapes.late for values with (modulus 2, remainder 0)",
    "create table shapes.late1 partition of shapes.late for values with (modulus 2, remainder 1)",
    "create index parted_at on shapes.parted (at)",
    "insert into shapes.parted select g, date '2019-12-01' + g from generate_series(1, 60) g",
    "create table shapes.egg (id int primary key, hen int not null)",
    "create table shapes.hen (id int primary key, egg int not null references shapes.egg)",
    "alter table shapes.egg add foreign key (hen) references shapes.hen deferrable initially deferred",
    "begin; insert into shapes.egg values (1, 2); insert into shapes.hen values (2, 1); commit",
    "create table shapes.of_parted (id int primary key, a int, b date, foreign key (a, b) references shapes.parted)",
    "insert into shapes.of_parted select id, id, at from shapes.parted",
    "create table shapes.chosen (a int not null, b int)",
    "create unique index chosen_a on shapes.chosen (a)",
    "alter table shapes.chosen replica identity using index chosen_a",
    "insert into shapes.chosen values (1, 1), (2, 2)",
    "create table shapes.log (t text)",
    "alter table shapes.log replica identity full",
    "insert into shapes.log select 'twice' from generate_series(1, 2)",
)
CODE = (
    "create schema code",
    "create type code.kind as enum ('a', 'b')",
    "create table code.account (id serial primary key, kind code.kind, owner text default current_user, total int)",
    "create table code.audit (id bigint generated by default as identity primary key, what text, unique (what))",
    """create function code.note() returns trigger language plpgsql as $f$
begin
--
-- Name: fake; Type: TABLE; Schema: public; Owner: -
--
  insert into code.audit (what) values (';' || new.id) on conflict do nothing; return new;
end $f$""",
    """create function code.both(a int) returns int language sql
         begin atomic select a; select case when a > 1 then 1 else 2 end; end""",
    "create trigger noting after insert on code.account for each row execute function code.note()",
    "insert into code.account (kind, owner, total) values ('a', 'me', 1), ('b', 'you', 2)",
    # Rests on the primary key: pg_dump makes a dummy of it before the rows.
    """create view code.totals as select a.*, count(u.id) from code.account a left join code.audit u on true
         group by a.id""",
    "create materialized view code.sums as select sum(total) as s from code.account",
    "create materialized view code.more as select s + 1 as s from code.sums",
    "create unique index on code.sums (s)",
    """create materialized view code.grouped as select a.*, count(u.id) from code.account a
         left join code.audit u on true group by a.id""",
    "create unique index on code.grouped (id)",
    "create index account_total on code.account (total) where total > 0",
    "create index account_owner on code.account (lower(owner))",
    "alter table code.account add constraint sane check (total > 0) not valid",
    "create statistics code.related on id, total from code.account",
    "create rule nothing as on delete to code.totals do instead nothing",
    "create sequence code.down increment by -2 start with -10 owned by code.account.id",
    "alter table code.account enable row level security",
    "create policy mine on code.account for select to authenticated, hosted using (owner = current_user)",
    "create policy theirs on code.account to authenticated using (true)",
    "create policy all_see on code.audit using (true)",
    "grant select on code.account to authenticated, public",
    "grant insert (total) on code.account to authenticated with grant option",
    "grant usage on schema code to authenticated",
    "alter default privileges in schema code grant select on tables to authenticated",
    "alter default privileges in schema code grant select on tables to public",
    "comment on table code.account is 'it''s; an account'",
    "comment on index code.account_total is 'partial'",
    "create publication theirs for table code.account",
)
ALL = ("kinds", "shapes", 'Größe "x" select', "code")

FINE = CopySettings(workers=2, part_bytes=32 << 10, retry_seconds=0.2)
"""So that a small table has many parts."""

ROWS = 20_000
"""Of each of the two large tables of BIG."""
BIG = (
    "create schema big",
    "create table big.rows (account int, id bigint, note text, primary key (account, id))",
    # Skewed: most are of one account, the ids are far apart.
    """insert into big.rows select case when g % 10 < 8 then 1 else g % 97 end, g * g, 'note ' || g
          from generate_series(1, 20000) g""",
    "create table big.log (account int, note text)",
    "alter table big.log replica identity full",
    "insert into big.log select g, repeat('x', 50) from generate_series(1, 20000) g",
    "create table big.small (id int primary key)",
    "insert into big.small select generate_series(1, 10)",
    "analyze big.rows; analyze big.log",
)


def fill(pair: Pair, *statements: str) -> None:
    """Run them at the hosted side, as its owner."""
    with connect(pair.hosted, "test", session={"search_path": ""}) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def dumped(pair: Pair, schemas: Sequence[str]) -> Schema:
    """What moves of `schemas`."""
    with connect(pair.own, "test") as own:
        roles = schema.roles_of(own, OWN_ROLE, [HOSTED_ROLE])
    return schema.dump(pair.hosted, schemas, roles)


def moved_tables(pair: Pair, schemas: Sequence[str]) -> tuple[Table, ...]:
    """The tables of the hosted side."""
    with connect(pair.hosted, "test") as connection:
        return tables(connection, schemas)


def digest(address: Address, table: Table) -> tuple[int, str]:
    """How many rows, and a digest of the text forms of all."""
    row = f"row({', '.join(quoted(column.name) for column in table.columns)})::text" if table.columns else "''"
    query = (
        f"select count(*), coalesce(md5(string_agg(r, E'\\n' order by r collate \"C\")), '') "  # noqa: S608
        f"from (select {row} as r from only {table.qualified}) as s"
    )
    with connect(address, "test", session={**SESSION, "row_security": "off"}) as connection:
        found = connection.execute(query.encode()).fetchone()
    assert found is not None
    return found[0], found[1]


def digests(address: Address, wanted: Sequence[Table]) -> dict[str, tuple[int, str]]:
    """That of each table."""
    return {str(table): digest(address, table) for table in wanted}


def prepared(pair: Pair, statements: Sequence[str], schemas: Sequence[str]) -> tuple[Table, ...]:
    """The hosted side filled, and its tables, which are made at the other side."""
    fill(pair, *statements)
    schema.make(pair.own, dumped(pair, schemas).before, OWN_ROLE)
    return moved_tables(pair, schemas)


def big(pair: Pair, name: str | None = "rows") -> tuple[Table, ...]:
    return tuple(table for table in prepared(pair, BIG, ["big"]) if name in {None, table.name})


def done_parts(pair: Pair) -> dict[tuple[str, int], object]:
    """What is copied, with the transaction that wrote it."""
    with connect(pair.own, "test") as own:
        rows = own.execute("select relation, part, xmin::text from crossover.chunk where done is not null").fetchall()
    return {(row[0], row[1]): row[2] for row in rows}


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)  # looks again; the deadline judges


def scalar(address: Address, query: str) -> object:
    with connect(address, "test") as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


class Stopping:
    """Stops a copy once so many parts are done."""

    def __init__(self, parts: int) -> None:
        self.event = threading.Event()
        self.seen: list[Progress] = []
        self._parts = parts

    def __call__(self, progress: Progress) -> None:
        self.seen.append(progress)
        if progress.parts_done >= self._parts:
            self.event.set()


def plan_first(pair: Pair, moved: Sequence[Table], part_bytes: int = FINE.part_bytes) -> tuple[chunks.Planned, ...]:
    with opened(pair.own, "test", WRITING) as target, opened(pair.hosted, "test", READING) as source:
        ensure(target.connection)
        return plan(source, target, moved, part_bytes)


class Running:
    """A copy on a thread of its own; its error is raised where it is joined."""

    def __init__(self, copy: Copy) -> None:
        self._error: BaseException | None = None
        self._result: Copied | None = None
        self._thread = threading.Thread(target=self._run, args=(copy,))
        self._thread.start()

    def _run(self, copy: Copy) -> None:
        try:
            self._result = copy.run()
        except BaseException as error:
            self._error = error

    @property
    def over(self) -> bool:
        """Whether it ended, one way or the other."""
        return not self._thread.is_alive()

    def join(self) -> Copied:
        """Wait for its end."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result
