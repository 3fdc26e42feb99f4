"""Preflight, item by item: what turns each red, and that it says its name, what was found, and the fix."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from adapters.event_bus.errors import AccessDenied, BackendUnavailable
from adapters.event_bus.facts import Copies, Gap, Memory, Retained
from adapters.known import Clock, Unknown
from adapters.routes.base import RouteUnavailable
from contracts.stages import Component, Stage
from cutover.errors import CouldNotCheck, CutoverError, StepFailed
from cutover.event_bus.preflight.cluster_items import CLOCK_LIMIT, NEEDED, TOO_MUCH
from cutover.event_bus.preflight.gathering import gather
from cutover.event_bus.preflight.situation import Situation
from cutover.event_bus.preflight.topic_items import partitions, trimmed
from cutover.plan import Step, Transition, path
from cutover.refusing import refuse
from cutover.reporting import as_json
from cutover.run import Outcome, Runner, validate
from tests.unit.cutover.spoiling import (
    LIMITS,
    MEMORY,
    PERSISTENCE,
    RIGHTS,
    adapters_tell,
    make_whole,
    tells,
    tells_of_topics,
    trims_unread,
)
from tests.unit.cutover.world import QUICK, TOPIC, World
from validation.result import Verdict

WRONG, UNKNOWN = "does not hold", "could not be checked"
Spoil = Callable[[World], None]


def fails(operation: str, error: Exception, backend: str = "kafka") -> Spoil:
    """Every call of `operation` fails."""
    return lambda world: world.servers[backend].faults.fail_next(operation, error, times=10_000)  # type: ignore[arg-type]


def set_access(**changes: object) -> Spoil:
    """The cluster says something else."""

    def spoil(world: World) -> None:
        for name, value in changes.items():
            setattr(world.cluster, name, value)

    return spoil


def silent_pod(world: World) -> None:
    """An adapter's pod is there, but it renews no more."""
    world.adapters.pods = {"pod-1"}
    world.adapters.alter = lambda record: replace(record, age_seconds=100.0)


HELD = Retained(entries=10, bytes=5_000, oldest_seconds=7200.0)

