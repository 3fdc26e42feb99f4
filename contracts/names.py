"""Names that both halves must agree on: namespaces, services, ports, topics, environment."""

from __future__ import annotations

import re

NAMESPACE = "trading"
"""Where the backend, its event bus, the routes and the cutover Jobs live."""
HOSTED_NAMESPACE = "hosted"
"""Where the local stand-ins for hosted services (Supabase, Groq) live."""
AUDIT_NAMESPACE = "crossover-audit"
"""Where the audit log lives: apart from the backend, so that nobody's rights there reach it, and for longer."""

REDIS_NAME, REDIS_PORT = "event-bus-redis", 6379
KAFKA_NAME, KAFKA_PORT = "event-bus-kafka", 9092
MIRROR_NAME = "event-bus-mirror"
BUS_CLIENT_NAME = "event-bus-client"
"""The ConfigMap, Secret and ServiceAccount that any client of the event bus may use."""
POOLER_NAME, POOLER_PORT = "database-pooler", 6432
HOSTED_POSTGRES_NAME, POSTGRES_PORT = "hosted-postgres", 5432
SELFHOSTED_POSTGRES_NAME = "postgres"
"""The StatefulSet: its pod is postgres-0."""
SELFHOSTED_POSTGRES_SERVICE = "postgres-service"
CARRIER_NAME = "database-carrier"
BASE_BACKUP_NAME = "database-base-backup"
"""The CronJob, its volume, and the Secret with its password."""
DATABASE_CUTOVER_NAME = "database-cutover"
POOLER_AGENT_NAME = "database-pooler-agent"
DATABASE_MOVE_NAME = "database-move"
"""The Secret with both servers' addresses, for those who move rows between them."""
HOSTED_LLM_NAME, HOSTED_LLM_PORT = "hosted-llm", 8080
OWN_LLM_NAME, OWN_LLM_PORT = "own-llm", 8000
"""The Secret of our own models, their node pool, and what their names begin with (own_llm_name). Never `vllm`: where
service links are on, a Service of that name gives pods a VLLM_PORT, which vLLM reads as its own."""
TRADING_ENGINE_NAME = "trading-engine"
LLM_ORCHESTRATOR_NAME = "llm-orchestrator"
LLM_CLIENT_NAME = "llm-service"
"""The Secret with the keys of both sides' language models."""
LLM_CUTOVER_NAME = "llm-cutover"
BACKTESTING_NAME = "backtesting-service"
BACKTESTING_CUTOVER_NAME = "backtesting-cutover"
BACKTEST_SWEEP_NAME = "backtesting-sweep"
"""The app of the pods that run the pieces of a sweep, or ask the backtesting service about one."""
MARKET_FEED_NAME = "market-feed"
SERVICES = (TRADING_ENGINE_NAME, LLM_ORCHESTRATOR_NAME, BACKTESTING_NAME, MARKET_FEED_NAME)
"""Those with an HTTP API: /readyz and /metrics, too."""
HTTP_PORT = 8000
HEADER_CONVERSATION = "x-conversation-id"
"""Of a call to the orchestrator: the conversation that it belongs to."""
HEADER_BACKEND = "x-crossover-backend"
"""Of its answer: the side that gave it."""
METRICS_PORT = 9100

MARKET_DATA = "market_data"
TRADING_SIGNALS = "trading_signals"
TOPICS = (MARKET_DATA, TRADING_SIGNALS)
DEAD_LETTER_SUFFIX = ".dead_letter"
DATABASE_NAME = "trading"
DATABASE_SCHEMA = "trading"
"""The schema that holds every table of the workload, in the database DATABASE_NAME."""

LABEL_HTTP_CLIENT = "crossover.dev/http-client"
"""Pods of the backend's namespace with this label, "true", may call the services' HTTP APIs."""
LABEL_DATABASE_CLIENT = "crossover.dev/database-client"
"""Pods of the backend's namespace with this label, "true", may connect to the pooler."""
LABEL_POOL = "crossover.dev/pool"
"""On the nodes of a pool that this program made: the pool's name."""
LABEL_TRANSITION = "crossover.dev/transition"
"""On the Job of a component's Transition and its pods: the component's slug."""
LABEL_SWEEP = "crossover.dev/sweep"
"""On the Job of a sweep: the sweep's id."""
ANNOTATION_POSTGRES_IMAGE = "crossover.dev/postgres-image"
"""On the Job of the database's Transition: the image for a server that somebody needs beside it for a while."""

