"""Items on a server as a whole: what it is, what replication it allows, what room it has."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.known import Unknown
from adapters.postgres.bookkeeping import slot_name
from adapters.postgres.facts import Locale, SideFacts
from cutover.database.preflight.item import Finding, Item, On, told
from cutover.database.preflight.situation import Journey, NotKnown, Refused, Situation, known, size, slot_of
from validation.result import Check

OLDEST, NEWEST = 15, 17
"""The majors that are tested."""
FULL = 0.9
"""Of a disk: a Postgres whose disk is full ends, and a hosted one turns read-only before."""
_JOIN = frozenset({Journey.JOIN})
_ANSWERS = "answers, with these credentials, as a primary that takes writes"


def reachable(at: Situation) -> Iterator[Check]:
    """Each side answers. Silence is not a refusal: the two have other fixes. A side that is left may be dead."""
    for side, facts in at.facts.items():
        check = _reached(f"{side}: reachable", facts)
        is_left = at.journey is Journey.LEAVE and side == at.target
        yield told(check, "the side is being left") if is_left and not check.outcome.passed else check


def _reached(name: str, facts: SideFacts | Unknown) -> Check:
    if isinstance(facts, Refused):
        fix = "See that the Secret with the migration role's URL holds its user and password, and that pg_hba.conf "
        fix += "lets it in; a pooler's address will not do, it must be the server's own"
        return Check.that(name, False, expected=_ANSWERS, found=f"it refuses: {facts.why}", fix=fix)
    if isinstance(facts, Unknown):
        fix = "See that it runs, and that a NetworkPolicy lets this pod reach it"
        return Check.unknown(name, expected=_ANSWERS, why=f"{facts.why}; nothing else of it was checked", fix=fix)
    server = facts.server
    unfit = ["it is a standby"] if server.in_recovery else []
    unfit += ["new transactions may not write"] if server.read_only and not server.in_recovery else []
    fix = "Give the primary's address. Where it is read-only: a hosted server turns so when its disk is full; give it "
    fix += "room, then ALTER DATABASE ... RESET default_transaction_read_only"
    found = ", ".join(unfit) or f"Postgres {server.version_text}, as {facts.role.name}"
    return Check.that(name, not unfit, expected=_ANSWERS, found=found, fix=fix)


def _versions(at: Situation, side: str, facts: SideFacts) -> Finding:
    there, here = facts.server.version // 10000, at.serving.server.version // 10000
    wrong = [f"{name} is {major}" for name, major in ((at.source, here), (side, there)) if major < OLDEST]
    if there < here and at.journey is Journey.JOIN:
        wrong.append(f"{side} is {there}, {at.source} is {here}")
    new = f"; above {NEWEST} nothing was tested" if max(here, there) > NEWEST else ""
    return Finding(wrong=wrong, fine=f"{here} to {there}{new}")


def _wal_level(at: Situation, side: str, facts: SideFacts) -> Finding:
    level = known(facts.replication).wal_level
    return Finding(wrong=[] if level == "logical" else [level], fine=level)


def _slots(at: Situation, side: str, facts: SideFacts) -> Finding:
    replication = known(facts.replication)
    free = replication.slots_limit - replication.slots_used
    text = f"{replication.slots_used} of {replication.slots_limit} are in use"
    ours = slot_of(replication, slot_name(side)) is not None
    return Finding(wrong=[] if ours or free >= 1 else [text], fine=f"{text}, ours among them" if ours else text)


def _senders(at: Situation, side: str, facts: SideFacts) -> Finding:
    replication = known(facts.replication)
    text = f"{replication.senders_used} of {replication.senders_limit} are in use"
    slot = slot_of(replication, slot_name(side))
    ours = slot is not None and slot.active
    return Finding(wrong=[] if ours or replication.senders_used < replication.senders_limit else [text], fine=text)


def _plugins(at: Situation, side: str, facts: SideFacts) -> Finding:
    allowed = known(facts.replication).plugins
    wrong = [", ".join(allowed) or "none"] if allowed is not None and "pgoutput" not in allowed else []
    return Finding(wrong=wrong, fine="not restricted" if allowed is None else ", ".join(allowed))


def _slot(at: Situation, side: str, facts: SideFacts) -> Finding:
    replication, name = known(facts.replication), slot_name(side)
    slot = slot_of(replication, name)
    if slot is None:
        fix = "The changes since it went are lost to the other side: back to the stage before, and join anew"
        missing = at.journey is Journey.SWITCH
        return Finding(wrong=[f"there is no {name}"] if missing else [], fine="none yet: it is made", fix=fix)
    wrong = []
    if slot.plugin != "pgoutput":
        wrong.append(f"{name} is of plugin {slot.plugin}, not ours")
    if slot.status in ("lost", "unreserved"):
        wrong.append(f"{name} is {slot.status}: WAL that it needs is gone or about to go")
    if not slot.active and at.journey is Journey.SWITCH:
        wrong.append(f"nobody reads {name}")
    left = "" if slot.safe_bytes is None else f", {size(slot.safe_bytes)} more until it is lost"
    fix = f"A slot that is lost: SELECT pg_drop_replication_slot('{name}'), then join anew. One that nobody reads: see "
    fix += "the pod that carries changes"
    return Finding(wrong=wrong, fine=f"{slot.status or 'reserved'}{left}", fix=fix)


def _names(at: Situation, side: str, facts: SideFacts) -> Finding:
    slot, here = slot_of(known(facts.replication), slot_name(side)), facts.database
    wrong = [f"slot {slot.name} belongs to database {slot.database}"] if slot and slot.database != here else []
    return Finding(wrong=wrong, fine=f"{slot_name(side)} is ours or free")


def _piled(at: Situation, side: str, facts: SideFacts) -> Finding:
    """As if nothing were read from the slot while the copy runs; twice what the rate of WAL makes of that."""
    replication = known(facts.replication)
    seconds = known(facts.contents).bytes / at.limits.copy_rate
    piled = 2 * known(facts.wal_rate) * seconds
    what = f"up to {size(piled)} may pile up in {seconds:.0f} s of copying"
    if replication.keep_bytes is not None:
        text = f"{what}, max_slot_wal_keep_size is {size(replication.keep_bytes)}"
        return Finding(wrong=[text] if piled > replication.keep_bytes else [], fine=text)
    volume, used = at.volumes.get(side), known(facts.storage).used
    if volume is None or isinstance(used, Unknown):
        return Finding(fine=f"{what}; nothing limits it, and the disk's size is not known", told=True)
    text = f"{what}, nothing limits it, and {size(volume - used)} of the disk are free"
    return Finding(wrong=[text] if piled > FULL * volume - used else [], fine=text)


def _disk(at: Situation, side: str, facts: SideFacts) -> Finding:
    storage, volume = known(facts.storage), at.volumes.get(side)
    if volume is None or isinstance(storage.used, Unknown):
        why = storage.used.why if isinstance(storage.used, Unknown) else "the size of its disk is not in config"
        return Finding(fine=f"could not be known: {why}; the database has {size(storage.database)}", told=True)
    coming = 0.0
    if at.journey is Journey.JOIN and side == at.target:
        there = facts.contents
        # Twice: rows and indexes once, and once more for the WAL of writing them.
        coming = max(0, 2 * at.moving.bytes - (0 if isinstance(there, Unknown) else there.bytes))
    text = f"{size(storage.used)} of {size(volume)} are in use, {size(coming)} are to come"
    return Finding(wrong=[text] if storage.used + coming > FULL * volume else [], fine=text)


def _clock(at: Situation, side: str, facts: SideFacts) -> Finding:
    ahead, within = facts.clock.ahead, facts.clock.within
    text = f"{ahead:+.3f} s off, to within {within:.3f} s"
    limit = at.limits.clock_seconds
    expected = f"within {limit:g} s of this pod's: a switch makes now() jump by what two servers differ"
    if abs(ahead) - within <= limit < abs(ahead) + within:
        raise NotKnown(f"the answer took too long: {text}")
    return Finding(wrong=[text] if abs(ahead) + within > limit else [], fine=text, expected=expected)


def _connections(at: Situation, side: str, facts: SideFacts) -> Finding:
    found, wanted = known(facts.connections), at.limits.connections
    text = f"{found.free} of {found.limit} are free"
    return Finding(wrong=[text] if found.free < wanted else [], fine=text, expected=f"{wanted} free connections")


def _synchronous(at: Situation, side: str, facts: SideFacts) -> Finding:
    replication = known(facts.replication)
    if not replication.synchronous:
        return Finding(fine="no standby has to agree to a commit")
    text = f"synchronous_standby_names is {replication.synchronous!r}, {replication.standbys} are connected"
    return Finding(wrong=[] if replication.standbys else [f"{text}: every commit waits"], fine=text)


def _checksums(at: Situation, side: str, facts: SideFacts) -> Finding:
    return Finding(wrong=[] if facts.server.checksums else ["off"], fine="on")


def _encrypted(at: Situation, side: str, facts: SideFacts) -> Finding:
    encrypted = facts.server.encrypted
    text = "TLS" if encrypted else "no TLS"
    return Finding(wrong=[text] if side in at.encrypt and not encrypted else [], fine=text, told=side not in at.encrypt)


def _encoding(at: Situation, side: str, facts: SideFacts) -> Finding:
    here, there = at.serving.server.locale.encoding, facts.server.locale.encoding
    return Finding(wrong=[] if here == there else [f"{at.source} has {here}, {side} has {there}"], fine=here)


_CODE_POINTS = frozenset({"c", "posix", "c.utf8"})


def _order(locale: Locale) -> tuple[str, str, str]:
    """What decides how text is ordered and its letters are told apart. Whoever orders by code points does it alike."""
    collate, ctype = (name.lower().replace("-", "") for name in (locale.collate, locale.ctype))
    return ("" if collate in _CODE_POINTS else locale.provider, "c" if collate in _CODE_POINTS else collate, ctype)


def _collations(at: Situation, side: str, facts: SideFacts) -> Finding:
    here, there = at.serving.server.locale, facts.server.locale
    texts = [f"{one.provider} {one.collate}, {one.ctype}" for one in (here, there)]
    wrong = [f"{at.source} has {texts[0]}, {side} has {texts[1]}"] if _order(here) != _order(there) else []
    missing = at.moving.collations - known(facts.collations)
    wrong += [f"{name} is missing" for name in sorted(missing)]
    other = here.actual != there.actual
    new = f"; versions {here.actual or 'none'} and {there.actual or 'none'}: indexes are built anew" if other else ""
    return Finding(wrong=wrong, fine=texts[0] + new)


def _collation_version(at: Situation, side: str, facts: SideFacts) -> Finding:
    locale = facts.server.locale
    stale = bool(locale.recorded) and locale.recorded != locale.actual
    wrong = [f"indexes were made with {locale.recorded}, the library is {locale.actual}"] if stale else []
    return Finding(wrong=wrong, fine=locale.actual or "has none")


ITEMS = (
    Item(
        name="server versions",
        expected=f"{OLDEST} or newer, and the other side no older",
        fix="Upgrade that server: what a newer one dumps an older one need not understand",
        decide=_versions,
        on=On.TARGET,
    ),
    Item(
        name="wal_level",
        expected="logical",
        fix="Set wal_level = logical and restart that server (Supabase has it)",
        decide=_wal_level,
    ),
    Item(
        name="replication slots",
        expected="a free one, or ours",
        fix="Raise max_replication_slots, or drop a slot that nobody reads: SELECT slot_name, active FROM "
        "pg_replication_slots",
        decide=_slots,
    ),
    Item(
        name="wal senders",
        expected="a free one, or ours",
        fix="Raise max_wal_senders, or end a replication that nobody needs: SELECT * FROM pg_stat_replication",
        decide=_senders,
    ),
    Item(
        name="slot plugins",
        expected="pgoutput is allowed",
        fix="Add pgoutput to output_plugin_libraries",
        decide=_plugins,
    ),
    Item(
        name="slot",
        expected="ours is whole; at a switch also read",
        fix="Join anew",
        decide=_slot,
    ),
    Item(
        name="slot name",
        expected="not taken by another database of that server",
        fix="A server has one set of slot names for all databases: end that other move, or use another server",
        decide=_names,
    ),
    Item(
        name="piled-up WAL",
        expected="what piles up while rows are copied fits max_slot_wal_keep_size, and the disk",
        fix="Raise max_slot_wal_keep_size (Supabase: supabase postgres-config update --config "
        "max_slot_wal_keep_size=...), or copy at an hour of less load",
        decide=_piled,
        on=On.SOURCE,
        journeys=_JOIN,
        acceptable=True,
    ),
    Item(
        name="disk",
        expected=f"at most {FULL:.0%} in use, what is to come included",
        fix="Give it a larger volume (selfhosted: crossover:database.selfhosted.storage; "
        "Supabase: Settings, Compute and Disk)",
        decide=_disk,
        acceptable=True,
        left_as_it_is=True,
    ),
    Item(
        name="clock",
        expected="that of this pod",
        fix="Set the clocks (chrony, systemd-timesyncd)",
        decide=_clock,
        left_as_it_is=True,
    ),
    Item(
        name="connections",
        expected="enough free ones",
        fix="Raise max_connections or the role's CONNECTION LIMIT, or make the pooler's pool smaller",
        decide=_connections,
        left_as_it_is=True,
    ),
    Item(
        name="synchronous commit",
        expected="no commit waits for a standby that is not there",
        fix="Bring that standby back, or ALTER SYSTEM RESET synchronous_standby_names and pg_reload_conf()",
        decide=_synchronous,
        left_as_it_is=True,
    ),
    Item(
        name="data checksums",
        expected="on",
        fix="Stop it, then pg_checksums --enable --pgdata=<data folder>",
        decide=_checksums,
        on=On.SELFHOSTED,
        journeys=_JOIN,
        acceptable=True,
    ),
    Item(
        name="encryption",
        expected="TLS, where it is asked for",
        fix="Set sslmode=verify-full and sslrootcert in that side's URL",
        decide=_encrypted,
    ),
    Item(
        name="encoding",
        expected="the same on both sides",
        fix="Make the other side's database anew: CREATE DATABASE ... TEMPLATE template0 ENCODING ...",
        decide=_encoding,
        on=On.TARGET,
    ),
    Item(
        name="collations",
        expected="text is ordered alike, and every collation that a column names is there",
        fix="Make the other side's database anew with the same locale (CREATE DATABASE ... TEMPLATE template0 "
        "LC_COLLATE ... LC_CTYPE ...) and the missing collations; or accept it: only ORDER BY differs then",
        decide=_collations,
        on=On.TARGET,
        acceptable=True,
    ),
    Item(
        name="collation version",
        expected="the version with which indexes on text were made",
        fix="REINDEX DATABASE, then ALTER DATABASE ... REFRESH COLLATION VERSION: unique indexes may have let "
        "duplicates in, which the other side will refuse",
        decide=_collation_version,
        left_as_it_is=True,
    ),
)
