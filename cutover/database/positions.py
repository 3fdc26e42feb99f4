"""Positions in a server's WAL, as the route of the database keeps them. Pure."""

from __future__ import annotations

from adapters.postgres.driver import lsn, lsn_text
from contracts.routes import Mirror

WAL, LSN = "wal", "lsn"
"""mirror.starts[WAL][LSN]: from which position on what is committed at the source counts as content."""


def mirror(source: str, target: str, content_from: int, reached: int = 0) -> Mirror:
    """The direction in which content is carried, from `content_from` at the source on; `reached`: where the target
    stood when it last served."""
    return Mirror(
        source=source,
        target=target,
        starts={WAL: {LSN: lsn_text(content_from)}},
        target_starts={WAL: {LSN: lsn_text(reached)}},
    )


def content_from(found: Mirror) -> int:
    """From where on what is committed at the source counts. Raises KeyError for a mirror that is no database's."""
    return lsn(found.starts[WAL][LSN])
