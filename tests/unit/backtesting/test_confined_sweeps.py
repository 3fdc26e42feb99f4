"""A sweep of one of the user's own strategies: what names it, and what is believed of the process that runs it."""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.backtesting.strategies.own import KNOWN, Described
from adapters.backtesting.sweeps import confined, laptop, tables
from adapters.backtesting.sweeps.cells import layout_of, sweep_of
from adapters.backtesting.sweeps.checks import checked
from adapters.backtesting.sweeps.confined import ConfinedDied, ConfinedPieces, ConfinedPool, ConfinedRefused, Order
from adapters.backtesting.sweeps.parts import MemoryParts
from contracts.backtests import FiguresModel
from contracts.sweeps import Phase, Row, Sweep, SweepAsked

ASKED = {"strategy": "mine", "symbol": "SP500", "grid": {"days": [1, 2, 3]}, "cells_per_index": 2}
DAY = "2020-01-01"
_CHILD = """
import os, struct, sys, time
def answer(kind, content, size=None):
    os.write(1, struct.pack(">cI", kind, len(content) if size is None else size) + content)
order = sys.stdin.buffer.readline()
"""


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    KNOWN.tell({"mine": Described("mine", ("days", "error"), 1, "a" * 64), "bad": Described("bad", (), 0, "", "no")})
    yield
    KNOWN.tell(None)


def sweep(**change: Any) -> Sweep:
    return sweep_of(SweepAsked.model_validate({**ASKED, **change}), "memory", ("x",), 100)


def rows(made: Sweep, *numbers: int) -> list[Row]:
    figures = FiguresModel(
        final_equity=1.0, total_return=0.0, max_drawdown=0.0, sharpe=1.0, trades=0, win_rate=None, fees_paid=0.0
    )
    return [
        Row.model_validate(
            {"number": n, "parameters": {"days": n + 1}, "first": DAY, "last": DAY, "figures": figures}
        )
        for n in numbers
    ]  # fmt: skip


# -- what is asked for


