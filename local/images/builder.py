"""From definitions to archives: which layers an image has, what each depends on, and how each is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from local.images import archive, bytecode, debian, gobinaries, libraries, maven, wheels
from local.images.cache import Cache, digest_of, file_digest
from local.images.definition import REPOSITORY, Code, Debian, Definition, excludes, lineage, load, merged_config, names
from local.images.errors import ImageError
from local.images.layer import Layer, LayerBuilder, epoch
from local.images.progress import Progress

RECIPE = 1
"""Raised with a change of this package that makes other layers of the same inputs."""


@dataclass(frozen=True)
class BuiltImage:
    """An image that was built: its reference in the cluster, its archive, the archive's size in bytes, and the layers
    with what each is for."""

    name: str
    ref: str
    path: Path
    size: int
    digest: str
    layers: tuple[tuple[str, int], ...]


def build(wanted: Iterable[str] = (), cache: Cache | None = None) -> list[BuiltImage]:
    """Build images (all, where none is named) and return them in that order. Raises ImageError.

    What is there already is not made again: a second build of the same content reads and compares only.
    """
    chosen = list(wanted) or names()
    if unknown := sorted(set(chosen) - set(names())):
        raise ImageError(f"There is no image {', '.join(unknown)}. Known: {', '.join(names())}.")
    cache = cache or Cache(progress=Progress())
    with cache.lock():
        return [_build_one(load(name), cache) for name in chosen]


def _build_one(definition: Definition, cache: Cache) -> BuiltImage:
    chain = lineage(definition)
    made: list[tuple[str, Layer]] = []
    for place, one in enumerate(chain):
        for kind, make in _recipes(one, chain[: place + 1]):
            made.append(
                (f"{one.name}/{kind}", make(cache, [layer for label, layer in made if label.endswith("/debian")]))
            )
    # The repository's code changes with every edit: last, so that nothing below it changes with it.
    made.sort(key=lambda labelled: labelled[0].endswith("/code"))
    path = cache.archives / f"{definition.name}.tar"
    image = archive.describe(definition, merged_config(chain), [layer for _, layer in made])
    if not archive.holds(path, image):
        libraries.check(definition.name, image.layers)
        archive.write(image, path)
    sizes = tuple((kind, layer.size) for kind, layer in made)
    return BuiltImage(definition.name, definition.reference, path, path.stat().st_size, image.manifest.digest, sizes)


Recipe = Callable[[Cache, list[Layer]], Layer]
"""Makes a layer or finds it in the cache. The second argument: the Debian layers below, where an interpreter may be."""


def _recipes(one: Definition, chain: list[Definition]) -> list[tuple[str, Recipe]]:
    """The layers of one definition, what changes least first."""
    found: list[tuple[str, Recipe]] = []
    if one.debian is not None:
        found.append(("debian", partial(_debian_layer, one, one.debian, excludes(chain))))
    if one.wheels is not None:
        found.append(("wheels", partial(_wheels_layer, one)))
    if one.jars is not None:
        found.append(("jars", partial(_jars_layer, one)))
    if one.go is not None:
        found.append(("go", partial(_go_layer, one)))
    if one.files or one.directories or one.links:
        found.append(("files", partial(_files_layer, one)))
    if one.code is not None:
        found.append(("code", partial(_code_layer, one.code)))
    return found


def _inputs(kind: str, **parts: object) -> dict[str, object]:
    return {"recipe": RECIPE, "kind": kind, "epoch": epoch(), **parts}


def _debian_layer(
    one: Definition, recipe: Debian, patterns: tuple[str, ...], cache: Cache, parents: list[Layer]
) -> Layer:
    packages = debian.locked(recipe.packages, debian.read_lock())

    def make(layer: LayerBuilder) -> None:
        there, files = debian.obtain(packages, cache, f"{one.name}: Debian packages")
        cache.progress.say(f"{one.name}: unpacking {len(there)} Debian packages")
        excluded = debian.excluder(patterns)
        for package in there:
            debian.unpack(files[package.sha256], layer, excluded)
        if recipe.ca_bundle:
            debian.add_ca_bundle(layer)
        if recipe.compile:
            bytecode.compile_into(layer, recipe.compile, parents, cache)

    inputs = debian.inputs(packages, patterns) | {"ca": recipe.ca_bundle, "compile": recipe.compile}
    return cache.layer(_inputs("debian", **inputs), make)


def _wheels_layer(one: Definition, cache: Cache, parents: list[Layer]) -> Layer:
    recipe = one.wheels
    assert recipe is not None
    locked = wheels.read_lock(wheels.lock_file(one))

    def make(layer: LayerBuilder) -> None:
        files = wheels.obtain(locked, cache, f"{one.name}: Python wheels")
        cache.progress.say(f"{one.name}: unpacking and compiling {len(locked)} wheels")
        excluded = debian.excluder(recipe.exclude)
        for wheel in locked:
            wheels.unpack(files[wheel.sha256], recipe, layer, excluded)
        bytecode.compile_into(layer, [recipe.target], parents, cache)

    parts = {"wheels": [wheel.sha256 for wheel in locked], "how": recipe.model_dump(mode="json")}
    return cache.layer(_inputs("wheels", interpreter=[layer.diff_id for layer in parents], **parts), make)


def _jars_layer(one: Definition, cache: Cache, parents: list[Layer]) -> Layer:
    assert one.jars is not None
    target, locked = one.jars.target, maven.read_lock(maven.lock_file(one))

    def make(layer: LayerBuilder) -> None:
        files = maven.obtain(locked, cache, f"{one.name}: jars")
        for jar in locked:
            layer.add_file(f"{target}/{jar.name}", files[jar.sha256].read_bytes())

    return cache.layer(_inputs("jars", target=target, jars=[(jar.name, jar.sha256) for jar in locked]), make)


def _go_layer(one: Definition, cache: Cache, parents: list[Layer]) -> Layer:
    assert one.go is not None
    program, target = gobinaries.binary(one.go, cache), one.go.target

    def make(layer: LayerBuilder) -> None:
        layer.add_file(target, program.read_bytes(), 0o755)

    return cache.layer(_inputs("go", target=target, program=file_digest(program)), make)


def _files_layer(one: Definition, cache: Cache, parents: list[Layer]) -> Layer:
    """The definition's own files, folders and links."""
    sources = {file.target: one.directory / file.source for file in one.files}

    def make(layer: LayerBuilder) -> None:
        for directory in one.directories:
            layer.add_directory(directory.path, int(directory.mode, 8), directory.owner)
        for file in one.files:
            layer.add_file(file.target, sources[file.target].read_bytes(), int(file.mode, 8))
        for path, target in one.links.items():
            layer.add_link(path, target)

    parts = one.model_dump(mode="json", include={"files", "directories", "links"})
    digests = {target: file_digest(path) for target, path in sources.items()}
    return cache.layer(_inputs("files", what=parts, content=digests), make)


def code_files(code: Code) -> dict[str, Path]:
    """Path in the image -> file, of the repository's packages."""
    found = {}
    for package in code.packages:
        root = REPOSITORY / package
        if not root.is_dir():
            raise ImageError(
                f"code.packages names {package!r}, and the repository has no such folder; correct image.toml."
            )
        for file in sorted(root.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                found[f"{code.target}/{file.relative_to(REPOSITORY)}"] = file
    return found


def _code_layer(code: Code, cache: Cache, parents: list[Layer]) -> Layer:
    files = code_files(code)

    def make(layer: LayerBuilder) -> None:
        cache.progress.say(f"compiling {len(files)} files of this repository")
        for path, file in files.items():
            layer.add_file(path, file.read_bytes())
        bytecode.compile_into(layer, [code.target], parents, cache)

    content = digest_of({path: file_digest(file) for path, file in files.items()})
    return cache.layer(_inputs("code", content=content, interpreter=[layer.diff_id for layer in parents]), make)