CASES: list[tuple[str, Spoil, str, str, str, str]] = [
    # item, what spoils it, verdict, found, fix
    ("redis: reachable", tells("redis", unfit="its role is slave"), WRONG, "its role is slave", "single server", ""),
    ("kafka: reachable", fails("facts", AccessDenied("no login")), WRONG, "refuses this user: no login", "Secret", ""),
    ("kafka: reachable", fails("facts", BackendUnavailable("down")), UNKNOWN, "no answer within", "kubectl", ""),
    ("kafka: partitions", tells_of_topics("kafka", partitions=4), WRONG, "market_data has 4", "partitions", ""),
    ("kafka: partitions", tells_of_topics("kafka", exists=False), WRONG, "does not exist", "partitions", ""),
    ("kafka: replication", tells("kafka", brokers=2), WRONG, "wants 3 replicas", "Bring the brokers back", ""),
    (
        "kafka: replication",
        tells_of_topics("kafka", copies=Copies(replicas=1, in_sync=1)),
        WRONG,
        "1 replicas, min.insync.replicas 2",
        "min.insync.replicas",
        "",
    ),
    (
        "kafka: replication",
        tells_of_topics("kafka", copies=Copies(replicas=3, in_sync=1)),
        WRONG,
        "1 in sync, min.insync.replicas 2",
        "Bring the brokers back",
        "",
    ),
    ("kafka: replication", tells_of_topics("kafka", copies=Unknown("no leader")), UNKNOWN, "no leader", "describe", ""),
    (
        "kafka: retention of market_data",
        tells_of_topics("redis", retained=HELD),
        WRONG,
        "the oldest event is 2.0 h old, retention.ms is 1.0 h",
        "retention_hours",
        "",
    ),
    (
        "kafka: retention of market_data",
        tells_of_topics("kafka", limits=replace(LIMITS, retention_bytes=100)),
        WRONG,
        "retention.bytes is 100 a partition",
        "retention.bytes",
        "",
    ),
    (
        "kafka: retention of market_data",
        tells_of_topics("kafka", limits=replace(LIMITS, cleanup="compact")),
        WRONG,
        "cleanup.policy compact",
        "",
        "",
    ),
    ("kafka: retention of market_data", tells_of_topics("redis", retained=Unknown("?")), UNKNOWN, "?", "describe", ""),
    (
        "kafka: message size of market_data",
        tells_of_topics("kafka", limits=replace(LIMITS, max_message_bytes=1000)),
        WRONG,
        "max.message.bytes is 1000, batches have up to 2000000",
        "max.message.bytes",
        "",
    ),
    ("kafka: message size of market_data", fails("scan", BackendUnavailable("away"), "redis"), UNKNOWN, "away", "", ""),
    ("redis: memory", tells("redis", memory=replace(MEMORY, used=95)), WRONG, "95 of 100 bytes", "Raise maxmemory", ""),
    (
        "redis: memory",
        tells("redis", memory=Memory(used=950, limit=0, machine=1000, policy="noeviction")),
        WRONG,
        "950 of 1000 bytes (the machine, for none is set)",
        "Raise maxmemory",
        "",
    ),
    ("redis: memory", tells("redis", memory=Unknown("no INFO")), UNKNOWN, "no INFO", "INFO", ""),
    ("redis: disk", tells("redis", disk_used=600), WRONG, "1200 bytes are used, twice over", "redis.storage", "redis"),
    (
        "kafka: disk",
        tells("kafka", disk_used=Unknown("no call")),
        WRONG,
        "to be copied into it",
        "kafka.storage",
        "kafka",
    ),
    (
        "redis: persistence",
        tells("redis", persistence=replace(PERSISTENCE, append_only=False)),
        WRONG,
        "no append-only file",
        "appendonly yes",
        "",
    ),
    (
        "redis: persistence",
        tells("redis", persistence=replace(PERSISTENCE, fsync="no", last_write_ok=False)),
        WRONG,
        "appendfsync no, the last write to the append-only file failed",
        "BGREWRITEAOF",
        "",
    ),
    (
        "redis: persistence",
        tells("redis", persistence=replace(PERSISTENCE, last_rewrite_ok=False, last_snapshot_ok=False)),
        WRONG,
        "the last rewrite of the append-only file failed, the last snapshot failed",
        "room",
        "",
    ),
    (
        "redis: persistence",
        tells("redis", persistence=replace(PERSISTENCE, fsync="unknown")),
        UNKNOWN,
        "may not be asked",
        "CONFIG GET",
        "",
    ),
    (
        "redis: eviction",
        tells("redis", memory=replace(MEMORY, policy="allkeys-lru")),
        WRONG,
        "found allkeys-lru",
        "noeviction",
        "",
    ),
    ("redis: trimmed unread", trims_unread, WRONG, "slow in market_data/0: after 0 up to", "XGROUP SETID", ""),
    ("redis: trimmed unread", fails("beginning", BackendUnavailable("away"), "redis"), UNKNOWN, "away", "", ""),
    ("adapters: protocol", adapters_tell(protocol_version=9), WRONG, "pod-1.bus (protocol 9)", "Roll their images", ""),
    ("adapters: alive", silent_pod, WRONG, "pod-1.bus is silent for 100 s", "hang", ""),
    ("adapters: alive", adapters_tell(age_seconds=100.0), UNKNOWN, "no adapter is known", "Start a service", ""),
    ("redis: clock", tells("redis", clock=Clock(ahead=9.0, within=0.1)), WRONG, "+9.000 s off", "chrony", ""),
    ("redis: clock", tells("redis", clock=Clock(ahead=0.0, within=9.0)), UNKNOWN, "took too long", "again", ""),
    ("api server: clock", set_access(ahead=-60.0), WRONG, "-60.000 s off", "chrony", ""),
    ("adapters: clocks", adapters_tell(clock_ahead=-CLOCK_LIMIT - 1), WRONG, "pod-1.bus is -6.5 s off", "chrony", ""),
    ("kafka: rights", tells("kafka", rights=replace(RIGHTS, lacks=("ALTER",))), WRONG, "lacks: ALTER", "Grant", ""),
    ("kafka: rights", tells("kafka", rights=replace(RIGHTS, excess=("x",))), WRONG, "too much: x", "revoke", ""),
    ("kafka: rights", tells("kafka", rights=replace(RIGHTS, others_lack=("m",))), WRONG, "missing: m", "Grant", ""),
    ("kafka: rights", tells("kafka", rights=replace(RIGHTS, seal_holds=False)), WRONG, "no authorizer", "", ""),
    ("kafka: rights", tells("kafka", rights=Unknown("denied")), UNKNOWN, "denied", "right to ask", ""),
    ("kubernetes: rights", set_access(granted=set(NEEDED[1:])), WRONG, "may not get configmaps", "Role", ""),
    ("kubernetes: rights", set_access(granted={*NEEDED, *TOO_MUCH}), WRONG, "may also get secrets", "Role", ""),
    ("kubernetes: rights", set_access(failure=RouteUnavailable("403")), UNKNOWN, "403", "system:basic-user", ""),
]


