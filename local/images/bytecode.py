"""Bytecode for Python modules of an image, made by the image's own interpreter.

A container's root file system is read-only, so what is not compiled here is compiled anew at each start. The
interpreter runs from a folder, through the image's own loader: no root, no chroot, and any Linux will do. The files
are of the kind that is never checked against a source's time, and come out the same each time.
"""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.images.cache import Cache, digest_of
from local.images.errors import ImageError
from local.images.layer import Layer, LayerBuilder

INTERPRETER = "usr/bin/python3.13"
LOADER = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
SHARES = 8
"""Processes at most, whatever the machine: which strings are shared inside a file depends on what its process compiled
before it, so the shares must be the same everywhere for the bytes to be."""


def compile_into(layer: LayerBuilder, folders: Iterable[str], parents: list[Layer], cache: Cache) -> None:
    """Add the bytecode of every module that `layer` has below `folders`. The interpreter may be in the layer itself."""
    with cache.workspace() as work:
        root = work / "root"
        prefixes = [folder.strip("/") for folder in folders]
        layer.extract(root, (f"{LIBRARIES}/", "usr/lib/python3.13/", INTERPRETER))
        layer.extract(root, tuple(f"{prefix}/" for prefix in prefixes), ".py")
        _run([root, _unpacked(parents, cache)], root, prefixes)
        for file in sorted(root.rglob("__pycache__/*.cpython-313.pyc")):
            layer.add_file(str(file.relative_to(root)), file.read_bytes())


def _run(places: list[Path], root: Path, prefixes: list[str]) -> None:
    """Compile what is below `root`. The interpreter and its libraries are in one of `places`, or in several."""
    home = next((place for place in places if (place / INTERPRETER).is_file()), None)
    loader = next((place / LOADER for place in places if (place / LOADER).is_file()), None)
    if home is None or loader is None:
        raise ImageError(
            f"Neither the layer nor its parents hold {INTERPRETER} and {LOADER}; set parent to a Python image."
        )
    command = [
        *(str(loader), "--library-path", ":".join(str(place / LIBRARIES) for place in places)),
        *(str(home / INTERPRETER), "-S", "-m", "compileall", "-q"),
        *("-j", "1", "--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/"),
    ]
    environment = {"PYTHONHOME": str(home / "usr"), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    targets = sorted(str(path) for prefix in prefixes for path in (root / prefix).iterdir())
    shares = [share for place in range(SHARES) if (share := targets[place::SHARES])]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        list(pool.map(lambda share: _compile(command + share, environment), shares))


def _compile(command: list[str], environment: dict[str, str]) -> None:
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    # 1: some file has no valid syntax. Packages ship templates and tests of that kind, and nobody imports them.
    if result.returncode not in (0, 1) or "Error" in result.stderr:
        raise ImageError(f"The image's interpreter cannot compile: {result.stdout[-400:]}{result.stderr[-800:]}")


def _unpacked(parents: list[Layer], cache: Cache) -> Path:
    """The interpreter and its libraries out of the parents' layers, kept in the cache."""
    place = cache.root / "interpreters" / digest_of([one.diff_id for one in parents])
    if not place.is_dir():
        with cache.workspace() as work:
            for layer in parents:
                with tarfile.open(layer.path) as tar:
                    wanted = (one for one in tar if one.name.startswith(("usr/lib/", "usr/bin/python")))
                    tar.extractall(work / "root", members=wanted, filter="tar")
            place.parent.mkdir(exist_ok=True)
            (work / "root").rename(place)
    return place
