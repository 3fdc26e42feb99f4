"""The switch on the cluster, hurt under load: killed on its way, servers killed, an API that stands still, a
killed `pulumi up`. Then `pulumi up` again converges. One load runs through it all, and in the end its ledger holds, of
all of it. Each run is bounded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from contracts.stages import Stage
from cutover.plan import Step
from local.cluster.settings import ClusterPaths, this_clone
from local.demo.load import Load
from tests.e2e.chaos import Run, frozen, kill_server, killed_up, process_of, remove_runs, settled
from tests.e2e.journey import Stack, clean

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

KILLED = {
    Stage.SCALE: (Step.SEAL, Step.WATCH),
    Stage.SHADOW: (Step.OPEN,),
}
"""By the stage that is asked for: where most stands open. Each step is a place to die in tests/contract."""
API_SECONDS = 15.0
AROUND = 5.0
MOST_KILLS = 20
RATE = 300.0
"""Events per second: all that is published is compared in the end."""


@pytest.fixture
def paths(stack: Stack) -> ClusterPaths:
    """The local cluster's; on another cluster its processes cannot be reached."""
    found = this_clone()
    if not found.record.exists():
        pytest.skip("the current cluster is not the local one")
    return found


@pytest.fixture(autouse=True)
def no_run_stays(stack: Stack) -> Iterator[None]:
    """The runs beside Pulumi are removed in the end; not before, for the next one sees by their pods that they died."""
    yield
    remove_runs(stack)


@pytest.fixture(scope="module")
def load(stack: Stack) -> Iterator[Load]:
    """The load of all of them."""
    stack.bring_to(Stage.SHADOW)
    with stack.load(RATE) as made:
        yield made


def converged(stack: Stack, load: Load, stage: Stage) -> None:
    """An update brings it to `stage`, where nothing is under way and load goes on."""
    stack.bring_to(stage)
    assert settled(stack.route()[0], stage)
    load.hold(AROUND, "load on the side that serves")


@pytest.mark.parametrize("goal", KILLED, ids=["there", "back"])
def test_killed_on_its_way_an_update_converges(stack: Stack, load: Load, goal: Stage) -> None:
    for step in KILLED[goal]:
        Run(stack, goal, "die", step).await_death()
        load.check()
    converged(stack, load, goal)


def test_kafka_killed_in_the_pause_an_update_converges(stack: Stack, load: Load, paths: ClusterPaths) -> None:
    """So is Redis in tests/contract, and each of them in each step."""
    run = Run(stack, Stage.SCALE, "hold", Step.SEAL)
    run.await_there()
    kill_server(paths, "kafka.Kafka")
    run.await_end()
    load.check()
    converged(stack, load, Stage.SCALE)


def test_an_api_that_stands_still_in_the_pause_stops_no_data(stack: Stack, load: Load, paths: ClusterPaths) -> None:
    run = Run(stack, Stage.SHADOW, "hold", Step.SEAL)
    run.await_there()
    with frozen([process_of(paths, "kube-apiserver")]):
        time.sleep(API_SECONDS)  # the outage itself
    run.await_end()
    load.check()
    converged(stack, load, Stage.SHADOW)


def test_an_update_killed_at_one_resource_after_the_other_converges(
    stack: Stack, load: Load, paths: ClusterPaths
) -> None:
    """From mvp to scale: Kafka and its companions are made, then the Transition runs. The first update is killed once
    one resource is done, the second once two are, and so on, until one ends before that."""
    stack.bring_to(Stage.MVP)
    stack.ask_for(Stage.SCALE)
    killed = 0
    while "Duration:" not in killed_up(stack, _done(killed + 1)):
        killed += 1
        assert killed < MOST_KILLS, "updates that are killed do not get anywhere"
        load.check()
    assert killed > 2
    converged(stack, load, Stage.SCALE)


def test_of_all_that_nothing_was_lost_doubled_reordered_or_changed(load: Load) -> None:
    figures = clean(load).figures
    assert figures["acknowledged_redis"] > 0 and figures["acknowledged_kafka"] > 0


def _done(count: int) -> Callable[[str], bool]:
    """Whether, by the lines of an update so far, so many resources of the cluster were made, changed or replaced."""
    seen = 0

    def told(line: str) -> bool:
        nonlocal seen
        seen += "kubernetes:" in line and any(word in line for word in (" created (", " updated (", " replaced ("))
        return seen >= count

    return told
