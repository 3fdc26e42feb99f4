"""The market feed: which bars, in which order, at which rate; and the files that it reads."""

from __future__ import annotations

import gzip
import itertools
import time
from collections import defaultdict
from datetime import date
from pathlib import Path

import pytest

from adapters.csv_bars import SHIPPED, BarsError, load_bars, parse_sources
from adapters.event_bus import BackendUnavailable
from contracts.market import Bar, parse_tick
from contracts.names import MARKET_DATA, MARKET_FEED_NAME
from services.common.settings import SettingsError
from services.market_feed.feed import Feed, ticks
from services.market_feed.settings import FeedSettings
from tests.unit.services.buses import RecordingBus


def bar(day: int) -> Bar:
    return Bar(date=date(2020, 1, day), open=1.0, high=2.0, low=1.0, close=2.0, volume=0.0)


def test_symbols_take_turns_and_start_anew_with_the_sequence_going_on() -> None:
    made = list(itertools.islice(ticks({"A": [bar(1), bar(2)], "B": [bar(5)]}), 6))
    assert [(symbol, sequence, one.date.day) for symbol, sequence, one in made] == [
        ("A", 0, 1), ("B", 0, 5), ("A", 1, 2), ("B", 1, 5), ("A", 2, 1), ("B", 2, 5),
    ]  # fmt: skip


def test_bars_arrive_whole_in_sequence_and_at_the_rate() -> None:
    bus = RecordingBus()
    feed = Feed(bus, {symbol: load_bars(path) for symbol, path in SHIPPED.items()}, rate=2_000.0)
    begun = time.monotonic()
    feed.start()
    with bus.arrived:
        assert bus.arrived.wait_for(lambda: len(bus.published) >= 600, 10.0)
    took = time.monotonic() - begun
    feed.stop(5.0)
    assert took >= 0.28, "600 events at 2,000 a second are not there sooner"
    by_key = defaultdict(list)
    for event in bus.published:
        assert event.topic == MARKET_DATA
        tick = parse_tick(event.payload)
        assert tick.symbol == event.key
        by_key[event.key].append(tick)
    for key, made in by_key.items():
        assert [tick.sequence for tick in made] == list(range(len(made)))
        assert [tick.bar for tick in made] == load_bars(SHIPPED[key])[: len(made)]
    state = feed.state
    assert (state.published, state.failed, state.in_flight) == (len(bus.published), 0, 0)


def test_stop_waits_for_what_is_in_flight_and_publishes_nothing_more() -> None:
    bus = RecordingBus()
    bus.hold = True
    feed = Feed(bus, {"A": [bar(1)]}, rate=1_000.0)
    feed.start()
    with bus.arrived:
        assert bus.arrived.wait_for(lambda: bus.held, 10.0)
    feed.stop(0.1)
    held = len(bus.held)
    assert feed.state.in_flight == held
    bus.release()
    assert (feed.state.in_flight, feed.state.published, len(bus.published)) == (0, held, held)


def test_what_the_bus_gives_up_is_counted_and_the_feed_goes_on() -> None:
    bus = RecordingBus()
    bus.refuse[MARKET_DATA] = BackendUnavailable("away")
    feed = Feed(bus, {"A": [bar(1)]}, rate=1_000.0)
    feed.start()
    try:
        with bus.arrived:
            assert bus.arrived.wait_for(lambda: feed.state.failed > 0, 10.0)
        bus.refuse.clear()
        with bus.arrived:
            assert bus.arrived.wait_for(lambda: bus.published, 10.0)
        assert feed.alive() is None
    finally:
        feed.stop(5.0)


def test_a_rate_of_zero_publishes_nothing_and_ends_in_order() -> None:
    bus = RecordingBus()
    feed = Feed(bus, {"A": [bar(1)]}, rate=0.0)
    feed.start()
    feed.stop(5.0)
    assert bus.published == []


@pytest.mark.parametrize("symbol", sorted(SHIPPED))
def test_the_shipped_histories_are_whole(symbol: str) -> None:
    bars = load_bars(SHIPPED[symbol])
    assert len(bars) == 5031
    assert (bars[0].date, bars[-1].date) == (date(1999, 1, 4), date(2018, 12, 31))


def test_a_plain_and_a_packed_file_read_alike(tmp_path: Path) -> None:
    text = "Date,Close,Open,High,Low,Extra,Volume\n2020-01-02,2,1,3,1,x,10\n1/3/2020,2,1,3,1,x,10\n"
    (tmp_path / "bars.csv").write_text("\ufeff" + text)
    (tmp_path / "bars.csv.gz").write_bytes(gzip.compress(text.encode()))
    plain = load_bars(tmp_path / "bars.csv")
    assert plain == load_bars(tmp_path / "bars.csv.gz")
    assert [one.date for one in plain] == [date(2020, 1, 2), date(2020, 1, 3)]


HEAD = "Date,Open,High,Low,Close,Volume\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "lacks the columns date, open"),
        ("Date,Open,High,Low,Close\n2020-01-02,1,1,1,1\n", "lacks the columns volume"),
        (HEAD, "holds no bars"),
        (HEAD + "2020-01-02,1,1,1,x,0\n", "line 2: could not convert"),
        (HEAD + "2020-01-02,1,1,1\n", "line 2: list index"),
        (HEAD + "2020-01-02,1,0.5,1,1,0\n", "line 2: high is 0.5"),
        (HEAD + "2020-01-02,nan,1,1,1,0\n", "line 2: open is nan"),
        (HEAD + "2020-01-02,1,1,1,1,0\n2020-01-02,1,1,1,1,0\n", "line 3: 2020-01-02 comes after 2020-01-02"),
        (HEAD + "31/12/2020,1,1,1,1,0\n", "line 2: month must be in 1..12"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "bars.csv").write_text(text)
    with pytest.raises(BarsError, match=says):
        load_bars(tmp_path / "bars.csv")


def test_a_file_that_is_not_there_or_not_packed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BarsError, match="cannot be read"):
        load_bars(tmp_path / "none.csv")
    (tmp_path / "bars.csv.gz").write_text(HEAD)
    with pytest.raises(BarsError, match="cannot be read"):
        load_bars(tmp_path / "bars.csv.gz")


def test_sources_name_symbols_and_files() -> None:
    assert parse_sources(" A=/a.csv, B=/b.csv.gz ") == {"A": Path("/a.csv"), "B": Path("/b.csv.gz")}
    for text in ("A", "=x", "A=", "A=/x,A=/y", " , ", "a b=/x"):
        with pytest.raises(BarsError):
            parse_sources(text)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"MARKET_FEED_RATE": "fast"}, "MARKET_FEED_RATE='fast' does not fit"),
        ({"MARKET_FEED_RATE": "-1"}, "MARKET_FEED_RATE='-1' does not fit"),
        ({"MARKET_FEED_RATE": "inf"}, "MARKET_FEED_RATE='inf' does not fit"),
        ({"MARKET_FEED_CSV": "SP500"}, "Set MARKET_FEED_CSV to SYMBOL=/path"),
    ],
)
def test_settings_say_what_is_wrong_and_how_to_set_it_right(env: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        FeedSettings.from_env(MARKET_FEED_NAME, env)
    assert FeedSettings.from_env(MARKET_FEED_NAME, {}).sources == SHIPPED
