"""Static programs made of Go modules. One that set-up builds too (local/setup) is taken from there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from local.images.cache import Cache, digest_of, file_digest
from local.images.definition import REPOSITORY, Go
from local.images.errors import ImageError
from local.setup import versions
from local.setup.errors import SetupError
from local.setup.golang import find_go
from local.setup.toolchain import ensure

FLAGS = ("-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=")
ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOOS": "linux", "GOARCH": "amd64"}


def binary(recipe: Go, cache: Cache) -> Path:
    """The program of a recipe, built where the cache lacks it. Raises ImageError with Go's own words."""
    try:
        return _of_setup(recipe) if recipe.toolchain else _built(recipe, cache)
    except SetupError as error:
        raise ImageError(str(error)) from error


def _of_setup(recipe: Go) -> Path:
    groups = [one for one in versions.CLUSTER_GROUPS if one.name == recipe.toolchain]
    if not groups:
        raise ImageError(
            f"local/setup/versions.py has no group {recipe.toolchain!r}; correct go.toolchain in image.toml."
        )
    return ensure(groups)[Path(recipe.target).name]


def _built(recipe: Go, cache: Cache) -> Path:
    module = REPOSITORY / recipe.module
    sources = {
        path.name: file_digest(path) for path in sorted(module.iterdir()) if path.suffix in (".go", ".mod", ".sum")
    }
    place = cache.root / "go" / digest_of([sources, recipe.package, FLAGS, ENVIRONMENT]) / Path(recipe.target).name
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_suffix(".partial")
        cache.progress.say(f"{recipe.module}: building {place.name}")
        command = [find_go(), "build", *FLAGS, "-o", str(partial), recipe.package]
        result = subprocess.run(
            command, cwd=module, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            raise ImageError(f"{recipe.module}: `go build` failed: {result.stderr[-800:]}")
        partial.rename(place)
    return place
