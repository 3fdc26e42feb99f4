"""The maintenance window: days, wall-clock hours, over midnight, and over the clock's own leaps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.windows import EXAMPLE, InvalidWindow, Window

NEW_YORK = ZoneInfo("America/New_York")


def at(text: str, zone: ZoneInfo = NEW_YORK) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("moment", "open_"),
    [
        ("2026-11-28 21:59", False),  # a Saturday
        ("2026-11-28 22:00", True),
        ("2026-11-29 01:59", True),
        ("2026-11-29 02:00", False),
        ("2026-11-29 23:00", True),
        ("2026-11-30 01:00", True),  # Monday, of Sunday's
        ("2026-11-30 22:30", False),
        ("2026-11-28 01:00", False),  # of Friday's, which is none
    ],
)
def test_it_reaches_over_midnight(moment: str, open_: bool) -> None:
    window = Window.parse(EXAMPLE)
    assert window.open(at(moment)) is open_
    assert window.open(at(moment).astimezone(UTC)) is open_


def test_days_may_go_round_the_week_and_the_zone_is_utc_where_none_is_named() -> None:
    window = Window.parse("Fri-Mon,wed 06:00-08:00")
    assert sorted(window.days) == [0, 2, 4, 5, 6]
    assert window.open(at("2026-11-30 06:00", ZoneInfo("UTC")))
    assert not window.open(at("2026-12-01 06:00", ZoneInfo("UTC")))


@pytest.mark.parametrize(
    "text", ["", "always", "Sat 22:00", "Sat 25:00-02:00", "Foo 22:00-23:00", "Sat 22:00-23:00 Nowhere/City", "Sat,"]
)
def test_what_is_no_window_says_why(text: str) -> None:
    with pytest.raises(InvalidWindow, match=r"."):
        Window.parse(text)


_CLOCK = st.times().map(lambda time: f"{time:%H:%M}")
_WINDOWS = st.builds(
    lambda days, begins, ends, zone: Window.parse(f"{','.join(sorted(days))} {begins}-{ends} {zone}"),
    st.sets(st.sampled_from(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]), min_size=1),
    _CLOCK,
    _CLOCK,
    st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
)
_MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds


@given(_WINDOWS, _MOMENTS)
def test_where_it_is_closed_it_says_when_it_opens(window: Window, moment: datetime) -> None:
    opens = window.opens_after(moment)
    assert moment < opens <= moment + timedelta(days=8)
    assert opens.weekday() in window.days
    assert opens.time() == window.begins
