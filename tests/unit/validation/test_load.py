"""The load generator on an in-memory bus: what it writes down, and that spoiled runs are told."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapters.database.base import Received
from adapters.database.memory import MemoryTradingStore
from adapters.event_bus.base import LogSettings
from adapters.event_bus.errors import BackendUnavailable
from adapters.event_bus.factory import fixed_route
from adapters.event_bus.interface import EventBus
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.memory_server import MemoryServer
from adapters.event_bus.routed import RoutedEventBus
from adapters.routes.memory import MemoryRouteStore
from contracts.envelope import Event
from contracts.market import parse_tick
from contracts.names import MARKET_DATA
from validation.event_bus import Rules
from validation.load import __main__ as command
from validation.load import marks, verifying
from validation.load.consuming import Consuming
from validation.load.effects import judge_effects
from validation.load.meeting import stop_path, until
from validation.load.publishing import Publishing, Schedule
from validation.result import Verdict

GROUPS = ("a", "b")
RATE = 400.0
SETTINGS = LogSettings(topics=(MARKET_DATA,))


@pytest.fixture
def bus() -> Iterator[EventBus]:
    server = MemoryServer()
    bus = RoutedEventBus(
        MemoryRouteStore(fixed_route("memory", SETTINGS)),
        lambda name: MemoryLog(name, SETTINGS, server),
        SETTINGS,
        "test",
    )
    MemoryLog("memory", SETTINGS, server).ensure()
    yield bus
    bus.close()


def run_load(bus: EventBus, folder: Path, seconds: float = 1.0) -> dict[str, str]:
    """A whole run; how each consumer ended."""
    ended: dict[str, str] = {}

    def consume(group: str) -> None:
        ended[group] = Consuming(bus, folder, run="r1", group=group).run(lambda: False, lambda _: None)

    threads = [threading.Thread(target=consume, args=(group,)) for group in GROUPS]
    for thread in threads:
        thread.start()
    publishing = Publishing(bus, folder, Schedule(run="r1", rate=RATE, seconds=seconds), lambda _: None)
    assert publishing.await_consumers(GROUPS, 10) == ()
    publishing.run(lambda: False)
    for thread in threads:
        thread.join(20)
    return ended


def test_a_clean_run_holds(bus: EventBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("validation.load.consuming.LINGER_SECONDS", 0.1)
    assert run_load(bus, tmp_path) == {"a": "drained", "b": "drained"}
    reports = verifying.verify(tmp_path, GROUPS, Rules(min_rate=RATE), {})
    assert verifying.verdict_of(reports) is Verdict.HOLDS, reports[verifying.WHOLE].failures()
    figures = reports[verifying.WHOLE].figures
    assert figures["acknowledged"] == RATE
    assert figures["delivered"] == len(GROUPS) * RATE
    again = verifying.from_json(verifying.to_json(reports))
    assert again == reports


def test_an_event_published_past_the_ledger_is_foreign(
    bus: EventBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validation.load.consuming.LINGER_SECONDS", 0.5)
    intruder = threading.Timer(0.8, bus.publish, (MARKET_DATA, "LOAD-1", marks.payload("LOAD-1", 0, 7, "r1")))
    intruder.start()
    run_load(bus, tmp_path)
    intruder.join()
    reports = verifying.verify(tmp_path, GROUPS, Rules(min_rate=RATE), {})
    assert {check.name for check in reports[verifying.WHOLE].failures()} == {"a: foreign", "b: foreign"}
    assert verifying.exit_code(reports) == verifying.EXIT_DOES_NOT_HOLD


class Failing:
    """A bus on which every hundredth publish fails at its caller."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._count = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._bus, name)

    def publish_event(self, event: object) -> object:
        self._count += 1
        if self._count > 50 and self._count % 100 == 0:
            raise BackendUnavailable("away for a moment")
        return self._bus.publish_event(event)  # type: ignore[arg-type]  # handed through as it came


