"""Stack config as frozen models: every key that may stand in Pulumi.<stack>.yaml, its default, unit and limits.

What the keys mean for operators is told in Pulumi.yaml; how errors read is components/config_errors.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from components.config_errors import PROJECT, problems_of, unfit
from components.evidence_settings import EvidenceSettings
from components.llm_settings import LlmServiceSettings, too_large
from components.migration_settings import MigrationSettings
from components.namespace_settings import Name, NamespaceSettings
from components.trace_settings import TraceSettings
from contracts import names
from contracts.backtest_moving import Gate
from contracts.stages import Stage

ENV_KUBE_CONTEXT = "CROSSOVER_KUBE_CONTEXT"
"""Overrides `crossover:kube_context`, for one run."""

Quantity = Annotated[str, Field(pattern=r"^[1-9][0-9]*(Mi|Gi|Ti)$")]
"""An amount of storage: 512Mi, 10Gi."""
TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}$")]
"""A name that both Redis and Kafka can hold, with room for that of its dead letters."""
Size = Literal["small", "standard"]
"""A row of components/sizes.py."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _refuse_emergency(emergency: bool, stage: Stage, dead: str, alive: str) -> None:
    """Raise where config says that `dead` is, and wants it to serve."""
    if emergency and stage in (Stage.SCALE, Stage.COMPLETE):
        raise unfit(
            f"emergency is true at stage {stage.value}, where {dead} serves: traffic would flee from it to {alive} and "
            f"be wanted there. For the emergency set the stage to shadow; once {dead} is back take emergency out",
            key="emergency",
            fix="false",
        )


class RedisSettings(_Model):
    """The MVP event bus."""

    appendfsync: Literal["always", "everysec"] = "always"
    """`always`: an acknowledged event is on disk. `everysec`: up to 1 s of them may be lost with the machine."""
    storage: Quantity = "10Gi"


class KafkaSettings(_Model):
    """The Scale event bus: combined KRaft nodes."""

    brokers: int = Field(default=1, ge=1, le=9)
    replication: int = Field(default=1, ge=1, le=9)
    """Copies of each partition."""
    min_insync_replicas: int = Field(default=1, ge=1, le=9)
    """Copies that must have an event before it counts as durable."""
    retention_hours: int = Field(default=168, ge=1)
    storage: Quantity = "10Gi"

    @model_validator(mode="after")
    def _copies_have_a_place(self) -> Self:
        if self.replication > self.brokers:
            raise unfit(
                f"replication is {self.replication} with {self.brokers} brokers: no topic could be made",
                key="brokers",
                fix=str(self.replication),
            )
        if self.min_insync_replicas > self.replication:
            raise unfit(
                f"min_insync_replicas is {self.min_insync_replicas} with replication {self.replication}: every "
                "publish would be refused",
                key="min_insync_replicas",
                fix=str(self.replication),
            )
        return self


class EventBusSettings(_Model):
    """The event bus: Redis Streams, then Kafka."""

    stage: Stage = Stage.MVP
    topics: tuple[TopicName, ...] = names.TOPICS
    """All topics, those of the services included. One may be added at any stage; none may be taken away."""
    emergency: bool = False
    """Whether the backend that serves is dead: traffic then goes back without asking it. To be taken out again once
    it is back: that delivers what only it holds."""
    partitions: int = Field(default=names.DEFAULT_PARTITIONS, ge=1, le=1000)
    """Partitions of each topic. Fixed once events exist: a key's place depends on it."""
    max_event_bytes: int = Field(default=names.DEFAULT_MAX_EVENT_BYTES, ge=1024, le=10_000_000)
    """The largest event (payload, key and headers) that publish accepts, in bytes."""
    watch_seconds: float = Field(default=10.0, ge=0, le=3600, allow_inf_nan=False)
    """How long checks go on under traffic after a switch; a failure in that time switches back."""
    verdict_hours: float = Field(default=names.DEFAULT_VERDICT_HOURS, gt=0, allow_inf_nan=False)
    """How old a comparison of both sides may be: a switch that was cut off after its own compares anew beyond it, and
    status calls it stale."""
    deadline_seconds: int = Field(default=3600, ge=60)
    """How long a Transition may take in all, history included."""
    redis: RedisSettings = Field(default_factory=RedisSettings)
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)

    @model_validator(mode="after")
    def _topics_are_whole(self) -> Self:
        missing = [topic for topic in names.TOPICS if topic not in self.topics]
        if missing:
            raise unfit(
                f"topics lacks {', '.join(missing)}: the services could not publish",
                key=f"topics[{len(self.topics)}]",
                fix=missing[0],
            )
        twice = sorted({topic for topic in self.topics if self.topics.count(topic) > 1})
        aside = [topic for topic in self.topics if topic.endswith(names.DEAD_LETTER_SUFFIX)]
        if twice or aside:
            raise unfit(
                f"topics names {(twice or aside)[0]} "
                + ("twice" if twice else "although each topic has a dead-letter topic already"),
                key="topics[0]",
                fix=f"{names.TOPICS[0]} (and give each topic once)",
            )
        return self

    @model_validator(mode="after")
    def _emergency_goes_back(self) -> Self:
        _refuse_emergency(self.emergency, self.stage, "kafka", "redis")
        return self


