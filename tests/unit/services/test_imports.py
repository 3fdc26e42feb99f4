"""How much memory an import may take in a pod, and what becomes of one that wants more."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.backtesting.histories import Catalog, HistoryError, Options
from services.backtesting_service.imports import Busy, Imports, bound
from services.backtesting_service.pod_memory import PodMemory, pod_memory

STAT = "anon 400\ninactive_file {}\nactive_file {}\nslab 3\n"


def group(folder: Path, limit: str, current_mib: int, files_mib: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(limit + "\n")
    (folder / "memory.current").write_text(f"{current_mib << 20}\n")
    (folder / "memory.stat").write_text(STAT.format(files_mib << 20, 0))
    return folder


# -- what the kernel says


def test_a_containers_own_group_is_its_root_and_pages_of_files_are_not_counted(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/\n")
    mount = group(tmp_path / "cgroup", str(1536 << 20), 900, 500)
    assert pod_memory(mount, own) == PodMemory(1536, 400)
    own.write_text("0::/../other\n")  # of somebody else's name space
    assert pod_memory(mount, own) == PodMemory(1536, 400)
    assert pod_memory(mount, tmp_path / "none") == PodMemory(1536, 400)


def test_of_groups_that_lie_in_each_other_the_one_with_the_least_left_counts(tmp_path: Path) -> None:
    own, mount = tmp_path / "own", tmp_path / "cgroup"
    own.write_text("9:memory:/old\n0::/kubepods/pod1/container\n")
    group(mount / "kubepods", str(8192 << 20), 1000)
    group(mount / "kubepods" / "pod1", str(2048 << 20), 1900)
    group(mount / "kubepods" / "pod1" / "container", str(1536 << 20), 300)
    assert pod_memory(mount, own) == PodMemory(2048, 1900)
    group(mount / "kubepods" / "pod1", "max", 1900)
    assert pod_memory(mount, own) == PodMemory(1536, 300)


@pytest.mark.parametrize("spoilt", ["memory.max", "memory.current", "memory.stat"])
def test_where_nothing_is_said_nothing_is_known(tmp_path: Path, spoilt: str) -> None:
    own = tmp_path / "own"
    own.write_text("")
    assert pod_memory(tmp_path / "none", own) is None
    mount = group(tmp_path / "cgroup", "max", 300)
    assert pod_memory(mount, own) is None
    group(mount, str(1 << 30), 300)
    (mount / spoilt).write_text("nonsense")
    assert pod_memory(mount, own) is None


# -- the bound


def test_the_bound_follows_what_the_pod_has_left() -> None:
    assert bound(256, None).mib == 1280 + 8 * 256
    assert bound(256, PodMemory(16_384, 1000)) == bound(256, None)
    small = bound(256, PodMemory(1536, 200))
    assert small.mib == 1536 - 200 - 384 and "of the pod's 1536 MiB, 200 are in use" in small.why
    assert bound(1, PodMemory(4096, 200)) == bound(1, None)
    for memory in (PodMemory(1536, 900), PodMemory(256, 200), PodMemory(512, 600)):
        with pytest.raises(Busy, match=r"an import takes 320 MiB or more, and \d+ are left .*raise the pod's memory"):
            bound(256, memory)


@given(limit=st.integers(64, 8192), used=st.integers(0, 4096))
def test_an_import_never_takes_what_is_not_there(limit: int, used: int) -> None:
    try:
        found = bound(256, PodMemory(limit, used))
    except Busy:
        return
    assert used + found.mib <= limit * 3 // 4 + 1


# -- imports


def bars(count: int) -> bytes:
    """A file that unpacks to 48 bytes a bar."""
    opened = np.arange(count, dtype=np.int64) * 60 * 10**9 + 10**18
    price = np.full(count, 1.5)
    table = pa.table(
        {"timestamp": pa.array(opened - opened[0] % (60 * 10**9)).cast(pa.timestamp("ns", "UTC")),
         **dict.fromkeys(("open", "high", "low", "close", "volume"), price)}
    )  # fmt: skip
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def take(imports: Imports, content: bytes) -> int:
    async def sent() -> AsyncIterator[bytes]:
        yield content

    known, _ = asyncio.run(imports.take(sent(), len(content), "MINE", Options()))
    return known.count


def test_a_file_that_unpacks_to_more_than_the_pod_has_is_refused_and_a_small_one_done(tmp_path: Path) -> None:
    left = PodMemory(1024, 400)  # 368 MiB for an import
    imports = Imports(tmp_path, 256, lambda: left)
    assert take(imports, bars(1000)) == 1000
    large = bars(4_000_000)
    assert len(large) < 32 << 20
    with pytest.raises(HistoryError, match=r"needed more than 368 MiB \(of the pod's 1024 MiB, 400 are in use"):
        take(imports, large)
    assert [known.count for known in Catalog(tmp_path).all()] == [1000]
    assert take(imports, bars(2000)) == 2000
    left = PodMemory(1024, 800)
    with pytest.raises(Busy, match="nothing was taken"):
        take(imports, bars(1000))
    assert not list((tmp_path / ".crossover" / "uploads").iterdir())
