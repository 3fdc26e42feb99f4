"""Positions in a server's WAL, as the route of the database keeps them. Pure."""

from __future__ import annotations

from adapters.postgres.driver import lsn, lsn_text
from contracts.routes import Mirror

WAL, LSN = "wal", "lsn"
"""mirror.starts[WAL][LSN]: from which position on what is committed at the source counts as content. In an emergency's
fence and in what is stranded, too, under WAL in place of a topic."""


def carried(source: str, target: str, since: int, reached: int = 0) -> Mirror:
    """The direction in which content is carried, from `since` at the source on; `reached`: where the target
    stood when it last served."""
    return Mirror(
        source=source,
        target=target,
        starts={WAL: {LSN: lsn_text(since)}},
        target_starts={WAL: {LSN: lsn_text(reached)}},
    )


def content_from(mirror: Mirror | None, source: str) -> int | None:
    """From which LSN of `source` on its content is carried; None where none is. A route that names no place lets
    nothing through: what is held is told, what was carried wrongly is not."""
    if mirror is None or mirror.source != source:
        return None
    place = mirror.starts.get(WAL, {}).get(LSN)
    return lsn(place) if place else None
