"""`crossover migrate` and `crossover rollback`: one component, or all of them.

Exit status: 0 done; 1 an update failed, or something is not where it was to go; 2 refused before anything was touched;
3 something waits: for the maintenance window, for a freeze to end, or for your word (`--ask`, `--one`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from adapters.routes.base import RouteError
from adapters.routes.kubernetes import KubernetesRouteStore, connect
from cli import journeys, preflight
from cli.auditing import Trail
from cli.declared import entry
from cli.errors import CliError
from cli.journeys import Leg, Seen
from cli.options import Context, Namespace, StackName
from cli.permits import frozen, preflight_required, refusal, unprepared, window_of
from cli.stack import DEFAULT_STACK, ROOT, Stack, Wish
from cli.status import MOVABLE
from contracts import names
from contracts.audit import Kind
from contracts.routes import Route
from contracts.stages import Component, Stage
from cutover import previewing
from cutover.errors import CutoverError
from cutover.plan import ImpossiblePlan
from cutover.previewing import Wishes
from cutover.tables import TABLES

FAILED, WAITS = 1, 3
_out = Console()
_err = Console(stderr=True)
_Preview = Annotated[bool, typer.Option("--preview", help="Show what would be done; change nothing.")]
_Component = Annotated[Component | None, typer.Argument(help="The component; none with --all.")]
_All = Annotated[bool, typer.Option("--all", help="Every component.")]
_Json = Annotated[bool, typer.Option("--json", help="With --all: the outcome for machines; all else goes to stderr.")]


def migrate(
    component: _Component = None,
    every: _All = False,
    to: Annotated[Stage, typer.Option("--to", help="The stage to bring it to.")] = Stage.SCALE,
    ask: Annotated[bool, typer.Option("--ask", help="With --all: ask before each component.")] = False,
    one: Annotated[
        bool, typer.Option("--one", help="With --all: move the next one only; exit status 3 while others are left.")
    ] = False,
    outside: Annotated[
        str, typer.Option("--outside-window", metavar="REASON", help="Move although the window is closed: why.")
    ] = "",
    preview: _Preview = False,
    as_json: _Json = False,
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
) -> None:
    """Move COMPONENT to the Scale backend: sets its stage in stack config and runs pulumi up.

    --all moves the event bus, the language models, the database and the backtests, in that order, one update each. It
    stops at the first that does not get there; the same command goes on from there.
    """
    with Trail(stack, context) as trail:
        where = Stack(stack, output=sys.stderr if as_json else None, changed=trail.config_changed)
        if (chosen := single(component, every)) is not None:
            refuse_for_all_only(ask=ask, one=one, json=as_json)
            if not preview:
                _await_leave(where.config(), outside, trail, chosen)
                _refuse_unprepared(where, trail, [chosen], context, namespace)
            _move(chosen, to, preview, where, context, namespace)
            return
        if ask and not preview and not sys.stdin.isatty():
            raise CliError("--ask has nobody to ask: this is no terminal", "crossover migrate --all --one, once a step")
        seen = _look(where, context, namespace)
        wishes = {each.component: Wish(to) for each in journeys.to_move(seen, to)}
        for each in journeys.beyond(seen, to):
            _say(f"{each.component.value} stands beyond {to.value}, at {each.stage}: it is left there", as_json)
        if preview:
            _show_all(where, seen, wishes, context, namespace)
        if wishes:
            _await_leave(where.config(), outside, trail, None)
            _refuse_unprepared(where, trail, list(wishes), context, namespace)
        legs = journeys.migrate(
            where, seen, to,
            allowed=_Leave(ask, one, trail), say=lambda line: _say(line, as_json),
            again=lambda: _look(where, context, namespace),
        )  # fmt: skip
    _end(legs, where, as_json, _next_after(legs, to))


def rollback(
    component: _Component = None,
    every: _All = False,
    retire: Annotated[
        bool, typer.Option("--retire", help="Also take the new side down (mvp instead of shadow).")
    ] = False,
    emergency: Annotated[
        bool, typer.Option("--emergency", help="The new side is dead: flee from it, and ask it nothing.")
    ] = False,
    preview: _Preview = False,
    as_json: _Json = False,
    stack: StackName = DEFAULT_STACK,
    context: Context = None,
    namespace: Namespace = names.NAMESPACE,
) -> None:
    """Put COMPONENT back on the MVP backend. The new side stays, kept in step, for the next try.

    --all puts every component back in one update, at once where they do not depend on one another; one that fails
    keeps no other from it. No window and no freeze holds a way back.

    After an --emergency, once the new side is back: the same without it delivers what only the new side held (the
    database's: tells and keeps it).
    """
    if retire and emergency:
        of = component.value if component is not None else "--all"
        raise CliError(
            "--retire takes the new side down, and in an --emergency it may hold what nobody else has",
            f"crossover rollback {of} --emergency; once it is back, crossover rollback {of} --retire",
        )
    with Trail(stack, context) as trail:
        where = Stack(stack, output=sys.stderr if as_json else None, changed=trail.config_changed)
        if (chosen := single(component, every)) is not None:
            refuse_for_all_only(json=as_json)
            stage = Stage.MVP if retire else Stage.SHADOW
            _move(chosen, stage, preview, where, context, namespace, emergency=emergency)
            return
        seen = _look(where, context, namespace)
        wishes = journeys.ways_back(seen, retire=retire, emergency=emergency)
        if preview:
            _show_all(where, seen, wishes, context, namespace)
        legs = journeys.roll_back(where, seen, wishes, lambda: _look(where, context, namespace))
    _end(legs, where, as_json, "crossover status shows where traffic is; the same command tries again")


def single(component: Component | None, every: bool) -> Component | None:
    """The one that is meant; None: all. Raises CliError where it is not clear."""
    if (component is None) is not every:
        given = f"{component.value} and --all" if component is not None else "no component"
        raise CliError(f"{given} was given: which one is meant?", "name one component, or --all alone")
    return component


def refuse_for_all_only(**given: bool) -> None:
    """Raise CliError where an option was given that says nothing of a single component."""
    for name, said in given.items():
        if said:
            raise CliError(f"--{name} says something of --all only", f"leave --{name} out, or ask for --all")


def _await_leave(config: Mapping[str, Any], outside: str, trail: Trail, component: Component | None) -> None:
    """Raise Exit(WAITS) where a freeze or a closed window holds what moves components on."""
    now, freeze, window = datetime.now(UTC), frozen(ROOT), window_of(config)
    why = refusal(now, None if outside else window, freeze)
    if why is None:
        if outside and (closed := refusal(now, window, None)) is not None:
            trail.note(Kind.OUTSIDE, component, reason=outside, detail=closed)
        return
    trail.note(Kind.HELD, component, detail=why)
    _err.print(f"nothing was moved: {why}", highlight=False, markup=False)
    fix = "take the file away" if freeze is not None else "wait, or say why not: --outside-window REASON"
    _err.print(f"  fix: {fix}. Ways back are open: crossover rollback", highlight=False, markup=False)
    raise typer.Exit(WAITS)


def _refuse_unprepared(
    stack: Stack, trail: Trail, components: Sequence[Component], context: str | None, namespace: str
) -> None:
    """Raise CliError where config requires preflight, and it does not pass for `components`."""
    if not preflight_required(stack.config()):
        return
    if why := unprepared(preflight.held_up(stack.name, components, context, namespace)):
        trail.note(Kind.HELD, components[0] if len(components) == 1 else None, detail=why)
        named = " ".join(component.value for component in components)
        raise CliError(f"nothing was moved: {why}", f"crossover preflight {named} tells the fix of each")


class _Leave:
    """Why the next component is not moved now; None where it is."""

    def __init__(self, ask: bool, one: bool, trail: Trail) -> None:
        self._ask, self._one, self._trail, self._moved = ask, one, trail, 0

    def __call__(self, component: Component) -> str | None:
        if self._one and self._moved:
            return "--one: it is the next"
        if self._ask:
            agreed = typer.confirm(f"Move {component.value} now?", err=True)
            self._trail.note(Kind.APPROVED if agreed else Kind.REFUSED, component, asked=f"Move {component.value} now?")
            if not agreed:
                return "not now, by your word"
        self._moved += 1
        return None


def _look(stack: Stack, context: str | None, namespace: str) -> list[Seen]:
    return journeys.look(stack.wanted(), KubernetesRouteStore(namespace, connect(context)))


def _next_after(legs: Sequence[Leg], to: Stage) -> str:
    failed = next((leg for leg in legs if leg.outcome == "failed"), None)
    if failed is None:
        return "the same command goes on"
    return (
        f"those behind it are untouched. The same command tries again; `crossover rollback {failed.component.value}` "
        f"has config ask for the way back instead of {to.value}"
    )


def _end(legs: Sequence[Leg], stack: Stack, as_json: bool, next_step: str) -> None:
    """Tell what became of all, and exit by it."""
    if as_json:
        print(journeys.told(legs, stack.name))
    else:
        table = Table(title=f"stack {stack.name}")
        for column in ("component", "from", "to", "outcome", "s", ""):
            table.add_column(column)
        for leg in legs:
            origin = leg.origin.value if leg.origin else "-"
            seconds = f"{leg.seconds:.0f}" if leg.seconds else ""
            table.add_row(leg.component.value, origin, leg.goal.value, leg.outcome, seconds, leg.detail)
        _out.print(table)
    outcomes = {leg.outcome for leg in legs}
    code = FAILED if "failed" in outcomes else WAITS if "left" in outcomes else 0
    if code:
        _err.print(next_step, highlight=False, markup=False)
        raise typer.Exit(code)


def _say(line: str, as_json: bool) -> None:
    (_err if as_json else _out).print(line, highlight=False, markup=False)


def _show_all(
    stack: Stack, seen: Sequence[Seen], wishes: Mapping[Component, Wish], context: str | None, namespace: str
) -> None:
    """Show the steps of each, and what Pulumi would change; then end."""
    config = stack.config()
    for one in seen:
        wish = wishes.get(one.component)
        if wish is None:
            _out.print(f"{one.component.value}: nothing to do", highlight=False)
            continue
        _tell(one.component, one.wanted, wish, stack)
        _show_steps(one.component, wish, context, namespace, entry(config, one.component))
    raise typer.Exit(stack.preview(wishes) if wishes else 0)


def _tell(component: Component, before: Stage, wish: Wish, stack: Stack) -> None:
    how = ", in an emergency" if wish.emergency else ""
    _out.print(f"{component.value}: {before.value} => {wish.stage.value}{how} (stack {stack.name})", highlight=False)


def _move(
    component: Component,
    stage: Stage,
    preview: bool,
    stack: Stack,
    context: str | None,
    namespace: str,
    *,
    emergency: bool = False,
) -> None:
    refuse_unmovable(component)
    if emergency and not TABLES[component].emergencies:
        raise CliError(
            f"{component.value} has no emergency: going back asks the side that is left nothing in any case",
            f"crossover rollback {component.value}",
        )
    before = stack.wanted()[component]  # reads the config first: a broken one must not be written to
    wish = Wish(stage, emergency)
    _tell(component, before, wish, stack)
    if preview:
        _show_steps(component, wish, context, namespace, entry(stack.config(), component))
        raise typer.Exit(stack.preview({component: wish}))
    stack.ask_for({component: wish})
    code = stack.up()
    if code != 0:
        _out.print(
            f"[red]pulumi up failed.[/] Config now asks for {stage.value}; run `pulumi up` again to try again, or\n"
            f"  pulumi config set --path crossover:{component.value}.stage {before.value} && pulumi up\n"
            "to go back. `crossover status` shows where traffic is."
        )
        raise typer.Exit(FAILED)


def _show_steps(
    component: Component, wish: Wish, context: str | None, namespace: str, config: Mapping[str, Any]
) -> None:
    try:
        route = KubernetesRouteStore(namespace, connect(context)).read(component).route
    except RouteError as error:
        _out.print(f"the live route could not be read, so the steps are not known: {error}", highlight=False)
        return
    for line in planned(route, component, wish, config):
        _out.print(line, highlight=False)


def planned(route: Route | None, component: Component, wish: Wish, config: Mapping[str, Any]) -> list[str]:
    """The steps that lead from `route` to `wish`; `config`: the component's entry. Raises CliError."""
    try:
        return previewing.preview(route, component, wish.stage, Wishes.of(config), emergency=wish.emergency)
    except (ImpossiblePlan, CutoverError) as error:
        raise CliError(str(error), "crossover status shows where traffic is") from None


def refuse_unmovable(component: Component) -> None:
    """Raise CliError where this version cannot move `component`."""
    if component not in MOVABLE:
        raise CliError(
            f"{component.value} cannot be moved by this version: only {', '.join(c.value for c in MOVABLE)} can",
            f"leave crossover:{component.value}.stage at mvp",
        )
