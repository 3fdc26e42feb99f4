"""`python -m benchmarks NAME`."""

from __future__ import annotations

import sys

from benchmarks import event_bus
from benchmarks.frame import report

BENCHMARKS = {"event_bus": event_bus.run}


def main(arguments: list[str]) -> int:
    """Run the benchmark that is named."""
    if len(arguments) != 1 or arguments[0] not in BENCHMARKS:
        print(f"usage: python -m benchmarks NAME, where NAME is one of: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    return report(arguments[0], BENCHMARKS[arguments[0]]())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
