"""What was promised and what came of it: the oracles of the model. docs/protocol.md argues each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from contracts.envelope import Event


class Violation(BaseException):
    """An invariant that does not hold. No Exception: no handler of the product may see it, lest an error of what
    it then tries takes its place."""


def demand(holds: bool, invariant: str, detail: object = "") -> None:
    """Raise Violation naming `invariant` unless `holds`."""
    if not holds:
        raise Violation(f"{invariant}: {detail}")


Line = tuple[str, int, str]
"""A publisher, which life of it, and a key. What a process had sent when it died may arrive after what its next life
sent: it is another publisher."""


@dataclass(slots=True, eq=False)
class Sent:
    """One event as its publisher gave it out, the `number`-th of its line. Times
    count what happened in the world, not seconds. `stray`:
    by a process that the cutover cannot know of. `stranded`: only the dead backend held it when traffic fled, so that
    it comes out of order. `resent`: traffic fled before its publisher had an answer, so that it was sent again, and
    whoever had it from the dead backend may be given it once more."""

    event: Event
    line: Line
    number: int
    accepted: int
    acknowledged: int | None = None
    failed: bool = False
    stray: bool = False
    stranded: bool = False
    resent: bool = False


@dataclass(slots=True, eq=False)
class Session:
    """What one member took since it last came to life. `in_hand` is what it was given and did not acknowledge."""

    backend: str
    in_hand: list[str] = field(default_factory=list)
    newest: dict[Line, int] = field(default_factory=dict)
    over: bool = False


class GroupLedger:
    """The effects of one group. An event may take effect again only where the member that had been given it
    came to an end, or lost its lease, before it acknowledged: that is what "at least once" leaves open."""

    def __init__(self, name: str, ledger: Ledger) -> None:
        self.name = name
        self._ledger = ledger
        self._sessions: list[Session] = []
        self.effects: Counter[str] = Counter()
        self._licences: Counter[str] = Counter()
        self._newest: dict[Line, int] = {}
        self._last_accepted: dict[str, int] = {}

    def open(self, backend: str) -> Session:
        """A member begins to read."""
        session = Session(backend)
        self._sessions.append(session)
        return session

    def give(self, session: Session, events: Sequence[Event]) -> None:
        """The member was given `events`; whoever was given them before at that backend lost its lease."""
        for other in self._sessions:
            if other is not session and other.backend == session.backend:
                self.end(other)
        session.in_hand += [event.id for event in events]

    def end(self, session: Session) -> None:
        """The member died or lost its lease: what it had in hand may be given out again."""
        if not session.over:
            session.over = True
            self._sessions.remove(session)
            self._licences.update(session.in_hand)

    def license(self, ids: Iterable[str]) -> None:
        """These may be given once more: what had taken effect was told to no backend."""
        self._licences.update(ids)

    def end_all(self, backend: str) -> None:
        """Whoever reads at `backend` comes to an end there."""
        for session in [session for session in self._sessions if session.backend == backend]:
            self.end(session)

    def acknowledge(self, session: Session, events: Sequence[Event]) -> None:
        """The backend took the acknowledgement."""
        done = {event.id for event in events}
        session.in_hand = [event_id for event_id in session.in_hand if event_id not in done]

    def take_effect(self, session: Session, event: Event) -> None:
        """The handler applies `event`."""
        sent = self._ledger.known(event)
        line = sent.line
        again = sent.stray and self.effects[event.id] > 0
        if not sent.stranded and not sent.resent:
            in_order = again or session.newest.get(line, -1) < sent.number
            demand(in_order, "order within a member's reading", event.payload)
            session.newest[line] = max(session.newest.get(line, -1), sent.number)
        self.effects[event.id] += 1
        if self.effects[event.id] == 1 and not sent.stranded:
            self._first_effect(sent)
        # A stray may write once more where it was let in again: docs/protocol.md, "Known to break".
        allowed = 1 + self._licences[event.id] + max(sent.resent, sent.stray)
        demand(self.effects[event.id] <= allowed, f"{self.name}: no effect twice", event.payload)

    def _first_effect(self, sent: Sent) -> None:
        event, line = sent.event, sent.line
        before = self._newest.get(line, -1)
        demand(before < sent.number, f"{self.name}: order within the key", (before, event.payload))
        self._newest[line] = sent.number
        passed = self._ledger.line(line)[before + 1 : sent.number]
        skipped = [s for s in passed if s.acknowledged is not None and not s.stranded]
        demand(not skipped, f"{self.name}: nothing is skipped", [s.event.payload for s in skipped])
        if sent.stray or sent.resent:
            return
        # Over all publishers: what was accepted after another was acknowledged comes after it.
        last = self._last_accepted.get(event.key, 0)
        late = sent.acknowledged is not None and sent.acknowledged < last
        demand(not late, f"{self.name}: order within the key over publishers", event.payload)
        self._last_accepted[event.key] = max(last, sent.accepted)


class Ledger:
    """All that was sent, and the groups that take it."""

    def __init__(self) -> None:
        """`stranding`: what is stranded has not been delivered yet, and cannot be asked for."""
        self.sent: dict[str, Sent] = {}
        self.groups: dict[str, GroupLedger] = {}
        self.stranding = False
        self._lines: dict[Line, list[Sent]] = defaultdict(list)
        self._happened = 0

    def happen(self) -> int:
        """The next moment."""
        self._happened += 1
        return self._happened

    def line(self, line: Line) -> list[Sent]:
        """What one publisher sent with one key in one life, in order."""
        return self._lines[line]

    def accept(self, event: Event, life: int) -> Sent:
        """A publisher, in its `life`, took `event`."""
        line = event.source, life, event.key
        sent = Sent(event, line, len(self._lines[line]), self.happen())
        self._lines[line].append(sent)
        self.sent[event.id] = sent
        return sent

    def group(self, name: str) -> GroupLedger:
        """The group, made at first use."""
        return self.groups.setdefault(name, GroupLedger(name, self))

    @property
    def acknowledged(self) -> list[Sent]:
        """What must never be lost."""
        return [sent for sent in self.sent.values() if sent.acknowledged is not None]

    def known(self, event: Event) -> Sent:
        """What was sent under this id, which `event` must equal but for its epoch."""
        sent = self.sent.get(event.id)
        if sent is None:
            raise Violation(f"an event that nobody sent: {event}")
        demand(event.under(0) == sent.event.under(0), "payloads and attributes unchanged", (event, sent.event))
        return sent

    def read_by(self, events: Sequence[Event], reader: str) -> None:
        """One complete reading of a log must hold all that was acknowledged, once, in order within its key."""
        group = GroupLedger(reader, self)
        session = group.open("")
        for event in events:
            group.take_effect(session, event)
        self.complete(group)

    def complete(self, group: GroupLedger) -> None:
        """All that was acknowledged took effect in `group`."""
        due = [sent for sent in self.acknowledged if not (self.stranding and sent.stranded)]
        lost = [sent.event.payload for sent in due if not group.effects[sent.event.id]]
        demand(not lost, f"{group.name}: nothing acknowledged is lost", lost)
