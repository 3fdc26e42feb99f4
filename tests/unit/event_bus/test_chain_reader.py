"""One member's way along a chain, a step at a time: no thread, no waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from adapters.event_bus.base import EventLog, LogSettings, Stored
from adapters.event_bus.bookmarks import Bookmarks
from adapters.event_bus.chain_reader import ChainReader, Turn
from adapters.event_bus.errors import BackendUnavailable
from adapters.event_bus.factory import fixed_route
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.memory_reader import MemoryReader
from adapters.event_bus.memory_server import MemoryServer
from contracts.envelope import Event
from contracts.routes import RETIRING, Progress, Route, Segment
from contracts.stages import Stage

SETTINGS = LogSettings(topics=("t",), partitions=1)


def member(
    open_log: Callable[[str], EventLog],
    taken: list[bytes],
    *,
    max_batch: int,
    newest: Callable[[], Route | None] | None = None,
    start: str = "earliest",
) -> ChainReader:
    """A member of group `g`; what takes effect is added to `taken`."""

    def take(entries: Sequence[Stored]) -> bool:
        taken.extend(entry.event.payload for entry in entries if entry.event)
        return True

    return ChainReader(
        open_log, "t", "g", "m", take,
        max_batch=max_batch, start=start, newest=newest, bookmarks=Bookmarks(open_log),
    )  # fmt: skip


def test_a_sealed_segment_that_left_the_chain_is_left_even_where_it_can_never_be_finished() -> None:
    servers = {name: MemoryServer() for name in ("redis", "kafka")}
    logs = {name: MemoryLog(name, SETTINGS, server) for name, server in servers.items()}
    taken: list[bytes] = []

    def publish(backend: str, payload: bytes, epoch: int) -> None:
        logs[backend].writer("w").submit(Event.create("t", "k", payload, source="test").under(epoch)).result(0)

    reader = member(logs.__getitem__, taken, max_batch=10)
    publish("redis", b"1", 1)
    route = fixed_route("redis", SETTINGS)
    sealed = route.chain("t")[0].model_copy(update={"end": {"0": "1"}})
    following = Segment(backend="kafka", epoch=2, start={"0": "0"})
    switched = route.model_copy(
        update={"epoch": 2, "active": "kafka", "chains": {**route.chains, "t": (sealed, following)}}
    )
    assert reader.step(switched, 0.0) is Turn.READ_ON
    # Acknowledged, but the member is frozen before it sees that the segment is finished. Meanwhile Redis is
    # retired, deleted, and made anew: nothing in it will ever reach the end that the member goes by.
    servers["redis"].topics.clear()
    servers["redis"].groups.clear()
    retired = switched.model_copy(update={"chains": {**route.chains, "t": (following,)}})
    publish("kafka", b"2", 2)
    for _ in range(3):
        reader.step(retired, 0.0)
    assert taken == [b"1", b"2"]


def test_a_member_that_is_just_leaving_a_dead_backend_can_be_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    log = MemoryLog("redis", SETTINGS, MemoryServer())
    opened = log.reader("t", "g", "m", fixed_route("redis", SETTINGS).chain("t")[0])
    leaving, let_go = threading.Event(), threading.Event()

    def close() -> None:
        leaving.set()
        assert let_go.wait(10)

    monkeypatch.setattr(opened, "close", close)
    monkeypatch.setattr(opened, "give_up", let_go.set)
    monkeypatch.setattr(log, "reader", lambda *_: opened)
    reader = member(lambda _: log, [], max_batch=10)
    reader.step(fixed_route("redis", SETTINGS), 0.0)
    thread = threading.Thread(target=reader.leave)
    thread.start()
    assert leaving.wait(10)
    reader.give_up()
    thread.join(5)
    assert not thread.is_alive()


def test_what_took_effect_does_so_once_though_its_acknowledgement_found_no_backend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = MemoryLog("redis", SETTINGS, MemoryServer())
    for payload in (b"1", b"2"):
        log.writer("w").submit(Event.create("t", "k", payload, source="test").under(1)).result(0)
    taken: list[bytes] = []
    reader = member(lambda _: log, taken, max_batch=1)
    with monkeypatch.context() as failing:
        failing.setattr(MemoryReader, "ack", lambda *_: (_ for _ in ()).throw(BackendUnavailable("away")))
        with pytest.raises(BackendUnavailable):
            reader.step(fixed_route("redis", SETTINGS), 0.0)
    for _ in range(3):
        reader.step(fixed_route("redis", SETTINGS), 0.0)
    assert taken == [b"1", b"2"]


def _two_sides() -> tuple[dict[str, MemoryLog], Route, Route]:
    """Both logs, of which Redis holds `1` and Kafka its copy and `2`; the route in scale, and once Redis has left."""
    logs = {name: MemoryLog(name, SETTINGS, MemoryServer()) for name in ("redis", "kafka")}
    copier = logs["kafka"].copier("t", "redis")
    for backend, payload, epoch in (("redis", b"1", 1), ("kafka", b"2", 2)):
        if backend == "kafka":
            copier.copy(list(logs["redis"].scan("t", {"0": "0"}, {"0": "1"})), {"0": "1"})
        logs[backend].writer("w").submit(Event.create("t", "k", payload, source="test").under(epoch)).result(0)
    first = fixed_route("redis", SETTINGS)
    chain = (
        first.chain("t")[0].model_copy(update={"end": {"0": "1"}}),
        Segment(backend="kafka", epoch=2, start={"0": "1"}),
    )
    scale = first.model_copy(update={"epoch": 2, "active": "kafka", "chains": {"t": chain}})
    alone = Segment(backend="kafka", epoch=2, start={"0": "0"}, copies=True)
    return logs, scale, scale.model_copy(update={"chains": {"t": (alone,)}})


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_a_group_does_not_begin_in_a_backend_that_has_left(start: str, sealed: bool) -> None:
    logs, scale, complete = _two_sides()
    taken: list[bytes] = []
    reader = member(logs.__getitem__, taken, max_batch=10, newest=lambda: complete, start=start)
    known = scale.chain("t")[0].model_copy(update={"end": {"0": "1"} if sealed else None})
    stale = scale.model_copy(update={"epoch": 1, "active": "redis", "chains": {"t": (known,)}})
    for _ in range(3):
        reader.step(stale, 0.0)
    assert taken == []
    for _ in range(3):
        reader.step(complete, 0.0)
    assert taken == ([b"1", b"2"] if start == "earliest" else [])


def test_a_group_waits_with_its_beginning_while_its_backend_is_being_retired() -> None:
    logs, scale, _ = _two_sides()
    progress = Progress(from_stage=Stage.SCALE, to_stage=Stage.COMPLETE, step=RETIRING, since="")
    now = scale.model_copy(update={"progress": progress})
    assert now.retires == "redis"
    taken: list[bytes] = []
    reader = member(logs.__getitem__, taken, max_batch=10, newest=lambda: now)
    assert reader.step(scale, 0.0) is Turn.IDLE
    assert taken == []
    assert [state.group for state in logs["redis"].groups("t")] == ["g"]  # so that the retirement sees it, and gives up
    now = scale
    for _ in range(4):
        reader.step(scale, 0.0)
    assert taken == [b"1", b"2"]


def test_the_route_is_asked_for_once_a_segment_and_not_believed_unheard() -> None:
    logs, scale, _ = _two_sides()
    asked: list[bool] = []
    taken: list[bytes] = []

    def newest() -> Route:
        asked.append(True)
        if len(asked) == 1:
            raise BackendUnavailable("no answer")
        return scale

    reader = member(logs.__getitem__, taken, max_batch=1, newest=newest)
    with pytest.raises(BackendUnavailable):
        reader.step(scale, 0.0)
    assert taken == []
    for n in range(3, 6):
        logs["kafka"].writer("w").submit(Event.create("t", "k", b"%d" % n, source="test").under(2)).result(0)
    for _ in range(9):
        reader.step(scale, 0.0)
    assert taken == [b"1", b"2", b"3", b"4", b"5"]
    assert len(asked) == 3
