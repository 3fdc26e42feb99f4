"""Items on topics: where keys lie, how many copies there are, what is kept, and what was trimmed."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.event_bus.facts import Limits, Retained
from adapters.known import Unknown
from contracts.routes import Cursor, Route
from cutover.event_bus.preflight.backend_items import RECORD_BYTES
from cutover.event_bus.preflight.situation import Situation
from validation.result import Check

ENVELOPE_BYTES = 1024
"""What a batch of one event has beyond the event: its own header, lengths, and the header of a copy's origin."""
_SHOWN = 5


def partitions(at: Situation) -> Iterator[Check]:
    """The partition of a key never changes: then its events are in one order wherever they are read."""
    wanted = at.settings.partitions
    for backend in at.needed:
        facts = at.known(backend)
        if facts is None or not facts.partitioner:
            continue
        wrong, seen = [], 0
        for topic in at.topics:
            found = facts.topics[topic]
            seen += found.exists
            if found.exists and found.partitions != wanted:
                wrong.append(f"{topic} has {found.partitions}")
            elif not found.exists and (backend in at.settled or _recorded(at.route, topic, backend)):
                wrong.append(f"{topic} does not exist")
            then = _recorded(at.route, topic, backend) - {wanted}
            wrong += [f"{topic} had {count} when the route was made" for count in sorted(then)]
        made = "" if seen == len(at.topics) else f"; {len(at.topics) - seen} topics are made by this transition"
        yield Check.that(
            f"{backend}: partitions",
            not wrong,
            expected=f"{wanted} in each topic, as in config and in the route",
            found=", ".join(wrong) or f"{wanted}; every producer places keys by {facts.partitioner}{made}",
            fix="Set crossover:event_bus.partitions to what the topics have. To change it, go back to mvp, delete the "
            "topics, and join anew",
        )


def _recorded(route: Route | None, topic: str, backend: str) -> set[int]:
    """How many partitions the route's positions in `backend` name."""
    if route is None or topic not in route.chains:
        return set()
    cursors: list[Cursor] = []
    for segment in route.chain(topic):
        if segment.backend == backend:
            cursors += [segment.start, segment.end or {}]
    return {len(cursor) for cursor in cursors if cursor}


def replication(at: Situation) -> Iterator[Check]:
    """Each topic has its copies on live brokers, and as many in step as a write needs."""
    for backend in at.needed:
        facts = at.known(backend)
        if facts is None or not any(topic.copies for topic in facts.topics.values()):
            continue
        wrong, unknown, least = [], [], facts.brokers
        for topic, found in facts.topics.items():
            copies, limits = found.copies, found.limits
            if copies is None or limits is None or isinstance(copies, Unknown) or isinstance(limits, Unknown):
                unknown.append(next((f.why for f in (copies, limits) if isinstance(f, Unknown)), topic))
                continue
            least = min(least, copies.replicas)
            if copies.replicas > facts.brokers:
                wrong.append(f"{topic} wants {copies.replicas} replicas")
            if limits.min_insync > min(copies.replicas, facts.brokers):
                wrong.append(f"{topic} has {copies.replicas} replicas, min.insync.replicas {limits.min_insync}")
            if copies.in_sync < limits.min_insync:
                wrong.append(f"{topic} has {copies.in_sync} in sync, min.insync.replicas {limits.min_insync}")
        name, expected = f"{backend}: replication", f"min.insync.replicas <= replicas <= {facts.brokers} live brokers"
        fix = "Bring the brokers back, or set min.insync.replicas and the replicas of the topic to what is there"
        if unknown and not wrong:
            yield Check.unknown(name, expected=expected, why=unknown[0], fix="Let this user describe topics")
            continue
        yield Check.that(
            name,
            not wrong,
            expected=expected,
            found=", ".join(wrong) or f"at least {least} replicas on {facts.brokers} live brokers, all writable",
            fix=fix,
        )


def retention(at: Situation) -> Iterator[Check]:
    """The side that follows keeps what the serving one holds: as old, and as much."""
    for topic, limits, held, name in _followed(at):
        expected = f"keeps {topic} as long and as large as {at.serving} does"
        unknown = next((fact.why for fact in (limits, held) if isinstance(fact, Unknown)), None)
        if unknown is not None or isinstance(limits, Unknown) or isinstance(held, Unknown):
            yield Check.unknown(name, expected=expected, why=str(unknown), fix="Let this user describe topics")
            continue
        wrong = _too_short(limits, held)
        if limits.cleanup != "delete":
            wrong.append(f"cleanup.policy {limits.cleanup}: events of a key would be taken for versions of one")
        oldest = "nothing" if held.oldest_seconds is None else f"up to {held.oldest_seconds / 3600:.1f} h"
        kept = "for ever" if limits.retention_seconds is None else f"{limits.retention_seconds / 3600:.1f} h"
        yield Check.that(
            name,
            not wrong,
            expected=expected,
            found="; ".join(wrong) or f"{oldest} and {held.bytes} bytes are held; it is kept {kept}",
            fix="Raise crossover:event_bus.kafka.retention_hours, or retention.ms and retention.bytes of the topic; or "
            "XTRIM from Redis what every group has read",
        )


