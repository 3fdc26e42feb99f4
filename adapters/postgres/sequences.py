"""The values of sequences, moved to the other side with head-room: what is given out there was never given out here.

Sequences are not replicated. Their values are moved while nothing is written, so that no head-room would be needed
were all that is given out known: but a session may have taken values ahead (CACHE), and a server that is left in an
emergency is asked nothing any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapters.postgres import catalog
from adapters.postgres.catalog import SequenceState
from adapters.postgres.driver import translated
from adapters.postgres.errors import Drift
from adapters.postgres.side import Side

HEADROOM = 1000
"""Values that are skipped at a switch."""
_SET = """
select pg_catalog.setval(s.name::pg_catalog.regclass, s.value, s.called)
  from unnest(%s::text[], %s::bigint[], %s::boolean[]) as s (name, value, called)
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """What setval is to be given; `name` is quoted."""

    name: str
    value: int
    called: bool

    @property
    def statement(self) -> tuple[str, tuple[str, int, bool]]:
        """Query and values."""
        return "select pg_catalog.setval(%s::pg_catalog.regclass, %s, %s)", (self.name, self.value, self.called)


def ahead(source: SequenceState, headroom: int = HEADROOM) -> Setting:
    """Where a sequence stands as `source` does, `headroom` values later.

    One that never gave out anything gives out its first value there. Near the limit at most half of what is left is
    skipped: a sequence must not end, nor begin anew, because it was moved.
    """
    if not source.called:
        return Setting(source.qualified, source.last, False)
    limit = source.maximum if source.increment > 0 else source.minimum
    left = max(0, (limit - source.last) // source.increment)
    skipped = min(max(headroom, source.cache if source.cache > 1 else 0), left // 2)
    return Setting(source.qualified, source.last + skipped * source.increment, True)


def moved(source: SequenceState, target: SequenceState | None, headroom: int = HEADROOM) -> Setting | None:
    """What to set at the target; None where it is as far already. It never goes back: what it gave out would come
    again. Only one that cycles may, for its values come again by nature. Raises Drift where it is not there, or counts
    otherwise."""
    if target is None:
        raise Drift(f"sequence {source.qualified} is not at the other side: make it there first")
    if (source.increment, source.minimum, source.maximum) != (target.increment, target.minimum, target.maximum):
        raise Drift(
            f"sequence {source.qualified} goes by {source.increment} from {source.minimum} to {source.maximum}, at the "
            f"other side by {target.increment} from {target.minimum} to {target.maximum}: make them alike first"
        )
    wanted = ahead(source, headroom)
    if source.cycles:
        return wanted
    return wanted if _following(wanted, source.increment) > _next(target) else None


def _following(setting: Setting, increment: int) -> int:
    """The value that comes next, counted in the direction of the sequence."""
    value = setting.value + increment if setting.called else setting.value
    return value if increment > 0 else -value


def _next(state: SequenceState) -> int:
    return _following(Setting(state.qualified, state.last, state.called), state.increment)


def read(side: Side, schemas: Sequence[str]) -> tuple[SequenceState, ...]:
    """The sequences of `schemas`, exactly. The catalog tells nothing of one that was not called, or that the role may
    not read: those are asked themselves. Raises Refused where the role may not read one."""
    with translated(side.address):
        found = catalog.sequences(side.connection, schemas)
    return tuple(state if state.called else _asked(side, state) for state in found)


def _asked(side: Side, state: SequenceState) -> SequenceState:
    last, called = side.row(f"select last_value, is_called from {state.qualified}")  # noqa: S608 - the name is quoted
    return replace(state, last=last, called=called)


def move(source: Side, target: Side, schemas: Sequence[str], headroom: int = HEADROOM) -> tuple[Setting, ...]:
    """Set the sequences of the target as those of the source stand; those that were set. Raises Drift, Refused."""
    there = {state.qualified: state for state in read(target, schemas)}
    settings = [moved(state, there.get(state.qualified), headroom) for state in read(source, schemas)]
    wanted = tuple(setting for setting in settings if setting is not None)
    put(target, wanted)
    return wanted


def put(side: Side, wanted: Sequence[Setting]) -> None:
    """Set them. In one statement: writers wait meanwhile."""
    side.rows(_SET, ([s.name for s in wanted], [s.value for s in wanted], [s.called for s in wanted]))
