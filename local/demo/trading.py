"""Whether the backend trades: positions on real market data whose prices move."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final

from contracts import names
from local.demo.commands import CommandFailed, Kubectl
from local.setup.progress import step
from validation.load import marks

TRADING_SECONDS = 180.0
_FETCH: Final = "import sys,urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1], timeout=10).read())"


class NotTrading(RuntimeError):
    """The backend runs, but does not trade: what was last seen."""


def prices(page: Mapping[str, Any]) -> dict[str, str]:
    """Last price by key, of the keys that real market data has, from a page of positions."""
    load = set(marks.symbols())
    found = {str(item["key"]): item.get("last_price") for item in page.get("items", [])}
    return {key: str(price) for key, price in found.items() if key not in load and price is not None}


def await_trading(kubectl: Kubectl) -> dict[str, str]:
    """Wait until the engine holds, or held, positions on real data and their prices move. Raises NotTrading."""
    deadline = time.monotonic() + TRADING_SECONDS
    first: dict[str, str] = {}
    seen = ""
    with step("the backend trades on real market data") as shown:
        while time.monotonic() < deadline:
            try:
                now = prices(_positions(kubectl))
            except (CommandFailed, ValueError) as error:
                now, seen = {}, str(error)
            first = first or now
            seen = ", ".join(f"{key} at {price}" for key, price in now.items()) or seen
            shown.say(seen)
            if now and any(first.get(key) not in (None, price) for key, price in now.items()):
                return now
            time.sleep(1.0)  # prices move when bars come; nothing announces it here
    raise NotTrading(f"no price of a position moved within {TRADING_SECONDS:g} s; last seen: {seen or 'no position'}")


def _positions(kubectl: Kubectl) -> Any:
    url = f"http://127.0.0.1:{names.HTTP_PORT}/positions"
    return json.loads(kubectl.run("exec", f"deployment/{names.TRADING_ENGINE_NAME}", "--", "python", "-c", _FETCH, url))