def _followed(at: Situation) -> Iterator[tuple[str, Limits | Unknown, Retained | Unknown, str]]:
    follower = at.known(at.following) if at.following else None
    source = at.known(at.serving)
    if follower is None or source is None:
        return
    for topic in at.topics:
        limits = follower.topics[topic].limits
        if limits is not None:
            yield topic, limits, source.topics[topic].retained, f"{at.following}: retention of {topic}"


def _too_short(limits: Limits, held: Retained) -> list[str]:
    wrong = []
    if limits.retention_seconds is not None and (held.oldest_seconds or 0) > limits.retention_seconds:
        oldest, kept = (held.oldest_seconds or 0) / 3600, limits.retention_seconds / 3600
        wrong.append(f"the oldest event is {oldest:.1f} h old, retention.ms is {kept:.1f} h")
    size = held.bytes + held.entries * RECORD_BYTES
    # All of it may be of keys that lie in one partition, and the limit is a partition's.
    if limits.retention_bytes is not None and size > limits.retention_bytes:
        wrong.append(f"{size} bytes are held, retention.bytes is {limits.retention_bytes} a partition")
    return wrong


def message_size(at: Situation) -> Iterator[Check]:
    """The side that follows takes the largest batch that is sent, and the largest event that is to be copied."""
    follower = at.known(at.following) if at.following else None
    if follower is None:
        return
    for topic in at.topics:
        limits, largest = follower.topics[topic].limits, at.largest.get(topic, 0)
        if limits is None:
            continue
        name = f"{at.following}: message size of {topic}"
        expected = f"takes events of {at.settings.max_event_bytes} bytes in their batches, and all that is to be copied"
        unknown = next((fact.why for fact in (limits, largest) if isinstance(fact, Unknown)), None)
        if unknown is not None or isinstance(limits, Unknown) or isinstance(largest, Unknown):
            yield Check.unknown(name, expected=expected, why=str(unknown), fix="Let this user describe topics")
            continue
        takes = limits.max_message_bytes if at.following in at.settled else limits.largest_batch
        wrong = []
        if takes < limits.largest_batch:
            wrong.append(f"max.message.bytes is {takes}, batches have up to {limits.largest_batch}")
        if largest and largest + ENVELOPE_BYTES > min(takes, limits.largest_batch):
            wrong.append(f"an event of {largest} bytes is to be copied, at most {takes - ENVELOPE_BYTES} are taken")
        yield Check.that(
            name,
            not wrong,
            expected=expected,
            found="; ".join(wrong) or f"takes {takes} bytes; the largest to be copied has {largest}",
            fix=f"Set max.message.bytes of {topic} to at least {limits.largest_batch}, or raise "
            "crossover:event_bus.max_event_bytes, which a join applies to the topics",
        )


def trimmed(at: Situation) -> Iterator[Check]:
    """No group has lost, to retention, what it had not read."""
    for backend in at.needed:
        found = at.gaps.get(backend)
        if found is None:
            continue
        name, expected = f"{backend}: trimmed unread", "nothing is gone that a group has not acknowledged"
        if isinstance(found, Unknown):
            yield Check.unknown(name, expected=expected, why=found.why, fix="Let this user list groups and positions")
            continue
        certain = [gap for gap in found if gap.certain]
        shown = "; ".join(str(gap) for gap in (certain or found)[:_SHOWN])
        if found and not certain:
            why = f"entries are gone of which {backend} does not know whether they were read: {shown}"
            fix = "Let the group read to the end once, from when on it is counted; or place it at what is retained"
            yield Check.unknown(name, expected=expected, why=why, fix=fix)
            continue
        yield Check.that(
            name,
            not certain,
            expected=expected,
            found=f"{len(certain)} gaps: {shown}" if certain else "nothing",
            fix="These events are lost to that group. Restore them from a backup; or, where they are not needed, place "
            "the group at what is retained (XGROUP SETID, kafka-consumer-groups --reset-offsets), or delete a group "
            "that nobody uses",
        )
