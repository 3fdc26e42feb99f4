"""Bars from CSV files: those that are shipped (services/market_feed/data), and those that a user gives."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from contracts.histories import SYMBOL_PATTERN
from contracts.market import Bar, bar_problem

_DATA = Path(__file__).resolve().parents[1] / "services" / "market_feed" / "data"
SHIPPED: Mapping[str, Path] = {"SP500": _DATA / "sp500.csv.gz", "NASDAQ": _DATA / "nasdaq.csv.gz"}
"""Daily bars of two indices, 1999 to 2018; source and licence stand beside the files."""
_NUMBERS = ("open", "high", "low", "close", "volume")


class BarsError(ValueError):
    """A source of bars that cannot be used: file and line, what is wrong, the form it must have."""


def parse_sources(text: str) -> dict[str, Path]:
    """`SYMBOL=/path/bars.csv[.gz]`, comma-separated, as symbol -> file. Raises BarsError."""
    sources: dict[str, Path] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        symbol, sign, path = item.partition("=")
        if not sign or not path or not re.fullmatch(SYMBOL_PATTERN, symbol):
            raise BarsError(f"{item!r} is not SYMBOL=/path/bars.csv (a symbol has letters, digits, '.', '_' and '-')")
        if symbol in sources:
            raise BarsError(f"the symbol {symbol!r} is given twice: their bars would be mixed")
        sources[symbol] = Path(path)
    if not sources:
        raise BarsError("it names no file: there would be no bars. Give SYMBOL=/path/bars.csv")
    return sources


def load_bars(path: Path) -> list[Bar]:
    """The bars of a CSV file with the columns Date, Open, High, Low, Close, Volume in any order and case;
    others are passed over. Oldest first. Raises BarsError naming the line."""
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BarsError(f"{path} cannot be read: {error}. Give a CSV file, plain or .gz, in UTF-8") from None
    rows = csv.reader(io.StringIO(text))
    header = [name.strip().lower() for name in next(rows, [])]
    missing = [name for name in ("date", *_NUMBERS) if name not in header]
    if missing:
        raise BarsError(f"{path} lacks the columns {', '.join(missing)}: its first line must name them")
    places = {name: header.index(name) for name in ("date", *_NUMBERS)}
    bars: list[Bar] = []
    for row in rows:
        if row:
            bar = _bar(row, places, f"{path}, line {rows.line_num}")
            if bars and bar.date <= bars[-1].date:
                raise BarsError(f"{path}, line {rows.line_num}: {bar.date} comes after {bars[-1].date}. Sort it")
            bars.append(bar)
    if not bars:
        raise BarsError(f"{path} holds no bars")
    return bars


def _bar(row: Sequence[str], places: Mapping[str, int], where: str) -> Bar:
    try:
        day = _day(row[places["date"]].strip())
        numbers = {name: float(row[places[name]]) for name in _NUMBERS}
    except (ValueError, IndexError) as error:
        raise BarsError(f"{where}: {error}. A bar has a date (YYYY-MM-DD or M/D/YYYY) and five numbers") from None
    problem = bar_problem(numbers)
    if problem:
        raise BarsError(f"{where}: {problem}. Correct the bar or leave it out")
    return Bar(date=day, **numbers)


def _day(text: str) -> date:
    if "/" in text:
        # The form of the shipped files. Days before months would soon break the order, and be refused.
        month, day, year = (int(part) for part in text.split("/"))
        return date(year, month, day)
    return date.fromisoformat(text)
