"""The steps of each component, from the environment of its Transition."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.backtesting.http_jobs import HttpJobs
from adapters.event_bus.backends import open_log
from adapters.event_bus.base import EventLog
from adapters.event_bus.factory import settings_from_env
from adapters.postgres.masks import Masks
from contracts import names
from contracts.backtest_moving import BacktestMoving, InvalidMoving
from contracts.routes import Route
from contracts.stages import Component, Stage, deployed_backends
from contracts.volumes import volume_bytes
from cutover.backtesting import BacktestSteps
from cutover.context import Context, CouldNotCheck
from cutover.database import DatabaseSteps, Moving
from cutover.environment import FIX, needed
from cutover.event_bus import EventBusSteps
from cutover.llm_service import LlmSteps, opening
from cutover.llm_service.judging import Judging
from cutover.previewing import Wishes
from cutover.servers import servers


def steps_of(
    context: Context, route: Route | None, stage: Stage | None, env: Mapping[str, str]
) -> EventBusSteps | DatabaseSteps | LlmSteps | BacktestSteps:
    """What a run of this component works with. `stage`: the wanted one, None where it is only checked.

    Raises CouldNotCheck where `env` lacks what it takes.
    """
    volumes = volume_bytes(env.get(names.ENV_VOLUMES, ""))
    if context.component is Component.EVENT_BUS:
        return EventBusSteps(context, *_logs(route, stage, env), volumes)
    if context.component is Component.BACKTESTING:
        return BacktestSteps(context, HttpJobs(needed(env, names.ENV_BACKTESTING_URL)), _backtests(env))
    if context.component is Component.LLM_SERVICE:
        wished = opening.moving(env)
        return LlmSteps(context, opening.models(env), opening.front(env), Judging(wished), wished)
    moving = Moving(
        schemas=_listed(env, names.ENV_DATABASE_SCHEMAS),
        role=env.get(names.ENV_DATABASE_ROLE, ""),
        accepted=frozenset(_listed(env, names.ENV_DATABASE_ACCEPT)),
        backup_hours=float(env.get(names.ENV_DATABASE_BACKUP_HOURS) or names.DEFAULT_BACKUP_HOURS),
        volumes=volumes,
        masks=Masks.parse(env.get(names.ENV_DATABASE_MASK, "")),
        tied=env.get(names.ENV_DATABASE_ROLLBACK_LOSS) == "none",
    )
    return DatabaseSteps(context, servers(env), moving)


def wishes_of(component: Component, env: Mapping[str, str]) -> Wishes:
    """What config asks of `component` beside a stage, as the environment of its Transition has it.

    Raises CouldNotCheck where `env` lacks it.
    """
    if component is Component.LLM_SERVICE:
        return Wishes(moving=opening.moving(env))
    if component is Component.BACKTESTING:
        return Wishes(backtests=_backtests(env))
    tied = env.get(names.ENV_DATABASE_ROLLBACK_LOSS) == "none"
    return Wishes(names.all_topics(_listed(env, names.ENV_TOPICS) or names.TOPICS), tied)


def _backtests(env: Mapping[str, str]) -> BacktestMoving:
    try:
        return BacktestMoving.parse(needed(env, names.ENV_BACKTESTING_MOVING))
    except InvalidMoving as error:
        raise CouldNotCheck(f"{names.ENV_BACKTESTING_MOVING} cannot be used: {error}", FIX) from error


def _listed(env: Mapping[str, str], variable: str) -> tuple[str, ...]:
    return tuple(name for name in env.get(variable, "").split(",") if name)


def _logs(
    route: Route | None, stage: Stage | None, env: Mapping[str, str]
) -> tuple[dict[str, EventLog], tuple[str, ...]]:
    """The backends that a run may touch: a retired one has no address, and must not be asked for."""
    component = Component.EVENT_BUS
    settings = settings_from_env()
    needed = set(deployed_backends(component, stage)) if stage is not None else set()
    if route is not None:
        needed |= deployed_backends(component, route.stage)
    logs = {name: open_log(name, settings, env) for name in sorted(needed)}
    return logs, names.all_topics(settings.topics)
