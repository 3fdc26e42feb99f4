"""`python -m services.backtesting_service.sweeping`: what the pods of a sweep do.

`run --sweep ID` does one piece of it, the one that `--index` or JOB_COMPLETION_INDEX names, and puts it to the service.
`register` asks the service for the sweep in CROSSOVER_SWEEP, `show --sweep ID` for the best of one; `delete --sweep ID`
and `delete-bars --symbol SYMBOL` have it delete. All write what it answers as the last line, as JSON, an object with
`error` where it refused.

Exit status: 0 done, or there before; 1 failed, to be tried again; 78 refused, where trying again cannot help.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import override

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from adapters.backtesting import EngineUnavailable, open_engine
from adapters.backtesting.http_jobs import answered
from adapters.backtesting.jobs import JobRefused, JobsUnavailable
from adapters.backtesting.sweeps.confined import ConfinedDied, ConfinedPieces, Order
from adapters.backtesting.sweeps.histories import HistoryOf, csv_histories, fetched_histories
from adapters.backtesting.sweeps.http_sweeps import HttpParts, HttpSweeps
from adapters.backtesting.sweeps.running import do_piece, workshop
from adapters.csv_bars import SHIPPED, parse_sources
from contracts import names
from contracts.sweeps import EXIT_REFUSED, Sweep, SweepAsked

PATIENCE_SECONDS = 300.0
"""How long the service may be away: it is replaced by one that starts once the old one has ended."""
ENV_INDEX = "JOB_COMPLETION_INDEX"
"""Kubernetes sets it in the pods of an Indexed Job."""
_log = logging.getLogger("sweeping")


def patiently[T](ask: Callable[[], T]) -> T:
    """What `ask` gives once the service answers. Raises JobsUnavailable after PATIENCE_SECONDS."""
    for attempt in Retrying(
        retry=retry_if_exception_type(JobsUnavailable),
        stop=stop_after_delay(PATIENCE_SECONDS),
        wait=wait_random_exponential(0.5, max=10),
        reraise=True,
    ):
        with attempt:
            return ask()
    raise AssertionError("Retrying ends by an answer or an error")


def histories(base_url: str, sha256: Mapping[str, str]) -> HistoryOf:
    """The bars of this pod, which has the same files as the service; others are fetched from there. `sha256`: what they
    must be, by symbol."""
    return fetched_patiently(base_url, csv_histories(_files()), sha256)


def fetched_patiently(base_url: str, files: HistoryOf, sha256: Mapping[str, str]) -> HistoryOf:
    """`files`, and from the service what they have not, once it answers."""
    of_service = fetched_histories(base_url, files, sha256)
    return lambda symbol: patiently(lambda: of_service(symbol))


def _files() -> Mapping[str, Path]:
    given = os.environ.get("BACKTESTING_CSV")
    return {**SHIPPED, **(parse_sources(given) if given else {})}


def run(sweeps: HttpSweeps, sweep_id: str, index: int) -> int:
    """Do piece `index`."""
    state = patiently(lambda: sweeps.state(sweep_id))
    if index in state.done:
        _log.info("piece %d of sweep %s is there already", index, sweep_id)
        return 0
    if index >= state.sweep.indexes:
        raise JobRefused(f"sweep {sweep_id} has pieces 0 to {state.sweep.indexes - 1}, and none of number {index}")
    parts = _PatientParts(sweeps, sweep_id)
    if state.sweep.source_sha256 is not None:
        parts.put(index, _confined(sweeps, state.sweep, index))
        return 0
    engine = cache(lambda: open_engine(state.sweep.engine))
    wanted = dict(zip(state.sweep.asked.symbols, state.sweep.bars_sha256, strict=True))
    made = workshop(state.sweep, histories(sweeps.base_url, wanted), engine)
    do_piece(made, index, parts)
    return 0


def _confined(sweeps: HttpSweeps, sweep: Sweep, index: int) -> bytes:
    """A piece of a sweep of one of the user's own strategies, whose code this process does not run."""
    folder = os.environ.get(names.ENV_STRATEGIES_PATH)
    if not folder:
        raise JobRefused(
            f"sweep {sweep.id} is of {sweep.asked.strategy}, a strategy of your own, and no folder of them is here "
            f"({names.ENV_STRATEGIES_PATH} is not set), so nothing can be run. Set crossover:backtesting.strategies, "
            "pulumi up, and submit it again"
        )
    process = ConfinedPieces(Order(sweep=sweep, strategies=Path(folder), sources=_files(), url=sweeps.base_url))
    try:
        return process.piece(index)
    finally:
        process.close()


class _PatientParts(HttpParts):
    """What took an hour to run is not lost because the service is just being replaced."""

    @override
    def put(self, index: int, content: bytes) -> None:
        patiently(lambda: super(_PatientParts, self).put(index, content))


def register(sweeps: HttpSweeps) -> int:
    """Ask for the sweep that the environment names."""
    asked = SweepAsked.model_validate_json(os.environ.get(names.ENV_SWEEP, ""))
    print(patiently(lambda: sweeps.register(asked)).model_dump_json(exclude_defaults=True))
    return 0


def show(sweeps: HttpSweeps, sweep_id: str, top: int | None) -> int:
    """Ask for the best of a sweep."""
    print(patiently(lambda: sweeps.standing(sweep_id, top)).model_dump_json(exclude_defaults=True))
    return 0


def delete(sweeps: HttpSweeps, sweep_id: str) -> int:
    """Have a sweep deleted."""
    patiently(lambda: sweeps.delete(sweep_id))
    print(json.dumps({"deleted": sweep_id}))
    return 0


def delete_bars(sweeps: HttpSweeps, symbol: str) -> int:
    """Have a history deleted."""
    patiently(lambda: answered(sweeps.base_url, "DELETE", f"/bars/{symbol}"))
    print(json.dumps({"deleted": symbol}))
    return 0


def main(arguments: list[str]) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.backtesting_service.sweeping", description=__doc__)
    parser.add_argument("act", choices=["run", "register", "show", "delete", "delete-bars"])
    parser.add_argument("--sweep", default="", help="the sweep's id")
    parser.add_argument("--index", type=int, default=int(os.environ.get(ENV_INDEX) or 0), help="the piece's number")
    parser.add_argument("--symbol", default="", help="whose bars are to be deleted")
    parser.add_argument("--top", type=int, default=None, help="how many of the best; else as the sweep says")
    chosen = parser.parse_args(arguments)
    service = HttpSweeps(os.environ.get(names.ENV_BACKTESTING_URL, f"http://127.0.0.1:{names.HTTP_PORT}"))
    try:
        return {
            "run": lambda: run(service, chosen.sweep, chosen.index),
            "register": lambda: register(service),
            "show": lambda: show(service, chosen.sweep, chosen.top),
            "delete": lambda: delete(service, chosen.sweep),
            "delete-bars": lambda: delete_bars(service, chosen.symbol),
        }[chosen.act]()
    except (JobsUnavailable, ConfinedDied) as error:
        _log.error("%s", error)
        return 1
    except (JobRefused, EngineUnavailable, ValueError) as error:
        _log.error("refused, and not to be tried again: %s", error)
        print(json.dumps({"error": str(error)}))
        return EXIT_REFUSED


if __name__ == "__main__":
    logging.basicConfig(level=os.environ.get(names.ENV_LOG_LEVEL, "INFO").upper(), format="%(levelname)s %(message)s")
    sys.exit(main(sys.argv[1:]))