def test_it_belongs_to_the_files_content_and_each_combination_is_a_cell() -> None:
    first = sweep()
    assert (first.source_sha256, first.cells, first.skipped) == ("a" * 64, 3, 0)
    KNOWN.tell({"mine": Described("mine", ("days",), 1, "b" * 64)})
    assert sweep().id != first.id
    shipped = SweepAsked.model_validate({**ASKED, "strategy": "sma_cross", "grid": {"fast": [5], "slow": [30]}})
    made = sweep_of(shipped, "memory", ("x",), 100)
    assert made.source_sha256 is None and "source" not in made.model_dump_json(exclude_defaults=True)
    assert made.id == shipped.identity("memory", ["x"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"strategy": "other"}, r"'other': there is no such .* nothing could be run.* put other.py into your folder"),
        ({"strategy": "bad"}, "strategy bad cannot be used: no"),
        ({"grid": {"speed": [1]}}, "mine has no parameter speed: it has days"),
        ({"grid": {"error": [1]}}, "error of mine is called as a column of the results: .*another name"),
        ({"against": "NASDAQ"}, "mine trades 1 symbols, 2 are named"),
    ],
)
def test_one_that_cannot_be_run_is_told(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        sweep(**change)


def test_where_no_folder_is_named_that_is_told() -> None:
    KNOWN.tell(None)
    with pytest.raises(ValueError, match=r"name its folder, for none is named: crossover:backtesting\.strategies"):
        sweep()
    KNOWN.tell({"mine": Described("mine", ("days",), 1, "a" * 64)})
    with pytest.raises(ValueError, match="mine is a strategy of your own: name its folder"):
        laptop.run(sweep(), Path("/nonexistent"), {}, 1, lambda _: None)


# -- what a piece may be


def parquet(made: Sweep, *, rows_: list[Row], **columns: Any) -> bytes:
    table = pq.read_table(io.BytesIO(tables.written(rows_, made)))
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def test_a_piece_has_its_cells_each_once_and_nothing_that_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    made = sweep()
    layout, good = layout_of(made), rows(made, 0, 1)
    assert checked(tables.written(good, made), 0, made, layout) == good
    other = good[1].model_copy(update={"parameters": {"days": 7}})
    test = good[1].model_copy(update={"phase": Phase.TEST})
    for wrong in (good[:1], good[::-1], [good[0], good[0]], [good[0], other], [good[0], test]):
        with pytest.raises(tables.NotAPart, match="it has not the cells of piece 0"):
            checked(tables.written(wrong, made), 0, made, layout)
    with pytest.raises(tables.NotAPart, match="has 3 rows, of at most 2"):
        checked(tables.written(rows(made, 0, 1, 2), made), 0, made, layout)
    with pytest.raises(tables.NotAPart, match="error is int64, no text"):
        checked(parquet(made, rows_=good, error=pa.array([1, 2])), 0, made, layout)
    with pytest.raises(tables.NotAPart, match="it is no Parquet file with rows"):
        checked(parquet(made, rows_=good, sharpe=pa.array([[1.0], [2.0]])), 0, made, layout)
    monkeypatch.setattr(tables, "MOST_BYTES", 1000)
    with pytest.raises(tables.NotAPart, match="error has more than 1,000 bytes unpacked"):
        checked(parquet(made, rows_=good, error=pa.array(["x" * 600] * 2)), 0, made, layout)
    monkeypatch.setattr(tables, "_MOST_UNPACKED", 1000)
    with pytest.raises(tables.NotAPart, match="bytes unpacked, of at most 1,000"):
        checked(tables.written(good, made), 0, made, layout)


# -- the process that runs it


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Begins a process that answers as a script says."""
    made: list[ConfinedPieces] = []

    def begin(script: str) -> ConfinedPieces:
        monkeypatch.setattr(confined, "COMMAND", (sys.executable, "-c", _CHILD + script))
        made.append(ConfinedPieces(Order(sweep=sweep(), strategies=tmp_path, sources={})))
        return made[-1]

    yield begin
    for one in made:
        one.close()


def test_its_answer_is_written_anew_and_says_the_version_that_was_told_before(child: Any, tmp_path: Path) -> None:
    made = sweep()
    for index, numbers in ((0, (0, 1)), (1, (2,))):
        (tmp_path / str(index)).write_bytes(tables.written(rows(made, *numbers), made, "forged"))
    process = child(f"answer(b'R', b'7')\nfor i in sys.stdin: answer(b'P', open('{tmp_path}/' + i[:-1], 'rb').read())")
    for index, numbers in ((0, (0, 1)), (1, (2,))):
        content = process.piece(index)
        assert content == tables.written(rows(made, *numbers), made, "7")
    (tmp_path / "9").write_bytes(content)
    with pytest.raises(tables.NotAPart, match="none of number 9"):
        process.piece(9)


@pytest.mark.parametrize(
    ("script", "error", "why"),
    [
        ("", ConfinedDied, "ended: it, or want of memory"),
        ("answer(b'R', b'7'); os._exit(0)", ConfinedDied, "ended: it, or want of memory"),
        ("answer(b'N', b'no\\x1b[2J')", ConfinedRefused, r"^no \[2J$"),
        ("answer(b'F', b'later')", ConfinedDied, "^later$"),
        ("answer(b'R', b'7'); answer(b'N', b'it cannot be imported')", ConfinedRefused, "it cannot be imported"),
        ("answer(b'R', b'7'); answer(b'P', b'', 1 << 31)", ConfinedRefused, "2,147,483,648 bytes, which is no answer"),
        ("answer(b'R', b'7'); answer(b'P', b'cut', 9)", ConfinedDied, "ended: it, or want of memory"),
        ("answer(b'R', b'7'); answer(b'R', b'7')", ConfinedRefused, "which is no answer"),
        ("answer(b'R', b'7'); answer(b'P', b'nonsense')", tables.NotAPart, "it is no Parquet file"),
    ],
)
def test_what_it_says_otherwise_is_no_piece(child: Any, script: str, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        child(script).piece(0)


def test_one_that_never_answers_is_ended_by_who_stops_and_nothing_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it is read anew
    monkeypatch.setattr(confined, "COMMAND", (sys.executable, "-c", "import time; time.sleep(600)"))
    parts = MemoryParts()
    pool = ConfinedPool(Order(sweep=sweep(), strategies=tmp_path, sources={}), parts, 1)
    futures = [pool.begin(index) for index in (0, 1)]
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("crossover-confined-*")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    pool.stop()
    assert isinstance(futures[0].exception(), ConfinedDied) and futures[1].cancelled()
    assert parts.done() == frozenset() and not list(tmp_path.glob("crossover-confined-*"))
    pool.stop()


def test_a_pool_takes_another_process_where_one_died_and_the_same_where_it_lives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, mark = sweep(), tmp_path / "died"
    for index, numbers in ((0, (0, 1)), (1, (2,))):
        (tmp_path / str(index)).write_bytes(tables.written(rows(made, *numbers), made))
    script = (
        "answer(b'R', b'7')\nfor i in sys.stdin:\n"
        f"  if not os.path.exists('{mark}'): open('{mark}', 'w'); os._exit(1)\n"
        f"  open('{tmp_path}/pids', 'a').write(str(os.getpid()) + ' ')\n"
        f"  answer(b'P', open('{tmp_path}/' + i[:-1], 'rb').read())"
    )
    monkeypatch.setattr(confined, "COMMAND", (sys.executable, "-c", _CHILD + script))
    (tmp_path / "parts").mkdir()
    monkeypatch.setattr(laptop, "own_source", lambda *_: None)
    done = laptop.run(made, tmp_path / "out", {}, 1, lambda _: None, tmp_path)
    assert done.complete and done.failed == {}
    assert len(set((tmp_path / "pids").read_text().split())) == 1
