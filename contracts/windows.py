"""The maintenance window of a stack: when its components may be moved on. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

EXAMPLE = "Sat,Sun 22:00-02:00 America/New_York"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"(?P<days>[A-Za-z,-]+) (?P<begins>\d\d:\d\d)-(?P<ends>\d\d:\d\d)(?: (?P<zone>\S+))?")


class InvalidWindow(ValueError):
    """A text that is no window: why."""


@dataclass(frozen=True, slots=True)
class Window:
    """When components may be moved on: on `days` (0: Monday) from `begins`, until `ends`, of that day or, where that is
    no later, of the next. Wall-clock time in `zone`."""

    days: frozenset[int]
    begins: time
    ends: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Window:
        """From `Mon-Fri 22:00-02:00 Europe/Berlin`; UTC where no zone is named. Raises InvalidWindow."""
        found = _WINDOW.fullmatch(text.strip())
        if found is None:
            raise InvalidWindow("it is not days, from-to, and a time zone")
        try:
            begins, ends = time.fromisoformat(found["begins"]), time.fromisoformat(found["ends"])
            zone = ZoneInfo(found["zone"] or "UTC")
        except (ValueError, ZoneInfoNotFoundError) as error:
            raise InvalidWindow(str(error)) from None
        return cls(_days(found["days"]), begins, ends, zone)

    def open(self, at: datetime) -> bool:
        """Whether `at`, which knows its zone, lies in it."""
        here = at.astimezone(self.zone)
        if self.begins < self.ends:
            return here.weekday() in self.days and self.begins <= here.time() < self.ends
        before = (here.weekday() - 1) % 7
        late = here.weekday() in self.days and here.time() >= self.begins
        return late or (before in self.days and here.time() < self.ends)

    def opens_after(self, at: datetime) -> datetime:
        """When it opens next, in its own zone."""
        here = at.astimezone(self.zone)
        for ahead in range(8):
            day = here.date() + timedelta(days=ahead)
            opens = datetime.combine(day, self.begins, self.zone)
            if day.weekday() in self.days and opens > here:
                return opens
        raise AssertionError("a window has a day")


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last and last not in _DAYS):
            raise InvalidWindow(f"{part} names no days: they are {', '.join(_DAYS)}")
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        found |= {day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)}
    return frozenset(found)
