"""Files of bars: what is read of good ones, and which row of a bad one is refused, why, and with which fix."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from adapters.backtesting.bars import DAY_NS, Bars
from adapters.backtesting.histories import HistoryError, Options, plain_parquet
from adapters.backtesting.histories.catalog import digest
from adapters.backtesting.histories.reading import read
from adapters.csv_bars import SHIPPED, load_bars
from tests.unit.backtesting.history_files import NOW, at, csv, parquet, taken

ROOT = Path(__file__).parents[3]
NEW_YORK = {"timezone": "America/New_York"}
MINUTES = ("2020-01-02 09:30", "2020-01-02 09:31", "2020-01-02 09:32")
PLAIN: dict[str, list[Any]] = {
    "open": [10.0] * 3,
    "high": [12.0] * 3,
    "low": [9.0] * 3,
    "close": [11.0] * 3,
    "volume": [100] * 3,
}
MINUTE_NS = 60 * 10**9


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 10**9


@pytest.mark.parametrize("symbol", SHIPPED)
def test_shipped_histories_pass_by_the_defaults_as_they_always_were(symbol: str) -> None:
    made = read(SHIPPED[symbol].read_bytes(), "shipped", symbol, Options(), time.time_ns())
    assert digest(made.bars) == digest(Bars.daily(symbol, load_bars(SHIPPED[symbol])))


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        (b"", {}, "x.csv lacks the columns timestamp or datetime or date, open"),
        (csv(), {}, "x.csv holds no bars"),
        (csv("1,2", header="date,open"), {}, "lacks the columns high, low, close, volume; it has: date, open"),
        (csv("2020-01-02,1,1,1,1,1,1", header="Date,Open,open,High,Low,Close,Volume"), {}, "two columns open"),
        (b"\xff\xfe\x00\x01", {}, "neither CSV in UTF-8, nor .gz of it, nor Parquet"),
        (csv("2020-01-02,1,1,1,1,1", "2020-01-03,1").replace(b",1\n", b",\x82\n"), {}, "Line 2 has the byte 0x82"),
        (at(["2020-01-02", "9020-01-03"]), {}, "line 3: time is '9020-01-03', no time"),
        (gzip.compress(csv("2020-01-02,1,1,1,1,1") * 99, mtime=0)[:-9], {}, "cannot be unpacked"),
        (parquet(**PLAIN)[:-7], {}, "cannot be read as Parquet"),
        (parquet(**PLAIN), {}, "lacks the columns timestamp or datetime or date"),
        (parquet(date=["2020-01-02"] * 3, **{**PLAIN, "low": [b"x"] * 3}), {}, "column low is of type binary: give"),
        (parquet(date=[1, 2, 3], **PLAIN), {}, "times are of type int64: give dates, timestamps, or text"),
        (csv("2020-01-02,1,1,1,1"), {}, "line 2: 5 fields in place of 6: '2020-01-02,1,1,1,1'"),
        (csv("2020-01-02,1,1,one,1,1"), {}, "line 2: low is 'one', no number\nFix: give a plain number"),
        (csv("", "2020-01-02,1,1,1,1,-1"), {}, "line 3: volume is -1.0, not a finite number of at least 0"),
        (csv("2020-01-02,1,1,,1,1"), {}, "line 2: low is nan, not a positive finite price"),
        (csv("2020-01-02,0,1,1,1,1"), {}, "line 2: open is 0.0, not a positive finite price"),
        (csv("2020-01-02,1,inf,1,1,1"), {}, "line 2: high is inf, not a positive finite price"),
        (csv("2020-01-02,1,0.9,0.8,1,1"), {}, "line 2: high is 0.9, below another price of the bar\nFix: correct"),
        (csv("2020-01-02,2,3,2.1,3,1"), {}, "line 2: low is 2.1, above another price of the bar"),
        (csv("2020-01-02,1,1,1,1,1e14"), {}, "line 2: volume is 100000000000000.0, above 34028236692093"),
        (csv(f"2020-01-02,{1 / 81},1,0.01,1,1"), {}, "of more than 16 decimals\nFix: round the file to 12"),
        (at(["2020-01-02", "soon"]), {}, "line 3: time is 'soon', no time\nFix: give YYYY-MM-DD"),
        (at(["2020-01-02", "2020-02-30"]), {}, "line 3: time is '2020-02-30', no time"),
        (at(["1969-12-31", "1970-01-01"]), {}, "line 2: 1969-12-31 00:00:00 lies before 1970"),
        (at(["2025-12-31", "2026-01-03"]), {}, "line 3: 2026-01-03 00:00:00 UTC lies in the future"),
        (at(["2020-01-02", "2020-01-02"]), {}, "line 3: 2020-01-02 00:00:00 UTC stands already in line 2"),
        (at(["2020-01-03", "2020-01-02"]), {}, "line 3: 2020-01-02 00:00:00 UTC comes after a later time"),
        (at(["2020-01-02", "2020-01-13"]), {}, "line 3: 2020-01-13 00:00:00 UTC comes 11 d after the bar before it"),
        (at(["2020-01-02", "2020-01-09", "2020-01-16"]), {}, "bars that lie 7 d apart as a rule"),
        (at(MINUTES), {}, "without an offset (line 2), and no timezone is named"),
        (at(MINUTES), {"timezone": "New York"}, "timezone is 'New York', which is no time zone"),
        (at(["2020-01-02T09:30Z", "2020-01-02T09:31Z", "2020-01-02 09:32"]), {}, "line 4: time is '2020-01-02 09:32'"),
        (at(["2020-01-02T09:30Z"]), {}, "x.csv has one bar: how long it is cannot be seen"),
        (at(["2020-01-02T05:00Z", "2020-01-03T05:00Z"]), {}, "bars of 1 d that open at an hour of the day"),
        (at([f"2020-01-02T09:{minute:02}Z" for minute in (0, 7, 14)]), {}, "bars of 420 s, which NautilusTrader does"),
        (at([*MINUTES, "2020-01-02 09:34"]), NEW_YORK, "line 5: 2020-01-02 14:34:00 UTC comes 2 min after"),
        (at([*MINUTES, "2020-01-02 09:32:30"]), NEW_YORK, "30 s after the bar before it; most bars here are of 1"),
        (at([*MINUTES, "2020-01-02 09:34:30"]), {**NEW_YORK, "max_gap": "any"}, "2.5 min after the bar before it"),
        (at([*MINUTES, "2020-01-14 09:32"]), NEW_YORK, "line 5: 2020-01-14 14:32:00 UTC comes 12 d after"),
        (
            at(["2020-03-08 01:59", "2020-03-08 02:00", "2020-03-08 03:00"]), NEW_YORK,
            "line 3: 2020-03-08 02:00:00 in America/New_York: there is no such time",
        ),
        (
            at(["2020-11-01 00:59", "2020-11-01 01:00"]), NEW_YORK,
            "line 3: 2020-11-01 01:00:00 in America/New_York: there are two such times",
        ),
        (
            csv("2020-08-28,500,505,495,500,9", "2020-08-31,127,130,120,129,9"), {},
            "line 3: opens at 127 after a close of 500, as in a split of 4: splits=2020-08-31:4\nFix: give the splits",
        ),
        (
            csv("2020-08-28,1,1,1,1,9", "2020-08-31,10,10,9,9,9"), {},
            "as in a split of 1/10: splits=2020-08-31:1/10",
        ),
        (
            at(["2020-01-02", "2020-01-03"], "10,10,10,10,1"), {"splits": "2020-01-03:4"},
            "line 3: opens at 10 after a close of 2.5, as in a split of 1/4",
        ),
        (at(["2020-01-02", "2020-01-03"]), {"splits": "2020-01-02:4"}, "x.csv has no bars before it, or none since"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_row_reason_and_fix(content: bytes, options: dict[str, str], says: str) -> None:
    with pytest.raises(HistoryError) as refused:
        taken(content, **options)
    assert says in str(refused.value)


def test_all_problems_are_counted_and_the_first_of_each_kind_are_named() -> None:
    lines = [f"2020-01-{day:02},1,0.5,0.5,1,1" for day in range(1, 8)]
    with pytest.raises(HistoryError) as refused:
        taken(csv(*lines, lines[-1]))
    told = str(refused.value)
    assert told.startswith("x.csv has 9 problems, nothing of it was taken:\nline 9: 2020-01-07 00:00:00 UTC stands")
    assert "line 2: high is 0.5" in told and "line 5" not in told
    assert told.endswith("and 5 more of this kind. Fix: correct these bars in the file, or leave them out")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_gap": "2 hours"}, "max_gap is '2 hours': give a span of time as 90m, 2h or 14d, or 'any'"),
        ({"splits": "2020-08-31"}, "splits has '2020-08-31': give date:ratio"),
        ({"splits": "2020-08-31:1"}, "splits has '2020-08-31:1'"),
        ({"splits": "2020-08-31:4/0"}, "splits has"),
        ({"splits": "2020-08-31:4,2020-08-31:2"}, "splits names 2020-08-31 twice"),
        ({"jumps": "yes"}, "jumps is 'yes': leave it out, or say 'allowed'"),
        ({"timezone": "../etc/passwd"}, "no time zone"),
    ],
)
def test_what_is_said_of_a_file_must_be_understood(options: dict[str, str], says: str) -> None:
    with pytest.raises(HistoryError) as refused:
        Options.parsed(**options)
    assert says in str(refused.value)


def test_columns_come_in_any_order_and_case_and_others_are_passed_over() -> None:
    made = taken(csv("5,9,11,12,?,10,1/2/2020", header="VOLUME, low ,Close,HIGH,Adj Close,open,date"))
    bars = made.bars
    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0], bars.volume[0]) == (10, 12, 9, 11, 5)
    assert (bars.opened[0], bars.closed[0]) == (ns("2020-01-02T00:00Z"), ns("2020-01-03T00:00Z") - 1)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (at(MINUTES), NEW_YORK),
        (at([f"{text}-05:00" for text in MINUTES]), {}),
        (at([f"{text.replace('09:', '14:')}Z" for text in MINUTES]), {}),
        (gzip.compress(at([f"{text}:00" for text in MINUTES]), mtime=0), NEW_YORK),
        (parquet(Timestamp=[datetime.fromisoformat(text) for text in MINUTES], **PLAIN), NEW_YORK),
        (parquet(datetime=[datetime.fromisoformat(f"{text}-05:00") for text in MINUTES], **PLAIN), {}),
        (parquet(timestamp=list(MINUTES), **PLAIN), NEW_YORK),
    ],
)
def test_one_minute_is_the_same_however_it_is_written(content: bytes, options: dict[str, str]) -> None:
    bars = taken(content, **options).bars
    first = ns("2020-01-02T14:30Z")
    assert bars.opened.tolist() == [first, first + MINUTE_NS, first + 2 * MINUTE_NS]
    assert (bars.closed - bars.opened).tolist() == [MINUTE_NS - 1] * 3


@pytest.mark.parametrize(
    "content",
    [
        at(["2020-01-02", "2020-01-03"]),
        at(["2020-01-02 00:00:00", "2020-01-03 00:00:00"]),
        parquet(date=[date(2020, 1, 2), date(2020, 1, 3)], **{name: column[:2] for name, column in PLAIN.items()}),
    ],
)
def test_days_need_no_time_zone(content: bytes) -> None:
    assert taken(content).bars.opened.tolist() == [ns("2020-01-02T00:00Z"), ns("2020-01-03T00:00Z")]


def test_days_that_are_told_as_instants_are_days_of_the_zone_that_is_named() -> None:
    midnights = at(["2020-03-28T23:00Z", "2020-03-29T22:00Z"])  # of Berlin, whose clock goes forward between
    assert taken(midnights, timezone="Europe/Berlin").bars.opened.tolist() == [
        ns("2020-03-29T00:00Z"),
        ns("2020-03-30T00:00Z"),
    ]


@pytest.mark.parametrize(
    ("zone", "local", "utc"),
    [
        ("America/New_York", "2020-03-06 09:30", "2020-03-06T14:30Z"),
        ("America/New_York", "2020-03-09 09:30", "2020-03-09T13:30Z"),
        ("America/New_York", "2020-03-08 03:00", "2020-03-08T07:00Z"),
        ("Australia/Lord_Howe", "2020-04-05 01:28", "2020-04-04T14:28Z"),  # which puts its clock back by half an hour
        ("Australia/Lord_Howe", "2020-04-05 02:00", "2020-04-04T15:30Z"),
        ("America/Sao_Paulo", "2018-11-04 01:00", "2018-11-04T03:00Z"),  # where a midnight was skipped
        ("Asia/Kolkata", "2020-01-02 09:15", "2020-01-02T03:45Z"),
    ],
)
def test_a_clock_is_that_of_its_zone_on_each_day(zone: str, local: str, utc: str) -> None:
    later = (datetime.fromisoformat(local) + timedelta(minutes=1)).isoformat(" ")
    assert taken(at([local, later]), timezone=zone).bars.opened[0] == ns(utc)


def test_the_clock_of_this_machine_changes_nothing() -> None:
    code = (
        "from adapters.backtesting.histories.catalog import digest\n"
        "from tests.unit.backtesting.history_files import at, taken\n"
        f"print(digest(taken(at({MINUTES!r}), **{NEW_YORK!r}).bars), digest(taken(at(['2020-01-02'])).bars))"
    )
    env = {**os.environ, "TZ": "Pacific/Kiritimati"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [digest(taken(at(MINUTES), **NEW_YORK).bars), digest(taken(at(["2020-01-02"])).bars)]


def test_gaps_may_be_allowed_as_far_as_they_are_meant() -> None:
    lunch = at([*MINUTES, "2020-01-02 10:33"])  # an hour without a bar
    assert len(taken(lunch, **NEW_YORK, max_gap="1h").bars) == 4
    with pytest.raises(HistoryError, match="1 h without a bar"):
        taken(lunch, **NEW_YORK, max_gap="59m")
    assert len(taken(at(["2020-01-02", "2020-03-02"]), max_gap="60d").bars) == 2
    assert len(taken(at(["2020-01-02", "2021-03-02"]), max_gap="any").bars) == 2
    with pytest.raises(HistoryError, match="11 d after"):  # what is given raises the default alone
        taken(at(["2020-01-02", "2020-01-13"]), max_gap="1h")


def test_a_day_is_that_of_the_market() -> None:
    """Sydney's session lies on two days of UTC: between them is its night, which is no gap."""
    day = [f"2020-01-{number}T{hour}:00Z" for number, hour in (("02", 23), ("03", "00"), ("03", "01"))]
    night = [f"2020-01-{number}T{hour}:00Z" for number, hour in (("03", 23), ("04", "00"), ("04", "01"))]
    assert len(taken(at([*day, *night]), timezone="Australia/Sydney").bars) == 6
    with pytest.raises(HistoryError, match="give its timezone"):
        taken(at([*day, *night]))


