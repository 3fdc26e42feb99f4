"""Items on a backend as a whole: whether it answers, what it would survive, what room it has, who may do what."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.known import Unknown
from cutover.event_bus.preflight.situation import Refused, Situation
from validation.result import Check

MOST_MEMORY = 0.9
"""Of the limit: at the limit Redis refuses every write, copies and positions of groups included."""
REWRITE_ROOM = 2
"""A rewrite of the append-only file writes the new one beside the old one."""
RECORD_BYTES = 256
"""What Kafka stores with an event beyond Redis: the headers' names each time, the origin, its own lengths."""
_ANSWERS = "answers, with these credentials, as a server that takes writes"


def reachable(at: Situation) -> Iterator[Check]:
    """Each backend that is needed answers. Silence is not a refusal: the two have other fixes."""
    for backend in at.needed:
        name, facts = f"{backend}: reachable", at.facts[backend]
        if isinstance(facts, Refused):
            yield Check.that(
                name,
                False,
                expected=_ANSWERS,
                found=f"it refuses this user: {facts.why}",
                fix="See that the Secret crossover-cutover holds the user and password that the backend's own Secret "
                "does (pulumi up sets both), and that this user administers the backend",
            )
        elif isinstance(facts, Unknown):
            yield Check.unknown(
                name,
                expected=_ANSWERS,
                why=f"{facts.why}; nothing else of it was checked",
                fix=f"See kubectl describe pods -l app=event-bus-{backend}, and its NetworkPolicy",
            )
        else:
            yield Check.that(
                name,
                not facts.unfit,
                expected=_ANSWERS,
                found=facts.unfit or f"{facts.version} ({facts.durability})",
                fix="Point its address at a single server that is no replica",
            )


def persistence(at: Situation) -> Iterator[Check]:
    """A server that keeps events in memory writes each of them to a file, and the last writes went well."""
    expected = "an append-only file, fsynced always or every second, whose last writes went well"
    for backend, found in at.having(lambda facts: facts.persistence):
        name = f"{backend}: persistence"
        if isinstance(found, Unknown):
            yield Check.unknown(name, expected=expected, why=found.why, fix="Let this user call INFO and CONFIG GET")
            continue
        if found.append_only and found.fsync == "unknown":
            why = "its fsync policy may not be asked"
            yield Check.unknown(name, expected=expected, why=why, fix="Let this user call CONFIG GET append*")
            continue
        wrong = [
            text
            for is_wrong, text in (
                (not found.append_only, "no append-only file: a restart loses every event"),
                (found.append_only and found.fsync not in ("always", "everysec"), f"appendfsync {found.fsync}"),
                (not found.last_write_ok, "the last write to the append-only file failed"),
                (not found.last_rewrite_ok, "the last rewrite of the append-only file failed"),
                (not found.last_snapshot_ok, "the last snapshot failed"),
            )
            if is_wrong
        ]
        yield Check.that(
            name,
            not wrong,
            expected=expected,
            found=", ".join(wrong) or f"append-only file, appendfsync {found.fsync}",
            fix="Set appendonly yes and crossover:event_bus.redis.appendfsync; where a write failed, give the volume "
            "room, then BGREWRITEAOF",
        )


def eviction(at: Situation) -> Iterator[Check]:
    """A full server refuses, rather than drop what was acknowledged."""
    for backend, found in at.having(lambda facts: facts.memory):
        name, expected = f"{backend}: eviction", "maxmemory-policy noeviction"
        if isinstance(found, Unknown):
            yield Check.unknown(name, expected=expected, why=found.why, fix="Let this user call INFO")
            continue
        yield Check.that(
            name,
            found.policy == "noeviction",
            expected=expected,
            found=found.policy,
            fix="CONFIG SET maxmemory-policy noeviction: else events are dropped when memory is short",
        )


def memory(at: Situation) -> Iterator[Check]:
    """There is room for what comes while both sides are kept in step."""
    for backend, found in at.having(lambda facts: facts.memory):
        name, expected = f"{backend}: memory", f"at most {MOST_MEMORY:.0%} of its limit in use"
        if isinstance(found, Unknown):
            yield Check.unknown(name, expected=expected, why=found.why, fix="Let this user call INFO")
            continue
        limit, whose = (found.limit, "maxmemory") if found.limit else (found.machine, "the machine, for none is set")
        yield Check.that(
            name,
            found.used <= MOST_MEMORY * limit,
            expected=expected,
            found=f"{found.used} of {limit} bytes ({whose})",
            fix="Raise maxmemory and the pod's memory limit, or XTRIM what every group has read: a full Redis refuses "
            "publishers, and a mirror's copies",
        )


def disk(at: Situation) -> Iterator[Check]:
    """There is room on the volumes, as far as that can be known.

    Told only, and never refused, where it cannot be known: what a full disk does is caught elsewhere
    (persistence on Redis; on Kafka acks=all), at the price of a stall and not of an event.
    """
    for backend in at.needed:
        facts = at.known(backend)
        if facts is None:
            continue
        volume, used = at.volumes.get(backend), facts.disk_used
        what = "used, twice over for a rewrite"
        wanted = used if isinstance(used, Unknown) else used * REWRITE_ROOM
        if isinstance(used, Unknown) and backend == at.following:
            wanted, what = _copied_bytes(at), "to be copied into it; what it uses now could not be known"
        if volume is None or isinstance(wanted, Unknown):
            why = wanted.why if isinstance(wanted, Unknown) else f"the size of its volume; {wanted} bytes are {what}"
            expected = "told where it can be known, never refused where not"
            yield Check.that(
                f"{backend}: disk (told only)", True, expected=expected, found=f"could not be known: {why}"
            )
            continue
        yield Check.that(
            f"{backend}: disk",
            wanted <= volume,
            expected=f"at most {volume} bytes, the volume's size",
            found=f"{wanted} bytes are {what}",
            fix=f"Raise crossover:event_bus.{backend}.storage, and the claim where the StorageClass can expand it",
        )


def _copied_bytes(at: Situation) -> int | Unknown:
    """What the serving side holds, as Kafka would store it on each broker."""
    facts = at.known(at.serving)
    if facts is None:
        return Unknown(f"{at.serving} did not answer")
    total = 0
    for topic in facts.topics.values():
        if isinstance(topic.retained, Unknown):
            return topic.retained
        total += topic.retained.bytes + topic.retained.entries * RECORD_BYTES
    return total


def rights(at: Situation) -> Iterator[Check]:
    """This run may do what the switch does; services and the mirror may do their part, and no service more."""
    expected = "each user has the rights for its part, and no service may lift a seal"
    for backend, found in at.having(lambda facts: facts.rights):
        name = f"{backend}: rights"
        if isinstance(found, Unknown):
            fix = "Give this run's user the right to ask, or its administrator's credentials"
            yield Check.unknown(name, expected=expected, why=found.why, fix=fix)
            continue
        wrong = [] if found.seal_holds else ["there is no authorizer: a seal would hold nobody off"]
        wrong += [f"{found.user} lacks: {text}" for text in found.lacks]
        wrong += [f"too much: {text}" for text in found.excess]
        if backend in at.settled:
            wrong += [f"missing: {text}" for text in found.others_lack]
        yield Check.that(
            name,
            not wrong,
            expected=expected,
            found="; ".join(wrong) or f"as they should be, seen as user {found.user or '(none)'}",
            fix="Grant or revoke these with the backend's administrator; rights of services and mirror are also given "
            "anew when the backend joins (crossover:event_bus.stage mvp, then shadow)",
        )
