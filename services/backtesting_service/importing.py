"""`python -m services.backtesting_service.importing`: one file of bars into a catalog, in as much memory as it is told.

Its input is an Order, the last line of its output an Answer. One that wants more memory says so, or dies: Rust and C++
end a process that gets none.
"""

from __future__ import annotations

import importlib
import os
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from adapters.backtesting import BacktestError
from adapters.backtesting.histories import Options, import_file
from contracts.histories import History
from services.backtesting_service.confining import end_with_parent

_ROOT = Path(__file__).resolve().parents[2]
_ALLOCATOR = {"ARROW_DEFAULT_MEMORY_POOL": "system"}
"""Arrow's own would reserve a GiB at once, of which the kernel does not see what is used."""


class Lacking(Exception):
    """The process ended without an answer, or for want of memory."""


class Order(BaseModel):
    """What to import, as import_file takes it. `memory_mib`: what the process may have to write to, in MiB."""

    model_config = ConfigDict(frozen=True)

    path: Path
    symbol: str
    folder: Path
    options: Options
    name: str
    memory_mib: int


class Answer(BaseModel):
    """`kept`: the manifest, and whether it is `new`; else why it is `refused`, the `errno` with which it could not be
    kept, or nothing: there was not the memory."""

    kept: History | None = None
    new: bool = False
    refused: str = ""
    errno: int = 0


def imported(order: Order, seconds: float) -> Answer:
    """What a process of its own makes of `order` within so many seconds. Raises Lacking, subprocess.TimeoutExpired."""
    done = subprocess.run(
        [sys.executable, "-m", __name__], input=order.model_dump_json().encode(), stdout=subprocess.PIPE, cwd=_ROOT,
        env={**os.environ, **_ALLOCATOR}, timeout=seconds, check=False,
    )  # fmt: skip
    told = Answer.model_validate_json(done.stdout.splitlines()[-1]) if done.stdout and not done.returncode else Answer()
    if told == Answer():
        raise Lacking
    return told


def main() -> int:
    """Answer the order in the input."""
    end_with_parent()
    order = Order.model_validate_json(sys.stdin.buffer.read())
    _bound(order.memory_mib)
    print(_answer(order).model_dump_json())
    return 0


def _bound(memory_mib: int) -> None:
    """What counts is what may be written to (RLIMIT_DATA), not addresses: those of packages are many, and of files."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # where somebody has to go, this one
    with suppress(BacktestError):  # the import says so
        # Loaded before: a package that lacks the memory to be loaded says that it is not there.
        importlib.import_module("adapters.backtesting.nautilus_catalog")
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mib << 20, memory_mib << 20))


def _answer(order: Order) -> Answer:
    try:
        kept, new = import_file(order.path, order.symbol, order.folder, order.options, order.name)
        return Answer(kept=kept, new=new)
    except BacktestError as error:
        return Answer(refused=str(error))
    except MemoryError:
        return Answer()
    except OSError as error:
        return Answer(errno=error.errno or 0, refused=error.strerror or str(error))


if __name__ == "__main__":
    sys.exit(main())
