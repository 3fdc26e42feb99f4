"""Two in-memory logs and a mirror between them, a step at a time."""

from __future__ import annotations

from dataclasses import replace

from adapters.event_bus.base import LogSettings
from adapters.event_bus.memory import MemoryLog
from adapters.event_bus.memory_server import MemoryServer
from contracts.envelope import Event
from cutover.mirror.copying import Copying
from cutover.mirror.service import CopySession
from cutover.mirror.verifying import Verifier

TOPIC = "t"
SETTINGS = LogSettings(topics=(TOPIC,), partitions=2)


class Mirrored:
    """Redis is copied to Kafka, both in memory; time moves as the test says."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.epoch = 1
        self.servers = {name: MemoryServer() for name in ("redis", "kafka")}
        self.source, self.target = (MemoryLog(name, SETTINGS, self.servers[name]) for name in ("redis", "kafka"))
        self.source.ensure()
        self.target.ensure()
        self.copying = Copying(
            TOPIC, "redis", "kafka", self.source.end(TOPIC), False, "this-copying", self.target.end(TOPIC)
        )

    def session(self) -> CopySession:
        """A mirror begins to copy."""
        return CopySession(self.copying, self.source, self.target, lambda: self.epoch)

    def verifier(self, settle: float = 0.0, copying: Copying | None = None) -> Verifier:
        """A mirror begins to compare."""
        return Verifier(
            copying or self.copying, self.source, self.target, "mirror-1", settle=settle, clock=lambda: self.seconds
        )

    def write(self, *payloads: str, epoch: int = 1) -> None:
        """Events are published in Redis, each with a key of its own."""
        writer = self.source.writer("w")
        for payload in payloads:
            event = Event.create(TOPIC, f"key-{payload}", payload.encode(), source="test").under(epoch)
            writer.submit(event).result(0)
        writer.close()

    def compare(self, session: CopySession, verifier: Verifier) -> None:
        """Copy what there is, compare it, and note what is due."""
        session.step(0.0)
        cut = replace(session.cut(), taken=self.seconds)
        while not verifier.ended and not verifier.step(cut):
            pass
        due = verifier.due()
        if due is not None:
            session.note(due)
