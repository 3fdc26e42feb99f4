"""The command."""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from adapters.routes.base import RouteError, RouteStore
from adapters.routes.jobs import KubernetesJobs
from adapters.routes.kubernetes import KubernetesRegistry, KubernetesRouteStore, connect
from adapters.routes.kubernetes_audit import KubernetesAudit
from cli import moving
from cli.auditing import audit_namespace, user_here
from cli.console.acts import Desk, Unfit
from cli.console.reader import Reader, Sources, Wanted
from cli.console.runner import ChildRunner
from cli.console.tokens import Door, Tokens
from cli.declared import declared, entry, file_of, verdict_hours, wanted_stages
from cli.errors import CliError
from cli.options import AuditNamespace, Context, Namespace, StackName
from cli.stack import DEFAULT_STACK, ROOT, Wish
from contracts import names
from contracts.stages import Component

PORT = 8321
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""The names that it is asked by on this machine."""
VIEWERS = 64
"""Connections at once; more are answered with 503."""
_out = Console()


def console(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: one that is free.")] = PORT,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool,
        typer.Option("--allow-remote", help="Let --host be another than loopback; a token is needed to look, too."),
    ] = False,
    host_name: Annotated[
        list[str] | None, typer.Option("--host-name", help="A name it is asked by beside localhost. May be repeated.")
    ] = None,
    allow_actions: Annotated[
        bool, typer.Option("--allow-actions", help="Buttons that migrate and roll back, for who has a token.")
    ] = False,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="A file of yours alone (mode 0600): a line a token, or NAME TOKEN."),
    ] = None,
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
    log: AuditNamespace = None,
) -> None:
    """Serve the live state of a stack as a page: stages, lag, stalls, verdicts, runs under way, what happened.

    It only shows, on this machine only, unless told otherwise. Ctrl-C ends it; a move that it began goes on.
    """
    tokens = admitted(host, allow_remote=allow_remote, allow_actions=allow_actions, token_file=token_file)
    wanted(stack)  # a config that cannot be used is told now
    door = Door(tokens) if tokens is not None else None
    desk = _desk(stack, context, namespace) if allow_actions else None
    reader = Reader(_sources(stack, context, namespace, log), stack)
    hosts = {*LOOPBACK, host, *(host_name or ())}
    _serve(reader, hosts, door, desk, closed=not loopback(host), where=(host, port))


def loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def admitted(host: str, *, allow_remote: bool, allow_actions: bool, token_file: Path | None) -> Tokens | None:
    """The tokens that are needed; None where none are. Raises CliError where it may not be served like that."""
    if not loopback(host) and not (allow_remote and token_file is not None):
        raise CliError(
            f"--host {host} can be reached from other machines: whoever is there would see this stack",
            "leave --host out and reach it by ssh -L 8321:localhost:8321; or add --allow-remote and --token-file FILE",
        )
    if allow_actions and token_file is None:
        raise CliError(
            "--allow-actions without a token would let every program of this machine move components",
            "--token-file FILE, a file of mode 0600 with a token in it",
        )
    return Tokens.read(token_file) if token_file is not None else None


def wanted(stack: str, root: Path = ROOT) -> Wanted:
    """What the stack's config file asks for, read without Pulumi. Raises CliError."""
    config = declared(root, stack)
    limits = {component: verdict_hours(config, component) for component in Component}
    return Wanted(wanted_stages(config, file_of(stack)), limits)


def planner(stack: str, store: RouteStore, root: Path = ROOT) -> Callable[[Component, Wish], Sequence[str]]:
    """Gives the steps of a wish, from the live route."""

    def steps(component: Component, wish: Wish) -> Sequence[str]:
        try:
            route = store.read(component).route
            return moving.planned(route, component, wish, entry(declared(root, stack), component))
        except (RouteError, CliError) as error:
            raise Unfit(f"the steps are not known: {error}") from error

    return steps


def _sources(stack: str, context: str | None, namespace: str, log: str | None) -> Sources:
    api = connect(context)
    registry, jobs = KubernetesRegistry(namespace, api), KubernetesJobs(api, namespace)
    audit = KubernetesAudit(log or audit_namespace(ROOT, stack), api)
    store = KubernetesRouteStore(namespace, api)
    return Sources(lambda: wanted(stack), store, registry, registry, audit, jobs.transition, jobs.said)


def _desk(stack: str, context: str | None, namespace: str) -> Desk:
    runner = ChildRunner(ROOT, ROOT / ".crossover" / "console")
    # A client of its own: the reader's is of another thread.
    store = KubernetesRouteStore(namespace, connect(context))
    return Desk(runner, planner(stack, store), options(stack, context, namespace), user_here())


def options(stack: str, context: str | None, namespace: str) -> list[str]:
    """What every command of a button has, so that it means what is looked at."""
    return ["--stack", stack, "--namespace", namespace, *(("--context", context) if context else ())]


def _serve(
    reader: Reader, hosts: set[str], door: Door | None, desk: Desk | None, *, closed: bool, where: tuple[str, int]
) -> None:
    import uvicorn  # slow to import, and no other command needs it

    from cli.console.app import Offer, create

    listening = listen(*where)
    app = create(reader, Offer(hosts=hosts, door=door, desk=desk, closed=closed))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, proxy_headers=False, lifespan="off",
        limit_concurrency=VIEWERS, timeout_keep_alive=5, timeout_graceful_shutdown=2,
    )  # fmt: skip
    server = uvicorn.Server(config)
    name, port = listening.getsockname()[:2]
    shown = f"[{name}]" if ":" in name else name
    does = "it shows and acts, for who has a token" if desk is not None else "it only shows"
    _out.print(f"http://{shown}:{port}/ ({does}). Ctrl-C ends it", highlight=False, markup=False, soft_wrap=True)
    # uvicorn raises a signal that it caught again once it has stopped: an end that was asked for is no failure.
    signal.signal(signal.SIGINT, _quiet)
    signal.signal(signal.SIGTERM, _quiet)
    reader.start()
    try:
        server.run(sockets=[listening])
    finally:
        reader.stop()
    if desk is not None and (told := goes_on(desk)):
        _out.print(told, highlight=False, markup=False, soft_wrap=True)


def goes_on(desk: Desk) -> str:
    """What is said at the end of what it began; empty where nothing goes on."""
    last = desk.last
    if last is None or last.running.code() is not None:
        return ""
    act = f"{last.act.value} of {last.component.value}"
    return f"{act} goes on: crossover status shows it, its output is in {ROOT / '.crossover' / 'console'}"


def _quiet(number: int, frame: FrameType | None) -> None:
    del number, frame


def listen(host: str, port: int) -> socket.socket:
    """A socket there. Raises CliError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise CliError(
            f"{host}:{port} cannot be listened on: {error.strerror or error}", "--port 0 takes one that is free"
        ) from None
