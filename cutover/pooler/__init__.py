"""The pooler's agent: runs beside PgBouncer in its pod, and makes it stand still and point where the route says."""
