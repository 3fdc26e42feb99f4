"""Moving all components: in which order, what stops it, what is gone on with, and what a way back asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import journeys
from cli.__main__ import app
from cli.errors import CliError
from cli.journeys import ORDER, Seen
from cli.permits import frozen, refusal, window_of
from cli.stack import Stack, Wish
from contracts.routes import HistoryEntry, Progress, Route
from contracts.stages import Component, Stage, serving_backend

BUS, LLM, DATABASE, BACKTESTING = ORDER


class World(Stack):
    """A stack whose updates bring components to where config asks, but for those in `fail`."""

    def __init__(self, stages: Mapping[Component, Stage], fail: Sequence[Component] = ()) -> None:
        super().__init__("world", environment={})
        self.live = dict(stages)
        self.asked = dict(stages)
        self.fail = set(fail)
        self.alive: set[Component] = set()
        """Whose new side is seen to serve: an emergency of theirs is refused."""
        self.updates: list[dict[Component, Wish]] = []
        self._wishes: dict[Component, Wish] = {}

    def ask_for(self, wishes: Mapping[Component, Wish]) -> None:
        self._wishes = dict(wishes)
        self.asked |= {component: wish.stage for component, wish in wishes.items()}

    def up(self, *, go_on: bool = False) -> int:
        self.updates.append(self._wishes)
        for component, stage in self.asked.items():
            flees = component in self._wishes and self._wishes[component].emergency
            if component not in self.fail and not (flees and component in self.alive):
                self.live[component] = stage
            elif not go_on and self.live[component] is not stage:
                return 1
        return int(any(self.live[component] is not stage for component, stage in self.asked.items()))

    def seen(self) -> list[Seen]:
        return [Seen(component, self.asked[component], route(component, self.live[component])) for component in ORDER]

    def migrate(self, goal: Stage = Stage.SCALE, refused: Mapping[Component, str] | None = None) -> list[str]:
        """What became of each, in order."""
        said = refused or {}
        legs = journeys.migrate(
            self, self.seen(), goal, allowed=said.get, say=lambda _: None, again=self.seen
        )  # fmt: skip
        assert [leg.component for leg in legs] == list(ORDER)
        return [leg.outcome for leg in legs]


def route(component: Component, stage: Stage, **changes: object) -> Route:
    failed = HistoryEntry(at="", to_stage=stage, epoch=1, outcome="undone", detail="lag\nand more")
    found = Route(
        component=component, stage=stage, active=serving_backend(component, stage), epoch=1, history=(failed,)
    )
    return found.model_copy(update=changes)


MVP = dict.fromkeys(ORDER, Stage.MVP)


def test_the_order_is_that_of_the_guide() -> None:
    assert [component.value for component in ORDER] == ["event_bus", "llm_service", "database", "backtesting"]


def test_each_is_moved_by_an_update_of_its_own() -> None:
    world = World(MVP)
    assert world.migrate() == ["moved"] * 4
    assert world.updates == [{component: Wish(Stage.SCALE)} for component in ORDER]
    assert world.migrate() == ["there"] * 4
    assert len(world.updates) == 4


@pytest.mark.parametrize("broken", ORDER)
def test_the_first_that_fails_stops_it_and_the_next_call_goes_on_there(broken: Component) -> None:
    world = World(MVP, [broken])
    at = ORDER.index(broken)
    assert world.migrate() == ["moved"] * at + ["failed"] + ["left"] * (3 - at)
    assert all(world.live[component] is Stage.MVP for component in ORDER[at:])
    assert all(world.asked[component] is Stage.MVP for component in ORDER[at + 1 :])
    world.fail.clear()
    assert world.migrate() == ["there"] * at + ["moved"] * (4 - at)


def test_what_failed_is_told_by_its_route() -> None:
    world = World(MVP, [BUS])
    legs = journeys.migrate(
        world, world.seen(), Stage.SCALE, allowed=lambda _: None, say=lambda _: None, again=world.seen
    )
    assert legs[0].detail == "redis serves at mvp: lag"
    assert legs[1].detail == "event_bus did not get there"


def test_one_that_is_not_allowed_stops_it_untouched() -> None:
    world = World(MVP)
    assert world.migrate(refused={DATABASE: "not now"}) == ["moved", "moved", "left", "left"]
    assert world.asked[DATABASE] is Stage.MVP


def test_one_that_has_come_further_is_left_there() -> None:
    world = World(MVP | {LLM: Stage.COMPLETE})
    assert world.migrate() == ["moved", "there", "moved", "moved"]
    assert world.live[LLM] is Stage.COMPLETE


@pytest.mark.parametrize(
    "left", [{"progress": Progress(to_stage=Stage.SCALE, step="watch", since="")}, {"stranded": {"t": None}}]
)
def test_what_is_under_way_is_not_taken_for_done(left: dict[str, object]) -> None:
    seen = Seen(BUS, Stage.SCALE, route(BUS, Stage.SCALE, **left))
    assert journeys.to_move([seen], Stage.SCALE) == [seen]
    assert not journeys.to_move([Seen(BUS, Stage.SCALE, route(BUS, Stage.SCALE))], Stage.SCALE)


def test_all_go_back_in_one_update_and_one_that_fails_keeps_none() -> None:
    world = World(dict.fromkeys(ORDER, Stage.SCALE), [BUS])
    wishes = journeys.ways_back(world.seen(), retire=False, emergency=False)
    assert wishes == dict.fromkeys(ORDER, Wish(Stage.SHADOW))
    legs = journeys.roll_back(world, world.seen(), wishes, world.seen)
    assert [leg.outcome for leg in legs] == ["failed", "moved", "moved", "moved"]
    assert len(world.updates) == 1


def test_where_an_emergency_is_refused_the_ordinary_way_is_taken() -> None:
    world = World(dict.fromkeys(ORDER, Stage.SCALE))
    world.alive = {DATABASE}
    wishes = journeys.ways_back(world.seen(), retire=False, emergency=True)
    legs = journeys.roll_back(world, world.seen(), wishes, world.seen)
    assert [leg.outcome for leg in legs] == ["moved"] * 4
    assert world.updates == [wishes, {DATABASE: Wish(Stage.SHADOW)}]


def test_who_is_back_already_is_left_and_flees_from_nothing() -> None:
    stages = {BUS: Stage.SCALE, LLM: Stage.SHADOW, DATABASE: Stage.MVP, BACKTESTING: Stage.COMPLETE}
    seen = World(stages).seen()
    assert journeys.ways_back(seen, retire=False, emergency=True) == {
        BUS: Wish(Stage.SHADOW, emergency=True),
        BACKTESTING: Wish(Stage.SHADOW),  # it has no emergency
    }
    assert journeys.ways_back(seen, retire=True, emergency=False) == {
        component: Wish(Stage.MVP) for component in (BUS, LLM, BACKTESTING)
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["migrate"], "no component was given"),
        (["rollback", "database", "--all"], "database and --all was given"),
        (["migrate", "event_bus", "--one"], "--one says something of --all only"),
        (["rollback", "event_bus", "--json"], "--json says something of --all only"),
        (["rollback", "--all", "--retire", "--emergency"], "nobody else has"),
        (["migrate", "--all", "--ask"], "nobody to ask"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: list[str], says: str) -> None:
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, CliError)
    assert says in str(result.exception)


def test_a_freeze_counts_before_a_window_and_says_what_is_in_it(tmp_path: Path) -> None:
    assert frozen(tmp_path) is None
    (tmp_path / "FREEZE").write_text("quarter's end\n")
    window = window_of({"migration": {"window": "Sat 22:00-23:00"}})
    assert window is not None
    now = window.opens_after(datetime.now(UTC))
    assert refusal(now, window, frozen(tmp_path)) == "FREEZE is there: quarter's end"
    assert refusal(now, window, None) is None
    assert "closed until Saturday" in (refusal(now.replace(hour=1), window, None) or "")
    with pytest.raises(CliError, match="is no maintenance window"):
        window_of({"migration": {"window": "sometimes"}})
