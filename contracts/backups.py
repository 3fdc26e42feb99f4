"""What is known in the cluster of the last backup of the database: who made it, when, of which side, what it is."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

NOTE_NAME, NOTE_KEY = "crossover-backup-database", "backup"
"""The ConfigMap, made by `pulumi up`, and its key, written by `crossover backup` once the backup was restored, fetched
and put on disk whole."""
FOLDER, SCRATCH, FETCHED = "/backup", "/scratch", "fetched"
"""In the pod that makes one: where its files are, the socket and the data of the server that is thrown away, and the
file that says that nobody needs them any more."""
AHEAD = timedelta(minutes=5)
"""How far the clock of who wrote may be ahead of who reads."""


class BackupNote(BaseModel):
    """One backup. `at`: what was committed then is in it. `side` served; `digest` is that of the backup's manifest, and
    `place` the folder's name where it was made, with its host."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: AwareDatetime
    side: str
    by: str
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    place: str
    tables: int = Field(ge=1)
    rows: int = Field(ge=0)

    def hours(self, now: datetime) -> float:
        """How old it is; not known (NaN) where it is said to be of the future."""
        age = now - self.at
        return float("nan") if age < -AHEAD else max(age, timedelta()) / timedelta(hours=1)