# Environment names. The first three are the migration guide's own.
ENV_EVENT_BUS_TYPE = "EVENT_BUS_TYPE"
ENV_DATABASE_URL = "DATABASE_URL"
ENV_HOSTED_DATABASE_URL = "HOSTED_DATABASE_URL"
"""The hosted Postgres itself, not its pooler, as the role that migrates: postgresql://user:password@host:port/name."""
ENV_SELFHOSTED_DATABASE_URL = "SELFHOSTED_DATABASE_URL"
"""Our own Postgres, as its superuser."""
ENV_DATABASE_SCHEMAS = "CROSSOVER_DATABASE_SCHEMAS"
"""The schemas that move, by commas. Unset: those in which the role at the hosted side owns tables."""
ENV_DATABASE_ROLE = "CROSSOVER_DATABASE_ROLE"
"""The workload's role at our own Postgres, which owns what moves there."""
ENV_DATABASE_ACCEPT = "CROSSOVER_DATABASE_ACCEPT"
"""Items of the database's preflight that config lets pass, by commas."""
ENV_DATABASE_ROLLBACK_LOSS = "CROSSOVER_DATABASE_ROLLBACK_LOSS"
"""What a database that serves in its new place and is lost for good may take along: `bounded` (the default), `none`."""
ENV_DATABASE_BACKUP_HOURS = "CROSSOVER_DATABASE_BACKUP_HOURS"
"""How old a backup may be before the database moves on; DEFAULT_BACKUP_HOURS where unset."""
ENV_DATABASE_MASK = "CROSSOVER_DATABASE_MASK"
"""Columns whose values are shown nowhere, schema.table.column, by commas; `*` stands for anything."""
ENV_VERDICT_HOURS = "CROSSOVER_VERDICT_HOURS"
"""How old a comparison may be that a switch goes on with; DEFAULT_VERDICT_HOURS where unset."""
ENV_LLM_SERVICE_TYPE = "LLM_SERVICE_TYPE"
ENV_BACKTESTING_ENGINE = "BACKTESTING_ENGINE"
ENV_TOPICS = "CROSSOVER_TOPICS"
ENV_PARTITIONS = "CROSSOVER_PARTITIONS"
ENV_MAX_EVENT_BYTES = "CROSSOVER_MAX_EVENT_BYTES"
ENV_ROUTES = "CROSSOVER_ROUTES"
"""`kubernetes` (watch the route), or unset: a fixed route made from EVENT_BUS_TYPE."""
ENV_NAMESPACE = "CROSSOVER_NAMESPACE"
ENV_AUDIT_NAMESPACE = "CROSSOVER_AUDIT_NAMESPACE"
ENV_ACTOR = "CROSSOVER_ACTOR"
"""Who is told in the audit log to have run the `crossover` command; the user and host where unset."""
ENV_JOB_NAME = "JOB_NAME"
"""Of a pod of a Transition: its Job."""
ENV_POD_NAME = "POD_NAME"
ENV_POD_UID = "POD_UID"
ENV_REDIS_URL = "REDIS_URL"
"""redis://host:port/db, without password; the password comes from ENV_REDIS_PASSWORD."""
ENV_REDIS_PASSWORD = "REDIS_PASSWORD"
ENV_KAFKA_BOOTSTRAP = "KAFKA_BOOTSTRAP_SERVERS"
ENV_KAFKA_USER = "KAFKA_USERNAME"
ENV_KAFKA_PASSWORD = "KAFKA_PASSWORD"
ENV_VOLUMES = "CROSSOVER_VOLUMES"
"""What a Transition knows of the backends' volumes: `redis=10Gi,kafka=10Gi`. Unset: nothing."""
ENV_HTTP_PORT = "HTTP_PORT"
"""Where a service answers HTTP (API, /healthz, /readyz, /metrics); 8000 (HTTP_PORT here) where unset."""
ENV_LOG_LEVEL = "LOG_LEVEL"
ENV_TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""The collector's base URL, OTLP over HTTP: http://collector:4318."""
ENV_TRACES_RATIO = "OTEL_TRACES_SAMPLER_ARG"
"""Which part of all traces is made, 0 to 1. What comes sampled over HTTP is always."""
ENV_LLM_API_KEY = "LLM_API_KEY"
ENV_LLM_OWN_API_KEY = "LLM_OWN_API_KEY"
"""The token of our own models; LLM_API_KEY is the hosted API's."""
ENV_LLM_ENDPOINTS = "LLM_ENDPOINTS"
"""JSON: who answers an alias at each backend; see contracts/llm.py."""
ENV_LLM_MOVING = "CROSSOVER_LLM_MOVING"
"""JSON: what config says of the move of the language model service; see contracts/llm_moving.py."""
ENV_LLM_TIMEOUT = "LLM_TIMEOUT_SECONDS"
ENV_LLM_CONNECT_TIMEOUT = "LLM_CONNECT_TIMEOUT_SECONDS"
ENV_LLM_CONNECTING = "LLM_CONNECTING"
ENV_LLM_FIRST_TOKEN_TIMEOUT = "LLM_FIRST_TOKEN_TIMEOUT_SECONDS"
ENV_LLM_WHOLE_TIMEOUT = "LLM_WHOLE_TIMEOUT_SECONDS"
ENV_LLM_MAX_IN_FLIGHT = "LLM_MAX_IN_FLIGHT"
ENV_LLM_QUEUE_LENGTH = "LLM_QUEUE_LENGTH"
ENV_LLM_QUEUE_SECONDS = "LLM_QUEUE_SECONDS"
ENV_LLM_BODIES = "LLM_BODIES_MIB"
ENV_LLM_SAMPLE_TOKENS = "LLM_SAMPLE_TOKENS_A_MINUTE"
ENV_LLM_SAMPLE_CONCURRENCY = "LLM_SAMPLE_CONCURRENCY"
ENV_LLM_RETRIES_AT_ONCE = "LLM_RETRIES_AT_ONCE"
ENV_LLM_RETRIES_A_CALL = "LLM_RETRIES_A_CALL"
ENV_LLM_RETRIES_A_SECOND = "LLM_RETRIES_A_SECOND"
ENV_LLM_BREAKER_FAILURES = "LLM_BREAKER_FAILURES"
ENV_LLM_BREAKER_RATE = "LLM_BREAKER_RATE"
ENV_LLM_BREAKER_WINDOW = "LLM_BREAKER_WINDOW_SECONDS"
ENV_LLM_BREAKER_REST = "LLM_BREAKER_REST_SECONDS"
ENV_LLM_BREAKER_LONGEST = "LLM_BREAKER_LONGEST_SECONDS"
ENV_LLM_ORCHESTRATOR_URL = "LLM_ORCHESTRATOR_URL"
"""Where trading_engine asks for comments on signals: http://llm-orchestrator:8000/v1. Unset: no comments."""
ENV_PROBES = "CROSSOVER_PROBES"
"""What a prober asks, by spaces: NAME=http://host:port/path."""
ENV_COMMENT_INTERVAL = "TRADING_COMMENT_INTERVAL_SECONDS"
ENV_CONSUMER_GROUP = "TRADING_CONSUMER_GROUP"
ENV_RESULTS_PATH = "RESULTS_PATH"
"""The folder in which backtesting_service keeps its runs; a volume that outlives the pod."""
ENV_DATA_PATH = "DATA_PATH"
"""The folder with the catalog of histories that backtests run on, besides the shipped ones; docs/backtest-data.md."""
ENV_BACKTESTING_BARS_MIB = "BACKTESTING_BARS_MIB"
"""How large a file of bars may be that is sent to backtesting_service, in MiB; 256 where unset."""
ENV_BACKTESTING_WORKERS = "BACKTESTING_WORKERS"
ENV_BACKTESTING_URL = "BACKTESTING_URL"
"""Where the backtesting service answers: http://backtesting-service:8000."""
ENV_BACKTESTING_MOVING = "CROSSOVER_BACKTESTING_MOVING"
"""JSON: what config says of the move of backtests; see contracts/backtest_moving.py."""
ENV_SWEEP = "CROSSOVER_SWEEP"
"""JSON: a sweep that is asked for; see contracts/sweeps.py."""
ENV_BACKTESTING_SECONDS = "BACKTESTING_LIMIT_SECONDS"
ENV_BACKTESTING_MIB = "BACKTESTING_LIMIT_MIB"
ENV_STRATEGIES_PATH = "STRATEGIES_PATH"
"""A folder with strategies of the user's own, a Python file each."""
ENV_MARKET_FEED_RATE = "MARKET_FEED_RATE"
"""Events per second, over all keys. 0: publish nothing, but stay up."""
ENV_MARKET_FEED_CSV = "MARKET_FEED_CSV"
"""`SYMBOL=/path/bars.csv[.gz]`, comma-separated. Unset: the S&P 500 and NASDAQ bars that are shipped."""

