"""A sweep in processes that die: a piece is tried again, and given up where each of them dies under it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from pebble import ProcessExpired

from adapters.backtesting.sweeps import laptop
from adapters.backtesting.sweeps.cells import sweep_of
from adapters.backtesting.sweeps.folders import SweepFolder
from adapters.backtesting.sweeps.progress import Progress
from contracts.sweeps import SweepAsked

ASKED = {"strategy": "sma_cross", "symbol": "SP500", "grid": {"fast": [5, 10, 15], "slow": [30]}, "cells_per_index": 1}


class Pool:
    """In place of processes: each task ends at once, by the next of the errors that its piece has, or well."""

    errors: dict[int, list[BaseException]]
    tried: list[int]

    def __init__(self, **how: object) -> None:
        assert how["max_workers"] == 2

    def schedule(self, task: Callable[..., bool], args: Sequence[Any]) -> Future[bool]:
        del task
        Pool.tried.append(args[1])
        left, future = Pool.errors.get(args[1], []), Future[bool]()
        if left:
            future.set_exception(left.pop(0))
        else:
            future.set_result(True)
        return future

    def stop(self) -> None:
        """Nothing runs."""

    join = stop


def died() -> BaseException:
    return ProcessExpired("killed")  # type: ignore[no-untyped-call] # it has no types


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, errors: dict[int, list[BaseException]]) -> laptop.LocalRun:
    monkeypatch.setattr(laptop, "ProcessPool", Pool)
    Pool.errors, Pool.tried = errors, []
    told: list[Progress] = []
    sweep = sweep_of(SweepAsked.model_validate(ASKED), "memory", ("x",), 100)
    made = laptop.run(sweep, folder, {}, 2, told.append)
    assert (told[-1].done, told[-1].failed) == (made.done, len(made.failed))
    return made


def test_a_process_that_dies_takes_no_piece_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(tmp_path, monkeypatch, {1: [died(), died()]})
    assert made.complete and made.failed == {}
    assert sorted(Pool.tried) == [0, 1, 1, 1, 2]


def test_a_piece_under_which_each_process_dies_is_given_up_and_the_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: dict[int, list[BaseException]] = {1: [died() for _ in range(9)], 2: [OSError("no room")]}
    made = run(tmp_path, monkeypatch, errors)
    assert not made.complete and made.done == 1
    assert sorted(made.failed) == [1, 2] and made.failed[2] == "OSError: no room"
    assert sorted(Pool.tried) == [0, 1, 1, 1, 2]


def test_pieces_that_are_there_are_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SweepFolder(tmp_path).parts.put(1, b"it is there")
    made = run(tmp_path, monkeypatch, {})
    assert made.complete and made.before == 1 and sorted(Pool.tried) == [0, 2]
