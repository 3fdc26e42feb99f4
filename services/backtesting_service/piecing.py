"""`python -m services.backtesting_service.piecing`: pieces of a sweep of one of the user's own strategies, confined.

Its first line of input is an Order, each that follows the number of a piece; its answers are those that
adapters/backtesting/sweeps/confined.py tells of. Bars and engine are loaded as by any pod of a sweep; then the process
gives up network and files, and only then is the strategy imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from adapters.backtesting import BacktestError, open_engine
from adapters.backtesting.jobs import JobRefused, JobsUnavailable
from adapters.backtesting.strategies import STRATEGIES
from adapters.backtesting.strategies.own import KNOWN, load, source_sha256
from adapters.backtesting.sweeps import tables
from adapters.backtesting.sweeps.confined import FAILED, HEADER, PIECE, READY, REFUSED, Order
from adapters.backtesting.sweeps.histories import HistoryOf, csv_histories
from adapters.backtesting.sweeps.running import Workshop, run_piece, workshop
from services.backtesting_service.confining import CannotConfine, end_with_parent
from services.backtesting_service.own_strategies import confine_worker
from services.backtesting_service.sweeping import fetched_patiently

Answer = Callable[[bytes, bytes], None]


class OtherStrategy(ValueError):
    """The strategy's file is not the one that the sweep was asked for with."""


def main() -> int:
    """Answer until the input ends."""
    end_with_parent()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a strategy prints is no answer

    def answer(kind: bytes, content: bytes) -> None:
        out.write(HEADER.pack(kind, len(content)) + content)
        out.flush()

    asked = sys.stdin.buffer
    try:
        made = _ready(Order.model_validate_json(asked.readline()), answer)
        for line in asked:
            answer(PIECE, _piece(made, int(line)))
    except CannotConfine as error:
        answer(REFUSED, f"a strategy of your own is not run where it cannot be confined: {error.strerror}".encode())
    except (JobRefused, BacktestError, ValueError) as error:
        answer(REFUSED, str(error).encode())
    except (JobsUnavailable, MemoryError) as error:
        answer(FAILED, f"{type(error).__name__}: {error}".encode())
    return 0


def _ready(order: Order, answer: Answer) -> Workshop:
    """All that is needed is loaded, the process is confined, and the strategy imported."""
    sweep = order.sweep
    path = order.strategies / f"{sweep.asked.strategy}.py"
    _check_source(path, order)
    made = workshop(sweep, _histories(order), cache(lambda: open_engine(sweep.engine)))
    version = made.engine().version
    confine_worker([order.strategies])
    answer(READY, version.encode())
    KNOWN.put(path.stem, load(path, STRATEGIES, sweep.source_sha256))
    return made


def _check_source(path: Path, order: Order) -> None:
    sweep = order.sweep
    try:
        found = source_sha256(path)
    except OSError as error:
        raise OtherStrategy(
            f"{path} cannot be read: {error.strerror}. Sweep {sweep.id} is of it, so nothing is run. Put the file "
            "back, or ask for a sweep of a strategy that is there"
        ) from None
    if found != sweep.source_sha256:
        raise OtherStrategy(
            f"{path} is another file ({found}) than sweep {sweep.id} was asked for with ({sweep.source_sha256}): its "
            "results would be mixed. Restart the service where it has the older one, and ask for the sweep again"
        )


def _histories(order: Order) -> HistoryOf:
    files = csv_histories(order.sources)
    if not order.url:
        return files
    wanted = dict(zip(order.sweep.asked.symbols, order.sweep.bars_sha256, strict=True))
    return fetched_patiently(order.url, files, wanted)


def _piece(made: Workshop, index: int) -> bytes:
    return tables.written(run_piece(made, index, made.engine()), made.sweep)


if __name__ == "__main__":
    sys.exit(main())
