"""A broken protocol is found: were it not, the state machine would prove nothing of the right one."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import LATE, NOTHING, REJOINED, SLOW, TROUBLED, Found, Protocol, bounded
from tests.model.mutations import MUTATIONS

EXAMPLES = 300
SEARCHES = 20
"""Hypothesis draws by the constants of all modules that are loaded too, so that one search finds what is rare in
one session and not in another."""
BEGUN = {
    "publishers_acknowledge_a_fence_and_go_on": SLOW,
    "a_gate_acknowledges_with_events_in_flight": SLOW,
    "refused_events_go_behind_the_held_ones": LATE,
    "a_mirror_that_does_not_wait_for_a_newer_route": REJOINED,
    "a_route_written_whatever_it_is_now": NOTHING,
    "a_mirror_that_no_newer_one_fences": TROUBLED,
    "a_mirror_that_copies_before_it_moves_its_cursor": TROUBLED,
}
"""Where the search begins for what rarely matters elsewhere; what then happens is as open as for all others."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("broken", MUTATIONS)
def test_the_machine_finds(broken: str) -> None:
    class Search(Protocol):
        beginnings = (BEGUN[broken],) if broken in BEGUN else Protocol.beginnings

    with MUTATIONS[broken](), pytest.raises(Found):
        search(Search)


def search(machine: type[Protocol]) -> None:
    """Raises Found with what the first search that finds anything found."""
    for number in range(SEARCHES):
        run_state_machine_as_test(seed(number)(machine), settings=bounded(EXAMPLES))
