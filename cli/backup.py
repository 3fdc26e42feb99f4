"""`crossover backup`: the database, what the namespace holds and stack config, into a folder; and whether one is whole.

The dump is made and restored in a pod beside the data. The Secrets are read with the caller's own rights, and sealed in
that pod. Only what was restored, fetched and is on disk whole is noted in the cluster, where the next move of the
database asks for it.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from adapters.routes import exporting
from adapters.routes.backup_job import BackupJob
from adapters.routes.base import RouteError
from adapters.routes.jobs import KubernetesJobs
from adapters.routes.kubernetes import connect
from adapters.routes.kubernetes_backups import KubernetesBackupNotes
from cli.auditing import user_here
from cli.errors import CliError
from cli.options import Context, Namespace, StackName
from cli.stack import DEFAULT_STACK, ROOT
from contracts import names
from contracts.backups import FETCHED, FOLDER, BackupNote
from validation.backup import folder as kept
from validation.backup.making import CONTENT, Content
from validation.backup.sealing import LEAST
from validation.result import Report

ENV_PASSPHRASE = "CROSSOVER_BACKUP_PASSPHRASE"  # noqa: S105 - the name of a variable
FAILED = 1
_TRIES = 3
app = typer.Typer(invoke_without_command=True, help="Back the database up, and see whether a backup is whole.")
_out = Console()


@app.callback()
def make(
    called: typer.Context,
    to: Annotated[Path, typer.Option("--to", help="The folder that gets the backup, as a folder in it.")] = Path(
        "backups"
    ),
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help=f"Else {ENV_PASSPHRASE}, else it is asked for.")
    ] = None,
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
) -> None:
    """Dump the side that serves, restore the dump to see that it can be, and keep it with config and sealed Secrets."""
    if called.invoked_subcommand is not None:
        return
    passphrase = read_passphrase(passphrase_file)
    api = connect(context)
    who = _who(api)
    name = f"{stack}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    jobs = KubernetesJobs(api, namespace)
    with kept.begun(to, name) as aside, BackupJob(jobs, context, namespace) as job:
        report = _make(job, aside)
        _config(aside, stack)
        _export(api, namespace, job, aside, passphrase)
        job.mark(f"{FOLDER}/{FETCHED}")
        made, digest = kept.finish(aside, to, name, by=who, stack=stack)
    kept.audit(to, who, "made", name, digest)
    whole = kept.verify(made)
    _show(report, whole)
    if whole.failures():
        raise typer.Exit(FAILED)
    KubernetesBackupNotes(namespace, api).write(note_of(made, digest, who))
    kept.audit(to, who, "verified", name, digest)
    _out.print(f"{made} is whole (sha256 of its manifest {digest}), and noted in the cluster", highlight=False)


@app.command()
def verify(folder: Annotated[Path, typer.Argument(help="A backup's folder.")]) -> None:
    """See that a backup is whole and unchanged. That it restores was seen when it was made."""
    report = kept.verify(folder)
    _show(report)
    if report.failures():
        raise typer.Exit(FAILED)
    kept.audit(folder.resolve().parent, getpass.getuser(), "verified", folder.name, kept.digest_of(folder))


def read_passphrase(file: Path | None) -> str:
    """From the file, the environment, or the terminal; never from an argument, which others can see."""
    if file is not None:
        try:
            found = file.read_text().strip("\n")
        except OSError as error:
            raise CliError(f"the passphrase cannot be read: {error}", "name a file with one line") from None
    else:
        found = os.environ.get(ENV_PASSPHRASE) or typer.prompt(
            "Passphrase for the Secrets in it", hide_input=True, confirmation_prompt=True
        )
    if len(found) < LEAST or "\n" in found:
        raise CliError(
            f"the passphrase has fewer than {LEAST} characters, or more than one line: nothing was begun",
            "take a longer one: python -c 'import secrets; print(secrets.token_urlsafe(24))'",
        )
    return found


def _who(api: Any) -> str:
    here = user_here()
    try:
        return f"{here} as {exporting.whoami(api)}"
    except RouteError:  # older API servers do not say
        return here


def _make(job: BackupJob, aside: Path) -> Report:
    """Have the dump made, and fetch what belongs to it."""
    told = job.await_report(lambda line: _out.print(line, highlight=False, markup=False, soft_wrap=True))
    report = Report.model_validate(told["report"])
    if report.failures():
        _show(report)
        raise CliError("the dump could not be restored as it was: there is no backup", "see what is named above")
    for name, one in told["files"].items():
        _fetch(job, name, aside / Path(name).name, kept.KeptFile.model_validate(one))
    return report


def _fetch(job: BackupJob, name: str, target: Path, expected: kept.KeptFile) -> None:
    """A file, whole: a stream from a pod may end early without saying so."""
    for _ in range(_TRIES):
        job.fetch(f"{FOLDER}/{name}", target)
        if kept.kept(target) == expected:
            return
        _out.print(f"{name} came incomplete; once more", highlight=False)
    raise CliError(f"{name} came {_TRIES} times other than it is in the pod: there is no backup", "try again")


def _config(aside: Path, stack: str) -> None:
    folder = aside / "stack"
    folder.mkdir()
    for name in ("Pulumi.yaml", f"Pulumi.{stack}.yaml"):
        if (ROOT / name).exists():
            shutil.copyfile(ROOT / name, folder / name)


def _export(api: Any, namespace: str, job: BackupJob, aside: Path, passphrase: str) -> None:
    """All that the namespace holds; the Secrets are in the clear in this process' memory alone."""
    folder = aside / "kubernetes"
    folder.mkdir()
    for resource, found in exporting.manifests(api, namespace).items():
        (folder / f"{resource}.json").write_text(_listed(found))
    plain = _listed(exporting.secrets(api, namespace)).encode()
    (aside / kept.SECRETS).write_bytes(job.seal(plain, passphrase))


def _listed(items: list[dict[str, Any]]) -> str:
    """As `kubectl apply -f` takes it."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1, sort_keys=True) + "\n"


def note_of(made: Path, digest: str, who: str) -> BackupNote:
    """What the cluster is told of a backup."""
    content = Content.model_validate_json((made / CONTENT).read_text())
    return BackupNote(
        at=content.at, side=content.side, by=who, digest=digest, place=f"{made.name} on {socket.gethostname()}",
        tables=len(content.tables), rows=content.rows,
    )  # fmt: skip


def _show(*reports: Report) -> None:
    for report in reports:
        _out.print(report.table())
