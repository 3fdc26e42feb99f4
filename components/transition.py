"""The Transition: brings a component to the wanted stage by an awaited Job, and fails the update where that fails.

- The Job has no fixed name, so a new one is made beside the old one, which is deleted only after it
  succeeded; and a stage that is asked for again collides with nothing.
- Its pod template is immutable: another stage, image or argument replaces the Job. Where the stage
  already holds, the Job has nothing to do and says so.
- `pulumi.com/replaceUnready`: a Job that failed, or was cut off, is replaced by the next plain update,
  without any change of config. It is never retried by itself: a person should have read the verdict.
- There is no ttlSecondsAfterFinished: a Job that vanished would be made again by a refresh.

It deliberately does not manage the route's content, nor decide what the steps are: python -m cutover does,
from the live route.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi

from components import audit_access, database_tls, llm_access, selfhosted_postgres, verdict
from components.bus_access import CUTOVER, env_from
from components.containers import WORKLOAD_IMAGE, container
from components.kube import create
from components.pods import Manifest, Pod, env, identity_env, labels
from components.settings import Settings
from components.sizes import TRANSITION
from contracts import names
from contracts.backtest_moving import BacktestMoving
from contracts.stages import Component, Side, Stage, backend_of
from contracts.volumes import told_volumes

_SLACK_SECONDS = 120
"""What Pulumi waits beyond the Job's own deadline: to see it fail, and why, rather than give up first."""
_GRACE_SECONDS = 60
"""A Job that is stopped undoes its fence first."""


def job(
    settings: Settings,
    component: Component,
    stage: Stage,
    *,
    owner: pulumi.Input[str],
    watch_seconds: float,
    deadline: int,
    emergency: bool = False,
) -> Manifest:
    """The Job, without a name. `owner` is the same for all runs of one stack's state: where an update was cut
    off its Job may still run, and gives way to the Job of the next one."""
    app, env_sources = _runs_as(component)
    mounts, volumes = _files(settings, component)
    made = container(
        settings,
        TRANSITION,
        WORKLOAD_IMAGE,
        command=["python", "-m", "cutover"],
        args=[
            *("--component", component.value, "--stage", stage.value, "--watch-seconds", f"{watch_seconds:g}"),
            *("--owner", owner),
            *(["--emergency"] if emergency else []),
        ],
        env=[*identity_env(), *audit_access.identity_env(settings), *env(**_told(settings, component))],
        env_from=env_sources,
        mounts=mounts,
    )
    pod = Pod(
        app=app,
        container=made,
        service_account=app,
        api=True,
        volumes=volumes,
        hashes=llm_access.prompts_hash(settings) if component is Component.LLM_SERVICE else {},
        labels={names.LABEL_TRANSITION: component.slug, "crossover.dev/stage": stage.value},
        grace_seconds=_GRACE_SECONDS,
        restart="Never",
    )
    return {
        "kind": "Job",
        "metadata": {
            "namespace": settings.namespaces.backend,
            "labels": labels(app, {names.LABEL_TRANSITION: component.slug}),
            "annotations": {"pulumi.com/replaceUnready": "true", **_beside(settings, component)},
        },
        "spec": {"backoffLimit": 0, "activeDeadlineSeconds": deadline, "template": pod.manifest},
    }


def _runs_as(component: Component) -> tuple[str, list[Manifest]]:
    """The app and service account of the Transitions of `component`, and where its environment comes from."""
    if component is Component.DATABASE:
        return names.DATABASE_CUTOVER_NAME, [{"secretRef": {"name": names.DATABASE_MOVE_NAME}}]
    if component is Component.LLM_SERVICE:
        return names.LLM_CUTOVER_NAME, [{"secretRef": {"name": names.LLM_CLIENT_NAME}}]
    if component is Component.BACKTESTING:
        return names.BACKTESTING_CUTOVER_NAME, []
    return CUTOVER, env_from(CUTOVER)


def _files(settings: Settings, component: Component) -> tuple[dict[str, tuple[str, bool]], dict[str, Manifest]]:
    """What a Transition of `component` reads from files: mounts and volumes."""
    if component is Component.DATABASE:
        return database_tls.mounts(settings), database_tls.volumes(settings)
    if component is Component.LLM_SERVICE:
        return llm_access.prompts_mounts(settings), llm_access.prompts_volumes(settings)
    return {}, {}


def _beside(settings: Settings, component: Component) -> dict[str, str]:
    """What a Job that is made after this one's pattern (`crossover backup`) needs beyond it."""
    image = {names.ANNOTATION_POSTGRES_IMAGE: settings.images.of("postgres")}
    return image if component is Component.DATABASE else {}


