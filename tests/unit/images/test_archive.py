"""Archives: the same content gives the same bytes, however it came about, and a changed one is whole."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

from local.cluster.containers import read_archive
from local.images import archive
from local.images.definition import Config, Definition
from local.images.layer import Layer, LayerBuilder

DEFINITION = Definition(name="probe", summary="A probe")


def layer(folder: Path, name: str, files: dict[str, bytes]) -> Layer:
    with LayerBuilder(folder) as builder:
        for path, content in files.items():
            builder.add_file(path, content)
        return builder.write(folder / f"{name}.tar")


def test_entries_in_any_order_make_the_same_layer(tmp_path: Path) -> None:
    files = {"/b/x": b"1", "/a": b"22", "bin/sh": b"#"}
    first = layer(tmp_path, "first", files)
    second = layer(tmp_path, "second", dict(reversed(files.items())))
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.diff_id == "sha256:" + hashlib.sha256(first.path.read_bytes()).hexdigest()
    with tarfile.open(first.path) as tar:
        assert tar.getnames() == ["a", "b", "b/x", "usr", "usr/bin", "usr/bin/sh"]
        assert {(one.mtime, one.uid, one.uname) for one in tar} == {(0, 0, "")}


def test_an_archive_names_its_image_and_holds_what_it_speaks_of(tmp_path: Path) -> None:
    made = layer(tmp_path, "one", {"a": b"1"})
    image = archive.describe(DEFINITION, Config(entrypoint=("/a",), env={"B": "2"}), [made])
    archive.write(image, tmp_path / "probe.tar")
    (found,) = read_archive(tmp_path / "probe.tar")
    assert (found.reference, found.digest) == ("localhost/crossover/probe:local", image.manifest.digest)
    with tarfile.open(tmp_path / "probe.tar") as tar:
        blobs = {
            name: tar.extractfile(name).read()  # type: ignore[union-attr]  # blobs are regular files
            for name in tar.getnames()
            if name.startswith("blobs/")
        }
    for name, content in blobs.items():
        assert name == "blobs/sha256/" + hashlib.sha256(content).hexdigest()
    config = json.loads(blobs["blobs/" + image.config.digest.replace(":", "/")])
    assert config["config"]["User"] == "65532:65532"
    assert config["config"]["Env"] == ["B=2"]
    assert config["rootfs"]["diff_ids"] == [made.diff_id]


def test_an_archive_that_was_changed_equals_one_made_anew(tmp_path: Path) -> None:
    below = layer(tmp_path, "below", {"big": bytes(300_000)})
    old, new = (layer(tmp_path, name, {"code": text}) for name, text in (("old", b"1"), ("new", b"longer" * 999)))
    changed, anew = tmp_path / "changed.tar", tmp_path / "anew.tar"
    first, second = (archive.describe(DEFINITION, Config(), [below, top]) for top in (old, new))
    archive.write(first, changed)
    assert archive.holds(changed, first)
    assert not archive.holds(changed, second)
    archive.write(second, changed)
    archive.write(second, anew)
    assert archive.holds(changed, second)
    assert changed.read_bytes() == anew.read_bytes()
    archive.write(first, changed)
    archive.write(first, anew)
    assert changed.read_bytes() == anew.read_bytes()


def test_a_broken_archive_is_made_anew(tmp_path: Path) -> None:
    image = archive.describe(DEFINITION, Config(), [layer(tmp_path, "one", {"a": b"1"})])
    place = tmp_path / "probe.tar"
    place.write_bytes(b"no tar at all")
    assert not archive.holds(place, image)
    archive.write(image, place)
    assert archive.holds(place, image)
