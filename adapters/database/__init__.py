"""The database as services see it: one interface, a Postgres behind it, and a shipped fake.

Services connect to one address and never learn which Postgres answers.
"""

from __future__ import annotations

from adapters.database.base import TradingStore

__all__ = ["TradingStore", "open_store"]


def open_store(url: str, *, application: str, max_connections: int = 4) -> TradingStore:
    """The store at `url` (postgresql://...); `memory:` is the shipped fake, which forgets at exit.

    Connections are made in the background: a database that is away shows in `ping`, not here.
    """
    if url.startswith("memory:"):
        from adapters.database.memory import MemoryTradingStore

        return MemoryTradingStore()
    from adapters.database.postgres import PostgresTradingStore

    return PostgresTradingStore(url, application=application, max_connections=max_connections)
