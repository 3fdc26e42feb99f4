"""Which steps lead from a stage to its neighbour: a table a component. Anything that is not in it raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from contracts.routes import RETIRING
from contracts.stages import Component, Stage

Rows = Mapping[tuple[Stage | None, Stage], tuple["Step", ...]]
"""By where a transition leads from (None: nothing was ever written) and to."""


class Step(StrEnum):
    """What a transition is made of, each named by what it achieves."""

    PREFLIGHT = "preflight"
    PREPARE = "prepare"
    ESTABLISH = "establish"
    START_MIRROR = "start_mirror"
    BACKFILL = "backfill"
    COMPARE = "compare"
    PROVE_WAY_BACK = "prove_way_back"
    FENCE = "fence"
    SEAL = "seal"
    DRAIN = "drain"
    CHECK = "check"
    OPEN = "open"
    WATCH = "watch"
    FINISH_GROUPS = "finish_groups"
    RETIRE = RETIRING
    SURVEY = "survey"
    BREAK_OFF = "break_off"
    FLEE = "flee"
    COUNT = "count"
    SWEEP = "sweep"
    RECORD = "record"
    ADD_TOPICS = "add_topics"
    PUBLISH = "publish"
    COPY = "copy"
    PUBLISH_BACK = "publish_back"
    FOLLOW = "follow"
    BUILD = "build"
    SEQUENCES = "sequences"
    TIE = "tie"
    UNTIE = "untie"
    LIST = "list"
    SET_ASIDE = "set_aside"
    ADD_TABLES = "add_tables"
    WARM_UP = "warm_up"
    ACKNOWLEDGE = "acknowledge"
    SHIFT = "shift"


MEANINGS: dict[Step, str] = {
    Step.PREFLIGHT: "backends answer; rights, limits and room fit; nothing is gone unread; adapters are alive",
    Step.PREPARE: "topics, functions and rights exist on the new backend",
    Step.ESTABLISH: "the first route is written",
    Step.START_MIRROR: "the mirror is told to copy",
    Step.BACKFILL: "the retained history has been copied",
    Step.COMPARE: "both logs hold the same events in the same order",
    Step.PROVE_WAY_BACK: "the mirror of the way back can write",
    Step.FENCE: "every live adapter holds its events and has acknowledged the next epoch",
    Step.SEAL: "the backend that serves refuses writers and stands still",
    Step.DRAIN: "the other backend has all that was acknowledged",
    Step.CHECK: "the last comparison, inside the pause",
    Step.OPEN: "the route names the other backend, in one write",
    Step.WATCH: "post-checks under traffic; a failure switches back",
    Step.FINISH_GROUPS: "every consumer group has finished what only the leaving backend serves",
    Step.RETIRE: "the leaving backend is taken out of the route",
    Step.RECORD: "the stage is recorded",
    Step.ADD_TOPICS: "topics that are new in config exist, are in the route, and are mirrored",
    Step.SURVEY: "the backend that serves is not seen to be well",
    Step.BREAK_OFF: "no copy comes any more; adapters hold and have acknowledged the next epoch, as far as they answer",
    Step.FLEE: "the route names the other backend, in one write; the dead one was asked nothing",
    Step.COUNT: "what only the dead backend holds is told",
    Step.SWEEP: "what only the other backend held has been delivered, once",
    Step.PUBLISH: "the source keeps every change from here on for the other side; tables exist there, empty",
    Step.COPY: "all rows have been copied, each part in a snapshot of its own, and have their keys",
    Step.PUBLISH_BACK: "the other side keeps its changes for the way back, from before its first write on",
    Step.FOLLOW: "all changes since the copy have been applied",
    Step.BUILD: "indexes, constraints, triggers, policies and rights are as at the source",
    Step.SEQUENCES: "sequences go on beyond what was given out, with head-room",
    Step.TIE: "commits at the new side wait for the old one where rollback_loss is none, and only there",
    Step.UNTIE: "commits at the new side wait for nobody",
    Step.LIST: "what only the other side committed is told, and kept where it can be read",
    Step.ADD_TABLES: "tables that are new at the side that serves are at the other one, with their rows, and followed",
    Step.SET_ASIDE: "what was written past the pooler is told, kept, and in nobody's way",
    Step.WARM_UP: "both sides have loaded every model and answer",
    Step.ACKNOWLEDGE: "every live adapter follows the route",
    Step.SHIFT: "the route has the percentages of config",
}

_DATABASE_MEANINGS: dict[Step, str] = {
    Step.PREFLIGHT: "both servers answer; rights, settings and room fit; what cannot be carried is named",
    Step.ESTABLISH: "the first route is written: the hosted side serves",
    Step.START_MIRROR: "the carrier is told from which side content comes",
    Step.COMPARE: "both sides declare the same and hold the same rows",
    Step.PROVE_WAY_BACK: "what is written at either side comes to the other",
    Step.FENCE: "the pooler has paused: no statement runs, none is begun, clients wait",
    Step.DRAIN: "the other side has all that was committed",
    Step.CHECK: "definitions as before; the rows of what can be read in the pause are equal",
    Step.OPEN: "the route names the other side, in one write; the pooler points there and clients go on",
    Step.RETIRE: "nothing is carried any more; no WAL is kept for the side that leaves, which keeps its rows",
}

_LLM_MEANINGS: dict[Step, str] = {
    Step.PREFLIGHT: "each side that is needed has every model, takes its key and answers; GPUs fit; adapters are alive",
    Step.ESTABLISH: "the first route is written",
    Step.START_MIRROR: "a sample of the calls goes to the side that does not serve, too",
    Step.COMPARE: "our own models answer as well as the hosted ones, within the margin",
    Step.OPEN: "the route names the other side, in one write; calls under way end where they began",
    Step.WATCH: "failures and the time to the first token stay within the budget; else traffic goes back",
    Step.RETIRE: "the route no longer names the side that leaves, and it answers nobody any more",
}
_BACKTESTING_MEANINGS: dict[Step, str] = {
    Step.PREFLIGHT: "the service answers and has bars; rights fit; every service is alive",
    Step.ESTABLISH: "the first route is written",
    Step.START_MIRROR: "a sample of the runs is done by the engine that does not serve, too, when nobody waits",
    Step.WARM_UP: "the engine that joins has done a run",
    Step.COMPARE: "both engines make the same of the shipped suite and of the newest runs, order by order, bar by bar",
    Step.OPEN: "the route names the other engine, in one write; runs under way end where they began",
    Step.ACKNOWLEDGE: "every live service sends new runs by the route",
    Step.SHIFT: "the route has the sample of config",
    Step.WATCH: "new runs are taken by the engine that serves, and done; else it is switched back",
    Step.RETIRE: "the route no longer names the engine that leaves, and no run is under way there",
}
_OWN_MEANINGS = {
    Component.DATABASE: _DATABASE_MEANINGS,
    Component.LLM_SERVICE: _LLM_MEANINGS,
    Component.BACKTESTING: _BACKTESTING_MEANINGS,
}


def meaning(component: Component, step: Step) -> str:
    """What `step` achieves for `component`."""
    return _OWN_MEANINGS.get(component, {}).get(step, MEANINGS[step])


_SWITCH = (
    Step.PREFLIGHT,
    Step.PROVE_WAY_BACK,
    Step.COMPARE,  # right before the pause, which then has only a little left to compare
    Step.FENCE,
    Step.SEAL,
    Step.DRAIN,
    Step.CHECK,
    Step.OPEN,
    Step.WATCH,
)
_JOIN = (Step.PREFLIGHT, Step.PREPARE, Step.START_MIRROR, Step.BACKFILL, Step.COMPARE, Step.RECORD)
_LEAVE = (Step.PREFLIGHT, Step.FINISH_GROUPS, Step.RETIRE)

_BUS_ROWS: Rows = {
    (None, Stage.MVP): (Step.PREFLIGHT, Step.ESTABLISH),
    (None, Stage.SHADOW): (Step.PREFLIGHT, Step.ESTABLISH),
    (None, Stage.SCALE): (Step.PREFLIGHT, Step.ESTABLISH),
    (None, Stage.COMPLETE): (Step.PREFLIGHT, Step.ESTABLISH),
    (Stage.MVP, Stage.SHADOW): _JOIN,
    (Stage.SHADOW, Stage.SCALE): _SWITCH,
    (Stage.SCALE, Stage.SHADOW): _SWITCH,
    (Stage.SCALE, Stage.COMPLETE): _LEAVE,
    (Stage.SHADOW, Stage.MVP): _LEAVE,
    (Stage.COMPLETE, Stage.SCALE): _JOIN,
}

ADDITION = (Step.ADD_TOPICS,)
"""What a run does before its transitions, at any stage, where config names topics that the route does not have."""

TABLE_ADDITION = (Step.ADD_TABLES,)
"""The same of a database, where its serving side has tables that nothing follows."""

_BUS_EMERGENCIES: Rows = {
    (Stage.SCALE, Stage.SHADOW): (Step.SURVEY, Step.BREAK_OFF, Step.FLEE, Step.COUNT),
}
_BUS_SETTLEMENTS: Rows = {
    (Stage.SHADOW, Stage.SHADOW): (
        Step.SWEEP,  # first, for whatever else is wrong, what was acknowledged must come
        Step.PREFLIGHT,
        Step.PREPARE,
        Step.START_MIRROR,
        Step.BACKFILL,
        Step.COMPARE,
        Step.RECORD,
    ),
}

_DATABASE_COPY = (
    Step.PREFLIGHT,
    Step.PUBLISH,
    Step.COPY,
    Step.PUBLISH_BACK,
    Step.START_MIRROR,
    Step.FOLLOW,
    Step.BUILD,
    Step.COMPARE,
)
_DATABASE_ROWS: Rows = {
    # Whatever is wanted, the rows are at the hosted side to begin with.
    (None, Stage.MVP): (Step.PREFLIGHT, Step.ESTABLISH),
    (Stage.MVP, Stage.SHADOW): (*_DATABASE_COPY, Step.RECORD),
    (Stage.SHADOW, Stage.SCALE): (
        Step.PREFLIGHT,
        Step.PROVE_WAY_BACK,
        Step.COMPARE,
        Step.TIE,  # before its first commit for a client; and no pause grows by it
        Step.FENCE,
        Step.DRAIN,
        Step.SEQUENCES,
        Step.CHECK,
        Step.OPEN,
        Step.WATCH,
    ),
    (Stage.SCALE, Stage.SHADOW): (
        Step.PREFLIGHT,
        Step.PROVE_WAY_BACK,
        Step.COMPARE,
        Step.FENCE,
        Step.DRAIN,
        Step.SEQUENCES,
        Step.CHECK,
        Step.OPEN,
        Step.UNTIE,  # after its last one
        Step.WATCH,
    ),
    # Before the stream ends: a commit that waits for it would wait for ever.
    (Stage.SCALE, Stage.COMPLETE): (Step.PREFLIGHT, Step.UNTIE, Step.RETIRE),
    (Stage.SHADOW, Stage.MVP): (Step.PREFLIGHT, Step.RETIRE),
    (Stage.COMPLETE, Stage.SCALE): (*_DATABASE_COPY, Step.TIE, Step.RECORD),
}
_DATABASE_EMERGENCIES: Rows = {
    (Stage.SCALE, Stage.SHADOW): (Step.SURVEY, Step.BREAK_OFF, Step.SEQUENCES, Step.FLEE, Step.COUNT),
}
_DATABASE_SETTLEMENTS: Rows = {
    (Stage.SHADOW, Stage.SHADOW): (
        Step.LIST,  # first: joining anew takes away what it reads
        Step.UNTIE,
        *_DATABASE_COPY,
        Step.RECORD,
    ),
}

_LLM_JOIN = (Step.PREFLIGHT, Step.WARM_UP, Step.START_MIRROR, Step.RECORD)
_LLM_ROWS: Rows = {
    (None, Stage.MVP): (Step.PREFLIGHT, Step.ESTABLISH),
    # There is no hosted side to begin at. To scale the way leads through shadow: no model serves that was not judged.
    (None, Stage.COMPLETE): (Step.PREFLIGHT, Step.ESTABLISH),
    (Stage.MVP, Stage.SHADOW): _LLM_JOIN,
    # No fence: a call is answered by one side alone, so callers need not stand still for who answers the next one.
    (Stage.SHADOW, Stage.SCALE): (Step.PREFLIGHT, Step.COMPARE, Step.OPEN, Step.ACKNOWLEDGE, Step.WATCH),
    (Stage.SCALE, Stage.SHADOW): (Step.PREFLIGHT, Step.OPEN, Step.ACKNOWLEDGE, Step.WATCH),
    (Stage.SCALE, Stage.COMPLETE): (Step.PREFLIGHT, Step.RETIRE),
    (Stage.SHADOW, Stage.MVP): (Step.PREFLIGHT, Step.RETIRE),
    (Stage.COMPLETE, Stage.SCALE): _LLM_JOIN,
}
SHIFTING = (Step.SHIFT, Step.ACKNOWLEDGE, Step.WATCH)
"""What a run does beside its transitions where config asks for another canary at stage scale."""


_BACKTESTING_JOIN = (Step.PREFLIGHT, Step.START_MIRROR, Step.WARM_UP, Step.RECORD)
_BACKTESTING_ROWS: Rows = {
    (None, Stage.MVP): (Step.PREFLIGHT, Step.ESTABLISH),
    # There is no old engine to begin with. To scale the way leads through shadow: none serves that was not compared.
    (None, Stage.COMPLETE): (Step.PREFLIGHT, Step.ESTABLISH),
    (Stage.MVP, Stage.SHADOW): _BACKTESTING_JOIN,
    # No fence: a run is done by one engine alone, so callers need not stand still for who takes the next one.
    (Stage.SHADOW, Stage.SCALE): (Step.PREFLIGHT, Step.COMPARE, Step.OPEN, Step.ACKNOWLEDGE, Step.WATCH),
    (Stage.SCALE, Stage.SHADOW): (Step.PREFLIGHT, Step.OPEN, Step.ACKNOWLEDGE, Step.WATCH),
    (Stage.SCALE, Stage.COMPLETE): (Step.PREFLIGHT, Step.RETIRE),
    (Stage.SHADOW, Stage.MVP): (Step.PREFLIGHT, Step.RETIRE),
    (Stage.COMPLETE, Stage.SCALE): _BACKTESTING_JOIN,
}


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one component. `emergencies` stand in place of a row where the backend that serves is dead, by the
    operator's word: nothing waits for it. `settlements`: what must come before anything else once traffic fled: the
    dead backend, back again, gives or tells what only it held, and is brought into step. `back`: with what a switch
    back begins whose post-checks failed. `final`: rows whose failed post-checks move no traffic again: the backend that
    was left may be dead, and nothing is lost by staying."""

    rows: Rows
    emergencies: Rows = field(default_factory=dict)
    settlements: Rows = field(default_factory=dict)
    back: tuple[Step, ...] = ()
    final: frozenset[tuple[Stage, Stage]] = frozenset()


TABLES: Mapping[Component, Table] = {
    Component.EVENT_BUS: Table(_BUS_ROWS, _BUS_EMERGENCIES, _BUS_SETTLEMENTS),
    Component.DATABASE: Table(_DATABASE_ROWS, _DATABASE_EMERGENCIES, _DATABASE_SETTLEMENTS, (Step.SET_ASIDE,)),
    Component.LLM_SERVICE: Table(_LLM_ROWS, final=frozenset({(Stage.SCALE, Stage.SHADOW)})),
    Component.BACKTESTING: Table(_BACKTESTING_ROWS, final=frozenset({(Stage.SCALE, Stage.SHADOW)})),
}
"""The components that can move."""
TRANSITIONS = TABLES[Component.EVENT_BUS].rows
"""Of the event bus."""
