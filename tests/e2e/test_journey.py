"""Every component by one command, under load: one after the other to its Scale backend, and back all at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.journeys import ORDER
from contracts.stages import Stage, serving_backend
from tests.e2e.journey import Stack, Windows, clean, clean_client

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

AROUND = 5.0
EVENTS, TRANSFERS = 300.0, 50.0
"""A second: two loads share two cores with all else."""
STALL_MS = 3000.0
"""Of transfers, on two cores, which bank, engine, servers and cluster share."""


def legs(said: str) -> dict[str, Any]:
    """What became of each component, by its name."""
    return {leg["component"]: leg for leg in json.loads(said)["legs"]}


def serving(stack: Stack) -> dict[str, str]:
    """Who serves, by component, as the live routes have it."""
    return {component.value: stack.of(component).route()[0].active for component in ORDER}


def test_all_there_and_all_back_under_load_loses_nothing(stack: Stack) -> None:
    """By steps: the first component alone, then, once a freeze is over, the others; back all at once."""
    stack.crossover("rollback", "--all", "--json")
    with stack.bank(1.0):  # makes its tables where both sides follow them once the update has added them
        pass
    (first, *others), windows = ORDER, Windows()
    freeze = stack.root / "FREEZE"
    with stack.load(EVENTS) as load, stack.bank(TRANSFERS) as bank:
        load.hold(AROUND, "load on the MVP backends")
        one = legs(stack.crossover("migrate", "--all", "--one", "--json", status=3))
        assert one[first]["outcome"] == "moved"
        assert {one[component]["outcome"] for component in others} == {"left"}
        freeze.write_text("the books are closed")
        try:
            assert not stack.crossover("migrate", "--all", "--json", status=3)
        finally:
            freeze.unlink()
        with windows.of("there"):
            there = legs(stack.crossover("migrate", "--all", "--json"))
        assert [there[component]["outcome"] for component in ORDER] == ["there", "moved", "moved", "moved"]
        assert serving(stack) == {c.value: serving_backend(c, Stage.SCALE) for c in ORDER}
        load.hold(AROUND, "load on the Scale backends")
        with windows.of("back"):
            back = legs(stack.crossover("rollback", "--all", "--json"))
        assert {leg["outcome"] for leg in back.values()} == {"moved"}, back
        assert serving(stack) == {c.value: serving_backend(c, Stage.SHADOW) for c in ORDER}
        load.hold(AROUND, "load back on the MVP backends")
        figures = clean(load).figures
        transfers = clean_client(bank, windows.spans)
    for name in windows.spans:
        assert transfers[name].figures["stall_ms_max"] < STALL_MS, name
    print({name: leg["seconds"] for name, leg in there.items()}, "back", max(leg["seconds"] for leg in back.values()))
    assert figures["acknowledged_redis"] > 0 and figures["acknowledged_kafka"] > 0
