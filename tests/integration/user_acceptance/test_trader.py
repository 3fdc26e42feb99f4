"""A trader: my orders are accepted and found again, and what I hold is what I traded."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from adapters.routes.service_calls import ServiceCalls
from contracts.names import TRADING_ENGINE_NAME
from tests.integration.user_acceptance.conftest import Services

NEW_SECONDS = 60.0
"""Within which something new is traded where the market is open."""
KEPT = 20
"""Orders that a later run is to find again."""
TRIES = 20
_STAYS = ("order_id", "key", "symbol", "side", "quantity", "created_at")
"""What of an order never changes."""


@pytest.fixture
def engine(service: Services) -> ServiceCalls:
    return service(TRADING_ENGINE_NAME)


def items(engine: ServiceCalls, path: str) -> list[dict[str, Any]]:
    answer = engine.ask("GET", path)
    assert answer.status == 200, f"GET {path} answers {answer.status}: {answer.content}"
    found: list[dict[str, Any]] = answer.content["items"]
    return found


def test_orders_are_found_again(engine: ServiceCalls, seen: dict[str, Any]) -> None:
    """An order that was accepted is found again, in all orders and in those of its key, as it was."""
    orders = items(engine, f"/orders?limit={KEPT}")
    assert orders, "there is no order: nothing was traded yet"
    for order in orders[:5]:
        before = order["number"] + 1
        (again,) = items(engine, f"/orders?key={order['key']}&before={before}&limit=1")
        assert {name: again[name] for name in _STAYS} == {name: order[name] for name in _STAYS}
    seen["orders"] = {str(order["number"]): {name: order[name] for name in _STAYS} for order in orders}


def test_filled_orders_say_at_what_price_and_when(engine: ServiceCalls) -> None:
    """A filled order says its price and when it was filled; one that waits says neither."""
    for order in items(engine, "/orders?limit=100"):
        filled = order["status"] == "filled"
        assert (order["fill_price"] is not None, order["filled_at"] is not None) == (filled, filled), order
        assert Decimal(order["quantity"]) > 0, order


def test_what_is_held_is_what_was_traded(engine: ServiceCalls, seen: dict[str, Any]) -> None:
    """What I hold of a key is what its last filled order left: bought and kept, or sold."""
    positions = items(engine, "/positions?limit=1000")
    assert positions, "nothing is held of any key"
    for position in positions[:10]:
        assert held_and_traded(engine, position), f"{position['key']}: held is not what was traded"
    seen["positions"] = sorted([position["strategy"], position["key"]] for position in positions)


def held_and_traded(engine: ServiceCalls, position: dict[str, Any]) -> bool:
    """Whether both agree. Trading goes on meanwhile, so they are looked at until nothing moved between two looks."""
    strategy, key = position["strategy"], position["key"]
    for _ in range(TRIES):
        before = _position(engine, strategy, key)
        orders = [one for one in items(engine, f"/orders?key={key}&limit=100") if one["strategy"] == strategy]
        if _position(engine, strategy, key) != before:
            continue
        last = next((one for one in orders if one["status"] == "filled"), None)
        left = Decimal(last["quantity"]) if last is not None and last["side"] == "buy" else Decimal(0)
        if left == before:
            return True
    return False


def _position(engine: ServiceCalls, strategy: str, key: str) -> Decimal:
    found = items(engine, "/positions?limit=1000")
    return next(Decimal(one["quantity"]) for one in found if (one["strategy"], one["key"]) == (strategy, key))


def test_trading_goes_on(engine: ServiceCalls, quiet: bool) -> None:
    """The market moves, and new signals come of it."""
    if quiet:
        pytest.skip("the market is closed: --quiet")
    first = items(engine, "/signals?limit=1")
    deadline = time.monotonic() + NEW_SECONDS
    while time.monotonic() < deadline:
        newest = items(engine, "/signals?limit=1")
        if newest and (not first or newest[0]["number"] > first[0]["number"]):
            return
        time.sleep(0.5)  # between two looks
    pytest.fail(f"no new signal within {NEW_SECONDS:.0f} s")


def test_orders_from_before_are_still_there(engine: ServiceCalls, before: dict[str, Any]) -> None:
    """Every order that the earlier run saw is still there, as it was."""
    for number, order in before.get("orders", {}).items():
        found = items(engine, f"/orders?before={int(number) + 1}&limit=1")
        assert found and str(found[0]["number"]) == number, f"order {number} is gone"
        assert {name: found[0][name] for name in _STAYS} == order, f"order {number} is another"


def test_positions_from_before_are_still_there(engine: ServiceCalls, before: dict[str, Any]) -> None:
    """Every position that the earlier run saw survived."""
    now = {(one["strategy"], one["key"]) for one in items(engine, "/positions?limit=1000")}
    gone = [pair for pair in before.get("positions", []) if tuple(pair) not in now]
    assert gone == []
