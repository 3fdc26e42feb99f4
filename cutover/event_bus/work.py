"""What the steps of the event bus's transitions share: who is who, waiting, comparing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adapters.event_bus.base import EventLog
from contracts.routes import Cursor, Mirror, Route
from contracts.stages import Component, other_backend
from cutover.context import Context, CouldNotCheck, StepFailed
from cutover.plan import Transition
from validation.log_comparison import Differences, LogComparison

COMPONENT = Component.EVENT_BUS
_MOST_ROUNDS = 8
_SHORT_SECONDS = 0.2


def other(backend: str) -> str:
    """The backend that is not `backend`."""
    return other_backend(COMPONENT, backend)


def _standing(topic: str, target: EventLog, source: str) -> tuple[Cursor | None, Cursor]:
    """How far copies of `source` have come in `target`, and the end of `target` at that moment: a mirror that
    missed that it is not wanted any more may copy meanwhile."""
    copied = target.copied(topic, source)
    for _ in range(_MOST_ROUNDS):
        end, before = target.end(topic), copied
        copied = target.copied(topic, source)
        if copied == before:
            return copied, end
    raise CouldNotCheck(f"{target.name} gets copies of {topic} all the time", "Run pulumi up again")


class BusWork:
    """One run's view of both logs; it keeps the comparison's place between steps. `volumes`: the bytes of a
    backend's volume, where they were told."""

    def __init__(
        self, context: Context, logs: Mapping[str, EventLog], topics: tuple[str, ...], volumes: Mapping[str, int]
    ) -> None:
        self.context = context
        self.logs = logs
        self.topics = topics
        self.volumes = volumes
        self.comparisons: dict[str, LogComparison] = {}
        self._compared_for: Mirror | None = None

    def close(self) -> None:
        """Give up connections."""
        self._drop_comparisons()
        for log in self.logs.values():
            log.close()

    @property
    def active(self) -> EventLog:
        """The backend that serves now."""
        return self.logs[self.context.route.active]

    @property
    def passive(self) -> EventLog:
        """The backend that does not serve now."""
        return self.logs[other(self.context.route.active)]

    def mirror_from(self, route: Route, active: str, topics: Iterable[str]) -> Mirror:
        """The mirror of `topics` from `active`: it goes on where copies of it end, or starts at the beginning."""
        source, target = self.logs[active], self.logs[other(active)]
        starts, target_starts = {}, {}
        for topic in topics:
            first = route.chain(topic)[-1].start
            copied, end = _standing(topic, target, active)
            starts[topic] = dict(copied if copied is not None and source.reached(copied, first) else first)
            target_starts[topic] = dict(end)
        return Mirror(source=active, target=target.name, starts=starts, target_starts=target_starts)

    def await_copied(self, topic: str, goal: Cursor, seconds: float) -> None:
        """Wait until the mirror has copied `topic` up to `goal`. Raises StepFailed after `seconds`."""
        source, target = self.active, self.passive

        def copied() -> bool:
            at = target.copied(topic, source.name)
            return at is not None and source.reached(at, goal)

        self.context.until(
            copied,
            seconds,
            lambda: StepFailed(
                f"{target.name} did not get all of {topic} from {source.name} within {seconds:g} s "
                f"(copied up to {target.copied(topic, source.name)}, wanted {dict(goal)})",
                "See kubectl logs deployment/event-bus-mirror",
            ),
            note=lambda: f"{topic}: copied up to {target.copied(topic, source.name)}, wanted {dict(goal)}",
        )

    def compare(self, transition: Transition) -> str:
        """Both logs, as far as they go now, under traffic: nothing missing, reordered or changed."""
        mirror = self.context.route.mirror
        if mirror is None:
            raise CouldNotCheck("no mirror is recorded, so the logs cannot be compared", "Run pulumi up again")
        if self._compared_for != mirror:
            self._open_comparisons(mirror)
        # What comes while a long comparison runs is compared too, so that the next one is short.
        for _ in range(_MOST_ROUNDS):
            began = self.context.now()
            self._compare_once()
            if self.context.now() - began < _SHORT_SECONDS:
                break
        return f"{sum(c.compared for c in self.comparisons.values())} events equal"

    def _compare_once(self) -> None:
        for topic, comparison in self.comparisons.items():
            goal = self.active.end(topic)
            self.await_copied(topic, goal, self.context.timing.drain)
            found = comparison.advance(goal, self.passive.end(topic), self.context.stopped.is_set)
            # Copies of newer events may lie beyond the compared place already: not a difference yet.
            if found.missing or found.reordered or found.changed:
                raise self.differ(topic, found)

    def _open_comparisons(self, mirror: Mirror) -> None:
        self._drop_comparisons()
        for topic in self.topics:
            self.comparisons[topic] = LogComparison(
                topic,
                self.logs[mirror.source],
                self.logs[mirror.target],
                mirror.starts[topic],
                mirror.target_starts[topic],
                copies_count=self.context.route.chain(topic)[-1].copies,
            )
        self._compared_for = mirror

    def _drop_comparisons(self) -> None:
        for comparison in self.comparisons.values():
            comparison.close()
        self.comparisons, self._compared_for = {}, None

    def differ(self, topic: str, found: Differences) -> StepFailed:
        """The failure that two differing logs are."""
        return StepFailed(
            f"{self.active.name} and {self.passive.name} differ in {topic}: {found}",
            "Traffic stays where it was. Keep both backends and look at the named events before trying again",
        )
