"""An ordinary Dockerfile of an image's definition, for those who have Docker.

It installs the same packages, wheels, jars and files, by the same locks where Docker can check them; Debian packages
are apt's newest of trixie. Build it from the repository's root:
`docker build -f local/images/NAME/Dockerfile -t localhost/crossover/NAME:local .`
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from local.images import maven, wheels
from local.images.definition import REPOSITORY, Config, Definition, Go, lineage, merged_config
from local.images.sources import PUBLIC_MAVEN

BASE = "debian:trixie-slim"
PYTHON = "python:3.13-slim-trixie"
GOLANG = "golang:1.26-trixie"
IN_BASE = frozenset({"base-files", "busybox-static", "gcc-14-base", "libc-bin", "libc6", "libgcc-s1"})
"""What the base image brings, or has another of."""


def render(definition: Definition) -> str:
    """The text of the image's Dockerfile."""
    chain = lineage(definition)
    head = f"# {definition.summary}.\n# Made by `python -m local.images dockerfile` of image.toml; change that."
    stages = [head, *_build_stages(chain), "\n".join(_final_stage(definition, chain))]
    return "\n\n".join(stages) + "\n"


def path_of(definition: Definition) -> Path:
    """Where the image's Dockerfile lies."""
    return definition.directory / "Dockerfile"


def write(definition: Definition) -> Path:
    """Write the image's Dockerfile."""
    path_of(definition).write_text(render(definition))
    return path_of(definition)


def _build_stages(chain: list[Definition]) -> Iterator[str]:
    for one in chain:
        if one.go is not None:
            yield _go_stage(one.go)
        if one.wheels is not None:
            lock, target = wheels.lock_file(one).relative_to(REPOSITORY), one.wheels.target
            elsewhere = [
                f"RUN install -D -m 0644 {target}/{file} /files{place} && rm -r {target}/{file.partition('/')[0]}"
                for file, place in one.wheels.files.items()
            ]
            yield "\n".join([
                f"FROM {PYTHON} AS {one.name}-wheels",
                f"COPY {lock} /tmp/wheels.lock",
                f"RUN pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: --target {target} \\",
                "    --requirement /tmp/wheels.lock",
                *elsewhere,
            ])  # fmt: skip


def _go_stage(recipe: Go) -> str:
    return "\n".join([
        f"FROM {GOLANG} AS go",
        f"COPY {recipe.module} /module",
        "WORKDIR /module",
        f'RUN CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "-s -w" -o /program {recipe.package}',
    ])  # fmt: skip


def _final_stage(definition: Definition, chain: list[Definition]) -> Iterator[str]:
    yield f"FROM {BASE if any(one.debian for one in chain) else 'scratch'}"
    packages = sorted({name for one in chain if one.debian for name in one.debian.packages} - IN_BASE)
    if packages:
        yield "RUN apt-get update && apt-get install --yes --no-install-recommends \\"
        yield from (f"    {name} \\" for name in packages)
        yield "    && rm -rf /var/lib/apt/lists/*"
    for one in chain:
        yield from _own_files(one)
    for one in chain:
        if one.code is not None:
            yield from (f"COPY {package} {one.code.target}/{package}" for package in one.code.packages)
            yield f"RUN python3.13 -m compileall -q {one.code.target}"
    yield from _process(merged_config(chain))


def _own_files(one: Definition) -> Iterator[str]:
    if one.wheels is not None:
        stage, target = f"{one.name}-wheels", one.wheels.target
        yield f"COPY --from={stage} {target} {target}"
        yield from (f"COPY --from={stage} /files{place} {place}" for place in one.wheels.files.values())
    if one.jars is not None:
        for jar in maven.read_lock(maven.lock_file(one)):
            yield f"ADD --chmod=0644 --checksum=sha256:{jar.sha256} \\"
            yield f"    {PUBLIC_MAVEN}/{jar.path} {one.jars.target}/"
    if one.go is not None:
        yield f"COPY --from=go /program {one.go.target}"
    folder = one.directory.relative_to(REPOSITORY)
    yield from (f"COPY --chmod={file.mode} {folder}/{file.source} {file.target}" for file in one.files)
    for made in one.directories:
        yield f"RUN install -d -m {made.mode} -o {made.owner} -g {made.owner} {made.path}"
    for path, target in one.links.items():
        if target != "busybox":  # Debian's base image has these programs themselves
            yield f"RUN ln -sfn {target} {path}"


def _process(config: Config) -> Iterator[str]:
    yield from (f"ENV {key}={json.dumps(value)}" for key, value in sorted(config.env.items()))
    yield from (f"EXPOSE {port}" for port in config.ports)
    yield f"WORKDIR {config.workdir}"
    yield f"USER {config.user}"
    yield f"STOPSIGNAL {config.stop_signal}"
    if config.entrypoint:
        yield f"ENTRYPOINT {json.dumps(list(config.entrypoint))}"
    if config.cmd:
        yield f"CMD {json.dumps(list(config.cmd))}"