def _told(settings: Settings, component: Component) -> dict[str, str | None]:
    """What a Transition has to be run for where it changes: so it stands in its pod, not in a ConfigMap."""
    if component is Component.DATABASE:
        return {
            names.ENV_NAMESPACE: settings.namespaces.backend,
            names.ENV_DATABASE_SCHEMAS: ",".join(settings.database.schemas) or None,
            names.ENV_DATABASE_ACCEPT: ",".join(settings.database.accept) or None,
            names.ENV_DATABASE_ROLLBACK_LOSS: settings.database.rollback_loss,
            names.ENV_DATABASE_BACKUP_HOURS: f"{settings.database.backup_hours:g}",
            names.ENV_DATABASE_MASK: ",".join(settings.database.mask) or None,
            names.ENV_VERDICT_HOURS: f"{settings.database.verdict_hours:g}",
            names.ENV_DATABASE_ROLE: selfhosted_postgres.ROLE,
            names.ENV_VOLUMES: told_volumes(_database_volumes(settings)),
        }
    if component is Component.LLM_SERVICE:
        return {
            names.ENV_NAMESPACE: settings.namespaces.backend,
            names.ENV_LLM_ENDPOINTS: llm_access.endpoints(settings).to_json(),
            names.ENV_LLM_ORCHESTRATOR_URL: llm_access.orchestrator_url(),
            names.ENV_LLM_MOVING: llm_access.moving(settings).to_json(),
            names.ENV_VERDICT_HOURS: f"{settings.llm_service.verdict_hours:g}",
        }
    if component is Component.BACKTESTING:
        backtests = settings.backtesting
        moving = BacktestMoving(sample_percent=backtests.sample_percent, gate=backtests.gate)
        return {
            names.ENV_NAMESPACE: settings.namespaces.backend,
            names.ENV_BACKTESTING_URL: f"http://{names.BACKTESTING_NAME}:{names.HTTP_PORT}",
            names.ENV_BACKTESTING_MOVING: moving.to_json(),
            names.ENV_VERDICT_HOURS: f"{backtests.verdict_hours:g}",
        }
    bus = settings.event_bus
    return {
        names.ENV_VOLUMES: told_volumes(_volumes(settings)),
        names.ENV_TOPICS: ",".join(bus.topics),
        names.ENV_PARTITIONS: str(bus.partitions),
        names.ENV_VERDICT_HOURS: f"{bus.verdict_hours:g}",
    }


def _database_volumes(settings: Settings) -> dict[str, str]:
    """Of each side that is ours; how much room a hosted one has is not known."""
    ours = {backend_of(Component.DATABASE, Side.NEW): settings.database.selfhosted.storage}
    if settings.database.hosted is None:
        ours[backend_of(Component.DATABASE, Side.OLD)] = settings.database.storage
    return ours


def _volumes(settings: Settings) -> dict[str, str]:
    """Of each backend that keeps data on one; of Kafka's, each broker has one."""
    return {"redis": settings.event_bus.redis.storage, "kafka": settings.event_bus.kafka.storage}


def _evidence(settings: Settings, component: Component) -> dict[str, Any]:
    """For the policy pack: what was seen of the live stack, and how old that may be. The Job gets none of it, and asks
    for itself."""
    found = settings.evidence.of(component)
    if found is None and settings.environment == "development":
        return {}
    limits = {
        Component.EVENT_BUS: settings.event_bus.verdict_hours,
        Component.DATABASE: settings.database.verdict_hours,
        Component.LLM_SERVICE: settings.llm_service.verdict_hours,
        Component.BACKTESTING: settings.backtesting.verdict_hours,
    }
    return {
        "environment": settings.environment,
        "verdict_hours": limits[component],
        "backup_hours": settings.database.backup_hours,
        **({"evidence": found} if found is not None else {}),
    }


class Transition(pulumi.ComponentResource):
    """States the wanted stage of a component. `ready`: what must exist before it may begin. `emergency`: the
    backend that serves is dead, and not asked."""

    stage: Stage
    job: pulumi.CustomResource

    def __init__(
        self,
        name: str,
        settings: Settings,
        component: Component,
        stage: Stage,
        *,
        owner: pulumi.Input[str],
        watch_seconds: float,
        deadline: int,
        ready: Sequence[pulumi.Resource],
        emergency: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        stated: dict[str, Any] = {"component": component.value, "stage": stage.value}
        if emergency:
            stated["emergency"] = True
        inputs = stated | _evidence(settings, component)
        super().__init__("crossover:transition:Transition", name, inputs, opts)
        self.stage = stage
        hook = verdict.hook(component, settings)
        wait = f"{deadline + _SLACK_SECONDS}s"
        self.job = create(
            job(
                settings,
                component,
                stage,
                owner=owner,
                watch_seconds=watch_seconds,
                deadline=deadline,
                emergency=emergency,
            ),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=list(ready),
                custom_timeouts=pulumi.CustomTimeouts(create=wait, update=wait),
                hooks=pulumi.ResourceHookBinding(after_create=[hook], after_update=[hook]),
            ),
            f"transition-{component.slug}",
        )
        self.register_outputs(stated)