class HostedDatabase(_Model):
    """The address of a hosted Postgres (Supabase: the direct host, not its pooler)."""

    host: str = Field(min_length=1)
    port: int = Field(default=names.POSTGRES_PORT, ge=1, le=65535)
    name: str = "postgres"
    user: str = "postgres"
    password: SecretStr
    sslmode: Literal["disable", "prefer", "require", "verify-full"] | None = None
    """None: verify-full where `ca` is given, else require (components/database_tls.py says why)."""
    ca: str = Field(default="", pattern=r"^(\s*-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----\s*)?$")
    """The authority of its certificate, as PEM text: many hosted servers have one that no system's bundle knows. Empty,
    with verify-full: the bundle of the image."""

    @model_validator(mode="after")
    def _authority_is_asked(self) -> Self:
        if self.ca and self.sslmode not in (None, "verify-full"):
            raise unfit(
                f"ca is given and sslmode is {self.sslmode}: nobody would be verified by it",
                key="sslmode",
                fix="verify-full",
            )
        return self


class BaseBackups(_Model):
    """Base backups of our own Postgres in the cluster, by a schedule."""

    enabled: bool = True
    schedule: str = Field(default="30 2 * * *", pattern=r"^\S+( \S+){4}$")
    """When, as cron has it, by UTC: minute, hour, day of the month, month, day of the week."""
    keep: int = Field(default=7, ge=1, le=3650)
    """Days. The newest is kept whatever its age."""
    storage: Quantity = "30Gi"
    """Of the volume with all of them; each is compressed, and one lies there unpacked while it is checked."""


