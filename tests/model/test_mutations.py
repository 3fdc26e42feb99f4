"""A broken protocol is found: were it not, the state machine would prove nothing of the right one."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.model.ledger import Violation
from tests.model.machine import Protocol, bounded
from tests.model.mutations import MUTATIONS, Mutation

EXAMPLES = 400


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("broken", MUTATIONS.values(), ids=list(MUTATIONS))
def test_the_machine_finds(broken: Mutation) -> None:
    with broken(), pytest.raises(Violation):
        run_state_machine_as_test(Protocol, settings=bounded(EXAMPLES))
