"""`python -m validation.backup make`: what the pod of `crossover backup` runs. `seal`: asked of it by exec.

make  dumps the side that serves, restores it into the server beside it, says what holds, and keeps the files until they
      were fetched: until there is a file `fetched` among them, or the time is over
seal  reads a passphrase on the first line and what is to be sealed after it, and writes it sealed
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from adapters.postgres.driver import Address
from adapters.postgres.errors import PostgresError
from adapters.routes.kubernetes import KubernetesRouteStore, connect
from contracts import names
from contracts.backups import FETCHED, FOLDER, SCRATCH
from contracts.stages import Component, Side, Stage, backend_of, serving_backend
from validation.backup import making
from validation.backup.folder import kept
from validation.backup.sealing import SealError, seal
from validation.result import Report

_START_SECONDS = 120.0
_ADDRESSES = {
    backend_of(Component.DATABASE, Side.OLD): names.ENV_HOSTED_DATABASE_URL,
    backend_of(Component.DATABASE, Side.NEW): names.ENV_SELFHOSTED_DATABASE_URL,
}
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _say(line: str) -> None:
    print(line, flush=True)


@app.command()
def make(
    keep_seconds: Annotated[float, typer.Option(help="How long the files wait to be fetched.", min=0)] = 1800.0,
    folder: Annotated[Path, typer.Option()] = Path(FOLDER),
    scratch: Annotated[Path, typer.Option()] = Path(SCRATCH),
) -> None:
    """Make a backup, and keep it until it was fetched."""
    route = KubernetesRouteStore(os.environ.get(names.ENV_NAMESPACE, names.NAMESPACE), connect()).read(
        Component.DATABASE
    )
    side = route.route.active if route.route is not None else serving_backend(Component.DATABASE, Stage.MVP)
    try:
        aside = Address(str(scratch), names.POSTGRES_PORT, "postgres", "postgres")
        making.await_scratch(aside, _START_SECONDS)
        report = making.make(side, Address.parse(os.environ[_ADDRESSES[side]]), aside, folder, _say)
    except PostgresError as error:
        _say(f"no backup was made: {error}")
        raise typer.Exit(1) from None
    _say(told(report, folder))
    if report.failures():
        raise typer.Exit(1)
    deadline = time.monotonic() + keep_seconds
    while not (folder / FETCHED).exists():
        if time.monotonic() > deadline:
            _say(f"nobody fetched it within {keep_seconds:g} s")
            raise typer.Exit(1)
        time.sleep(0.5)  # a file announces nothing


def told(report: Report, folder: Path) -> str:
    """The line by which the command knows that the files are there: the report, and each file with its sum."""
    made = (making.DUMP, making.ROLES, making.CONTENT)
    files = {name: kept(folder / name).model_dump() for name in made if (folder / name).exists()}
    return json.dumps({"report": report.model_dump(mode="json"), "files": files})


@app.command("seal")
def seal_command() -> None:
    """Seal what comes on standard input."""
    given = sys.stdin.buffer
    passphrase = given.readline().decode().rstrip("\n")
    try:
        sealed = seal(given.read(), passphrase)
    except SealError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    # By its sum it is seen to have come whole.
    sys.stdout.buffer.write(hashlib.sha256(sealed).hexdigest().encode() + b"\n" + sealed)


if __name__ == "__main__":
    app()
