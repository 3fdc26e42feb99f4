"""How far a side has what another one committed, as an emergency's fence keeps it in the route. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.postgres.driver import lsn, lsn_text
from contracts.routes import Cursor, Stranded
from cutover.positions import LSN


@dataclass(frozen=True, slots=True)
class Reached:
    """How far the hosted side has what the dead one committed, for good: to the commit at `lsn`. All from before the
    dead side's heartbeat `beat`, which it wrote at `at` by its own clock, is among it. `tied`: nothing was acknowledged
    there that is not; `unfollowed`: tables of the dead side of which nothing came over, as they were noted last."""

    lsn: int
    beat: int = 0
    at: str = ""
    tied: bool = False
    unfollowed: str = ""

    @property
    def cursor(self) -> dict[str, str]:
        """As a route keeps it."""
        told = {LSN: lsn_text(self.lsn), "beat": str(self.beat), "at": self.at}
        told |= {"unfollowed": self.unfollowed} if self.unfollowed else {}
        return told | ({"tied": "yes"} if self.tied else {})

    @classmethod
    def of(cls, cursor: Cursor) -> Reached:
        """The other way round. Raises KeyError for one that is no database's."""
        return cls(lsn(cursor[LSN]), int(cursor["beat"]), cursor["at"], "tied" in cursor, cursor.get("unfollowed", ""))

    def __str__(self) -> str:
        heartbeat = f", the last heartbeat is number {self.beat} of {self.at}" if self.beat else ", no heartbeat came"
        return f"WAL position {lsn_text(self.lsn)}{heartbeat}"


def told(tail: Stranded) -> str:
    """What is stranded, for people: exactly, once it was listed; until then as far as can be known."""
    if not tail.at_least:
        return f"{tail.count} transactions that only {tail.backend} has, from {tail.first} to {tail.last}"
    reached = Reached.of(tail.copied)
    if reached.tied:
        text = f"nothing that {tail.backend} acknowledged is missing: its commits waited ({reached})"
    else:
        text = (
            f"missing is what {tail.backend} committed beyond {reached} (by its clock); it is told one by one once "
            f"{tail.backend} is back"
        )
    if reached.unfollowed:
        text += (
            f"; but of tables that were made at {tail.backend} and not followed yet all is missing: "
            f"{reached.unfollowed}"
        )
    return text
