"""Items on what the moving schemas hold beside rows: each is carried in its own way, or refused."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.postgres.bookkeeping import SCHEMA, slot_name
from adapters.postgres.catalog import Identity, Table
from adapters.postgres.facts import Extension, Kind, SideFacts
from adapters.postgres.masks import Masks
from cutover.database.preflight.item import Decide, Finding, Item, On
from cutover.database.preflight.situation import SELFHOSTED, Journey, NotKnown, Situation, known, slot_of

_JOIN, _SWITCH = frozenset({Journey.JOIN}), frozenset({Journey.SWITCH})
_ALWAYS = ("A", "R")


def _identity(at: Situation, side: str, facts: SideFacts) -> Finding:
    tables = known(facts.contents).tables
    if not tables:
        raise NotKnown("no table moves, so none could be examined")
    wrong, fixes = [], []
    for table in tables:
        text, fix = _unidentified(table)
        wrong += [text] if text else []
        fixes += [fix] if fix else []
    return Finding(wrong=wrong, fine=f"{len(tables)} tables have one", fix="; ".join(fixes[:3]))


def _unidentified(table: Table) -> tuple[str, str]:
    if table.key or (table.identity is Identity.FULL and table.primary_key):
        return "", ""
    if table.primary_key:
        return f"{table} has REPLICA IDENTITY NOTHING", f"ALTER TABLE {table.qualified} REPLICA IDENTITY DEFAULT"
    why = "REPLICA IDENTITY FULL and no key" if table.identity is Identity.FULL else "no primary key"
    return f"{table} has {why}", f"ALTER TABLE {table.qualified} ADD PRIMARY KEY (...)"


def _sequences(at: Situation, side: str, facts: SideFacts) -> Finding:
    found, least = known(facts.contents).sequences, 2 * at.limits.head_room
    wrong = [f"{one.name} has {one.left} values left" for one in found if one.left < least and not one.cycles]
    wrong += [f"{one.name} may not be read" for one in found if not one.readable]
    return Finding(
        wrong=wrong,
        fine=f"{len(found)} sequences, {sum(one.identity for one in found)} of them of identity columns",
        expected=f"each is readable and has {least} values left, for the head-room there and back",
    )


def _refused(*kinds: Kind, fine: str = "none", modes: Sequence[str] = ()) -> Decide:
    """Each thing of these kinds is wrong, where `modes` are given only in those."""

    def decide(at: Situation, side: str, facts: SideFacts) -> Finding:
        things = known(facts.contents).of(*kinds)
        wrong = [thing.name for thing in things if not modes or thing.mode in modes]
        harmless = f"; {len(things)} others do no harm" if things and modes else ""
        return Finding(wrong=wrong, fine=fine + harmless)

    return decide


def _masks(at: Situation, side: str, facts: SideFacts) -> Finding:
    tables, patterns = known(facts.contents).tables, sorted(at.masks.patterns)
    found = {one: sum(len(Masks(frozenset({one})).hidden(table)) for table in tables) for one in patterns}
    wrong = [f"{one} names no column that moves" for one in patterns if not found[one]]
    return Finding(wrong=wrong, fine=f"{sum(found.values())} columns are hidden" if patterns else "none")


def _temporary(at: Situation, side: str, facts: SideFacts) -> Finding:
    count = len(known(facts.contents).of(Kind.TEMPORARY))
    return Finding(fine=f"{count} now: they are their session's own and end with it at a switch", told=count > 0)


def _large_objects(at: Situation, side: str, facts: SideFacts) -> Finding:
    count = known(facts.contents).large_objects
    return Finding(wrong=[f"{count} in this database"] if count else [], fine="none")


def _generated(at: Situation, side: str, facts: SideFacts) -> Finding:
    found = known(facts.contents)
    wrong = []
    for table in found.tables:
        computed = {column.name for column in table.columns if column.generated}
        wrong += [f"{table}.{name}" for name in table.key or table.primary_key if name in computed]
    return Finding(wrong=wrong, fine=f"{len(found.of(Kind.GENERATED))}, which the other side computes itself")


def _partitions(at: Situation, side: str, facts: SideFacts) -> Finding:
    found = known(facts.contents)
    wrong = [thing.name for thing in found.of(Kind.STRAY_PARTITION)]
    return Finding(
        wrong=wrong,
        fine=f"{len(found.of(Kind.PARTITIONED))} partitioned tables, whose partitions are carried each as a table",
    )


def _materialised(at: Situation, side: str, facts: SideFacts) -> Finding:
    views = known(facts.contents).of(Kind.MATERIALISED)
    if at.journey is Journey.JOIN:
        names = ", ".join(thing.name for thing in views)
        return Finding(fine=f"only their definition moves: {names}" if views else "none", told=bool(views))
    wrong = [thing.name for thing in views if not thing.mode]
    return Finding(
        wrong=[f"{name} was never filled" for name in wrong],
        fine=f"{len(views)}, filled when they were last refreshed there",
        fix="; ".join(f"REFRESH MATERIALIZED VIEW {name}" for name in wrong),
    )


def _event_triggers(at: Situation, side: str, facts: SideFacts) -> Finding:
    there = {one.name for one in known(facts.event_triggers)}
    here = known(at.serving.event_triggers)
    moving = [one.name for one in here if one.moves]
    stay = [one.name for one in here if not one.moves]
    text = f"{len(stay)} stay where they are" + (f", {len(moving)} are the application's" if moving else "")
    if at.journey is Journey.JOIN:
        # What they call is not there before the schema is.
        return Finding(fine=text + ("; make those there before the switch" if moving else ""), told=bool(moving))
    return Finding(wrong=[f"{name} is missing" for name in moving if name not in there], fine=text)


def _schemas(at: Situation, side: str, facts: SideFacts) -> Finding:
    found = known(facts.contents)
    wrong = [f"{name} does not exist" for name in found.missing]
    wrong += [f"{name} is not the application's" for name in found.schemas if _is_system(name)]
    if not wrong and not found.tables:
        raise NotKnown("no table moves: no schema holds a table that the migration role owns")
    stay = ", ".join(found.others) or "none of the role's own"
    return Finding(wrong=wrong, fine=f"{', '.join(found.schemas)} move; {stay} stay")


def _is_system(name: str) -> bool:
    return name.startswith("pg_") or name in ("information_schema", SCHEMA)


def _extensions(at: Situation, side: str, facts: SideFacts) -> Finding:
    there = {one.name: one for one in known(facts.extensions)}
    available = known(facts.available)
    needed = [one for one in known(at.serving.extensions) if one.needed]
    wrong = [text for one in needed if (text := _unmet(one, there.get(one.name), available.get(one.name)))]
    names = ", ".join(f"{one.name} {one.version}" for one in needed) or "none"
    return Finding(wrong=wrong, fine=f"what moves needs: {names}")


def _unmet(needed: Extension, there: Extension | None, available: str | None) -> str:
    """What is wrong with it at the other side, "" for nothing."""
    if there is None and available is None:
        return f"{needed.name} is not available"
    version = there.version if there is not None else str(available)
    if _older(version, needed.version):
        return f"{needed.name} is {version}, {needed.version} is needed"
    if there is not None and there.schema != needed.schema:
        return f"{needed.name} is in schema {there.schema}, not in {needed.schema}"
    return ""


def _older(one: str, other: str) -> bool:
    """Whether version `one` is below `other`. Those that are no numbers are told apart only."""
    try:
        return [int(part) for part in one.split(".")] < [int(part) for part in other.split(".")]
    except ValueError:
        return one != other


def _empty(at: Situation, side: str, facts: SideFacts) -> Finding:
    found = known(facts.contents)
    slot = slot_of(known(at.serving.replication), slot_name(at.source))
    goes_on = facts.bookkeeping and slot is not None and slot.status != "lost"
    if goes_on or not found.rows:
        why = "of an earlier try, which is gone on with" if goes_on else "and nothing to go on with"
        return Finding(fine=f"{len(found.rows)} tables with rows, {why}")
    if facts.bookkeeping and side == SELFHOSTED:
        return Finding(wrong=[f"{len(found.rows)} tables hold rows of an earlier try: they are copied anew"], told=True)
    known_by = "an earlier time, in which it was kept in step" if facts.bookkeeping else "nobody known"
    tables = ", ".join(found.rows)
    drop = "; ".join(f"DROP SCHEMA {name} CASCADE" for name in (*found.schemas, SCHEMA))
    fix = drop if side == SELFHOSTED else f"what only it holds would be lost, so look first; then TRUNCATE {tables}"
    return Finding(wrong=[f"{name} holds rows of {known_by}" for name in found.rows], fix=f"At {side}: {fix}")


def _outward(*kinds: str, but: Sequence[str] = ()) -> Decide:
    """What moves and depends on what stays: of these kinds, or of all but some."""

    def decide(at: Situation, side: str, facts: SideFacts) -> Finding:
        found = [one for one in known(facts.contents).crossings if one.outward]
        wrong = [str(one) for one in found if (one.kind in kinds if kinds else one.kind not in but)]
        return Finding(wrong=wrong, fine="none")

    return decide


def _inward(at: Situation, side: str, facts: SideFacts) -> Finding:
    """A view of what stays goes on reading the old rows, which are kept in step; a trigger writes past the pooler."""
    found = [one for one in known(facts.contents).crossings if not one.outward]
    wrong = [str(one) for one in found if one.kind in ("constraint", "trigger")]
    return Finding(wrong=wrong, fine=f"none that writes or checks{f'; {len(found)} that read' if found else ''}")


def _left(what: str) -> str:
    return f"{what}, or leave them in a schema that does not move (crossover:database.schemas)"


_STAYS = "; or name that schema in crossover:database.schemas, if the migration role owns it"

ITEMS = (
    Item(
        name="schemas",
        expected="those that move exist, hold tables, and are the application's",
        fix="Set crossover:database.schemas to the application's schemas",
        decide=_schemas,
        on=On.SOURCE,
    ),
    Item(
        name="replica identity",
        expected="every table that moves names its rows by a key",
        fix="ALTER TABLE ... ADD PRIMARY KEY",
        decide=_identity,
        on=On.SOURCE,
    ),
    Item(
        name="sequences and identity columns",
        expected="each is readable and has values left",
        fix="ALTER SEQUENCE ... AS bigint MAXVALUE ..., and the column's type with it; GRANT SELECT, USAGE ON SEQUENCE",
        decide=_sequences,
        on=On.SOURCE,
    ),
    Item(
        name="extensions",
        expected="those that what moves needs can be had there, no older, in the same schema",
        fix="Install the extension's package there, ALTER EXTENSION ... UPDATE, or ALTER EXTENSION ... SET SCHEMA",
        decide=_extensions,
        on=On.TARGET,
    ),
    Item(
        name="unlogged tables",
        expected="none: their rows are in no WAL, so no stream carries them",
        fix=_left("ALTER TABLE ... SET LOGGED"),
        decide=_refused(Kind.UNLOGGED),
        on=On.SOURCE,
        acceptable=True,
    ),
    Item(
        name="temporary tables",
        expected="told: they last no longer than a transaction through the pooler",
        fix="Make them ON COMMIT DROP",
        decide=_temporary,
        on=On.SOURCE,
    ),
    Item(
        name="large objects",
        expected="none: no stream carries them",
        fix="Move them into bytea columns (lo_get), then lo_unlink",
        decide=_large_objects,
        on=On.SOURCE,
        acceptable=True,
    ),
    Item(
        name="generated columns",
        expected="none is part of a key: a computed column is in no stream",
        fix="Choose another key: ALTER TABLE ... REPLICA IDENTITY USING INDEX ...",
        decide=_generated,
        on=On.SOURCE,
    ),
    Item(
        name="partitions",
        expected="a partitioned table and its partitions move together",
        fix="ALTER TABLE ... SET SCHEMA, or DETACH PARTITION",
        decide=_partitions,
        on=On.SOURCE,
    ),
    Item(
        name="foreign tables",
        expected="none: their rows are elsewhere, and their servers' passwords do not move",
        fix=_left("DROP FOREIGN TABLE and make it anew at the other side"),
        decide=_refused(Kind.FOREIGN),
        on=On.SOURCE,
        acceptable=True,
    ),
    Item(
        name="inheritance",
        expected="none: a parent's rows would be counted with its children's",
        fix="Make it a partitioned table, or ALTER TABLE ... NO INHERIT",
        decide=_refused(Kind.INHERITING),
        on=On.SOURCE,
    ),
    Item(
        name="rules",
        expected="none that fires for rows that are carried (ENABLE ALWAYS or REPLICA)",
        fix="ALTER TABLE ... ENABLE RULE ..., without ALWAYS or REPLICA",
        decide=_refused(Kind.RULE, modes=_ALWAYS),
    ),
    Item(
        name="triggers",
        expected="none that fires for rows that are carried (ENABLE ALWAYS or REPLICA)",
        fix="ALTER TABLE ... ENABLE TRIGGER ..., without ALWAYS or REPLICA: it has fired where the row was written",
        decide=_refused(Kind.TRIGGER, modes=_ALWAYS),
    ),
    Item(
        name="materialised views",
        expected="filled at the other side before it serves",
        fix="REFRESH MATERIALIZED VIEW at the other side",
        decide=_materialised,
        on=On.TARGET,
        journeys=_SWITCH,
    ),
    Item(
        name="materialised views to fill",
        expected="told: their definition moves, their content does not",
        fix="REFRESH MATERIALIZED VIEW at the other side before the switch",
        decide=_materialised,
        on=On.SOURCE,
        journeys=_JOIN,
    ),
    Item(
        name="event triggers",
        expected="those that call a function that moves are there, too, before the switch",
        fix="CREATE EVENT TRIGGER at the other side (a superuser does it there), or drop it here",
        decide=_event_triggers,
        on=On.TARGET,
        acceptable=True,
    ),
    Item(
        name="foreign keys into schemas that stay",
        expected="none: what they check is not at the other side",
        fix=f"ALTER TABLE ... DROP CONSTRAINT{_STAYS}",
        decide=_outward("constraint"),
        on=On.SOURCE,
    ),
    Item(
        name="policies into schemas that stay",
        expected="none: what they ask is not at the other side",
        fix="Write the policy without it: for auth.uid() "
        f"nullif(current_setting('request.jwt.claim.sub', true), '')::uuid{_STAYS}",
        decide=_outward("policy"),
        on=On.SOURCE,
    ),
    Item(
        name="other references into schemas that stay",
        expected="no default, view, function, trigger or type that is not at the other side",
        fix=f"Change or drop what refers there{_STAYS}",
        decide=_outward(but=("constraint", "policy")),
        on=On.SOURCE,
    ),
    Item(
        name="references from schemas that stay",
        expected="no foreign key or trigger of what stays: it would check or write where nobody serves any more",
        fix="DROP TRIGGER or DROP CONSTRAINT there, and let the application do it",
        decide=_inward,
        on=On.SOURCE,
    ),
    Item(
        name="masks",
        expected="each entry of crossover:database.mask names a column: else its values would be shown",
        fix="Correct it (SCHEMA.TABLE.COLUMN, `*` for anything; each partition is a table of its own name), or take it "
        "out of crossover:database.mask",
        decide=_masks,
        on=On.SOURCE,
    ),
    Item(
        name="empty target",
        expected="no rows, or those of an earlier try that can be gone on with",
        fix="DROP SCHEMA ... CASCADE at the other side",
        decide=_empty,
        on=On.TARGET,
        journeys=_JOIN,
    ),
)
