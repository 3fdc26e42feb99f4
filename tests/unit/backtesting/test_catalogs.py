"""The catalog: exact whatever the bars are, replaced whole or not at all, and in doubt about what it reads."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.backtesting.bars import Bars
from adapters.backtesting.histories import Catalog, HistoryError, Replaced, manifest, read_bars
from adapters.backtesting.histories.catalog import MANIFEST, described, digest
from adapters.backtesting.histories.decimals import PLACES, doubles_of, places_of, raw_of
from adapters.backtesting.histories.reading import Checked
from adapters.backtesting.nautilus_catalog import write
from contracts.histories import History

_PRICES = st.one_of(
    st.integers(1, 10**9).map(lambda cents: cents / 100),
    st.floats(1e-3, 1e12).map(lambda price: round(price, 12)),
    st.floats(1, 1e12),  # of as many digits as a double has
)


def checked(symbol: str, prices: list[float], seconds: int = 60) -> Checked:
    opened = (1_577_836_800 + np.arange(len(prices), dtype=np.int64) * seconds) * 10**9
    price = np.array(prices)
    columns = dict.fromkeys(("open", "high", "low", "close", "volume"), price)
    period = seconds * 10**9
    return Checked(bars=Bars(symbol=symbol, opened=opened, closed=opened + (period - 1), **columns), period=period)


def known(made: Checked) -> History:
    return described(made, source="x.csv", source_sha256="0")


def kept(folder: Path, made: Checked) -> Path:
    Catalog(folder).replace(made, known(made), write)
    place = Catalog(folder).place(made.bars.symbol)
    assert place is not None
    return place


@given(
    prices=st.lists(_PRICES.filter(lambda price: places_of(np.array([price]))[0] <= PLACES), min_size=1, max_size=20),
    seconds=st.sampled_from([1, 60, 3600, 86_400]),
)
@settings(max_examples=30, deadline=None)
def test_bars_are_read_back_to_the_last_bit(prices: list[float], seconds: int) -> None:
    made = checked("BTC-USD.x", prices, seconds)
    with tempfile.TemporaryDirectory() as folder:
        assert digest(read_bars(kept(Path(folder), made))) == digest(made.bars)


@given(st.lists(_PRICES, min_size=1, max_size=50))
@settings(max_examples=50, deadline=None)
def test_decimals_are_exact(prices: list[float]) -> None:
    values = np.array([price for price in prices if places_of(np.array([price]))[0] <= PLACES] or [0.1])
    for places in range(int(places_of(values).max()), PLACES + 1):
        raw = b"".join(number.to_bytes(16, "little") for number in raw_of(values, places))
        assert doubles_of(raw, places).tolist() == values.tolist()


def test_integers_that_are_no_such_decimals_are_refused() -> None:
    with pytest.raises(ValueError, match="more decimals than its file says"):
        doubles_of((1).to_bytes(16, "little"), 2)
    with pytest.raises(ValueError, match="negative"):
        doubles_of((-(10**16)).to_bytes(16, "little", signed=True), 2)


def test_a_history_is_replaced_whole_also_by_one_of_another_period(tmp_path: Path) -> None:
    first, second = checked("A", [1.5, 2.0]), checked("A", [3.0], seconds=86_400)
    catalog = Catalog(tmp_path)
    assert catalog.replace(first, known(first), write)
    assert catalog.replace(checked("B", [1.0]), known(checked("B", [1.0])), write)
    old = catalog.place("A")
    assert old is not None and old.name == "A.CROSSOVER-1-MINUTE-LAST-EXTERNAL"
    assert not catalog.replace(second, known(second), write)
    assert [(one.symbol, one.period_seconds, one.count) for one in catalog.all()] == [("A", 86_400, 1), ("B", 60, 1)]
    assert not old.exists()
    with pytest.raises(HistoryError, match="holds no history any more"):
        read_bars(old)
    with pytest.raises(Replaced, match="the history of A was replaced meanwhile: submit the run again"):
        read_bars(kept(tmp_path, second), digest(first.bars))


def test_what_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    first = checked("A", [1.5])
    place = kept(tmp_path, first)

    def full(folder: Path, bars: Bars, bar_type: str) -> None:
        write(folder, bars, bar_type)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        Catalog(tmp_path).replace(checked("A", [2.5]), known(checked("A", [2.5])), full)
    assert digest(read_bars(place)) == digest(first.bars)
    assert [path.name for path in (tmp_path / ".crossover").iterdir()] == ["lock"]


@pytest.mark.parametrize(("new_is_whole", "price"), [(True, 2.5), (False, 1.5)])
def test_what_died_between_old_and_new_is_completed_or_undone(tmp_path: Path, new_is_whole: bool, price: float) -> None:
    place = kept(tmp_path / "catalog", checked("A", [1.5]))
    new = kept(tmp_path / "other", checked("A", [2.5]))
    if not new_is_whole:
        (new / MANIFEST).unlink()
    aside = tmp_path / "catalog" / ".crossover"
    for path, goes in ((place, aside / "old"), (new, aside / "new" / "data" / "bar")):
        goes.mkdir(parents=True)
        path.rename(goes / path.name)
    catalog = Catalog(tmp_path / "catalog")
    assert catalog.place("A") is None
    catalog.recover()
    found = catalog.place("A")
    assert found is not None and read_bars(found).close.tolist() == [price]


def test_a_history_is_deleted_whole_or_not_at_all_and_no_other(tmp_path: Path) -> None:
    catalog, place, other = Catalog(tmp_path), kept(tmp_path, checked("A", [1.5])), kept(tmp_path, checked("B", [2.5]))

    @contextmanager
    def refusing() -> Iterator[None]:
        raise ValueError("in use")
        yield

    with pytest.raises(ValueError, match="in use"):
        catalog.delete("A", refusing())
    assert catalog.place("A") == place and read_bars(place).close.tolist() == [1.5]
    assert catalog.delete("A") and not catalog.delete("A") and not catalog.delete("C")
    assert [one.symbol for one in catalog.all()] == ["B"] and catalog.place("B") == other
    assert [path.name for path in (tmp_path / ".crossover").iterdir()] == ["lock"]
    gone = tmp_path / ".crossover" / "gone"
    gone.mkdir()
    other.rename(gone / other.name)  # what died in the middle: it was deleted
    catalog.recover()
    assert catalog.all() == [] and not gone.exists()


def test_a_catalog_of_somebody_else_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "bar" / "A.XNAS-1-DAY-LAST-EXTERNAL"
    folder.mkdir(parents=True)
    assert Catalog(tmp_path).all() == [] and Catalog(tmp_path).place("A") is None and manifest(folder) is None
    assert not Catalog(tmp_path).delete("A") and folder.exists()


def test_a_file_that_is_not_what_it_should_be_is_refused_by_name(tmp_path: Path) -> None:
    place = kept(tmp_path, checked("A", [1.5, 2.5, 3.25]))
    [file] = place.glob("*.parquet")
    good = file.read_bytes()
    table = pq.read_table(file)

    def refused(says: str) -> None:
        with pytest.raises(HistoryError, match=says) as error:
            read_bars(place)
        assert str(place) in str(error.value)

    for length in (0, 3, len(good) // 2, len(good) - 1):
        file.write_bytes(good[:length])
        refused("cannot be read: .* import it again")
    pq.write_table(pa.table({"open": [1.5]}), file)
    refused("it has not the columns of Nautilus' bars with high precision")
    narrow = pa.array([b"\0" * 8] * 3, pa.binary(8))
    pq.write_table(table.set_column(0, "open", narrow), file)
    refused(r"high precision \(open\)")
    told = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    for change, says in (
        ({"price_precision": "many"}, "does not say how many decimals"),
        ({"price_precision": "17"}, "it says 17 and 2 decimals, of at most 16"),
        ({"price_precision": "1"}, "more decimals than its file says"),
        ({"bar_type": "B.CROSSOVER-1-MINUTE-LAST-EXTERNAL"}, "it says bar_type 'B.CROSSOVER"),
    ):
        pq.write_table(table.replace_schema_metadata({**told, **change}), file)
        refused(says)
    pq.write_table(table.slice(0, 2), file)
    refused("has other bars than its manifest says")
    file.unlink()
    refused("has lost its bars")
    text = (place / MANIFEST).read_text()
    assert json.loads(text)["count"] == 3


def test_a_byte_that_went_wrong_gives_no_other_bars(tmp_path: Path) -> None:
    made = checked("A", [1.5, 2.5, 3.25])
    place = kept(tmp_path, made)
    [file] = place.glob("*.parquet")
    good = file.read_bytes()
    refused = 0
    for at in range(0, len(good), 37):
        file.write_bytes(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        said = _refusal(place)
        if said:
            assert str(place) in said
            refused += 1
        else:
            assert digest(read_bars(place)) == digest(made.bars)  # the byte says nothing of bars
    assert refused > 20


def _refusal(place: Path) -> str:
    try:
        read_bars(place)
    except HistoryError as error:
        return str(error)
    return ""
