"""What is known of a history of bars: the manifest beside it in a catalog, and what the backtesting service tells."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import BaseModel, ConfigDict, Field

SYMBOL_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class Split(BaseModel):
    """`ratio` shares for one, from the bars of `date` on: all before it are adjusted."""

    model_config = ConfigDict(frozen=True)

    date: date
    ratio: float


class History(BaseModel):
    """Bars of one symbol. `period_seconds`: how long each is, in seconds; `first` and `last`: when the first and the
    last opened, UTC; `sha256`: of the bars themselves (of the file where it is a CSV file of the service); `source` and
    `source_sha256`: the file that they were read from; `timezone`: of its clock, and of its days; null where it was not
    asked for."""

    model_config = ConfigDict(frozen=True)

    symbol: str = Field(pattern=SYMBOL_PATTERN)
    period_seconds: int = Field(gt=0)
    count: int = Field(gt=0)
    first: datetime
    last: datetime
    sha256: str
    source: str
    source_sha256: str
    timezone: str | None = None
    splits: tuple[Split, ...] = ()
