"""The user's own strategies: what a confined process says of them, and how a worker comes to have them.

`python -m services.backtesting_service.own_strategies FOLDER ORDERS ANSWERS` is that process: nothing is ordered, and
it answers once, in JSON. What it says is not trusted: it says it after it ran their code.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from adapters.backtesting.caches import FOLDERS
from adapters.backtesting.strategies import STRATEGIES
from adapters.backtesting.strategies.own import KNOWN, Described, OwnStrategyError, describe, files, load
from services.backtesting_service.confining import CannotConfine, confine
from services.backtesting_service.frames import Line
from services.backtesting_service.processes import ROOT, Died, Garbled, Process

_DESCRIBE_SECONDS = 45.0
"""Less than a pod has to start: what never ends must not keep the service from it."""
_TOLD_BYTES = 1 << 20
_SHA256 = re.compile("[0-9a-f]{64}")
_CODE = ("adapters", "contracts", "services")
_SYSTEM = (
    "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types", "/dev/null", "/dev/urandom",
    "/dev/random", "/dev/zero", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu", "/sys/fs/cgroup",
)  # fmt: skip
_KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ", "HOME", "TMPDIR", *FOLDERS)
_log = logging.getLogger(__name__)


class Told(BaseModel):
    """What the process says: `described`, by the files' names, or the `problem` that keeps all of them from being
    run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    described: dict[str, Described] = {}
    problem: str = ""


def confine_worker(read: Iterable[Path]) -> None:
    """Bind this process to what backtests need: the program, `read`, and the caches of compiled code. Raises
    CannotConfine."""
    # Packages lie where the interpreter looks for them, in an image elsewhere than in a virtual environment. The
    # program's own folder is such a place, too, and may hold more than the program.
    packages = [Path(name) for name in sys.path if name and not ROOT.is_relative_to(Path(name).resolve())]
    code = [ROOT / name for name in _CODE]
    system = [Path(name) for name in _SYSTEM]
    caches = [Path(os.environ[name]) for name in FOLDERS if name in os.environ]
    for cache in caches:
        cache.mkdir(parents=True, exist_ok=True)
    confine([Path(sys.prefix), Path(sys.base_prefix), *packages, *code, *system, *read], caches)


def described(folder: Path) -> Mapping[str, Described]:
    """What the files of `folder` give, as a confined process says. Raises OwnStrategyError where it could not be asked:
    none of them can be run then."""
    told = _asked(folder)
    if told.problem:
        raise OwnStrategyError(f"the strategies in {folder} cannot be used: {told.problem}")
    there = {path.stem for path in files(folder)}
    if not all(_plausible(name, one, there) for name, one in told.described.items()):
        raise OwnStrategyError(f"the strategies in {folder} cannot be used: what is told of them is not of their files")
    return told.described


def _asked(folder: Path) -> Told:
    environment = {name: value for name, value in os.environ.items() if name in _KEPT}
    until = time.monotonic() + _DESCRIBE_SECONDS

    def look() -> None:
        if time.monotonic() > until:
            raise TimeoutError

    process = Process([sys.executable, "-m", __name__, str(folder.absolute())], environment)
    try:
        return Told.model_validate_json(process.receive(_TOLD_BYTES, look))
    except TimeoutError:
        why = f"were not imported within {_DESCRIBE_SECONDS:g} s: one of them may never end"
    except Died:
        why = "gave no answer: one of them ended the process"
    except (Garbled, ValidationError):
        why = "gave an answer that is none: one of them wrote where it has nothing to say"
    finally:
        process.end()
    raise OwnStrategyError(f"the strategies in {folder} {why}")


def _plausible(name: str, one: Described, there: Collection[str]) -> bool:
    # Workers may read where a strategy is said to lie, so it has to be a file of the folder.
    return name == one.name and name in there and bool(one.problem or _SHA256.fullmatch(one.sha256))


def know(folder: Path | None) -> None:
    """Have this process know what there is, and say what cannot be used: all of it where it cannot be confined, which
    stops nothing else."""
    if folder is None:
        return
    try:
        found = described(folder)
    except OwnStrategyError as error:
        found = {path.stem: Described(path.stem, (), 0, "", str(error)) for path in files(folder)}
    for one in found.values():
        if one.problem:
            _log.error("a strategy cannot be used: %s", one.problem)
    KNOWN.tell(found)


def take_in(own: Mapping[Path, str]) -> None:
    """Import those files that have these checksums still: in a worker, once it is confined. What cannot be imported is
    told by the run that wants it."""
    for path, sha256 in own.items():
        try:
            KNOWN.put(path.stem, load(path, STRATEGIES, sha256))
        except OwnStrategyError as error:
            _log.warning("%s", error)


def main(folder: Path, line: Line) -> int:
    """Tell what `folder` gives."""
    try:
        confine_worker([folder])
    except CannotConfine as error:
        told = Told(problem=f"their code cannot be confined here: {error.strerror}")
    else:
        told = Told(described={path.stem: describe(path, STRATEGIES) for path in files(folder)})
    line.send(told.model_dump_json().encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Line(*map(int, sys.argv[2:]))))
