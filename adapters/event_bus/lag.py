"""How far behind the groups of this process are: measured beside the data, told with the heartbeat."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from adapters import metrics
from adapters.event_bus.base import EventLog
from adapters.event_bus.errors import EventBusError

_log = logging.getLogger(__name__)

LAG_SECONDS = 5.0
"""The time between two measurements, in seconds."""

Reading = tuple[str, str, str]
"""A topic, a group that reads it, and the backend that it reads now."""


class LagMeter:
    """Asks each backend in use for the lag of the groups that read it, every LAG_SECONDS.

    A backend that does not answer leaves the last figure standing: lag is for people, and must never
    slow data or the heartbeat.
    """

    def __init__(self, open_log: Callable[[str], EventLog], readings: Callable[[], Sequence[Reading]]) -> None:
        self._open_log = open_log
        self._readings = readings
        self._lag: dict[str, int] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bus-lag", daemon=True)
        self._thread.start()

    @property
    def lag(self) -> Mapping[str, int]:
        """Events not acknowledged yet, by `topic/group`."""
        return self._lag

    def stop(self, timeout: float) -> None:
        """End, waiting at most `timeout` s for a measurement under way."""
        self._stopped.set()
        self._thread.join(timeout)

    def measure(self) -> None:
        """Measure once."""
        found = {}
        for topic, group, backend in self._readings():
            name = f"{topic}/{group}"
            try:
                states = {state.group: state for state in self._open_log(backend).groups(topic)}
            except EventBusError as error:
                _log.info("the lag of %s on %s is not known: %s", name, backend, error)
                found[name] = self._lag.get(name, 0)
                continue
            if group in states:
                found[name] = states[group].lag
                metrics.LAG.labels(topic, group).set(states[group].lag)
        self._lag = found

    def _run(self) -> None:
        while not self._stopped.wait(LAG_SECONDS):
            try:
                self.measure()
            except Exception:
                # A figure for people must not end a service, and must not vanish without a word.
                _log.exception("measuring lag failed")
