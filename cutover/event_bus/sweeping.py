"""After an emergency: the backend that was dead is back, and gives what only it held, once."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

from adapters.event_bus.base import SWEPT, EventLog, Stored
from adapters.event_bus.errors import BackendUnavailable, EventBusError
from contracts.routes import Cursor, Segment, Stranded
from cutover.context import CouldNotCheck, StepFailed
from cutover.event_bus.fleeing import refuge
from cutover.event_bus.work import COMPONENT, BusWork
from cutover.plan import Transition

BATCH = 500
GONE_SECONDS = 20.0
"""How long members of before may count as live at the backend that is back: twice a session of theirs."""


class Sweeping:
    """Delivers what is stranded, where traffic goes now."""

    def __init__(self, work: BusWork) -> None:
        self._w = work
        self._c = work.context

    def sweep(self, transition: Transition) -> str:
        """Append what only the other backend holds to the one that serves. May be done again at any time."""
        route = self._c.route
        stranded = route.stranded or {}
        back = self._w.passive
        self._await_adapters()
        ends = {topic: self._sealed(back, topic, tail) for topic, tail in stranded.items()}
        told = dict(stranded)
        for topic, tail in stranded.items():
            if tail.swept:
                continue
            found = self._deliver(back, topic, tail, ends[topic])
            told[topic] = tail.model_copy(update={"swept": True})
            self._c.say(f"    {topic}: {found}")
        self._c.write(self._c.route.model_copy(update={"stranded": told}))
        return f"nothing is stranded in {back.name} any more"

    def _await_adapters(self) -> None:
        """Whoever has an event of unknown fate sends it here first, so that it is not given twice."""
        epoch = self._c.route.epoch

        def late() -> list[str]:
            present = self._c.registry.present(COMPONENT)
            return [
                r.name
                for r in self._c.registry.records(COMPONENT)
                if r.acknowledged_epoch < epoch and (r.live or any(r.name.startswith(pod) for pod in present))
            ]

        self._c.until(
            lambda: not late(),
            self._c.timing.fence,
            lambda: StepFailed(
                f"adapters have not followed epoch {epoch} yet: {', '.join(late())}",
                "They may hold events of unknown fate. Restart those pods, or wait, then run pulumi up again",
            ),
            every=0.1,
        )

    def _sealed(self, back: EventLog, topic: str, tail: Stranded) -> Cursor:
        """Where `topic` ends in the backend that is back, for good."""
        try:
            back.seal(topic, self._c.route.epoch)
            end = back.end(topic)
        except EventBusError as error:
            raise CouldNotCheck(
                f"{tail.backend} does not answer, and may hold {tail.count or 'no known'} events of {topic} that "
                f"nobody else has ({tail.first or '-'} to {tail.last or '-'}): {error}",
                f"{self._w.active.name} goes on serving. Bring {tail.backend} back, then run pulumi up again",
            ) from error
        if not back.reached(end, tail.copied):
            raise StepFailed(
                f"{tail.backend} came back with less of {topic} than had been copied from it ({dict(end)}, copied "
                f"{tail.copied}): it lost its data",
                "Restore its volume, then run pulumi up again",
            )
        return end

    def _deliver(self, back: EventLog, topic: str, tail: Stranded, end: Cursor) -> str:
        self._shut_groups_out(back, topic, tail, end)
        if not back.reached(tail.copied, back.beginning(topic)):
            self._c.say(f"    {topic}: retention took events in {back.name} before they could be swept")
        ids = {entry.event.id for entry in self._only(topic, tail, end) if entry.event is not None}
        here = self._here(topic, ids)
        self._append(topic, tail, here, end)
        ids -= here
        span = f", from {min(ids)} to {max(ids)}" if ids else ""
        return f"{len(ids)} events delivered{span}; {len(here)} had been sent here again before"

    def _shut_groups_out(self, back: EventLog, topic: str, tail: Stranded, end: Cursor) -> None:
        """What a group took before its word of it was written is told; then its place there is moved to the end, lest
        a member that never heard of the emergency take there what is delivered here."""
        states = back.groups(topic)
        if self._w.active.copied(topic, _source(tail)) is None:  # not begun, so places are the groups' own still
            for state in states:
                refuge(self._w.active).note_taken(topic, state.group, tail.epoch, state.position)
            with contextlib.closing(self._w.active.copier(topic, _source(tail), tail.epoch)) as copier:
                copier.copy([], tail.copied)
        for state in states:
            self._move(back, topic, state.group, end)

    def _move(self, back: EventLog, topic: str, group: str, end: Cursor) -> None:
        """A broker takes a member for live for a while after it has gone."""
        deadline = self._c.now() + GONE_SECONDS
        while True:
            try:
                back.place_group(topic, group, end)
                return
            except BackendUnavailable as error:
                self._c.check_stop()
                if self._c.now() > deadline:
                    raise CouldNotCheck(
                        f"{group} still has members that read {topic} at {back.name}, and did not hear that traffic "
                        f"fled: {error}",
                        "Restart those pods, then run pulumi up again",
                    ) from error
            self._c.rest(0.2)

    def _only(self, topic: str, tail: Stranded, end: Cursor) -> Iterator[Stored]:
        """What was published there and not copied."""
        return (e for e in self._w.passive.scan(topic, tail.copied, end) if e.origin is None)

    def _here(self, topic: str, ids: set[str]) -> set[str]:
        """Those of `ids` that publishers sent here since, for they never had an answer there."""
        active = self._w.active
        if not ids:
            return set()
        start, end = self._since(topic).start, active.end(topic)
        return {e.event.id for e in active.scan(topic, start, end) if e.origin is None and e.event} & ids

    def _since(self, topic: str) -> Segment:
        return self._c.route.chain(topic)[-1]

    def _append(self, topic: str, tail: Stranded, here: set[str], end: Cursor) -> None:
        """In steps, each in one with how far it comes; what an earlier run appended is passed over."""
        active, back = self._w.active, self._w.passive
        source = _source(tail)
        done = active.copied(topic, source) or tail.copied
        left = (e for e in self._only(topic, tail, end) if not back.reached(done, back.after(e)))
        wanted = (e for e in left if e.event is None or e.event.id not in here)
        with contextlib.closing(active.copier(topic, source, tail.epoch)) as copier:
            at = dict(done)
            for batch in itertools.batched(wanted, BATCH):
                for entry in batch:
                    at |= back.after(entry)
                copier.copy(batch, at)
            copier.copy([], end)


def _source(tail: Stranded) -> str:
    """The name under which the sweep's place is kept, and the origin of what it appends."""
    return f"{SWEPT}{tail.backend}:{tail.epoch}"
