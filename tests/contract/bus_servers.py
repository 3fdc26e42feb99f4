"""A real Redis and a real Kafka on loopback, for the time of a test session.

Redis is the `redis-server` on PATH. Kafka's jars are looked for in CROSSOVER_KAFKA_LIBS and in the
cache of the image builder, and else resolved by `mvn` into that cache. Kafka runs as one KRaft
node with SASL/PLAIN and ACLs, as in the cluster, so that a seal is really enforced.
"""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from contracts.names import KAFKA_ADMIN_USER, KAFKA_APP_USER, KAFKA_MIRROR_USER

REDIS_PASSWORD = "redis-contract-password"
KAFKA_PASSWORDS = {user: f"{user}-contract-password" for user in (KAFKA_ADMIN_USER, KAFKA_APP_USER, KAFKA_MIRROR_USER)}
KAFKA_VERSION = "4.1.0"
_DEADLINE = 60.0


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """A process that listens on `port` of loopback; can be stopped, killed, frozen and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What to run."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it listens."""
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command(), cwd=self.folder, stdout=output, stderr=output, env=self.environment()
            )
        deadline = time.monotonic() + _DEADLINE
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.command()[0]} ended: {log.read_text()[-3000:]}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)  # a process that is not up yet announces nothing
        raise RuntimeError(f"nothing listens on {self.port} after {_DEADLINE:g} s: {log.read_text()[-3000:]}")

    def environment(self) -> dict[str, str]:
        """The environment of the process."""
        return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}

    def freeze(self) -> None:
        """It keeps its sockets and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """It dies at once."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def fill_disk(self) -> None:
        """No file of it grows any more: each write fails, as on a full disk (EFBIG for ENOSPC), until it is killed
        and started again."""
        if self._process is not None:
            _, most = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (0, most))

    def stop(self) -> None:
        """It ends in order, or is killed after 20 s."""
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


class RedisServer(Server):
    """Redis with a password and an append-only file that is fsynced always."""

    def __init__(self, folder: Path, fsync: str = "always") -> None:
        super().__init__(folder, free_port())
        self.url = f"redis://127.0.0.1:{self.port}/0"
        (folder / "redis.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\nappendonly yes\nappendfsync {fsync}\n"
            f"save ''\nrequirepass {REDIS_PASSWORD}\nmaxmemory-policy noeviction\n"
        )

    def command(self) -> list[str]:
        return ["redis-server", str(self.folder / "redis.conf")]


class KafkaServer(Server):
    """One KRaft node with SASL/PLAIN, the three users, and ACLs."""

    def __init__(self, folder: Path, libraries: Path, other: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, free_port())
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._libraries = libraries
        controller = free_port()
        users = " ".join(f'user_{user}="{password}"' for user, password in KAFKA_PASSWORDS.items())
        admin = f'username="{KAFKA_ADMIN_USER}" password="{KAFKA_PASSWORDS[KAFKA_ADMIN_USER]}"'
        login = f"org.apache.kafka.common.security.plain.PlainLoginModule required {admin} {users};"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"CLIENT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"CLIENT://127.0.0.1:{self.port}",
            "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "CLIENT",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.client.plain.sasl.jaas.config": login,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{KAFKA_ADMIN_USER};User:ANONYMOUS",
            "log.dirs": str(folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "log.cleaner.dedupe.buffer.size": "10485760",
            "broker.session.timeout.ms": "5000",
            "broker.heartbeat.interval.ms": "1000",
        } | dict(other or {})
        (folder / "server.properties").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        (folder / "simplelogger.properties").write_text("org.slf4j.simpleLogger.defaultLogLevel=warn\n")
        subprocess.run(
            [*self._java(), "kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", "server.properties"],
            cwd=folder, env=self.environment(), capture_output=True, check=True,
        )  # fmt: skip

    def advertise(self, port: int) -> None:
        """Start anew, telling clients to come by `port` of loopback: a relay to this server."""
        self.stop()
        file = self.folder / "server.properties"
        told = f"advertised.listeners=CLIENT://127.0.0.1:{port}\n"
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(told if line.startswith("advertised.listeners=") else line for line in lines))
        self.bootstrap = f"127.0.0.1:{port}"
        self.start()

    def command(self) -> list[str]:
        return [*self._java(), "kafka.Kafka", str(self.folder / "server.properties")]

    def _java(self) -> list[str]:
        options = ["-Xmx384m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return ["java", *options, "-cp", f"{self.folder}:{self._libraries}/*"]


def _cluster_id() -> str:
    import base64

    # An id that begins with a dash would be read as an option.
    return base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")


def find_redis() -> bool:
    """Whether there is a redis-server."""
    return shutil.which("redis-server") is not None


def find_kafka() -> Path | None:
    """The folder with Kafka's jars; None where they cannot be had."""
    if shutil.which("java") is None:
        return None
    given = os.environ.get("CROSSOVER_KAFKA_LIBS")
    if given:
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossover"
    if shutil.which("mvn") is None:
        return _found(cache)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "kafka-libs.lock").open("w") as lock:  # of several workers one resolves
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _found(cache) or _resolve(cache / "kafka-libs" / KAFKA_VERSION)


def _found(cache: Path) -> Path | None:
    found = sorted(cache.glob(f"**/kafka_2.13-{KAFKA_VERSION}.jar"))
    return found[-1].parent if found and _complete(found[-1].parent) else None


def _complete(folder: Path) -> bool:
    return all(any(folder.glob(f"{name}-*.jar")) for name in ("kafka-clients", "kafka-server", "slf4j-api"))


def _resolve(target: Path) -> Path:
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        for group, name, version in (
            ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
            ("org.slf4j", "slf4j-simple", "1.7.36"),
        )
    )
    target.mkdir(parents=True, exist_ok=True)
    project = target / "pom.xml"
    project.write_text(
        "<project><modelVersion>4.0.0</modelVersion><groupId>crossover</groupId><artifactId>kafka-libs</artifactId>"
        f"<version>1</version><dependencies>{dependencies}</dependencies></project>"
    )
    subprocess.run(
        ["mvn", "-q", "-B", "-f", str(project), "dependency:copy-dependencies", f"-DoutputDirectory={target}"],
        check=True, capture_output=True, timeout=600,
    )  # fmt: skip
    return target
