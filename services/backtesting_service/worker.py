"""`python -m services.backtesting_service.worker ORDERS ANSWERS`: a worker process, which runs users' own strategies.

It has the two descriptors from the service (processes.py), and nothing that it sends there is trusted.
"""

from __future__ import annotations

import sys

from services.backtesting_service import work
from services.backtesting_service.confining import end_with_parent
from services.backtesting_service.exchange import BEGINNING_JSON, ORDER_JSON, Header, failure_of
from services.backtesting_service.frames import Line


def main(orders: int, answers: int) -> int:
    """Do what is ordered until nobody orders any more."""
    end_with_parent()  # a service that is killed leaves no run behind that nobody waits for
    line = Line(orders, answers)
    order = line.receive()
    if order is None:
        return 0
    beginning = BEGINNING_JSON.validate_json(order)
    work.prepare(beginning.engine, beginning.surroundings, beginning.memory_mib)
    line.send(Header().model_dump_json().encode())
    while (order := line.receive()) is not None:
        header, contents = _done(order)
        line.send(header.model_dump_json().encode(), *contents)
        del contents  # the next job has the memory
    return 0


def _done(told: bytes) -> tuple[Header, list[bytes]]:
    order = ORDER_JSON.validate_json(told)
    try:
        files = work.run(order.job)
    except Exception as error:
        return Header(number=order.number, failure=failure_of(error)), []
    sizes = {name: len(content) for name, content in files.items()}
    return Header(number=order.number, files=sizes), list(files.values())


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
