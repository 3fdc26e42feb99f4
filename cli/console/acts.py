"""What the console does where it was started with --allow-actions: `crossover migrate` and `crossover rollback` of one
component, one at a time, once its steps were seen and its name was typed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from cli.console.runner import Runner, Running
from cli.stack import Wish
from contracts.audit import moment
from contracts.stages import Component, Stage
from cutover.tables import TABLES


class Act(StrEnum):
    """What a button does."""

    MIGRATE = "migrate"
    ROLLBACK = "rollback"
    EMERGENCY = "emergency"

    @property
    def wish(self) -> Wish:
        """What config is to ask for."""
        return Wish(Stage.SCALE) if self is Act.MIGRATE else Wish(Stage.SHADOW, emergency=self is Act.EMERGENCY)

    def words(self, component: Component) -> tuple[str, ...]:
        """Of the `crossover` command."""
        verb = "migrate" if self is Act.MIGRATE else "rollback"
        return (verb, component.value, *(("--emergency",) if self is Act.EMERGENCY else ()))


def offered(component: Component) -> tuple[Act, ...]:
    """What `component` has buttons for."""
    if component not in TABLES:
        return ()
    return tuple(act for act in Act if act is not Act.EMERGENCY or TABLES[component].emergencies)


class Unfit(Exception):
    """What was asked for is not done. `busy`: something else is under way."""

    def __init__(self, message: str, *, busy: bool = False) -> None:
        super().__init__(message)
        self.busy = busy


@dataclass(frozen=True, slots=True)
class Preview:
    """The steps of an act. `digest` stands for them: an act is begun only where they are the same still."""

    command: str
    steps: tuple[str, ...]

    @property
    def digest(self) -> str:
        """sha256 over all of it."""
        return hashlib.sha256("\n".join((self.command, *self.steps)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Begun:
    """An act that was begun, by whom and when."""

    component: Component
    act: Act
    actor: str
    at: str
    running: Running


class Desk:
    """Does one at a time. `plan` gives the steps of a wish, and raises Unfit where they are not known; `options`: of
    each command, such as the stack; `host`: where this runs, told of an actor."""

    def __init__(
        self, runner: Runner, plan: Callable[[Component, Wish], Sequence[str]], options: Sequence[str], host: str
    ) -> None:
        self._runner, self._plan = runner, plan
        self._options, self._host = tuple(options), host
        self._lock = threading.Lock()
        self._last: Begun | None = None

    @property
    def last(self) -> Begun | None:
        """The act that goes on, or ended last."""
        return self._last

    def preview(self, component: Component, act: Act) -> Preview:
        """What `act` would do now. Raises Unfit."""
        if act not in offered(component):
            raise Unfit(f"{component.value} has no {act.value}")
        return Preview(f"crossover {' '.join(act.words(component))}", tuple(self._plan(component, act.wish)))

    def begin(self, component: Component, act: Act, *, typed: str, seen: str, owner: str) -> Begun:
        """Begin `act`, of which the preview with the digest `seen` was seen. Raises Unfit."""
        if typed != component.value:
            raise Unfit(f"{typed[:40]!r} was typed, and it is {component.value} that would move")
        with self._lock:
            if self._last is not None and self._last.running.code() is None:
                under_way = f"{self._last.act.value} of {self._last.component.value}"
                raise Unfit(f"{under_way} is under way, begun by {self._last.actor}", busy=True)
            if self.preview(component, act).digest != seen:
                raise Unfit("the steps are others now than those that were shown: look at them again", busy=True)
            actor = f"{owner} by the console of {self._host}" if owner else f"the console of {self._host}"
            try:
                running = self._runner.begin([*act.words(component), *self._options], actor)
            except OSError as error:
                raise Unfit(f"it could not be begun: {error}") from error
            self._last = Begun(component, act, actor, moment(datetime.now(UTC)), running)
            return self._last
