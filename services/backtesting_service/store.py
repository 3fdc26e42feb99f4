"""Runs and results on disk: one folder a run, each file replaced whole, so that a crash leaves no half of one."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from adapters.durable import replacing
from contracts.backtests import Divergence
from services.backtesting_service.models import Run
from services.backtesting_service.work import RESULT

_log = logging.getLogger(__name__)
DIVERGENCE = "divergence.json"
_RUN_ID = re.compile(r"[0-9a-f]{32}")


class RunStore:
    """All runs are kept in memory too: a run's record is small, its result is read when asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        for path in sorted(folder.glob("*/run.json")):
            try:
                run = Run.model_validate_json(path.read_bytes())
            except (OSError, ValidationError) as error:
                # One record that cannot be read must not hide all others.
                _log.error("the run in %s is passed over, it cannot be read: %s", path, error)
                continue
            self._runs[run.id] = run

    def get(self, run_id: str) -> Run | None:
        """The run, or None."""
        with self._lock:
            return self._runs.get(run_id)

    def all(self) -> list[Run]:
        """Every run, the newest first."""
        with self._lock:
            return sorted(self._runs.values(), key=lambda run: (run.submitted_at, run.id), reverse=True)

    def put(self, run: Run) -> None:
        """Keep `run` as it is now, durably."""
        with self._lock:
            self._write(run.id, "run.json", run.model_dump_json().encode())
            self._runs[run.id] = run

    def remember(self, run: Run) -> None:
        """Know `run` as it is now where that cannot be written: a restart finds it as it was before."""
        with self._lock:
            self._runs[run.id] = run

    def put_result(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Keep the files of a result, durably. Put the run as done only after this."""
        for name, content in files.items():
            self._write(run_id, name, content)

    def result(self, run_id: str, name: str = RESULT) -> bytes:
        """A file of the result of a run that is done. Raises FileNotFoundError where somebody removed it, or the run is
        of a version that did not make it."""
        return (self._folder / _checked(run_id) / name).read_bytes()

    def put_divergence(self, run_id: str, found: Divergence) -> None:
        """Keep what another engine made of a run, durably, in place of what was kept before."""
        self._write(run_id, DIVERGENCE, found.model_dump_json().encode())

    def divergence(self, run_id: str) -> Divergence | None:
        """What another engine made of it; None where it was not compared."""
        try:
            return Divergence.model_validate_json((self._folder / _checked(run_id) / DIVERGENCE).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def _write(self, run_id: str, name: str, content: bytes) -> None:
        folder = self._folder / _checked(run_id)
        folder.mkdir(exist_ok=True)  # but not above it: a volume that is gone is not made anew
        with replacing(folder / name) as partial:
            partial.write_bytes(content)


def _checked(run_id: str) -> str:
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(f"{run_id!r} is no run's id")
    return run_id