ENV_POOLER_FOLDER = "CROSSOVER_POOLER_FOLDER"
"""The folder that PgBouncer and its agent share: pgbouncer.ini, the agent's memory, PgBouncer's Unix socket."""
ENV_POOLER_SIDES = "CROSSOVER_POOLER_SIDES"
"""The folder with a file a side, `hosted` and `selfhosted`: the URL by which the pooler connects there."""
ENV_POOLER_LOGINS = "CROSSOVER_POOLER_LOGINS"
"""The path of userlist.txt: what clients log in to the pooler by."""
ENV_POOLER_PAUSE = "CROSSOVER_POOLER_PAUSE_SECONDS"
"""How long a switch waits for transactions under way, before it goes on at the old side. Clients stand still for it."""

KAFKA_APP_USER = "trading"
KAFKA_MIRROR_USER = "mirror"
KAFKA_ADMIN_USER = "cutover"

DEFAULT_PARTITIONS = 8
DEFAULT_BACKUP_HOURS = 24.0
DEFAULT_VERDICT_HOURS = 24.0
DEFAULT_MAX_EVENT_BYTES = 900_000


def adapter_name(host: str, service: str) -> str:
    """The name of the replica of `service` on `host` (a pod's name, or a machine's) among the adapters."""
    return re.sub(r"[^a-z0-9.-]", "-", f"{host}.{service}".lower())


def dead_letter_topic(topic: str) -> str:
    """Where events of `topic` go that a consumer could not take."""
    return topic + DEAD_LETTER_SUFFIX


def all_topics(topics: tuple[str, ...] = TOPICS) -> tuple[str, ...]:
    """The topics and their dead-letter topics."""
    return (*topics, *(dead_letter_topic(topic) for topic in topics))


def own_llm_name(alias: str) -> str:
    """The Deployment, Service and volume of our own model behind `alias`."""
    return f"{OWN_LLM_NAME}-{alias}"
