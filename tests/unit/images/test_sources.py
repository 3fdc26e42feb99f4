"""Debian's version order, exclusions, wheels' places, and which libraries a program needs."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from local.images import debian, libraries, sources, wheels
from local.images.cache import Cache, Download
from local.images.definition import Wheels
from local.images.errors import ImageError
from local.images.layer import LayerBuilder


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("1.10", "1.9"),
        ("1:0.1", "9.9"),
        ("1.0-1", "1.0~rc1-1"),
        ("1.0+deb13u1", "1.0"),
        ("5:8.0.2-3+deb13u3", "5:8.0.2-3+deb13u2"),
        ("1.0a", "1.0"),
    ],
)
def test_versions_are_ordered_as_debian_orders_them(newer: str, older: str) -> None:
    assert debian.newer(newer, older)
    assert not debian.newer(older, newer)
    assert not debian.newer(newer, newer)


def test_an_exclusion_may_have_exceptions() -> None:
    excluded = debian.excluder(["usr/share/doc/*", "!usr/share/doc/*/copyright"])
    assert excluded("usr/share/doc/redis/README")
    assert not excluded("usr/share/doc/redis/copyright")
    assert not excluded("usr/bin/redis-server")


def test_a_wheel_leaves_its_scripts_out(tmp_path: Path) -> None:
    file = tmp_path / "probe-1-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("probe/a.py", "probe/tests/t.py", "probe-1.data/scripts/run", "probe-1.data/purelib/b.py"):
            archive.writestr(name, name)
    recipe = Wheels(exclude=("*/tests/*",))
    with LayerBuilder(tmp_path) as layer:
        wheels.unpack(file, recipe, layer, debian.excluder(recipe.exclude))
        assert list(layer.files("opt/site-packages/*")) == ["opt/site-packages/b.py"]
        assert list(layer.files("opt/site-packages/probe/*")) == ["opt/site-packages/probe/a.py"]


def test_a_file_of_another_checksum_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_: str) -> _Response:
        return _Response(b"something else")

    monkeypatch.setattr("local.images.cache.open_url", answer)
    cache = Cache(tmp_path)
    with pytest.raises(ImageError, match=r"It was not used"):
        cache.fetch([Download("http://mirror/file", "0" * 64)], "probe")
    assert not list(cache.downloads.iterdir())
    assert not list(cache.scratch.iterdir())


class _Response(io.BytesIO):
    headers: dict[str, str] = {}  # noqa: RUF012 - as a response without a length has it


def test_mirrors_of_apt_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "a.sources").write_text("# http://old.example/debian\nURIs: http://mirror.example/debian-security/\n")
    (tmp_path / "sources.list").write_text("deb http://mirror.example/debian bookworm main\n")
    text = sources.apt_sources(tmp_path)
    monkeypatch.setattr(sources, "apt_sources", lambda: text)
    monkeypatch.delenv("CROSSOVER_DEBIAN_MIRROR", raising=False)
    assert sources.debian.__wrapped__("debian") == "http://mirror.example/debian"
    assert sources.debian.__wrapped__("debian-security") == "http://mirror.example/debian-security"
    monkeypatch.setenv("CROSSOVER_DEBIAN_MIRROR", "http://named.example/d/")
    assert sources.debian.__wrapped__("debian") == "http://named.example/d"


def test_what_a_program_needs_is_read_from_it_and_missed(tmp_path: Path) -> None:
    # Any dynamic program of this machine will do: the interpreter's C library is one.
    program = next(Path("/usr/bin").glob("*sh")).resolve()
    needs, _ = libraries.needed(program.read_bytes())
    assert "libc.so.6" in needs
    with LayerBuilder(tmp_path) as builder:
        builder.add_file("usr/bin/probe", program.read_bytes(), 0o755)
        layer = builder.write(tmp_path / "layer.tar")
    with pytest.raises(ImageError, match=r"libc\.so\.6 \(for usr/bin/probe\)"):
        libraries.check("probe", [layer])


def test_a_layer_is_made_once(tmp_path: Path) -> None:
    cache, calls = Cache(tmp_path), list[int]()

    def make(layer: LayerBuilder) -> None:
        calls.append(1)
        layer.add_link("usr/bin/sh", "busybox")

    first, second = (cache.layer({"kind": "probe"}, make) for _ in range(2))
    assert first == second
    assert len(calls) == 1
    with tarfile.open(first.path) as tar:
        assert tar.getmember("usr/bin/sh").linkname == "busybox"
    cache.layer({"kind": "another"}, make)
    assert len(calls) == 2
