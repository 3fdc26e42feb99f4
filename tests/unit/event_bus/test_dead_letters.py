"""Dead letters: kept whole, whatever their size, and replayed once for the group that set them aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from adapters.event_bus.base import LogSettings, Stored
from adapters.event_bus.dead_letters import applies, letter, letters
from adapters.event_bus.errors import UnknownTopic
from adapters.event_bus.factory import fixed_route
from adapters.event_bus.interface import RejectEvent
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.memory_server import MemoryServer
from adapters.event_bus.routed import RoutedEventBus
from adapters.event_bus.wire import size_limit
from adapters.routes.memory import MemoryRouteStore
from contracts.envelope import Event, parse_event
from services.dead_letters import desk
from tests.unit.event_bus.test_routed import SETTINGS, eventually


class Bench:
    """A bus whose group `picky` rejects payloads in `bad`, and whose group `easy` takes everything."""

    def __init__(self) -> None:
        server = MemoryServer()
        store = MemoryRouteStore(fixed_route("memory", SETTINGS))
        self.bus = RoutedEventBus(store, lambda name: MemoryLog(name, SETTINGS, server), SETTINGS, "pod.bus")
        self.bad: set[bytes] = set()
        self.taken: dict[str, list[tuple[str, bytes]]] = {"picky": [], "easy": []}

    def subscribe(self) -> None:
        for group in self.taken:
            self.bus.subscribe(["t"], group, self._taker(group))

    def _taker(self, group: str) -> Callable[[Sequence[Event]], None]:
        def take(events: Sequence[Event]) -> None:
            for event in events:
                if group == "picky" and event.payload in self.bad:
                    raise RejectEvent(event.id, "not to my taste")
            self.taken[group] += [(event.id, event.payload) for event in events]

        return take

    def payloads(self, group: str) -> list[bytes]:
        return [payload for _, payload in self.taken[group]]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.bus.close(2)


def stored(event: Event) -> Stored:
    return Stored(event, 0, "1")


def one_letter(payload: bytes = b"\x00\xff", cause: str = "no bar") -> tuple[Event, Event]:
    event = Event.create("t", "Δ", payload, source="s", content_type="application/octet-stream").under(3)
    headers = {name: value.decode() for name, value in event.headers().items()}
    return event, letter("t", "g", event.key, payload, cause=cause, attempts=5, attributes=headers)


def test_a_letter_gives_back_the_event_as_it_was_with_its_cause_and_count() -> None:
    event, sent = one_letter()
    [found] = letters([stored(sent)])
    assert (found.group, found.cause, found.attempts, found.bytes) == ("g", "no bar", 5, 2)
    again = found.replayed()
    assert again.under(3) == parse_event("t", {**event.headers(), "ce_crossoverreplayfor": b"g"}, event.payload)
    assert (again.id, again.payload, again.key) == (event.id, event.payload, event.key)


def test_what_was_no_event_cannot_be_replayed_and_says_why() -> None:
    [found] = letters([stored(letter("t", "g", "unreadable", b"raw", cause="x", attempts=1, attributes={}))])
    assert found.event is None
    assert "lacks the CloudEvents attributes" in found.problem
    with pytest.raises(ValueError, match="holds no event"):
        found.replayed()


def test_notes_are_counted_and_what_others_wrote_is_passed_over() -> None:
    _, sent = one_letter()
    [found] = letters([stored(sent)])
    foreign = Event.create("t.dead_letter", "k", b"{}", source="s", type=sent.type)
    again = letters([stored(e) for e in (sent, foreign, found.note(), sent, found.note())] + [Stored(None, 0, "9")])
    assert [(one.id, one.replays) for one in again] == [(sent.id, 2)]


def test_a_replay_counts_for_its_group_alone() -> None:
    event, sent = one_letter()
    replayed = letters([stored(sent)])[0].replayed()
    assert applies(replayed, "g") and not applies(replayed, "other")
    assert applies(event, "g") and applies(event, "other")


@pytest.mark.parametrize("limit", [1024, 900_000, 10_000_000])
def test_a_letter_of_the_largest_event_with_an_endless_cause_fits(limit: int) -> None:
    settings = LogSettings(("t",), max_event_bytes=limit)
    empty = Event.create("t", "Δ", b"", source="s", content_type="application/octet-stream")
    event, sent = one_letter(b"\xff" * (limit - empty.size()), "é\ud800" * 1_000_000)
    assert event.size() <= limit
    assert sent.size() <= size_limit(settings, sent)
    replayed = letters([stored(sent)])[0].replayed()
    assert replayed.size() <= size_limit(settings, replayed)


def test_a_replayed_event_takes_effect_once_for_the_group_that_set_it_aside(bench: Bench) -> None:
    bench.bad = {b"2", b"4"}
    sent = {payload: bench.bus.publish("t", "k", payload).event_id for payload in (b"1", b"2", b"3", b"4")}
    bench.subscribe()
    eventually(lambda: len(desk.find(bench.bus, "t")) == 2 and bench.payloads("easy") == [b"1", b"2", b"3", b"4"])
    bench.bad = set()

    first = desk.choose(desk.find(bench.bus, "t"), [sent[b"4"]], again=False)
    assert desk.replay(bench.bus, first.replay).failed == {}
    eventually(lambda: bench.payloads("picky") == [b"1", b"3", b"4"])
    rest = desk.choose(desk.find(bench.bus, "t", "picky"), (), again=False)
    assert [one.event.payload for one in rest.replay if one.event] == [b"2"]
    assert [why for _, why in rest.passed_over] == ["it was replayed before: give --again to do it once more"]
    done = desk.replay(bench.bus, rest.replay).done
    assert done == [one.id for one in rest.replay]
    eventually(lambda: bench.payloads("picky") == [b"1", b"3", b"4", b"2"])
    assert {payload: id for id, payload in bench.taken["picky"]} == sent

    nothing = desk.choose(desk.find(bench.bus, "t"), (), again=False)
    assert nothing.replay == () and len(nothing.passed_over) == 2
    assert len(desk.choose(desk.find(bench.bus, "t"), (), again=True).replay) == 2
    bench.bus.publish("t", "k", b"5")
    eventually(lambda: bench.payloads("easy") == [b"1", b"2", b"3", b"4", b"5"])


def test_what_is_rejected_again_is_a_letter_of_its_own(bench: Bench) -> None:
    bench.bad = {b"1"}
    bench.bus.publish("t", "k", b"1")
    bench.subscribe()
    eventually(lambda: len(desk.find(bench.bus, "t")) == 1)
    desk.replay(bench.bus, desk.find(bench.bus, "t"))
    eventually(lambda: len(desk.find(bench.bus, "t")) == 2)
    old, new = desk.find(bench.bus, "t")
    assert (old.replays, new.replays) == (1, 0)
    assert old.event is not None and new.event is not None and old.event.id == new.event.id


def test_an_id_that_no_letter_has_is_named(bench: Bench) -> None:
    _, sent = one_letter()
    choice = desk.choose(letters([stored(sent)]), ["nobody", sent.id], again=False)
    assert choice.unknown == ("nobody",)
    with pytest.raises(UnknownTopic, match=r"u\.dead_letter"):
        desk.find(bench.bus, "u")


def test_letters_of_another_group_are_left_alone(bench: Bench) -> None:
    _, sent = one_letter()
    bench.bus.publish_event(sent).result(2)
    assert desk.find(bench.bus, "t", "elsewhere") == []
    assert [one.id for one in desk.find(bench.bus, "t", "g")] == [sent.id]
