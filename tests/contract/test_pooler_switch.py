"""A switch through a real PgBouncer between two real servers, as clients see it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.pooled_pair import (
    Bouncer,
    Load,
    Servers,
    Switchboard,
    agent,
    both_servers,
    bouncer,
    find_pgbouncer,
    rows,
)

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with both_servers() as made:
        yield made


@pytest.fixture
def made(servers: Servers) -> Iterator[Bouncer]:
    binary = find_pgbouncer()
    if binary is None:
        pytest.skip("there is no pgbouncer (CROSSOVER_PGBOUNCER, or on the PATH)")
    with bouncer(binary, servers.sides()) as running:
        yield running


@pytest.fixture
def board() -> Switchboard:
    return Switchboard()


@pytest.mark.parametrize("prepared", [False, True], ids=["plain", "prepared"])
def test_forward_and_back_under_load_fail_no_statement(made: Bouncer, board: Switchboard, prepared: bool) -> None:
    if prepared and made.version < (1, 21):
        pytest.skip(f"PgBouncer {made.version} has no prepared statements in transaction mode")
    with agent(board, made), Load(made, prepared=prepared) as load:
        placed: dict[str, list[str]] = {"hosted": [], "selfhosted": []}
        for source, target in (("hosted", "selfhosted"), ("selfhosted", "hosted")):
            board.await_acknowledged(board.route.epoch)
            board.await_acknowledged(board.fence())
            held = rows(made.addresses[source])
            load.seconds.clear()
            board.open(target)
            board.await_serving(target)
            load.go_on(200)
            print(f"{source} -> {target}: the longest statement took {load.stall * 1000:.0f} ms")
            assert load.failed == []
            assert rows(made.addresses[source]) == held, "nothing arrives at the old side after the acknowledgement"
            placed[source] += held
        load.stop()
        assert load.failed == []
        everywhere = rows(made.addresses["hosted"]) + rows(made.addresses["selfhosted"])
        assert sorted(everywhere) == sorted(load.written)
        assert made.serves() == "hosted"
        assert len(rows(made.addresses["selfhosted"])) >= 200
