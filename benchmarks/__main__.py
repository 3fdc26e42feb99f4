"""`python -m benchmarks NAME [PART ...]`."""

from __future__ import annotations

import sys

from benchmarks import backtesting, database, event_bus, llm_service, preview
from benchmarks.frame import report

BENCHMARKS = {
    "backtesting": (backtesting.run, tuple(backtesting.PARTS)),
    "database": (database.run, tuple(database.PARTS)),
    "event_bus": (event_bus.run, tuple(event_bus.PARTS)),
    "llm_service": (llm_service.run, llm_service.PARTS),
    "preview": (preview.run, ()),
}


def main(arguments: list[str]) -> int:
    """Run the benchmark that is named, or the named parts of it."""
    name, *parts = arguments or [""]
    run, known = BENCHMARKS.get(name, (None, ()))
    if run is None or not set(parts) <= set(known):
        print("usage: python -m benchmarks NAME [PART ...], where NAME is one of:", file=sys.stderr)
        for benchmark, (_, its_parts) in BENCHMARKS.items():
            print(f"  {benchmark} {' '.join(its_parts)}", file=sys.stderr)
        return 2
    return report("-".join([name, *parts]), run(parts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