@pytest.fixture
def world() -> World:
    return World(groups=("a",))


def in_shadow(world: World) -> None:
    """Both sides hold events, and all is well."""
    make_whole(world)
    assert world.migrate(Stage.SHADOW).reached, "\n".join(world.lines)
    world.subscribe()
    world.publish(12)
    world.assert_ledger()
    world.lines.clear()


@pytest.mark.parametrize(
    ("item", "spoil", "verdict", "found", "fix", "volume"),
    CASES,
    ids=[f"{case[0]} {case[2]}-{number}".replace(" ", "_") for number, case in enumerate(CASES)],
)
def test_an_item_that_fails_stops_the_switch_and_says_what_to_do(
    world: World, item: str, spoil: Spoil, verdict: str, found: str, fix: str, volume: str
) -> None:
    with world:
        in_shadow(world)
        spoil(world)
        world.volumes = {volume: 1000} if volume else {}
        outcome = world.migrate(Stage.SCALE)
        assert (outcome.verdict, outcome.stage, world.route().active) == (verdict, Stage.SHADOW, "redis")
        [line] = [line for line in outcome.message.splitlines() if line.startswith(f"  - {item} ")]
        assert f"{item} {verdict}: expected " in line
        assert found in line
        assert line.partition(" Fix: ")[2]
        assert fix in line.partition(" Fix: ")[2]
        assert [told for told in world.lines if told == f"    NOT {line.removeprefix('  - ')}"]


def title(name: str) -> str:
    """An item's name without the backend and the topic that it is about."""
    return name.partition(": ")[2].partition(" of ")[0]


def test_each_item_turns_red_above() -> None:
    with World() as world:
        in_shadow(world)
        world.volumes = {"redis": 10**6, "kafka": 10**6}
        there = {title(check.name) for check in validated(world).records[0].checks}
    assert there == {title(case[0]) for case in CASES if case[2] == WRONG}


def test_one_failure_does_not_hide_the_next(world: World) -> None:
    with world:
        in_shadow(world)
        for spoil in (
            tells("redis", memory=replace(MEMORY, used=99, policy="allkeys-lru")),
            tells("kafka", rights=Unknown("denied"), brokers=1),
            set_access(ahead=60.0),
        ):
            spoil(world)
        outcome = world.migrate(Stage.SCALE)
        assert outcome.verdict == WRONG
        assert "4 do not hold and 1 could not be checked" in outcome.message
        for item in ("redis: memory", "redis: eviction", "kafka: replication", "api server: clock", "kafka: rights"):
            assert f"  - {item} " in outcome.message


def test_the_verdict_for_machines_lists_the_items(world: World) -> None:
    with world:
        in_shadow(world)
        tells("redis", memory=replace(MEMORY, used=99))(world)
        outcome = world.migrate(Stage.SCALE)
        [step] = json.loads(as_json(Component.EVENT_BUS, outcome))["steps"]
        items = {item["name"]: item for item in step["items"]}
        assert items["redis: memory"]["verdict"] == Verdict.DOES_NOT_HOLD.value
        assert items["redis: memory"]["fix"]
        assert items["redis: eviction"] == {"name": "redis: eviction", "verdict": "holds", "found": "noeviction"}
        assert len(items) == len(step["items"]) > 15


def validated(world: World) -> Outcome:
    context = world.context(QUICK)
    steps = world.steps(context)
    try:
        return validate(context, steps)
    finally:
        steps.close()


def test_validate_runs_the_same_items(world: World) -> None:
    with world:
        in_shadow(world)
        assert validated(world).reached
        tells("redis", memory=replace(MEMORY, policy="volatile-ttl"))(world)
        fails("scan", BackendUnavailable("away"))(world)
        outcome = validated(world)
        assert outcome.verdict == WRONG
        assert "redis: eviction does not hold" in outcome.message
        assert [check.name for check in outcome.records[0].checks if not check.outcome.passed] == ["redis: eviction"]


@pytest.mark.parametrize(
    "spoil",
    [
        adapters_tell(age_seconds=100.0),
        set_access(granted={*NEEDED, *TOO_MUCH}),
        tells("kafka", brokers=1),
        tells_of_topics("kafka", copies=Copies(replicas=3, in_sync=0)),
        tells_of_topics("kafka", partitions=5),
    ],
    ids=["no_adapter", "too_many_rights", "brokers_lost", "none_in_sync", "partitions"],
)
def test_going_back_is_not_held_up_by_what_is_left_or_no_danger_to_data(world: World, spoil: Spoil) -> None:
    with world:
        in_shadow(world)
        assert world.migrate(Stage.SCALE).reached, "\n".join(world.lines)
        spoil(world)
        context = world.context(QUICK)
        steps = world.steps(context)
        context.read()
        steps.steps[Step.PREFLIGHT](path(Stage.SCALE, Stage.SHADOW)[0])
        with pytest.raises(CutoverError, match="preflight: 1"):
            steps.steps[Step.PREFLIGHT](path(Stage.SCALE, Stage.COMPLETE)[0])
        steps.close()


