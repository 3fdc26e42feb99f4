"""The user's own strategies: what a confined process says of them, and how a worker comes to have them.

`python -m services.backtesting_service.own_strategies FOLDER` is that process: it prints one JSON object.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from adapters.backtesting.strategies import STRATEGIES
from adapters.backtesting.strategies.own import KNOWN, Described, OwnStrategyError, describe, files, load
from services.backtesting_service.confining import CannotConfine, confine

ROOT = Path(__file__).resolve().parents[2]
_DESCRIBE_SECONDS = 45.0
"""Less than a pod has to start: what never ends must not keep the service from it."""
_CODE = ("adapters", "contracts", "services")
_SYSTEM = (
    "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types", "/dev/null", "/dev/urandom",
    "/dev/random", "/dev/zero", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu", "/sys/fs/cgroup",
)  # fmt: skip
_KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ", "HOME", "TMPDIR", "NUMBA_CACHE_DIR", "MPLCONFIGDIR")
_log = logging.getLogger(__name__)


def confine_worker(read: Iterable[Path]) -> None:
    """Bind this process to what backtests need: the program, `read`, and the caches of compiled code. Raises
    CannotConfine."""
    # Packages lie where the interpreter looks for them, in an image elsewhere than in a virtual environment. The
    # program's own folder is such a place, too, and may hold more than the program.
    packages = [Path(name) for name in sys.path if name and not ROOT.is_relative_to(Path(name).resolve())]
    code = [ROOT / name for name in _CODE]
    system = [Path(name) for name in _SYSTEM]
    caches = [Path(os.environ[name]) for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR") if name in os.environ]
    for cache in caches:
        cache.mkdir(parents=True, exist_ok=True)
    confine([Path(sys.prefix), Path(sys.base_prefix), *packages, *code, *system, *read], caches)


def described(folder: Path) -> Mapping[str, Described]:
    """What the files of `folder` give, as a confined process says. Raises OwnStrategyError where it could not be asked:
    none of them can be run then."""
    environment = {name: value for name, value in os.environ.items() if name in _KEPT}
    command = [sys.executable, "-m", __name__, str(folder)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_DESCRIBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise OwnStrategyError(
            f"the strategies in {folder} were not imported within {_DESCRIBE_SECONDS:g} s: one of them may never end"
        ) from None
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise OwnStrategyError(f"the strategies in {folder} cannot be used: {why[0]}")
    try:
        told = json.loads(done.stdout.splitlines()[-1])
        return {name: Described(**{**one, "parameters": tuple(one["parameters"])}) for name, one in told.items()}
    except (IndexError, ValueError, TypeError, KeyError):
        raise OwnStrategyError(f"the strategies in {folder} gave no answer: one of them ended the process") from None


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


def main(folder: Path) -> int:
    """Print what `folder` gives."""
    try:
        confine_worker([folder])
    except CannotConfine as error:
        print(f"their code cannot be confined here: {error.strerror}", file=sys.stderr)
        return 1
    out = os.dup(1)
    os.dup2(2, 1)  # what the files print is no answer
    found = {path.stem: asdict(describe(path, STRATEGIES)) for path in files(folder)}
    os.write(out, (json.dumps(found) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
