"""`python -m local.images build [NAME...]`, `lock [debian|wheels|jars]`, `dockerfile [NAME...]`, `list`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from local.images import debian, dockerfile, maven, wheels
from local.images.builder import BuiltImage, build
from local.images.definition import lineage, load, names
from local.images.errors import ImageError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Images of the product, without Docker.")
Names = Annotated[list[str] | None, typer.Argument(help="Images; all where none is named.", metavar="[NAME]...")]


class Lock(StrEnum):
    """What can be locked."""

    DEBIAN = "debian"
    WHEELS = "wheels"
    JARS = "jars"


@app.command("build")
def build_command(wanted: Names = None) -> None:
    """Build OCI archives and print the path of each."""
    built = build(wanted or ())
    console = Console(stderr=True)
    console.width = max(console.width, 120)  # a log has no width of its own, and paths want to be whole
    console.print(report(built))
    for image in built:
        print(image.path)


@app.command("list")
def list_command() -> None:
    """The images, and what each is."""
    for name in names():
        print(f"{name:<12} {load(name).summary}")


@app.command("lock")
def lock_command(what: Annotated[list[Lock] | None, typer.Argument(help="All where none is named.")] = None) -> None:
    """Write the locks anew: newest Debian versions, wheels as in requirements.txt, jars as in jars.xml."""
    # Parents first: their wheels are left out of what builds upon them.
    definitions = sorted((load(name) for name in names(internal=True)), key=lambda one: len(lineage(one)))
    if Lock.DEBIAN in (what or Lock):
        wanted = {package for one in definitions if one.debian for package in one.debian.packages}
        debian.write_lock(debian.locked(wanted, debian.read_index(wanted)))
        print(f"debian.lock: {len(wanted)} packages")
    for one in definitions:
        if one.wheels is not None and Lock.WHEELS in (what or Lock):
            print(f"{one.name}/wheels.lock: {wheels.write_lock(one)} wheels")
        if one.jars is not None and Lock.JARS in (what or Lock):
            print(f"{one.name}/jars.lock: {maven.write_lock(one)} jars")


@app.command("dockerfile")
def dockerfile_command(wanted: Names = None) -> None:
    """Write the Dockerfiles of images, for those who have Docker."""
    for name in wanted or names():
        print(dockerfile.write(load(name)))


def report(built: list[BuiltImage]) -> Table:
    """What each image weighs, and what of it weighs most."""
    table = Table("image", "size", "layers (MB)", box=None, header_style="bold")
    table.columns[1].justify = "right"
    for image in built:
        layers = ", ".join(f"{kind} {size / 1e6:.1f}" for kind, size in image.layers if size > 100_000)
        table.add_row(image.ref, f"{image.size / 1e6:.1f} MB", layers)
    return table


if __name__ == "__main__":
    try:
        app()
    except ImageError as error:
        sys.exit(f"images: {error}")