class SelfhostedDatabase(_Model):
    """The Scale database: a Postgres of our own."""

    storage: Quantity = "10Gi"
    """Data and WAL. While both sides are kept in step, WAL that the other side has not got piles up here."""
    roles: tuple[Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")], ...] = ()
    """Roles beside the workload's that grants and policies of what moves name (Supabase: anon, authenticated,
    service_role). They are made here without a login."""
    max_wal_keep_mb: int = Field(default=4096, ge=64)
    """How much of it may pile up, in MiB: beyond it the way back is given up rather than the disk filled."""
    backup: BaseBackups | None = None
    """None: as BaseBackups has it at size standard, none at size small."""
    tls_secret: Name | None = None
    """A Secret of yours in the backend's namespace with tls.crt, tls.key and ca.crt: the server's certificate, which
    clients then verify. It is read at the server's start. None: the server makes one itself, which encrypts only."""


class DatabaseSettings(_Model):
    """The database: a hosted Postgres, then one of our own, behind one PgBouncer."""

    stage: Stage = Stage.MVP
    hosted: HostedDatabase | None = None
    """None: a stand-in, a Postgres of our own in the `hosted` namespace."""
    storage: Quantity = "10Gi"
    """Of the stand-in."""
    selfhosted: SelfhostedDatabase = Field(default_factory=SelfhostedDatabase)
    schemas: tuple[Annotated[str, Field(min_length=1, pattern=r"^[^,]+$")], ...] = ()
    """The schemas that move. Empty: those in which the migrating role owns tables."""
    accept: tuple[Annotated[str, Field(min_length=1, pattern=r"^[^,]+$")], ...] = ()
    """Items of preflight that may be let pass (docs/database-preflight.md), and are."""
    mask: tuple[str, ...] = ()
    """Columns whose values are shown nowhere where rows differ, as schema.table.column; `*` stands for anything."""
    rollback_loss: Literal["bounded", "none"] = "bounded"
    """What is lost where our own Postgres serves and is lost for good. `bounded`: what the hosted one had not got yet,
    which is told. `none`: nothing that was acknowledged; a commit waits for the hosted one, and where that is away, all
    writers wait."""
    emergency: bool = False
    """Whether our own Postgres is dead while it serves: traffic then goes back to the hosted one without asking it.
    To be taken out again once it is back: what only it committed is told and kept then, and it is filled anew."""
    backup_hours: float = Field(default=names.DEFAULT_BACKUP_HOURS, gt=0, allow_inf_nan=False)
    """How old the last `crossover backup` may be where the database moves on."""
    verdict_hours: float = Field(default=names.DEFAULT_VERDICT_HOURS, gt=0, allow_inf_nan=False)
    """How old a comparison of both sides may be: a switch that was cut off after its own compares anew beyond it, and
    status calls it stale."""
    watch_seconds: float = Field(default=10.0, ge=0, le=3600, allow_inf_nan=False)
    """How long checks go on under traffic after a switch; a failure in that time switches back."""
    deadline_seconds: int = Field(default=3600, ge=60)
    """How long a Transition may take in all, the copy included."""

    @model_validator(mode="after")
    def _emergency_goes_back(self) -> Self:
        _refuse_emergency(self.emergency, self.stage, "our own Postgres", "the hosted one")
        return self

    @model_validator(mode="after")
    def _masks_name_columns(self) -> Self:
        wrong = [(at, one) for at, one in enumerate(self.mask) if one.count(".") < 2 or "," in one]
        if wrong:
            at, one = wrong[0]
            raise unfit(
                f"mask has {one!r}, which is not schema.table.column: it would hide nothing",
                key=f"mask[{at}]",
                fix=f"SCHEMA.TABLE.{one.rpartition('.')[2].replace(',', '') or 'COLUMN'}",
            )
        return self


class BacktestingSettings(_Model):
    """Backtests: VectorBT, then NautilusTrader, in one service that has both."""

    stage: Stage = Stage.MVP
    workers: int = Field(default=1, ge=1, le=64)
    """Runs at a time. Each engine that is deployed has so many processes, once it was asked for a run."""
    storage: Quantity = "5Gi"
    """For results."""
    strategies: Name | None = None
    """The name of a ConfigMap of yours whose keys are Python files: strategies of your own. They are imported and run
    confined; a change is seen once the service's pods are restarted."""
    limit_seconds: float = Field(default=3600.0, gt=0, allow_inf_nan=False)
    """How long one run may take; then it is ended, and fails."""
    limit_mib: int = Field(default=0, ge=0)
    """MiB that one run may take beyond its engine; it fails where it asks for more. 0: any amount."""
    sample_percent: float = Field(default=100.0, ge=0, le=100, allow_inf_nan=False)
    """Percent of the runs that the engine which does not serve does, too, in shadow and scale, when nobody waits."""
    gate: Gate = Field(default_factory=Gate)
    """What must agree before a switch, beside the suite that is shipped."""
    verdict_hours: float = Field(default=names.DEFAULT_VERDICT_HOURS, gt=0, allow_inf_nan=False)
    """How old a comparison may be: a switch that was cut off after it compares anew beyond it, and status calls it
    stale."""
    watch_seconds: float = Field(default=10.0, ge=0, le=3600, allow_inf_nan=False)
    """How long runs of its own are made after a switch."""
    deadline_seconds: int = Field(default=3600, ge=60)
    """How long a Transition may take in all, the comparison and the runs that an engine ends included."""

    @model_validator(mode="before")
    @classmethod
    def _has_no_emergency(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("emergency"):
            raise unfit(
                "emergency is set, and backtests have none: going back asks the engine that is left nothing in any "
                "case, and results are kept by the service",
                key="stage",
                fix=f"shadow (and pulumi config rm --path {PROJECT}:backtesting.emergency)",
            )
        return given

    @property
    def emergency(self) -> bool:
        """Never: see above."""
        return False


class TradingEngineSettings(_Model):
    """The trading engine. One replica: a key's events are taken by one engine at a time in any case."""

    replicas: int = Field(default=1, ge=0, le=16)
    comment_interval_seconds: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    """The least time between two questions to the language model."""


class MarketFeedSettings(_Model):
    """The market feed."""

    rate: float = Field(default=10.0, ge=0, le=20_000, allow_inf_nan=False)
    """Bars per second over all symbols. 0: none."""


class ImageSettings(_Model):
    """Where images come from: <registry>/<name>:<tag>, but for those that `references` names."""

    registry: str = Field(default="localhost/crossover", pattern=r"^[a-z0-9][a-z0-9.:/_-]*$")
    tag: str = Field(default="local", pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    references: dict[str, str] = Field(default_factory=dict)

    def of(self, name: str) -> str:
        """The reference of image `name`."""
        return self.references.get(name, f"{self.registry}/{name}:{self.tag}")


class Settings(_Model):
    """All of stack config."""

    event_bus: EventBusSettings = Field(default_factory=EventBusSettings)
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    llm_service: LlmServiceSettings = Field(default_factory=LlmServiceSettings)
    backtesting: BacktestingSettings = Field(default_factory=BacktestingSettings)
    trading_engine: TradingEngineSettings = Field(default_factory=TradingEngineSettings)
    market_feed: MarketFeedSettings = Field(default_factory=MarketFeedSettings)
    migration: MigrationSettings = Field(default_factory=MigrationSettings)
    traces: TraceSettings = Field(default_factory=TraceSettings)
    images: ImageSettings = Field(default_factory=ImageSettings)
    namespaces: NamespaceSettings = Field(default_factory=NamespaceSettings)
    environment: Literal["development", "production"] = "development"
    """What the policy pack asks of the stack; nothing else depends on it."""
    evidence: EvidenceSettings = Field(default_factory=EvidenceSettings)
    kube_context: str = Field(min_length=1)
    """The kubeconfig context to deploy to. Never guessed: a current context is easily the wrong one."""
    size: Size = "standard"
    storage_class: str = ""
    """Empty: the cluster's default."""
    cluster_domain: str = Field(default="cluster.local", pattern=r"^[a-z0-9][a-z0-9.-]*$")
    protect_data: bool = True
    """Whether `pulumi destroy` refuses to delete the namespaces, and with them all volumes."""

    @model_validator(mode="after")
    def _aliases_are_answered(self) -> Self:
        ours = self.llm_service.own.aliases_at(self.size)
        unknown = [alias for alias in self.llm_service.models if alias not in ours]
        if unknown:
            raise unfit(
                f"models names the alias {unknown[0]!r}, and our own models answer only {', '.join(ours)}: questions "
                "for it would fail once they serve",
                key=f"llm_service.own.aliases.{unknown[0]}",
                fix=next(iter(ours)),
            )
        return self

    @model_validator(mode="after")
    def _orchestrators_fit(self) -> Self:
        found = too_large(self.llm_service.limits, self.size)
        if found is not None:
            raise found
        return self

    @property
    def base_backups(self) -> BaseBackups | None:
        """Those of our own Postgres; None: none are made."""
        given = self.database.selfhosted.backup
        if given is None:
            return BaseBackups() if self.size == "standard" else None
        return given if given.enabled else None


class SettingsError(pulumi.RunError):
    """Stack config that cannot be used; the text holds every problem with its fix."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["stack config cannot be used; nothing was changed:", *problems]))
        self.problems = problems


def parse(stack: str, raw: Mapping[str, Any]) -> Settings:
    """The settings that `raw` (key without project -> value) gives for `stack`. Raises SettingsError."""
    try:
        return Settings.model_validate({key: value for key, value in raw.items() if value != ""})
    except ValidationError as error:
        raise SettingsError(problems_of(error, stack, Settings)) from None


def load(env: Mapping[str, str] = os.environ) -> Settings:
    """The settings of the stack that runs. Raises SettingsError."""
    prefix = f"{PROJECT}:"
    stored = {**get_config_env(), **CONFIG.get()}
    raw = {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}
    raw = {key: _decoded(key, value) for key, value in raw.items()}
    if env.get(ENV_KUBE_CONTEXT):
        raw["kube_context"] = env[ENV_KUBE_CONTEXT]
    return parse(pulumi.get_stack(), raw)


def _decoded(key: str, value: Any) -> Any:
    """Structured values arrive as JSON, others as the text that they are."""
    field = Settings.model_fields.get(key)
    annotation = field.annotation if field is not None else None
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel) and isinstance(value, str)):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