@pytest.mark.parametrize(
    "spoil",
    [
        tells("redis", memory=replace(MEMORY, policy="allkeys-lru")),
        tells("redis", persistence=replace(PERSISTENCE, append_only=False)),
        tells("kafka", rights=replace(RIGHTS, seal_holds=False)),
    ],
    ids=["old_side_evicts", "old_side_forgets", "no_seal"],
)
def test_going_back_is_held_up_by_danger_to_data(world: World, spoil: Spoil) -> None:
    with world:
        in_shadow(world)
        assert world.migrate(Stage.SCALE).reached, "\n".join(world.lines)
        spoil(world)
        outcome = world.migrate(Stage.SHADOW)
        assert (outcome.verdict, world.route().active) == (WRONG, "kafka")


def test_a_switch_back_after_a_failed_watch_does_not_wait_for_preflight(world: World) -> None:
    with world:
        in_shadow(world)
        context = world.context(QUICK)
        steps = world.steps(context)
        real = steps.steps[Step.WATCH]
        watched: list[str] = []

        def fails_first(transition: Transition) -> str:
            watched.append(transition.goal.value)
            if len(watched) == 1:
                tells("redis", memory=replace(MEMORY, used=99))(world)
                raise StepFailed("made to fail", "none")
            return real(transition)

        steps.steps[Step.WATCH] = fails_first
        outcome = Runner(context, steps, Stage.SCALE).run()
        steps.close()
        assert (outcome.verdict, outcome.stage, world.route().active) == (WRONG, Stage.SHADOW, "redis")
        assert watched == ["scale", "shadow"]


def test_what_is_made_by_the_transition_is_not_asked_for_before(world: World) -> None:
    with world:
        make_whole(world)
        assert world.migrate(Stage.MVP).reached
        tells("kafka", rights=replace(RIGHTS, others_lack=("mirror: WRITE",)))(world)
        tells_of_topics("kafka", limits=replace(LIMITS, max_message_bytes=1))(world)
        tells_of_topics("kafka", exists=False)(world)
        world.volumes = {"kafka": 10_000}
        outcome = world.migrate(Stage.SHADOW)
        assert outcome.records[0].outcome == "holds", outcome.message


def asked(world: World) -> Situation:
    """The situation of a validation."""
    context = world.context(QUICK)
    steps = world.steps(context)
    context.read()
    try:
        return gather(steps._work, Transition(Stage.SHADOW, Stage.SHADOW, ()), ())
    finally:
        steps.close()


def test_entries_that_went_without_anybody_knowing_who_read_them_are_no_gap_and_no_pass(world: World) -> None:
    with world:
        in_shadow(world)
        gap = Gap(topic="t", group="g", partition="0", after="1-0", until="5-0", certain=False)
        [check] = trimmed(replace(asked(world), gaps={"redis": [gap]}))
        assert check.outcome is Verdict.COULD_NOT_CHECK
        assert "g in t/0: after 1-0 up to 5-0" in check.detail


def test_partitions_must_be_what_they_were_when_the_route_was_made(world: World) -> None:
    with world:
        in_shadow(world)
        tells_of_topics("redis", partitions=4)(world)
        tells_of_topics("kafka", partitions=4)(world)
        situation = asked(world)
        wider = replace(situation, settings=replace(situation.settings, partitions=4))
        found = {check.name: check for check in partitions(wider)}["redis: partitions"]
        assert found.outcome is Verdict.DOES_NOT_HOLD
        assert "market_data had 3 when the route was made" in found.found


def test_an_event_that_the_other_side_would_not_take_is_found_before_it_is_copied(world: World) -> None:
    with world:
        make_whole(world)
        assert world.migrate(Stage.MVP).reached
        world.bus.publish(TOPIC, "k", b"x" * 5000)
        tells_of_topics("kafka", limits=replace(LIMITS, largest_batch=3000))(world)
        outcome = world.migrate(Stage.SHADOW)
        assert outcome.verdict == WRONG
        assert "kafka: message size of market_data does not hold" in outcome.message
        assert "bytes is to be copied" in outcome.message


def test_no_items_are_no_pass() -> None:
    with pytest.raises(CouldNotCheck):
        refuse(())
