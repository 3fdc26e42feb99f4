"""Fixtures of the tests of the pooler: both servers once a module, a PgBouncer and a route a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.pooler.bench import Bouncer, Servers, Switchboard, both_servers, bouncer, find_pgbouncer


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Both, running."""
    with both_servers() as made:
        yield made


@pytest.fixture
def made(servers: Servers) -> Iterator[Bouncer]:
    """A PgBouncer before two empty databases, at the hosted side."""
    binary = find_pgbouncer()
    if binary is None:
        pytest.skip("there is no pgbouncer (CROSSOVER_PGBOUNCER, or on the PATH)")
    with bouncer(binary, servers.sides()) as running:
        yield running


@pytest.fixture
def board() -> Switchboard:
    """The route: the hosted side serves."""
    return Switchboard()
