"""The event bus: Redis, Kafka or both, the mirror between them, the route, and the Transition.

What is deployed at a stage is contracts/stages.STAGE_TABLE, nothing else. Credentials, rights and
network edges of both backends exist at every stage: they cost nothing and a switch then restarts nobody.

Order: backends and mirror come before the Transition, what a stage no longer has is deleted after
it, for Pulumi deletes last, and not at all where the Transition failed. Services depend on the
Transition: on a first deployment it writes the route they wait for, and later no rollout of theirs can run into
a switch.
"""

from __future__ import annotations

import pulumi

from components import bus_access, kafka, redis
from components.bus_access import CLIENT, CUTOVER, MIRROR
from components.containers import WORKLOAD_IMAGE, container
from components.foundation import Foundation
from components.kube import content_hash, create, create_all, password
from components.manifests import config_map, deployment, disruption_budget, secret
from components.pods import Manifest, Pod, Probes, identity_env, tcp_probe
from components.settings import Settings
from components.transition import Transition
from contracts import names
from contracts.stages import STAGE_TABLE, Component, deployed_backends

COMPONENT = Component.EVENT_BUS
EMERGENCY = (
    "event_bus.emergency is true: where kafka serves, traffic goes to redis without asking kafka, within seconds. "
    "Acknowledged events that the mirror had not copied stay in kafka; the Transition tells how many, and the first "
    "and last id. They are delivered once, after what came since, when kafka is back and emergency is taken out of "
    "config. Until then stage scale is refused, and kafka is kept. A kafka that still serves is not fled from"
)
"""What a preview says that it will mean."""


def mirror(settings: Settings, client_hash: object) -> list[Manifest]:
    """The Deployment of one that keeps the side that does not serve in step."""
    probe = tcp_probe(names.METRICS_PORT)
    made = container(
        settings,
        MIRROR,
        WORKLOAD_IMAGE,
        command=["python", "-m", "cutover.mirror"],
        env=identity_env(),
        env_from=bus_access.env_from(MIRROR),
        ports={"metrics": names.METRICS_PORT},
        probes=Probes(startup=tcp_probe(names.METRICS_PORT, period=1, failures=90), readiness=probe, liveness=probe),
    )
    pod = Pod(app=MIRROR, container=made, service_account=MIRROR, api=True, hashes={"client": client_hash})
    # A newer copying session fences an older one, so two at a time would only take turns failing.
    return [
        disruption_budget(MIRROR, settings.namespaces.backend),
        deployment(pod, settings.namespaces.backend, recreate=True),
    ]


class EventBus(pulumi.ComponentResource):
    """See the module. `client_hash` changes with what clients must be restarted for."""

    client_hash: pulumi.Output[str]
    transition: Transition

    def __init__(
        self,
        name: str,
        settings: Settings,
        foundation: Foundation,
        adapters: list[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        stage = settings.event_bus.stage
        super().__init__("crossover:event_bus:EventBus", name, {"stage": stage.value}, opts)
        self._settings = settings
        if settings.event_bus.emergency:
            pulumi.log.warn(EMERGENCY, self)
        self._inside = pulumi.ResourceOptions(parent=self, depends_on=foundation.ready)
        redis_hash, kafka_hash = self._secrets(foundation)
        base = create_all(
            [
                config_map(CLIENT, settings.namespaces.backend, bus_access.addresses(settings)),
                *bus_access.rights(settings, adapters),
                *bus_access.edges(settings),
            ],
            self._inside,
        )
        route = create(
            bus_access.route_config_map(settings),
            pulumi.ResourceOptions.merge(self._inside, pulumi.ResourceOptions(ignore_changes=["data"])),
        )
        backends = {
            "redis": lambda: redis.manifests(settings, redis_hash),
            "kafka": lambda: kafka.manifests(settings, pulumi.get_stack(), kafka_hash),
        }
        wanted = [backends[kind]() for kind in sorted(deployed_backends(COMPONENT, stage))]
        if STAGE_TABLE[stage].follows is not None:
            wanted.append(mirror(settings, self.client_hash))
        after_base = pulumi.ResourceOptions(parent=self, depends_on=[*foundation.ready, *base, *self._kept])
        deployed = [made for group in wanted for made in create_all(group, after_base)]
        self.transition = Transition(
            name,
            settings,
            COMPONENT,
            stage,
            owner=foundation.owner,
            watch_seconds=settings.event_bus.watch_seconds,
            deadline=settings.event_bus.deadline_seconds,
            emergency=settings.event_bus.emergency,
            ready=[route, *base, *self._kept, *deployed],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"stage": stage.value})

    def _secrets(self, foundation: Foundation) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        """All credentials, at every stage; the hashes of the two backends' configuration."""
        settings, namespace = self._settings, self._settings.namespaces.backend
        redis_password = password("event-bus-redis-password", self)
        users = {user: password(f"event-bus-kafka-{user}-password", self) for user in kafka.USERS}
        redis_files = {
            redis.CONFIG_KEY: redis_password.apply(lambda value: redis.configuration(settings, value)),
            redis.PASSWORD_KEY: redis_password,
        }
        files = pulumi.Output.all(**users).apply(lambda values: kafka.config_files(settings, values))
        kafka_files = {
            f"{names.KAFKA_NAME}-{i}.properties": files[f"{names.KAFKA_NAME}-{i}.properties"]
            for i in range(settings.event_bus.kafka.brokers)
        }
        clients = {
            CLIENT: bus_access.credentials(users, redis_password, names.KAFKA_APP_USER),
            MIRROR: bus_access.credentials(users, redis_password, names.KAFKA_MIRROR_USER),
            CUTOVER: bus_access.credentials(users, redis_password, names.KAFKA_ADMIN_USER),
        }
        manifests = [
            secret(redis.SECRET, namespace, redis_files),
            secret(kafka.SECRET, namespace, kafka_files),
            *(secret(title, namespace, values) for title, values in clients.items()),
        ]
        self._kept = create_all(manifests, self._inside)
        salt = foundation.salt
        told = {**bus_access.addresses(settings), **clients[CLIENT]}
        self.client_hash = content_hash(told, salt)
        return content_hash(redis_files, salt), content_hash(kafka_files, salt)
