"""The protocol with one part of it left out or done wrong: each must be caught by the state machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from adapters.event_bus import chain_reader, publisher
from adapters.event_bus.base import Stored
from adapters.event_bus.chain_reader import ChainReader
from adapters.event_bus.gate import Action, Gate, Standing, next_action
from adapters.event_bus.memory import MemoryCopier, MemoryLog
from adapters.event_bus.memory_reader import MemoryReader
from adapters.event_bus.publisher import Publisher
from contracts.routes import Cursor, Mirror, Route, Segment
from cutover import fence
from cutover.event_bus.joining import Joining
from cutover.event_bus.leaving import Leaving
from cutover.event_bus.switching import Switching
from cutover.event_bus.work import BusWork
from cutover.mirror import service
from cutover.plan import Transition
from validation.log_comparison import Differences, LogComparison

Mutation = Callable[[], contextlib.AbstractContextManager[Any]]

MUTATIONS: dict[str, Mutation] = {}
"""Those that a search finds."""


def mutation(make: Mutation) -> Mutation:
    """Register a mutation under its name."""
    MUTATIONS[make.__name__] = make
    return make


def _instead(of: object, name: str, what: object) -> contextlib.AbstractContextManager[Any]:
    return patch.object(of, name, what)


# -- the fence


@mutation
def publishers_acknowledge_a_fence_and_go_on() -> contextlib.AbstractContextManager[Any]:
    def heedless(at: Standing) -> Action | None:
        return next_action(replace(at, fence=None)) if at.gate is Gate.OPEN else next_action(at)

    @contextlib.contextmanager
    def both() -> Iterator[None]:
        def early(self: Publisher) -> bool:
            fence = self._route.fence if self._route else None
            if fence is not None:
                self._acknowledge(fence.epoch)
            return step(self)

        step = Publisher.step
        with _instead(publisher, "next_action", heedless), _instead(Publisher, "step", early):
            yield

    return both()


@mutation
def the_fence_does_not_wait_for_acknowledgements() -> contextlib.AbstractContextManager[Any]:
    return _instead(fence, "laggards", lambda context, epoch: [])


@mutation
def a_gate_acknowledges_with_events_in_flight() -> contextlib.AbstractContextManager[Any]:
    return _instead(publisher, "next_action", lambda at: next_action(replace(at, in_flight=0)))


@mutation
def an_undone_fence_leaves_the_epoch() -> contextlib.AbstractContextManager[Any]:
    real = Switching.undo

    def undo(self: Switching) -> str:
        before = self._c.read()
        if before is None or before.fence is None:
            return real(self)
        write = self._c.write
        with _instead(type(self._c), "write", lambda _, route: write(route.model_copy(update={"epoch": before.epoch}))):
            return real(self)

    return _instead(Switching, "undo", undo)


# -- seal, drain, check, open, undo


@mutation
def no_seal() -> contextlib.AbstractContextManager[Any]:
    def seal(self: Switching, transition: Transition) -> str:
        self._sealed = {topic: dict(self._w.active.end(topic)) for topic in self._w.topics}
        return ""

    return _instead(Switching, "seal", seal)


@mutation
def ends_from_before_the_fence_are_recorded() -> contextlib.AbstractContextManager[Any]:
    prove, opening = Joining.prove_way_back, Switching.open
    ends: dict[str, dict[str, str]] = {}

    def early(self: Joining, transition: Transition) -> str:
        ends.update({topic: dict(self._w.active.end(topic)) for topic in self._w.topics})
        return prove(self, transition)

    def opened(self: Switching, transition: Transition) -> str:
        self._sealed = dict(ends)
        return opening(self, transition)

    @contextlib.contextmanager
    def both() -> Iterator[None]:
        with _instead(Joining, "prove_way_back", early), _instead(Switching, "open", opened):
            yield

    return both()


@mutation
def neither_drain_nor_check() -> contextlib.AbstractContextManager[Any]:
    @contextlib.contextmanager
    def both() -> Iterator[None]:
        with _instead(Switching, "drain", _nothing), _instead(Switching, "check", _nothing):
            yield

    return both()


@mutation
def no_check() -> contextlib.AbstractContextManager[Any]:
    return _instead(Switching, "check", _nothing)


@mutation
def a_comparison_that_finds_nothing() -> contextlib.AbstractContextManager[Any]:
    return _instead(LogComparison, "advance", lambda *_: Differences())


def _nothing(self: Switching, transition: Transition) -> str:
    return "left out"


@mutation
def the_new_segment_starts_at_the_beginning() -> contextlib.AbstractContextManager[Any]:
    return _opened_with(lambda log, topic: log.beginning(topic))


@mutation
def the_new_segment_starts_one_late() -> contextlib.AbstractContextManager[Any]:
    return _opened_with(lambda log, topic: {p: str(int(at) + 1) for p, at in log.end(topic).items()})


def _opened_with(start: Callable[[MemoryLog, str], Cursor]) -> contextlib.AbstractContextManager[Any]:
    real = Switching.open

    def wrong(self: Switching, transition: Transition) -> str:
        new = self._w.passive
        assert isinstance(new, MemoryLog)
        starts = {topic: start(new, topic) for topic in self._w.topics}
        with _instead(new, "end", lambda topic: starts[topic]):
            return real(self, transition)

    return _instead(Switching, "open", wrong)


@mutation
def nobody_takes_off_the_seal_of_an_undone_switch() -> contextlib.AbstractContextManager[Any]:
    real = Switching.undo

    def undo(self: Switching) -> str:
        with _instead(MemoryLog, "unseal", lambda self, topic: None):
            return real(self)

    @contextlib.contextmanager
    def both() -> Iterator[None]:
        with _instead(Switching, "undo", undo), _instead(Switching, "readmit", lambda self: ""):
            yield

    return both()


@mutation
def open_without_unseal() -> contextlib.AbstractContextManager[Any]:
    real = Switching.open

    def opened(self: Switching, transition: Transition) -> str:
        with _instead(MemoryLog, "unseal", lambda self, topic: None):
            return real(self, transition)

    return _instead(Switching, "open", opened)


@mutation
def a_route_written_whatever_it_is_now() -> contextlib.AbstractContextManager[Any]:
    from tests.model.switcher import RecordingStore

    real = RecordingStore.write

    def write(self: RecordingStore, route: Route, version: str) -> object:
        return real(self, route, self._routes[route.component].version if self._routes else version)

    return _instead(RecordingStore, "write", write)


# -- publishers


@mutation
def refused_events_go_behind_the_held_ones() -> contextlib.AbstractContextManager[Any]:
    def take_back(self: Publisher, outgoing: Any) -> None:
        self._refused = True
        self._held.append(outgoing)

    return _instead(Publisher, "_take_back", take_back)


@mutation
def refused_events_are_forgotten() -> contextlib.AbstractContextManager[Any]:
    def take_back(self: Publisher, outgoing: Any) -> None:
        self._refused = True
        outgoing.result.set_result(None)

    return _instead(Publisher, "_take_back", take_back)


@mutation
def a_gate_reopens_the_backend_of_before() -> contextlib.AbstractContextManager[Any]:
    real = Publisher._reopen

    def reopen(self: Publisher) -> None:
        route = self._route
        if route is not None and self._active:
            self._route = route.model_copy(update={"active": self._active})
        real(self)
        self._route = route

    return _instead(Publisher, "_reopen", reopen)


@mutation
def held_events_are_sent_backwards() -> contextlib.AbstractContextManager[Any]:
    real = Publisher._reopen

    def reopen(self: Publisher) -> None:
        held = list(self._held)
        self._held.clear()
        self._held.extend(reversed(held))
        real(self)

    return _instead(Publisher, "_reopen", reopen)


# -- consumers


@mutation
def a_consumer_does_not_wait_for_a_newer_route() -> contextlib.AbstractContextManager[Any]:
    return _instead(chain_reader, "newest_epoch", lambda entries: 0)


@mutation
def a_consumer_takes_each_sealed_segment_for_finished() -> contextlib.AbstractContextManager[Any]:
    return _instead(ChainReader, "_finished", lambda self, segment: True)


@mutation
def a_consumer_enters_the_newest_segment() -> contextlib.AbstractContextManager[Any]:
    def newest(chain: Sequence[Segment], since: int, finished: object) -> Segment | None:
        return chain[-1]

    return _instead(chain_reader, "first_unfinished", newest)


@mutation
def a_consumer_reads_past_the_sealed_end() -> contextlib.AbstractContextManager[Any]:
    return _instead(MemoryReader, "seal_at", lambda self, end: None)


@mutation
def an_acknowledgement_before_the_effect() -> contextlib.AbstractContextManager[Any]:
    real = MemoryReader.poll

    def poll(self: MemoryReader, max_events: int, timeout: float) -> Sequence[Stored]:
        found = real(self, max_events, timeout)
        self.ack(found)
        return found

    return _instead(MemoryReader, "poll", poll)


# -- the mirror


@mutation
def a_mirror_that_copies_copies() -> contextlib.AbstractContextManager[Any]:
    @contextlib.contextmanager
    def both() -> Iterator[None]:
        # Since it waits for a newer route, it hardly meets a copy that it must leave: docs/protocol.md.
        with _instead(service, "newest_epoch", lambda entries: 0), _instead(service, "counts", lambda *_: True):
            yield

    return both()


@mutation
def a_mirror_that_never_copies_copies() -> contextlib.AbstractContextManager[Any]:
    return _instead(service, "counts", lambda entry, include_copies: entry.origin is None)


def _two_steps(first: str) -> contextlib.AbstractContextManager[Any]:
    real = MemoryCopier.copy

    def copy(self: MemoryCopier, entries: Sequence[Stored], reached: Cursor) -> None:
        before = self._server.copied.get((self._topic, self._source), {})
        if first == "copies" and before:
            known, self._reached = self._reached, None  # what a session refuses, it knows of itself only
            real(self, entries, before)
            self._reached = known
            real(self, [], reached)
        elif first == "cursor":
            real(self, [], reached)
            real(self, entries, reached)
        else:
            real(self, entries, reached)

    return _instead(MemoryCopier, "copy", copy)


@mutation
def a_mirror_that_copies_before_it_moves_its_cursor() -> contextlib.AbstractContextManager[Any]:
    return _two_steps("copies")


@mutation
def a_mirror_that_moves_its_cursor_before_it_copies() -> contextlib.AbstractContextManager[Any]:
    return _two_steps("cursor")


@mutation
def a_mirror_that_no_newer_one_fences() -> contextlib.AbstractContextManager[Any]:
    real = MemoryCopier.copy

    def copy(self: MemoryCopier, entries: Sequence[Stored], reached: Cursor) -> None:
        self._session = self._server.sessions[self._topic, self._source]
        real(self, entries, reached)

    return _instead(MemoryCopier, "copy", copy)


@mutation
def a_mirror_that_does_not_wait_for_a_newer_route() -> contextlib.AbstractContextManager[Any]:
    return _instead(service, "newest_epoch", lambda entries: 0)


@mutation
def a_mirror_that_starts_where_the_route_says_each_time() -> contextlib.AbstractContextManager[Any]:
    return _instead(service, "starting_point", lambda source, copied, start: start)


# -- leaving


@mutation
def retired_before_the_groups_have_finished() -> contextlib.AbstractContextManager[Any]:
    return _instead(Leaving, "_behind", lambda self: [])


@mutation
def groups_are_not_placed_where_the_other_side_begins() -> contextlib.AbstractContextManager[Any]:
    real = Leaving.retire

    def retire(self: Leaving, transition: Transition) -> str:
        with _instead(MemoryLog, "place_group", lambda self, topic, group, cursor: None):
            return real(self, transition)

    return _instead(Leaving, "retire", retire)


@mutation
def a_join_that_copies_from_now_on() -> contextlib.AbstractContextManager[Any]:
    real = BusWork.mirror_from

    def mirror_from(self: BusWork, route: Route, active: str, topics: Iterable[str]) -> Mirror:
        ends = {topic: dict(self.logs[active].end(topic)) for topic in topics}
        return real(self, route, active, topics).model_copy(update={"starts": ends})

    return _instead(BusWork, "mirror_from", mirror_from)


# -- what a search hardly meets: test_protocol.py has the schedules in which it matters


def a_group_begins_without_asking_for_the_route() -> contextlib.AbstractContextManager[Any]:
    """Wherever its backend knows it, it reads."""
    return _instead(ChainReader, "_admitted_to", lambda self, segment: True)


def a_retirement_is_not_announced() -> contextlib.AbstractContextManager[Any]:
    """No group sees it."""
    return _instead(Route, "retires", None)
