"""Python wheels: a lock of exact files, and their content without installing them.

wheels.in beside an image.toml says what is wanted; `python -m local.images lock wheels` resolves it with uv for the
image's interpreter (versions as in requirements.txt) into wheels.lock, which pip can read as well: one line a wheel,
`name==version --hash=sha256:...  # file name, size`. What a parent image brings is left out.
"""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from local.images import sources
from local.images.cache import Cache, Download
from local.images.definition import REPOSITORY, Definition, Wheels, lineage
from local.images.errors import ImageError
from local.images.layer import LayerBuilder

PYTHON = (3, 13)
"""The interpreter of Debian trixie, for which wheels are chosen."""
GLIBC = 41
"""The minor version of trixie's glibc 2.x: the newest manylinux tag that runs there."""
PLATFORMS = [
    *(f"manylinux_2_{minor}_x86_64" for minor in range(GLIBC, 16, -1)),
    *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"),
]
_LINE = re.compile(r"^(\S+)==(\S+) --hash=sha256:([0-9a-f]{64})  # (\S+) (\d+)$")


@dataclass(frozen=True)
class Wheel:
    """One wheel file. `size` in bytes."""

    name: str
    version: str
    sha256: str
    file: str
    size: int

    @property
    def line(self) -> str:
        """As it stands in the lock."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}  # {self.file} {self.size}\n"


def lock_file(definition: Definition) -> Path:
    """Where the lock of an image lies."""
    return definition.directory / "wheels.lock"


def read_lock(path: Path) -> list[Wheel]:
    """The locked wheels. Raises ImageError where a line cannot be read or nothing is locked."""
    if not path.is_file():
        raise ImageError(f"{path} is missing, so what to unpack is open. Run: python -m local.images lock wheels")
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise ImageError(f"{path}:{number}: {line!r} is no locked wheel. Run: python -m local.images lock wheels")
        found.append(Wheel(match[1], match[2], match[3], match[4], int(match[5])))
    if not found:
        raise ImageError(f"{path} locks nothing; an image without wheels has no [wheels]. Correct image.toml.")
    return found


def obtain(wheels: list[Wheel], cache: Cache, what: str) -> dict[str, Path]:
    """The files by checksum; the index is asked only for those that are not here yet."""
    missing = [one for one in wheels if not (cache.downloads / one.sha256).is_file()]
    cache.fetch([Download(address_of(one), one.sha256, one.size) for one in missing], what)
    return {one.sha256: cache.downloads / one.sha256 for one in wheels}


def address_of(wheel: Wheel) -> str:
    """Where the index keeps this file. Raises ImageError where it has no file of that checksum."""
    known = sources.index_page(canonicalize_name(wheel.name))
    if wheel.sha256 not in known:
        raise ImageError(
            f"{sources.pypi()} has no {wheel.file} with the locked checksum {wheel.sha256}, so it was not used. "
            "Use another index (pip's index-url), or renew the lock: python -m local.images lock wheels"
        )
    return known[wheel.sha256]


def unpack(wheel: Path, recipe: Wheels, layer: LayerBuilder, excluded: Callable[[str], bool]) -> None:
    """Add a wheel's modules and data to a layer; scripts and headers are for people who install, and stay out."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        wanted = {name: recipe.files[name] for name in names if name in recipe.files}
        if not wanted:
            wanted = {name: f"{recipe.target}/{path}" for name in names if (path := _installed(name)) is not None}
            wanted = {name: path for name, path in wanted.items() if not excluded(path[len(recipe.target) + 1 :])}
        for name, path in sorted(wanted.items()):
            executable = archive.getinfo(name).external_attr >> 16 & 0o111
            with archive.open(name) as content:
                layer.add_file(path, content, 0o755 if executable else 0o644)


def _installed(name: str) -> str | None:
    """Where a wheel's member goes below site-packages; None for what is left out."""
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return name
    scheme, _, path = rest.partition("/")
    return path if scheme in ("purelib", "platlib") else None


def choose(name: str, version: str, hashes: set[str]) -> Wheel:
    """The wheel of a resolved package that fits the image best. Raises ImageError where none does."""
    rank = {tag: place for place, tag in enumerate([*cpython_tags(PYTHON, platforms=PLATFORMS),
                                                    *compatible_tags(PYTHON, "cp313", PLATFORMS)])}  # fmt: skip
    best: tuple[int, str, str, str] | None = None
    for digest, url in sources.index_page(canonicalize_name(name)).items():
        file = url.rsplit("/", 1)[-1]
        if digest not in hashes:
            continue
        try:
            _, _, _, tags = parse_wheel_filename(file)
        except InvalidWheelFilename:
            continue
        places = [rank[tag] for tag in tags if tag in rank]
        if places and (best is None or (min(places), file) < best[:2]):
            best = (min(places), file, digest, url)
    if best is None:
        raise ImageError(f"{name} {version} has no wheel for CPython 3.13 on x86-64 Linux, and images build nothing.")
    with sources.open_url(best[3]) as response:
        size = int(response.headers["Content-Length"])
    return Wheel(canonicalize_name(name), version, best[2], best[1], size)


def resolve(definition: Definition) -> list[Wheel]:
    """What the image's wheels.in needs now, beside what its parents bring."""
    command = [
        str(Path(sys.executable).with_name("uv")),
        *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes"),
        *("--python-version", "3.13", "--python-platform", "x86_64-manylinux_2_40"),
        *("--constraints", str(REPOSITORY / "requirements.txt"), str(definition.directory / "wheels.in")),
    ]
    if definition.wheels is not None and definition.wheels.files:
        command.append("--no-deps")  # files of packages that are not run need nothing beside them
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ImageError(f"uv cannot resolve {definition.directory / 'wheels.in'}: {result.stderr[-800:]}")
    inherited = {
        one.name for parent in lineage(definition)[:-1] if parent.wheels for one in read_lock(lock_file(parent))
    }
    return [choose(*package) for package in _compiled(result.stdout) if canonicalize_name(package[0]) not in inherited]


def _compiled(text: str) -> Iterable[tuple[str, str, set[str]]]:
    for match in re.finditer(r"^([A-Za-z0-9_.-]+)==(\S+)((?:.*\\\n)+.*)", text, re.MULTILINE):
        yield match[1], match[2], set(re.findall(r"--hash=sha256:([0-9a-f]{64})", match[3]))


def write_lock(definition: Definition) -> int:
    """Resolve and write the image's lock; the number of wheels in it."""
    wheels = sorted(resolve(definition), key=lambda one: one.name)
    head = (
        "# Made by `python -m local.images lock wheels` of wheels.in: one wheel a line, with its file name and size.\n"
    )
    lock_file(definition).write_text(head + "".join(one.line for one in wheels))
    return len(wheels)