def test_splits_adjust_all_bars_before_them() -> None:
    days = csv(
        "2020-08-27,504,506,495,500.04,10", "2020-08-28,504.05,505.77,498.31,499.23,20",
        "2020-08-31,127.58,131,126,129.04,40", "2020-09-01,13,13.1,12.9,13,400", "2020-09-02,13,13.1,12.9,13,400",
    )  # fmt: skip
    made = taken(days, splits="2020-09-01:10,2020-08-31:4").bars
    assert made.close.tolist() == [12.501, 12.48075, 12.904, 13, 13]
    assert made.volume.tolist() == [400, 800, 400, 400, 400]
    assert np.all(made.high >= made.close) and np.all(made.opened[1:] - made.opened[:-1] >= DAY_NS)
    assert taken(days, jumps="allowed").bars.close[0] == 500.04
    joined = csv("2020-01-02,1,1,1,1,30", "2020-01-03,10,10,10,10,3")
    assert taken(joined, splits="2020-01-03:1/10").bars.volume.tolist() == [3, 3]


def test_parquet_may_hold_any_kind_of_numbers() -> None:
    columns = {**PLAIN, "open": pa.array([10, 10, 10], pa.int32()), "volume": pa.array([1, 2, 3], pa.float32())}
    assert taken(parquet(date=["2020-01-02", "2020-01-03", "2020-01-06"], **columns)).bars.volume.tolist() == [1, 2, 3]


@pytest.mark.parametrize("content", [at([f"{minute}Z" for minute in MINUTES]), at(["2020-01-02", "2020-01-03"])])
def test_what_is_fetched_can_be_sent_again(content: bytes) -> None:
    bars = taken(content).bars
    assert digest(taken(plain_parquet(bars, {"symbol": "X"})).bars) == digest(bars)


def test_a_row_of_parquet_is_named_by_its_number() -> None:
    days = ["2020-01-02", None, "2020-01-06"]
    with pytest.raises(HistoryError, match="row 2: time is None, no time"):
        taken(parquet(date=days, **PLAIN))
    with pytest.raises(HistoryError, match="row 2: it has no time"):
        taken(parquet(date=[day and date.fromisoformat(day) for day in days], **PLAIN))


def test_now_is_what_it_is_given() -> None:
    with pytest.raises(HistoryError, match="lies in the future"):
        read(at(["2020-01-02"]), "x.csv", "X", Options(), NOW - 10 * 365 * DAY_NS)