def test_what_callers_saw_fail_is_counted(bus: EventBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("validation.load.consuming.LINGER_SECONDS", 0.1)
    run_load(Failing(bus), tmp_path)  # type: ignore[arg-type]  # a bus in all that the load uses
    reports = verifying.verify(tmp_path, GROUPS, Rules(min_rate=RATE), {})
    assert reports[verifying.WHOLE].figures["caller_errors"] == 4
    assert [check.name for check in reports[verifying.WHOLE].failures()] == ["errors seen by callers"]


def claim(store: MemoryTradingStore, note: Received) -> None:
    store.run(lambda tx: tx.claim("engine", [note]))


def test_the_effects_in_a_database_are_judged_like_a_group(
    bus: EventBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validation.load.consuming.LINGER_SECONDS", 0.1)
    store = MemoryTradingStore()

    def take(events: Sequence[Event]) -> None:
        for event in events:
            note = Received(
                event_id=event.id,
                topic=event.topic,
                key=event.key,
                sequence=parse_tick(event.payload).sequence,
                payload_sha256=hashlib.sha256(event.payload).digest(),
            )
            claim(store, note)

    bus.subscribe([MARKET_DATA], "engine", take)
    run_load(bus, tmp_path)
    assert judge_effects(tmp_path, store, "engine", 5.0).failures() == ()
    missing = judge_effects(tmp_path, store, "nobody", 0.0)
    assert [check.name for check in missing.failures() if check.outcome is Verdict.DOES_NOT_HOLD] == ["nobody: lost"]


def test_a_stopped_consumer_proves_nothing(bus: EventBus, tmp_path: Path) -> None:
    stopped = threading.Event()
    folder = tmp_path
    consumers = [Consuming(bus, folder, run="r1", group=group) for group in GROUPS]
    threads = [threading.Thread(target=c.run, args=(stopped.is_set, lambda _: None)) for c in consumers]
    for thread in threads:
        thread.start()
    publishing = Publishing(bus, folder, Schedule(run="r1", rate=RATE, seconds=60), lambda _: None)
    assert publishing.await_consumers(GROUPS, 10) == ()
    publisher = threading.Thread(target=publishing.run, args=(lambda: False,))
    publisher.start()
    time.sleep(0.5)  # some load, as long as it lasts
    stopped.set()
    for thread in threads:
        thread.join(20)
    stop_path(folder).touch()
    publisher.join(20)
    reports = verifying.verify(folder, GROUPS, Rules(min_rate=RATE), {})
    assert verifying.verdict_of(reports) is Verdict.COULD_NOT_CHECK


def test_without_consumers_nothing_is_published(bus: EventBus, tmp_path: Path) -> None:
    publishing = Publishing(bus, tmp_path, Schedule(run="r1", rate=RATE, seconds=1), lambda _: None)
    assert publishing.await_consumers(("a",), 0.5) == ("a",)
    assert list(tmp_path.iterdir()) == []


def test_the_payload_is_a_bar_that_the_engine_takes() -> None:
    for key_number, symbol in enumerate(marks.symbols()):
        for sequence in (0, 1, 99, 365_001):
            data = marks.payload(symbol, key_number, sequence, "r1")
            tick = parse_tick(data)
            assert (tick.symbol, tick.sequence) == (symbol, sequence)
            assert marks.Reader("r1").read(data).sequence == sequence
            assert not marks.Reader("r2").read(data).ours


@pytest.mark.parametrize("text", ["", "x", "x=1", "x=2:1", "=1:2", "x=a:b", "x=1:1"])
def test_a_window_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(verifying.BadWindow):
        verifying.parse_window(text)


def test_verify_says_by_its_exit_status_that_it_could_not_check(tmp_path: Path) -> None:
    result = CliRunner().invoke(command.app, ["verify", "--folder", str(tmp_path), "--json"])
    assert result.exit_code == verifying.EXIT_COULD_NOT_CHECK
    line = next(line for line in result.output.splitlines() if line.startswith("{"))
    assert verifying.verdict_of(verifying.from_json(line)) is Verdict.COULD_NOT_CHECK


def test_waiting_ends_when_told() -> None:
    assert not until(lambda: False, 60, give_up=lambda: True)
